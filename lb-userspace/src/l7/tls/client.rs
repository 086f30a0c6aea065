//! TLS towards backends.

use super::server::Shared;
use super::{TlsError, files};
use crate::config::proxy::UpstreamTls;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, Connection, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use sha2::{Digest as _, Sha256};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

/// The authorities of the system: where Debian, and where Red Hat, keeps them.
const SYSTEM: [&str; 2] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];

/// How connections to the backends of a service begin. What was read from equal files for equal words is equal.
#[derive(Clone, Debug)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    name: Option<ServerName<'static>>,
    read: [u8; 32],
}

impl PartialEq for ClientTls {
    fn eq(&self, other: &Self) -> bool {
        self.read == other.read
    }
}

impl Eq for ClientTls {}

impl ClientTls {
    /// A new connection to a backend at this address.
    pub fn connect(&self, address: IpAddr) -> Result<Connection, TlsError> {
        Ok(ClientConnection::new(Arc::clone(&self.config), self.name(address))?.into())
    }

    /// How connections begin of one backend's probes: as others, but that the first shakes hands anew and those behind it resume its
    /// session alone.
    #[must_use]
    pub fn probing(&self) -> Arc<ClientConfig> {
        let mut config = (*self.config).clone();
        config.resumption = Resumption::in_memory_sessions(1);
        Arc::new(config)
    }

    /// The name that the certificate of a backend at this address must have.
    #[must_use]
    pub fn name(&self, address: IpAddr) -> ServerName<'static> {
        self.name.clone().unwrap_or_else(|| ServerName::from(address))
    }
}

impl Shared {
    /// How connections to the backends of a service begin. Reads its files.
    pub fn client(&self, tls: &UpstreamTls, http2: bool) -> Result<ClientTls, TlsError> {
        let builder = ClientConfig::builder_with_provider(Arc::clone(self.provider()))
            .with_safe_default_protocol_versions()?;
        let mut read = Sha256::new_with_prefix(format!("{tls:?} {http2}"));
        let builder = if tls.verify {
            let roots = match &tls.ca {
                Some(path) => files::authorities(path)?,
                None => files::authorities(system_authorities())?,
            };
            note_roots(&mut read, &roots);
            builder.with_root_certificates(roots)
        } else {
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Unverified(Arc::clone(self.provider()))))
        };
        let mut config = match &tls.certificate {
            Some((cert, key)) => {
                let (chain, key) = (files::chain(cert)?, files::key(key)?);
                for cert in &chain {
                    read.update(cert);
                }
                read.update(key.secret_der());
                builder.with_client_auth_cert(chain, key)?
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![if http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
        let name = tls
            .sni
            .as_ref()
            .map(|name| ServerName::try_from(name.clone()).map_err(|_| TlsError::Name(name.clone())));
        Ok(ClientTls { config: Arc::new(config), name: name.transpose()?, read: read.finalize().into() })
    }
}

/// Notes all by which authorities differ.
fn note_roots(read: &mut Sha256, roots: &RootCertStore) {
    for root in &roots.roots {
        read.update(&root.subject);
        read.update(&root.subject_public_key_info);
        read.update(root.name_constraints.as_deref().unwrap_or_default());
    }
}

fn system_authorities() -> &'static Path {
    let [usual, other] = SYSTEM.map(Path::new);
    if other.exists() && !usual.exists() { other } else { usual }
}

/// Takes any certificate: the operator said `verify = false`. What the backend signs must still be signed by it.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
