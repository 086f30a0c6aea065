//! The TLS of all listeners and services of one configuration, by their numbers.

use super::server::Server;
use super::{ClientTls, Shared, Shown, TlsError};
use crate::config::proxy::{Tls, UpstreamTls};
use crate::l7::settings::{ByNumber, Listener, ListenerId, Service, ServiceId, Settings};
use rustls::{Connection, ServerConnection};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

/// What is spoken where. A listener or service that is not in it speaks plainly.
#[derive(Debug, Default)]
pub struct Store {
    servers: ByNumber<Listener, Server>,
    clients: ByNumber<Service, ClientTls>,
    shown: ByNumber<Listener, Vec<Shown>>,
}

impl Store {
    /// Reads all files that the settings name.
    pub fn read(shared: &Shared, settings: &Settings) -> Result<Self, Unusable> {
        let (store, mistakes) = Self::default().follow(shared, settings, &mut |_| true);
        mistakes.into_iter().next().map_or(Ok(store), Err)
    }

    /// The same with everything read again that is read from a file which changed. What cannot be used stays as it was, and
    /// why is told.
    pub fn follow(
        &self,
        shared: &Shared,
        settings: &Settings,
        has_changed: &mut dyn FnMut(&Path) -> bool,
    ) -> (Self, Vec<Unusable>) {
        let mut store =
            Self { servers: self.servers.clone(), clients: self.clients.clone(), shown: self.shown.clone() };
        let mut mistakes = Vec::new();
        for (id, listener) in settings.listeners.iter() {
            if let Some(tls) = &listener.config.tls
                && (store.servers.get(id).is_none() || files_shown(tls).any(&mut *has_changed))
            {
                let taken = store.take_server(id, shared, (tls, listener.config.http2));
                mistakes.extend(of_listener(taken, &listener.config.name));
            }
        }
        for (id, service) in settings.services.iter() {
            if let Some(tls) = &service.config.tls
                && (store.client(id).is_none() || files_asked(tls).any(&mut *has_changed))
            {
                match shared.client(tls, service.config.http2) {
                    Ok(client) => store.clients.put(id, client),
                    Err(source) => mistakes.push(Unusable::of("service", &service.config.name, source)),
                }
            }
        }
        (store, mistakes)
    }

    fn take_server(
        &mut self,
        id: ListenerId,
        shared: &Shared,
        (tls, http2): (&Tls, bool),
    ) -> Result<(), Vec<TlsError>> {
        let read = shared.server(tls, http2).map_err(|first| shared.mistakes(tls, first))?;
        let shown = tls.certificates.iter().map(Shown::read).collect::<Result<_, _>>();
        let shown = shown.map_err(|mistake| vec![mistake])?;
        self.servers.put(id, read);
        self.shown.put(id, shown);
        Ok(())
    }

    /// The certificates that a listener shows.
    #[must_use]
    pub fn shown(&self, id: ListenerId) -> &[Shown] {
        self.shown.get(id).map_or(&[], Vec::as_slice)
    }

    /// The staples that were shown at one time and are over at another.
    pub fn lapsed(&self, between: (SystemTime, SystemTime)) -> impl Iterator<Item = &Path> {
        let shown = self.shown.iter().flat_map(|(_, shown)| shown);
        let staples = shown.filter_map(|shown| shown.staple.as_ref());
        let lapsed = staples.filter(move |staple| !staple.is_over(between.0) && staple.is_over(between.1));
        lapsed.map(|staple| staple.file.as_path())
    }

    /// The first of a listener's certificates that who asks for this name is shown; of several for it, the client's algorithms
    /// decide.
    #[must_use]
    pub fn shown_to(&self, id: ListenerId, name: &str) -> Option<&Shown> {
        let all = self.shown(id);
        let named = |name: &str| all.iter().find(|shown| shown.names.iter().any(|other| **other == *name));
        let wildcard = || named(name.get(name.find('.')?..)?);
        named(name).or_else(wildcard).or_else(|| all.first())
    }

    /// A new connection of a client to a listener that speaks TLS.
    pub fn accept(&self, id: ListenerId) -> Option<Result<Connection, rustls::Error>> {
        let server = self.servers.get(id)?;
        Some(ServerConnection::new(Arc::clone(&server.config)).map(Connection::from))
    }

    /// Whether a listener has a certificate for this host, and it is another than who asked for that name was shown.
    #[must_use]
    pub fn is_misdirected(&self, id: ListenerId, name: &str, host: &str) -> bool {
        let server = self.servers.get(id);
        name != host && server.is_some_and(|server| server.certificates.has_another(name, host))
    }

    /// How connections to a service's backends begin, if by TLS.
    #[must_use]
    pub fn client(&self, id: ServiceId) -> Option<&ClientTls> {
        self.clients.get(id)
    }
}

/// A file that cannot be used, and who was to.
#[derive(Debug, thiserror::Error)]
#[error("{user} cannot speak TLS as configured")]
pub struct Unusable {
    user: String,
    source: TlsError,
}

impl Unusable {
    fn of(kind: &str, name: &str, source: TlsError) -> Self {
        Self { user: format!("{kind} \"{name}\""), source }
    }
}

fn of_listener(taken: Result<(), Vec<TlsError>>, name: &str) -> impl Iterator<Item = Unusable> {
    taken.err().into_iter().flatten().map(move |source| Unusable::of("listener", name, source))
}

/// What of the files that the settings name cannot be used.
pub fn mistakes(settings: &Settings) -> Result<Vec<Unusable>, TlsError> {
    Ok(Store::default().follow(&Shared::new()?, settings, &mut |_| true).1)
}

/// All files that TLS is read from.
pub fn files_of(settings: &Settings) -> impl Iterator<Item = &Path> {
    let listeners = settings.listeners.iter().filter_map(|(_, listener)| listener.config.tls.as_ref());
    let services = settings.services.iter().filter_map(|(_, service)| service.config.tls.as_ref());
    listeners.flat_map(files_shown).chain(services.flat_map(files_asked))
}

fn files_shown(tls: &Tls) -> impl Iterator<Item = &Path> {
    let each = tls
        .certificates
        .iter()
        .flat_map(|one| [Some(one.cert.as_path()), Some(one.key.as_path()), one.ocsp.as_deref()]);
    each.flatten().chain(tls.client.iter().map(|client| client.ca.as_path()))
}

fn files_asked(tls: &UpstreamTls) -> impl Iterator<Item = &Path> {
    let own = tls.certificate.iter().flat_map(|(cert, key)| [cert.as_path(), key.as_path()]);
    own.chain(tls.ca.as_deref())
}
