//! What lies between a backend's port and the question: the PROXY header and TLS, as requests to the backend speak them.
//!
//! A probe with layers goes by tokio's reactor, whatever the transport: TLS and HTTP/2 want streams that can be polled, and
//! whoever drops one of those leaves nothing behind on a ring.

use std::cell::Cell;
use std::net::SocketAddr;

use socket2::Socket;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::stream::{Polled, connect_epoll};
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

    /// Connects, sends the header and shakes hands.
    pub(super) async fn connect(
        &self,
        socket: Socket,
        target: SocketAddr,
        stage: &Cell<Stage>,
    ) -> Result<Box<dyn Polled>, ProbeError> {
        let mut stream = connect_epoll(socket, target).await?;
        stream.write_all(self.header()).await?;
        match &self.tls {
            None => Ok(Box::new(stream)),
            Some(tls) => {
                stage.set(Stage::Securing);
                secure(stream, tls, target).await
            }
        }
    }
}

async fn secure(
    stream: TcpStream,
    tls: &ClientTls,
    target: SocketAddr,
) -> Result<Box<dyn Polled>, ProbeError> {
    let shaken = TlsConnector::from(tls.probing()).connect(tls.name(target.ip()), stream).await;
    shaken.map(|stream| Box::new(stream) as Box<dyn Polled>).map_err(ProbeError::in_handshake)
}
