//! What a worker serves: the settings that all workers share, and its own connections to the backends they name.
//!
//! A site is made whole for one snapshot. What did not change is taken over from the one before, so that its connections
//! live on; a client's connection asks for its listener's current settings at each request.

use super::pool::Backend;
use super::settings::{Listener, ListenerId, Service, ServiceId, Settings};
use super::tls::Store;
use super::transport::Watch;
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

/// What all workers serve: the daemon makes it, and it never changes.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The settings.
    pub settings: Arc<Settings>,
    /// What TLS is spoken where.
    pub tls: Arc<Store>,
}

/// Everything that one worker serves.
#[derive(Debug)]
pub struct Site<W> {
    /// What all workers serve.
    pub snapshot: Snapshot,
    upstreams: Vec<Option<Rc<Upstreams<W>>>>,
}

/// A service as one worker knows it.
#[derive(Debug)]
pub struct Upstreams<W> {
    /// Its number.
    pub id: ServiceId,
    /// Its settings.
    pub service: Arc<Service>,
    /// In the order of the configuration.
    pub backends: Vec<Rc<Backend<W>>>,
    turn: Cell<usize>,
}

impl<W: Watch> Site<W> {
    /// A site of this snapshot, which takes over what it shares with the former.
    #[must_use]
    pub fn new(snapshot: Snapshot, former: Option<&Self>) -> Self {
        let settings = &snapshot.settings;
        let mut upstreams = Vec::new();
        upstreams.resize_with(settings.services.places(), || None);
        for (id, service) in settings.services.iter() {
            let before = former.and_then(|former| former.upstreams(id));
            if let Some(place) = upstreams.get_mut(id.index()) {
                *place = Some(Upstreams::follow(id, service, before));
            }
        }
        Self { snapshot, upstreams }
    }

    /// A listener's settings, if there still is such a listener.
    #[must_use]
    pub fn listener(&self, id: ListenerId) -> Option<&Arc<Listener>> {
        self.snapshot.settings.listeners.get(id)
    }

    /// The backends of a service.
    #[must_use]
    pub fn upstreams(&self, id: ServiceId) -> Option<&Rc<Upstreams<W>>> {
        self.upstreams.get(id.index())?.as_ref()
    }

    /// The backends of all services.
    pub fn all_upstreams(&self) -> impl Iterator<Item = &Rc<Upstreams<W>>> {
        self.upstreams.iter().flatten()
    }
}

impl<W: Watch> Upstreams<W> {
    fn follow(id: ServiceId, service: &Arc<Service>, before: Option<&Rc<Self>>) -> Rc<Self> {
        if let Some(same) = before.filter(|before| Arc::ptr_eq(&before.service, service)) {
            return Rc::clone(same);
        }
        let backend = |addr: SocketAddr| {
            let kept = before.and_then(|before| before.backends.iter().find(|kept| kept.addr == addr));
            kept.map_or_else(|| Rc::new(Backend::new(addr)), Rc::clone)
        };
        let backends = service.config.backends.iter().map(|config| backend(config.addr)).collect();
        Rc::new(Self { id, service: Arc::clone(service), backends, turn: Cell::new(0) })
    }

    /// The backend whose turn it is, of those that are up.
    pub fn choose(&self) -> Option<&Rc<Backend<W>>> {
        let count = self.backends.len();
        let turn = self.turn.get();
        let next = (0..count).map(|step| (turn + step) % count.max(1));
        let (place, chosen) = next
            .filter_map(|place| Some((place, self.backends.get(place)?)))
            .find(|(_, backend)| backend.is_up.get())?;
        self.turn.set(place + 1);
        Some(chosen)
    }
}
