//! Which certificate is shown to whom: by the name that a client asks for, and by the signatures that it understands.

use super::{TlsError, files};
use crate::config::proxy::CertificateFiles;
use rustls::SignatureAlgorithm;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::collections::HashMap;
use std::sync::Arc;
use webpki::EndEntityCert;

/// The certificates of a listener.
#[derive(Debug)]
pub(super) struct Certificates {
    /// By name in lower case; wildcards by what stands behind their `*`.
    by_name: HashMap<Box<str>, Choice>,
    /// For who asks for no name, or for none of these.
    otherwise: Choice,
}

/// Certificates of one name, the cheapest to sign with first.
type Choice = Vec<Arc<CertifiedKey>>;

impl Certificates {
    /// Reads certificates. The first of them, and others of the very same names, are for who asks for no name.
    pub(super) fn read(provider: &CryptoProvider, sources: &[CertificateFiles]) -> Result<Self, TlsError> {
        let mut certificates = Self { by_name: HashMap::new(), otherwise: Vec::new() };
        let mut first: Option<Vec<Box<str>>> = None;
        for source in sources {
            let certified = files::certified(provider, (&source.cert, &source.key), source.ocsp.as_deref())?;
            let certified = Arc::new(certified);
            let names = names(&certified)
                .map_err(|reason| TlsError::Certificate { path: source.cert.clone(), reason })?;
            if *first.get_or_insert_with(|| names.clone()) == names {
                add(&mut certificates.otherwise, &certified);
            }
            for name in names {
                add(certificates.by_name.entry(name).or_default(), &certified);
            }
        }
        Ok(certificates)
    }

    /// Whether who was shown the certificate of one name should have connected anew to ask for that host: another is for it.
    pub(super) fn has_another(&self, name: &str, host: &str) -> bool {
        let shown = self.of_name(Some(name));
        let is_shown = |one: &Arc<CertifiedKey>| shown.iter().any(|other| Arc::ptr_eq(one, other));
        self.find(host).is_some_and(|wanted| !wanted.iter().any(is_shown))
    }

    fn of_name(&self, name: Option<&str>) -> &Choice {
        name.and_then(|name| self.find(name)).unwrap_or(&self.otherwise)
    }

    fn find(&self, name: &str) -> Option<&Choice> {
        let wildcard = || self.by_name.get(name.get(name.find('.')?..)?);
        self.by_name.get(name).or_else(wildcard)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let offered = hello.signature_schemes();
        let choice = self.of_name(hello.server_name());
        let fits = |certified: &&Arc<CertifiedKey>| certified.key.choose_scheme(offered).is_some();
        // Where none fits, the handshake fails for the signatures; without any, rustls would say that access is denied.
        choice.iter().find(fits).or(choice.first()).cloned()
    }
}

/// An elliptic curve's signature costs a tenth of RSA's.
fn add(choice: &mut Choice, certified: &Arc<CertifiedKey>) {
    choice.push(Arc::clone(certified));
    choice.sort_by_key(|certified| certified.key.algorithm() == SignatureAlgorithm::RSA);
}

fn names(certified: &CertifiedKey) -> Result<Vec<Box<str>>, String> {
    let leaf = certified.end_entity_cert().map_err(|error| error.to_string())?;
    dns_names(leaf)
}

/// The names of a certificate in lower case; wildcards by what stands behind their `*`.
pub(super) fn dns_names(leaf: &CertificateDer<'_>) -> Result<Vec<Box<str>>, String> {
    let parsed = EndEntityCert::try_from(leaf).map_err(|error| error.to_string())?;
    let key = |name: &str| name.strip_prefix('*').unwrap_or(name).to_ascii_lowercase().into();
    Ok(parsed.valid_dns_names().map(key).collect())
}
