//! What lies between a backend's port and the question: the PROXY header and TLS, as requests to the backend speak them.
//!
//! A probe with layers goes by tokio's reactor, whatever the transport: TLS and HTTP/2 want streams that can be polled, and
//! whoever drops one of those leaves nothing behind on a ring.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;
use socket2::Socket;
use tokio::io::AsyncWriteExt as _;
use tokio_rustls::TlsConnector;

use super::probe::Progress;
use super::stream::{Polled, connect_epoll};
use super::turns::by_turns;
use super::{ProbeError, Stage};
use crate::config::proxy::ProxyHeader;
use crate::l7::proxy_protocol::{NOBODY_V1, NOBODY_V2};
use crate::l7::tls::ClientTls;

/// How a backend is spoken to, beneath the question and in it. The default is plain TCP, and HTTP/1.1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layers {
    /// The PROXY header that connections begin with. That of a probe tells of no client.
    pub proxy_protocol: Option<ProxyHeader>,
    /// TLS, verified as for requests.
    pub tls: Option<ClientTls>,
    /// Whether the question is asked by HTTP/2.
    pub http2: bool,
}

impl Layers {
    /// Whether there are none, so that the question goes by bare TCP and HTTP/1.1.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The word for what HTTP goes by, as a request by HTTP/2 has to say it.
    pub(super) const fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    const fn header(&self) -> &'static [u8] {
        match self.proxy_protocol {
            None => b"",
            Some(ProxyHeader::V1) => NOBODY_V1,
            Some(ProxyHeader::V2) => NOBODY_V2,
        }
    }

    /// Connects, sends the header and shakes hands, with the session that `config` may have.
    pub(super) async fn connect(
        &self,
        socket: Socket,
        target: SocketAddr,
        config: Option<Arc<ClientConfig>>,
        progress: &Progress,
    ) -> Result<Box<dyn Polled>, ProbeError> {
        let mut stream = connect_epoll(socket, target).await?;
        stream.write_all(self.header()).await?;
        match self.tls.as_ref().zip(config) {
            None => Ok(Box::new(stream)),
            Some((tls, config)) => {
                progress.stage.set(Stage::Securing);
                let shake = async { TlsConnector::from(config).connect(tls.name(target.ip()), stream).await };
                let shaken = by_turns(shake, &progress.waited).await.map_err(ProbeError::in_handshake)?;
                Ok(Box::new(shaken))
            }
        }
    }
}
