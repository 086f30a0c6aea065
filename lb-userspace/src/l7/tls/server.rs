//! TLS towards clients.

use super::names::Certificates;
use super::{TlsError, files};
use crate::config::proxy::{Tls, TlsVersion};
use rustls::CipherSuite;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use std::slice;
use std::sync::Arc;

/// Tickets a client is given with a handshake. One more is one more signature's worth of work for each connection; a client
/// that comes back is given a new one.
const TICKETS: usize = 1;

/// A listener's TLS.
#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) config: Arc<ServerConfig>,
    pub(super) certificates: Arc<Certificates>,
}

/// What all listeners and workers have in common.
#[derive(Clone, Debug)]
pub struct Shared {
    provider: Arc<CryptoProvider>,
    tickets: Arc<dyn ProducesTickets>,
}

impl Shared {
    /// The algorithms, and keys of tickets that change every few hours by themselves. They are drawn once, so that a ticket
    /// of one worker is good for the others and after a reload, but for listeners that ask for certificates.
    pub fn new() -> Result<Self, TlsError> {
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        // Stable: of each version, this one goes before the others.
        provider.cipher_suites.sort_by_key(|suite| !is_first(suite.suite()));
        let tickets = rustls::crypto::aws_lc_rs::Ticketer::new()?;
        Ok(Self { provider: Arc::new(provider), tickets })
    }

    pub(super) const fn provider(&self) -> &Arc<CryptoProvider> {
        &self.provider
    }

    /// What a listener's connections begin with, and whether they may go on by HTTP/2. Reads its files.
    pub(super) fn server(&self, tls: &Tls, http2: bool) -> Result<Server, TlsError> {
        let versions = match tls.min_version {
            TlsVersion::V12 => &[&TLS13, &TLS12][..],
            TlsVersion::V13 => &[&TLS13],
        };
        let certificates = Arc::new(Certificates::read(&self.provider, &tls.certificates)?);
        let shown = Arc::clone(&certificates);
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(versions)?
            .with_client_cert_verifier(self.clients(tls)?)
            .with_cert_resolver(shown);
        // Some clients of HTTP/1.0 name it, and would go if nothing were agreed on.
        let protocols = [&b"h2"[..], b"http/1.1", b"http/1.0"];
        config.alpn_protocols = protocols.into_iter().skip(usize::from(!http2)).map(<[u8]>::to_vec).collect();
        config.ignore_client_order = true;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = if tls.tickets { TICKETS } else { 0 };
        if tls.tickets {
            config.ticketer = self.tickets(tls)?;
        }
        Ok(Server { config: Arc::new(config), certificates })
    }

    /// All that is the matter with a listener's files, of which [`Self::server`] told the first.
    pub(super) fn mistakes(&self, tls: &Tls, first: TlsError) -> Vec<TlsError> {
        let each = tls.certificates.iter().map(slice::from_ref);
        let of_certificates = each.filter_map(|one| Certificates::read(&self.provider, one).err());
        let all: Vec<_> = of_certificates.chain(self.clients(tls).err()).collect();
        if all.is_empty() { vec![first] } else { all }
    }

    /// Who resumes a session is not asked for a certificate again, so a ticket must not be good where more is asked of clients
    /// than where it was given: a listener that asks has keys of its own, drawn whenever its files are read.
    fn tickets(&self, tls: &Tls) -> Result<Arc<dyn ProducesTickets>, TlsError> {
        Ok(match tls.client {
            Some(_) => rustls::crypto::aws_lc_rs::Ticketer::new()?,
            None => Arc::clone(&self.tickets),
        })
    }

    fn clients(&self, tls: &Tls) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
        let Some(client) = &tls.client else { return Ok(WebPkiClientVerifier::no_client_auth()) };
        let roots = Arc::new(files::authorities(&client.ca)?);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&self.provider));
        let verifier = if client.required { verifier } else { verifier.allow_unauthenticated() };
        verifier.build().map_err(|source| TlsError::Authorities { path: client.ca.clone(), source })
    }
}

/// Whether a suite is the one that a listener would rather speak: AES with keys of 128 bits, as safe as the others and the
/// cheapest where the processor has instructions for AES.
const fn is_first(suite: CipherSuite) -> bool {
    matches!(
        suite,
        CipherSuite::TLS13_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
    )
}
