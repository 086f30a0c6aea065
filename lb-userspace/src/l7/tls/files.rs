//! Reading certificates and keys.

use super::TlsError;
use super::staple::Staple;
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::path::Path;
use std::time::SystemTime;

pub(super) fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}

/// The certificates of a file, in order; at least one.
pub(super) fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read(path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let none = || TlsError::Pem { path: path.to_owned(), what: "certificate" };
    chain.ok().filter(|chain| !chain.is_empty()).ok_or_else(none)
}

/// The private key of a file.
pub(super) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let none = |_| TlsError::Pem { path: path.to_owned(), what: "private key" };
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(none)
}

/// A chain with its key, which must belong together, and what is stapled to it, unless that is past its time.
pub(super) fn certified(
    provider: &CryptoProvider,
    (cert, key_path): (&Path, &Path),
    ocsp: Option<&Path>,
) -> Result<CertifiedKey, TlsError> {
    let unusable = |source| TlsError::Key { path: key_path.to_owned(), source };
    let chain = chain(cert)?;
    let signer = provider.key_provider.load_private_key(key(key_path)?).map_err(unusable)?;
    let mut certified = CertifiedKey::new(chain, signer);
    if certified.keys_match() == Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch)) {
        return Err(TlsError::Mismatch { cert: cert.to_owned(), key: key_path.to_owned() });
    }
    let staple = ocsp.map(Staple::read).transpose()?.filter(|staple| !staple.is_over(SystemTime::now()));
    certified.ocsp = staple.map(|staple| staple.response);
    Ok(certified)
}

/// The authorities of a file; at least one.
pub(super) fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(chain(path)?);
    let none = || TlsError::Pem { path: path.to_owned(), what: "certificate of an authority" };
    (added > 0).then_some(roots).ok_or_else(none)
}
