//! Certificates for tests, made when they run: one that lay in the repository would be from the future where a clock is behind.

use rcgen::{CertificateParams, DnType, KeyPair};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// A certificate and its key.
pub(crate) type Files = (PathBuf, PathBuf);

/// Whom tests believe.
pub(crate) static OURS: LazyLock<Files> = LazyLock::new(|| written("backend.test"));
/// Somebody else.
pub(crate) static STRANGER: LazyLock<Files> = LazyLock::new(|| written("stranger.test"));

/// A certificate of this name and of 127.0.0.1, signed by itself, and its key: both as PEM, and anew each time.
pub(crate) fn self_signed(name: &str) -> (String, String) {
    let mut params = CertificateParams::new(["127.0.0.1".to_owned(), name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// The same as files, where the build has its own.
fn written(name: &str) -> Files {
    let (cert, key) = self_signed(name);
    let [at_cert, at_key] =
        ["crt", "key"].map(|kind| Path::new(env!("OUT_DIR")).join(format!("{name}.{kind}")));
    std::fs::write(&at_cert, cert).unwrap();
    std::fs::write(&at_key, key).unwrap();
    (at_cert, at_key)
}
