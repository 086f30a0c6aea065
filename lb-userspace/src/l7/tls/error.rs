//! Why TLS cannot be spoken as the configuration asks.

use std::io;
use std::path::PathBuf;

/// What is wrong with the operator's files.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// It cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is no PEM, or holds no certificate or key.
    #[error("{path} holds no {what} in PEM")]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is looked for.
        what: &'static str,
    },
    /// It holds what is looked for in another form.
    #[error("{path} holds its {what} in DER; `openssl {tool} -inform der -in {path} -out FILE` writes PEM")]
    Der {
        /// The file.
        path: PathBuf,
        /// What is looked for.
        what: &'static str,
        /// The command that converts it.
        tool: &'static str,
    },
    /// Its key wants a pass phrase.
    #[error(
        "the key in {path} is encrypted, and nobody is there to ask; `openssl pkey -in {path} -out FILE` writes it plainly"
    )]
    Encrypted {
        /// The file.
        path: PathBuf,
    },
    /// It is a key of a kind that the library does not know.
    #[error("the key in {path} cannot be used: {source}")]
    Key {
        /// The file.
        path: PathBuf,
        /// What the library says.
        source: rustls::Error,
    },
    /// Key and certificate do not belong together.
    #[error("the key in {key} is not that of the certificate in {cert}")]
    Mismatch {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's.
        key: PathBuf,
    },
    /// A certificate cannot be understood.
    #[error("the certificate in {path} is malformed: {reason}")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What the library says.
        reason: String,
    },
    /// The name of a backend is no name.
    #[error("\"{0}\" is no name that a backend's certificate can have")]
    Name(String),
    /// What the library will not do.
    #[error(transparent)]
    Library(#[from] rustls::Error),
    /// What the library will not verify by.
    #[error("the authorities in {path} cannot be used: {source}")]
    Authorities {
        /// The file.
        path: PathBuf,
        /// What the library says.
        source: rustls::server::VerifierBuilderError,
    },
}
