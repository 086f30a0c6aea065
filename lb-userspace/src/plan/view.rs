//! What the planned state answers about itself: for status, counters, the resolver and the sweep of flows.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use lb_common::abi::{BackendId, FlowKey, Ip};
use lb_common::datapath::slot_index;

use super::records::Entry;
use super::service::Planned;
use super::{BackendKey, BackendState, Planner, encode};
use crate::config::Vip;

/// A service as planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceView<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its VIP.
    pub vip: Vip,
    /// Its number in records and events.
    pub number: u16,
    /// Index of its first slot.
    pub first_slot: u32,
    /// How many slots it has.
    pub slots: u32,
    /// How many of them are tracked, because they moved and flows from before may live.
    pub tracked: usize,
}

/// A backend as planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackendView {
    /// Its identifier: the index of its record and counters.
    pub id: BackendId,
    /// Its identity.
    pub key: BackendKey,
    /// What it may be given.
    pub state: BackendState,
    /// Whether the configuration names it; one that is not keeps the flows it has until they are over.
    pub configured: bool,
    /// Slots whose new flows it gets.
    pub slots: usize,
}

impl Planner {
    /// The generation of the tables: counts the plans that changed something.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.state.generation
    }

    /// The services, by VIP.
    pub fn services(&self) -> impl Iterator<Item = ServiceView<'_>> {
        self.state.services.values().map(service_view)
    }

    /// The numbers of all services by VIP, those that end on this host included.
    pub fn numbered(&self) -> impl Iterator<Item = (Vip, u16)> {
        self.state.numbered()
    }

    /// The backends of a service by address, with those that are leaving. Counts slots, so not for every packet.
    #[must_use]
    pub fn backends(&self, vip: Vip) -> Vec<BackendView> {
        let slots = self.slots_by_backend(vip);
        let view = |(id, entry)| backend_view(id, entry, slots.get(&id).copied().unwrap_or(0));
        self.state.records.of_service(vip).map(view).collect()
    }

    /// How many of a service's slots each backend has; [`BackendId::NONE`] stands for those that nobody has.
    #[must_use]
    pub fn slots_by_backend(&self, vip: Vip) -> BTreeMap<BackendId, usize> {
        let words = self.state.services.get(&vip).map_or(&[][..], |service| service.slots.words());
        words.iter().fold(BTreeMap::new(), |mut counts, word| {
            *counts.entry(word.current()).or_default() += 1;
            counts
        })
    }

    /// The identifier of a backend.
    #[must_use]
    pub fn id(&self, key: &BackendKey) -> Option<BackendId> {
        self.state.records.id(key)
    }

    /// The backend with an identifier, also one that is leaving.
    #[must_use]
    pub fn key(&self, id: BackendId) -> Option<BackendKey> {
        self.state.records.entry(id).map(|entry| entry.key)
    }

    /// The addresses to which ways are needed, those of backends that are leaving included.
    #[must_use]
    pub fn addresses(&self) -> BTreeSet<IpAddr> {
        self.state.records.iter().map(|(_, entry)| entry.key.addr.ip()).collect()
    }

    /// How long a flow of each backend may be silent.
    pub fn idle_times(&self) -> impl Iterator<Item = (BackendId, Duration)> {
        self.state.records.iter().map(|(id, entry)| (id, entry.idle))
    }

    /// The slot of a flow and the backend that has it now, given the packet path's seed; `None` for a flow of no
    /// service. A record that names another backend is a stray, see [`super::Observations::strays`].
    #[must_use]
    pub fn slot_of<A: Ip>(&self, key: &FlowKey<A>, seed: u64) -> Option<(u32, BackendId)> {
        let service = self.state.service_of(encode::destination(key)?)?;
        let index = slot_index(&service.entry(), key, seed);
        Some((index, service.slot(index)?.current()))
    }
}

fn service_view(service: &Planned) -> ServiceView<'_> {
    ServiceView {
        name: &service.name,
        vip: service.vip,
        number: service.number,
        first_slot: service.first_slot,
        slots: service.len(),
        tracked: service.slots.tracked(),
    }
}

fn backend_view(id: BackendId, entry: &Entry, slots: usize) -> BackendView {
    BackendView { id, key: entry.key, state: entry.state, configured: entry.is_configured(), slots }
}
