//! Tables in ordinary memory: for the tests, the differential suite and the tools that explain and simulate.

use super::{Direction, FlowTable, PortPool, Reason, Refused, Tables};
use crate::abi::{Backend, BackendCount, BackendId, Count, Flow, FlowKey, Service, Slot, Ticks, limits};
use crate::wire::U32be;
use std::cell::{RefCell, RefMut};
use std::collections::{BTreeMap, HashMap};

/// What the maps of the kernel programs hold.
#[derive(Clone, Debug, Default)]
pub struct HostTables {
    /// Seed of the flow hash.
    pub seed: u64,
    /// Ports NAT may use.
    pub ports: PortPool,
    /// The service table by place.
    pub services: BTreeMap<u32, Service>,
    /// Slot words by index; those absent are zero.
    pub slots: BTreeMap<u32, Slot>,
    /// Backend records; those absent are zero.
    pub backends: BTreeMap<BackendId, Backend>,
    /// Flow records.
    pub flows: RefCell<HashMap<FlowKey<U32be>, Flow<U32be>>>,
    /// Records the flow table has room for; 0 means [`limits::FLOWS`].
    pub room: usize,
    /// When slots' settled owners were last used.
    pub settled_use: RefCell<BTreeMap<u32, Ticks>>,
    /// Packets by reason.
    pub reasons: RefCell<BTreeMap<&'static str, Count>>,
    /// Packets by backend.
    pub counts: RefCell<BTreeMap<BackendId, BackendCount>>,
}

/// What an array map has where nothing was written.
static VACANT: Service = Service::VACANT;
static UNWRITTEN: Backend = Backend::UNWRITTEN;

impl HostTables {
    /// Puts a service where the packet path will find it; `false` if its places are all taken.
    pub fn add_service(&mut self, service: Service) -> bool {
        let first = service.key.first_place();
        let places = (0..limits::SERVICE_PROBES).map(|step| (first + step) & (limits::SERVICE_TABLE - 1));
        let Some(place) = places.into_iter().find(|place| !self.services.contains_key(place)) else {
            return false;
        };
        self.services.insert(place, service);
        true
    }
}

impl FlowTable<U32be> for HostTables {
    type Record<'a> = RefMut<'a, Flow<U32be>>;

    fn flow(&self, key: &FlowKey<U32be>) -> Option<Self::Record<'_>> {
        RefMut::filter_map(self.flows.borrow_mut(), |flows| flows.get_mut(key)).ok()
    }

    fn insert(&self, key: &FlowKey<U32be>, flow: &Flow<U32be>) -> Result<(), Refused> {
        let mut flows = self.flows.borrow_mut();
        let room = if self.room == 0 { limits::FLOWS as usize } else { self.room };
        if flows.contains_key(key) {
            return Err(Refused::Exists);
        }
        if flows.len() >= room {
            return Err(Refused::Full);
        }
        flows.insert(*key, *flow);
        Ok(())
    }

    fn remove(&self, key: &FlowKey<U32be>) {
        self.flows.borrow_mut().remove(key);
    }
}

impl Tables for HostTables {
    fn seed(&self) -> u64 {
        self.seed
    }

    fn ports(&self) -> PortPool {
        self.ports
    }

    fn service_at(&self, place: u32) -> Option<&Service> {
        (place < limits::SERVICE_TABLE).then(|| self.services.get(&place).unwrap_or(&VACANT))
    }

    fn slot(&self, index: u32) -> Option<Slot> {
        (index < limits::SLOTS).then(|| self.slots.get(&index).copied().unwrap_or_default())
    }

    fn note_settled_use(&self, index: u32, now: Ticks) {
        self.settled_use.borrow_mut().insert(index, now);
    }

    fn backend(&self, id: BackendId) -> Option<&Backend> {
        (u32::from(id.get()) < limits::BACKENDS).then(|| self.backends.get(&id).unwrap_or(&UNWRITTEN))
    }

    fn count(&self, reason: Reason, bytes: u32) {
        self.reasons.borrow_mut().entry(reason.label()).or_default().add(bytes);
    }

    fn count_backend(&self, id: BackendId, direction: Direction, opened: bool, bytes: u32) {
        self.counts.borrow_mut().entry(id).or_default().add(direction == Direction::ToBackend, opened, bytes);
    }
}
