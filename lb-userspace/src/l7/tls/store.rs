//! The TLS of all listeners and services of one configuration, by their numbers.

use super::{ClientTls, Shared, TlsError};
use crate::l7::settings::{ListenerId, ServiceId, Settings};
use rustls::{Connection, ServerConfig, ServerConnection};
use std::sync::Arc;

/// What is spoken where. A listener or service that is not in it speaks plainly.
#[derive(Debug, Default)]
pub struct Store {
    servers: Vec<Option<Arc<ServerConfig>>>,
    clients: Vec<Option<ClientTls>>,
}

impl Store {
    /// Reads all files that the settings name.
    pub fn read(shared: &Shared, settings: &Settings) -> Result<Self, TlsError> {
        let mut store = Self::default();
        store.servers.resize_with(settings.listeners.places(), || None);
        store.clients.resize_with(settings.services.places(), || None);
        for (id, listener) in settings.listeners.iter() {
            if let (Some(tls), Some(place)) = (&listener.config.tls, store.servers.get_mut(id.index())) {
                *place = Some(shared.server(tls)?);
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

    /// How connections to a service's backends begin, if by TLS.
    #[must_use]
    pub fn client(&self, id: ServiceId) -> Option<&ClientTls> {
        self.clients.get(id.index())?.as_ref()
    }
}
