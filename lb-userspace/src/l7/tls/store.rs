//! The TLS of all listeners and services of one configuration, by their numbers.

use super::names::dns_names;
use super::{ClientTls, Shared, TlsError, expiry, files};
use crate::config::proxy::Tls;
use crate::l7::settings::{ListenerId, ServiceId, Settings};
use rustls::{Connection, ServerConfig, ServerConnection};
use std::path::PathBuf;
use std::sync::Arc;

/// What is spoken where. A listener or service that is not in it speaks plainly.
#[derive(Debug, Default)]
pub struct Store {
    servers: Vec<Option<Arc<ServerConfig>>>,
    clients: Vec<Option<ClientTls>>,
    /// By listener: what is told of its certificates, in the order of the file.
    shown: Vec<Vec<Shown>>,
}

/// What is told of a certificate.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Its file.
    pub file: PathBuf,
    /// When it expires, in seconds since 1970.
    pub expires: i64,
    /// Its names in lower case; wildcards by what stands behind their `*`.
    names: Vec<Box<str>>,
}

impl Store {
    /// Reads all files that the settings name.
    pub fn read(shared: &Shared, settings: &Settings) -> Result<Self, TlsError> {
        let mut store = Self::default();
        store.servers.resize_with(settings.listeners.places(), || None);
        store.clients.resize_with(settings.services.places(), || None);
        store.shown.resize_with(settings.listeners.places(), Vec::new);
        for (id, listener) in settings.listeners.iter() {
            if let (Some(tls), Some(place)) = (&listener.config.tls, store.servers.get_mut(id.index())) {
                *place = Some(shared.server(tls)?);
                if let Some(place) = store.shown.get_mut(id.index()) {
                    *place = shown(tls);
                }
            }
        }
        for (id, service) in settings.services.iter() {
            if let (Some(tls), Some(place)) = (&service.config.tls, store.clients.get_mut(id.index())) {
                *place = Some(shared.client(tls)?);
            }
        }
        Ok(store)
    }

    /// A new connection of a client to a listener that speaks TLS.
    pub fn accept(&self, id: ListenerId) -> Option<Result<Connection, rustls::Error>> {
        let config = self.servers.get(id.index())?.as_ref()?;
        Some(ServerConnection::new(Arc::clone(config)).map(Connection::from))
    }

    /// What is told of a listener's certificates.
    #[must_use]
    pub fn certificates(&self, id: ListenerId) -> &[Shown] {
        self.shown.get(id.index()).map_or(&[], Vec::as_slice)
    }

    /// The first of a listener's certificates that who asks for this name is shown; of several for it, the client's algorithms
    /// decide.
    #[must_use]
    pub fn shown(&self, id: ListenerId, name: &str) -> Option<&Shown> {
        let all = self.certificates(id);
        let named = |name: &str| all.iter().find(|shown| shown.names.iter().any(|other| **other == *name));
        let wildcard = || named(name.get(name.find('.')?..)?);
        named(name).or_else(wildcard).or_else(|| all.first())
    }

    /// How connections to a service's backends begin, if by TLS.
    #[must_use]
    pub fn client(&self, id: ServiceId) -> Option<&ClientTls> {
        self.clients.get(id.index())?.as_ref()
    }
}

fn shown(tls: &Tls) -> Vec<Shown> {
    let of_file = |path: &PathBuf| {
        let chain = files::chain(path).ok()?;
        let leaf = chain.first()?;
        Some(Shown { file: path.clone(), expires: expiry::of_der(leaf)?, names: dns_names(leaf).ok()? })
    };
    tls.certificates.iter().filter_map(|files| of_file(&files.cert)).collect()
}
