//! TLS: what the configuration asks for, read into what rustls needs. The only door to rustls but for [`super::wire`], which
//! moves its records, and for the probes of health.
//!
//! Files are read when a configuration is taken up and when they change, by the daemon and once for all workers; what cannot
//! be read leaves the former in use.

mod client;
mod error;
mod files;
mod identity;
#[cfg(test)]
pub(crate) mod made;
mod names;
mod server;
mod staple;
mod store;
mod validity;

pub use client::ClientTls;
pub use error::TlsError;
pub use identity::{base64, client_cert, server_name};
pub use server::Shared;
pub use store::{Store, Unusable, files_of, mistakes};
pub use validity::{Shown, warnings};
