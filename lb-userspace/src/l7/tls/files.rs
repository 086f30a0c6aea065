//! Reading certificates and keys.

use super::TlsError;
use super::staple::Staple;
use crate::file;
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::path::Path;
use std::time::SystemTime;

/// The longest file that is read: many times what all authorities of the web take.
const LONGEST: u64 = 16 << 20;

pub(super) fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    file::read(path, LONGEST).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}

/// The certificates of a file, in order; at least one.
pub(super) fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read(path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    chain.ok().filter(|chain| !chain.is_empty()).ok_or_else(|| no_pem(path, &bytes, ("certificate", "x509")))
}

/// The private key of a file.
pub(super) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let bytes = read(path)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| no_pem(path, &bytes, ("private key", "pkey")))
}

/// What is the matter with a file that nothing was found in, so that the operator can mend it.
fn no_pem(path: &Path, bytes: &[u8], (what, tool): (&'static str, &'static str)) -> TlsError {
    /// The first byte of a sequence.
    const DER: u8 = 0x30;
    let path = path.to_owned();
    if what == "private key" && String::from_utf8_lossy(bytes).contains("ENCRYPTED") {
        TlsError::Encrypted { path }
    } else if bytes.first() == Some(&DER) {
        TlsError::Der { path, what, tool }
    } else {
        TlsError::Pem { path, what }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("a.pem");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for endless in [pipe.as_path(), Path::new("/dev/zero")] {
            let errors = [chain(endless).err(), key(endless).err(), Staple::read(endless).err()];
            for error in errors.into_iter().flatten().chain(authorities(endless).err()) {
                assert!(
                    matches!(&error, TlsError::Read { source, .. } if source.to_string().contains("regular"))
                );
            }
        }
    }

    #[test]
    fn what_is_in_a_file_in_place_of_pem_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.key");
        let said = |bytes: &[u8], read: fn(&Path) -> Option<TlsError>| {
            std::fs::write(&file, bytes).unwrap();
            read(&file).unwrap().to_string()
        };
        let (of_key, of_chain) = (|path: &Path| key(path).err(), |path: &Path| chain(path).err());
        let encrypted = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIG=\n-----END ENCRYPTED PRIVATE KEY-----\n";
        let older = b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nMIG=\n-----END RSA PRIVATE KEY-----\n";
        for bytes in [&encrypted[..], older] {
            assert!(said(bytes, of_key).contains("is encrypted"), "{}", said(bytes, of_key));
        }
        assert!(said(b"\x30\x82\x01\x00", of_chain).contains("openssl x509 -inform der"));
        assert!(said(b"\x30\x82\x01\x00", of_key).contains("openssl pkey -inform der"));
        for bytes in [&b""[..], b"words"] {
            assert!(said(bytes, of_chain).ends_with("a.key holds no certificate in PEM"));
            assert!(said(bytes, of_key).ends_with("a.key holds no private key in PEM"));
        }
    }
}
