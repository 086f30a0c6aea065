//! Backend records, and which backend has which identifier.
//!
//! **Invariant**: an identifier means one backend for as long as a slot or a flow may name it. A backend that left the
//! configuration keeps its identifier and its record, like one that drains, until nothing names it any more.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use lb_common::abi::{Backend, BackendId, limits};

use super::endpoints::Endpoints;
use super::{BackendKey, BackendState, PlanError, encode};
use crate::config::Vip;
use crate::kernel::NextHop;

/// What is known of one identifier's backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: BackendKey,
    pub(super) state: BackendState,
    /// Idle time of its flows.
    pub(super) idle: Duration,
    /// Number of its service.
    pub(super) service: u16,
    /// Where sources of outer headers begin, if they are drawn from a range.
    pub(super) outer_source: Option<IpAddr>,
    pub(super) standing: Standing,
    pub(super) record: Backend,
}

impl Entry {
    /// Whether the configuration names it.
    pub(super) fn is_configured(&self) -> bool {
        self.standing == Standing::Configured
    }
}

/// Whether a backend is in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is.
    Configured,
    /// No more, but slots may name it.
    Leaving,
    /// No more, and no slot has named it since that moment; flows may.
    Unnamed(Instant),
}

/// All identifiers in use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Records {
    entries: BTreeMap<BackendId, Entry>,
    ids: BTreeMap<BackendKey, BackendId>,
    /// The identifier given out last: the search for a free one begins behind it, so that one that became free is
    /// reused as late as possible.
    last: u16,
}

impl Records {
    /// The identifier of a backend.
    pub(super) fn id(&self, key: &BackendKey) -> Option<BackendId> {
        self.ids.get(key).copied()
    }

    /// What is known of an identifier's backend.
    pub(super) fn entry(&self, id: BackendId) -> Option<&Entry> {
        self.entries.get(&id)
    }

    /// All identifiers with their backends.
    pub(super) fn iter(&self) -> impl Iterator<Item = (BackendId, &Entry)> {
        self.entries.iter().map(|(id, entry)| (*id, entry))
    }

    /// The backends of a service, those that are leaving too.
    pub(super) fn of_service(&self, vip: Vip) -> impl Iterator<Item = (BackendId, &Entry)> {
        let first = BackendKey { service: vip, addr: ([0; 4], 0).into() };
        let ids = self.ids.range(first..).take_while(move |(key, _)| key.service == vip);
        ids.filter_map(|(_, id)| Some((*id, self.entry(*id)?)))
    }

    /// The records as they lie in the map.
    pub(super) fn table(&self) -> BTreeMap<BackendId, Backend> {
        self.iter().map(|(id, entry)| (id, entry.record)).collect()
    }

    /// Takes every backend for one that leaves, until it is admitted again. It drains.
    pub(super) fn dismiss_all(&mut self) {
        for entry in self.entries.values_mut() {
            if entry.standing == Standing::Configured {
                entry.standing = Standing::Leaving;
            }
            if entry.state.keeps_flows() {
                entry.state = BackendState::Draining;
            }
        }
    }

