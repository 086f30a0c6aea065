//! The TLS of all listeners and services of one configuration, by their numbers.

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
    /// By listener: the file of each certificate, and when that expires.
    expiries: Vec<Vec<(PathBuf, i64)>>,
}

impl Store {
    /// Reads all files that the settings name.
    pub fn read(shared: &Shared, settings: &Settings) -> Result<Self, TlsError> {
        let mut store = Self::default();
        store.servers.resize_with(settings.listeners.places(), || None);
        store.clients.resize_with(settings.services.places(), || None);
        store.expiries.resize_with(settings.listeners.places(), Vec::new);
        for (id, listener) in settings.listeners.iter() {
            if let (Some(tls), Some(place)) = (&listener.config.tls, store.servers.get_mut(id.index())) {
                *place = Some(shared.server(tls)?);
                if let Some(place) = store.expiries.get_mut(id.index()) {
                    *place = expiries(tls);
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

    /// When a listener's certificates expire, in seconds since 1970, each with its file.
    #[must_use]
    pub fn expiries(&self, id: ListenerId) -> &[(PathBuf, i64)] {
        self.expiries.get(id.index()).map_or(&[], Vec::as_slice)
    }

    /// How connections to a service's backends begin, if by TLS.
    #[must_use]
    pub fn client(&self, id: ServiceId) -> Option<&ClientTls> {
        self.clients.get(id.index())?.as_ref()
    }
}

fn expiries(tls: &Tls) -> Vec<(PathBuf, i64)> {
    let of_file = |path: &PathBuf| {
        let chain = files::chain(path).ok()?;
        Some((path.clone(), expiry::of_der(chain.first()?)?))
    };
    tls.certificates.iter().filter_map(|files| of_file(&files.cert)).collect()
}