    /// Takes the flows of a backend that left.
    pub(super) fn give_up(&mut self, id: BackendId) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.state = BackendState::Down;
        }
    }

    /// Notes a configured backend. It keeps the identifier it has, or gets a free one.
    pub(super) fn admit(
        &mut self,
        key: BackendKey,
        state: BackendState,
        idle: Duration,
        (service, outer_source): (u16, Option<IpAddr>),
    ) -> Result<(), PlanError> {
        let known = self.id(&key);
        let id = known.or_else(|| self.free_id()).ok_or(PlanError::BackendsFull { backend: key })?;
        let record = self.entry(id).map_or(Backend::UNWRITTEN, |entry| entry.record);
        let standing = Standing::Configured;
        self.entries.insert(id, Entry { key, state, idle, service, outer_source, standing, record });
        self.ids.insert(key, id);
        if known.is_none() {
            self.last = id.get();
        }
        Ok(())
    }

    fn free_id(&self) -> Option<BackendId> {
        let ids = 1..u16::try_from(limits::BACKENDS).unwrap_or(1 << 15);
        let behind = ids.clone().filter(|id| *id > self.last);
        let ahead = ids.filter(|id| *id <= self.last);
        behind.chain(ahead).filter_map(BackendId::new).find(|id| !self.entries.contains_key(id))
    }

    /// Writes every record anew from what is known now. One that says the same keeps its generation.
    pub(super) fn refresh(
        &mut self,
        hops: &HashMap<IpAddr, NextHop>,
        generation: u32,
        endpoints: &Endpoints,
    ) {
        for (id, entry) in &mut self.entries {
            let is_endpoint = endpoints.knows(entry.key.addr.ip(), *id);
            let hop = hops.get(&entry.key.addr.ip());
            let write = |generation| {
                let way = (hop, entry.outer_source);
                let record = encode::record(entry.key, entry.state, way, generation);
                if is_endpoint { record.with_endpoint() } else { record }
            };
            if write(entry.record.generation) != entry.record {
                entry.record = write(generation);
            }
        }
    }

    /// Lets backends go that have left the configuration and that nothing names any more. Two looks are needed: one
    /// that finds no slot naming it, and, [`super::GRACE`] later, one that finds no flow.
    pub(super) fn forget(
        &mut self,
        is_named: impl Fn(BackendId, &BackendKey) -> bool,
        has_flows: impl Fn(BackendId) -> bool,
        taken_at: Instant,
        now: Instant,
    ) {
        self.entries.retain(|id, entry| {
            entry.standing = match entry.standing {
                Standing::Configured => return true,
                _ if is_named(*id, &entry.key) => Standing::Leaving,
                Standing::Leaving => Standing::Unnamed(now),
                Standing::Unnamed(since) if taken_at >= since + super::GRACE && !has_flows(*id) => {
                    return false;
                }
                Standing::Unnamed(since) => Standing::Unnamed(since),
            };
            true
        });
        self.ids.retain(|_, id| self.entries.contains_key(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Protocol;

    fn key(n: u16) -> BackendKey {
        let service = Vip::new([203, 0, 113, 10].into(), 80, Protocol::Tcp);
        BackendKey { service, addr: ([10, 0, 0, 1], n).into() }
    }

    fn admit(records: &mut Records, n: u16) -> Result<u16, PlanError> {
        records.admit(key(n), BackendState::Up, Duration::from_secs(1), (1, None))?;
        Ok(records.id(&key(n)).unwrap().get())
    }

    fn forget_unnamed(records: &mut Records, start: Instant) {
        records.dismiss_all();
        for seconds in [0, 2] {
            let now = start + Duration::from_secs(seconds);
            records.forget(|_, _| false, |_| false, now, now);
        }
    }

    #[test]
    fn identifiers_run_out_without_harm() {
        let mut records = Records::default();
        assert!((1..4096).all(|n| admit(&mut records, n) == Ok(n)));
        let before = records.clone();
        assert_eq!(admit(&mut records, 4096), Err(PlanError::BackendsFull { backend: key(4096) }));
        assert_eq!(records, before);
    }

    #[test]
    fn a_free_identifier_is_reused_as_late_as_possible() {
        let mut records = Records::default();
        assert_eq!([1, 2, 1].map(|n| admit(&mut records, n)), [Ok(1), Ok(2), Ok(1)]);
        forget_unnamed(&mut records, Instant::now());
        assert_eq!([1, 2].map(|n| admit(&mut records, n)), [Ok(3), Ok(4)]);
    }

    #[test]
    fn a_service_has_its_own_backends_only() {
        let mut records = Records::default();
        let other = Vip { port: 81, ..key(1).service };
        for service in [key(1).service, other] {
            let key = BackendKey { service, ..key(1) };
            assert_eq!(records.admit(key, BackendState::Up, Duration::ZERO, (1, None)), Ok(()));
        }
        let ids: Vec<u16> = records.of_service(other).map(|(id, _)| id.get()).collect();
        assert_eq!(ids, [2]);
    }
}
