//! A world for the tests: a planner, what it is told, and tables that its writes go into one by one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use lb_common::abi::{Backend, BackendId, Service as Entry, Slot, Ticks};
use lb_common::datapath::HostTables;
use lb_common::wire::ethernet::Addresses;

use super::*;
use crate::config::{self, Check, Encap, Forward, Protocol, Select, Service, ServiceGuard, Tracking, Vip};
use crate::health::HealthState;
use crate::kernel::NextHop;

pub(super) const SEED: u64 = 0x5eed;
pub(super) const IDLE: Duration = Duration::from_mins(1);
/// Milliseconds a tick of the host tables' clock takes.
const TICK_MS: u64 = 4;

pub(super) struct World {
    pub(super) planner: Planner,
    pub(super) services: Vec<Service>,
    pub(super) health: HashMap<BackendKey, HealthState>,
    pub(super) drained: BTreeSet<BackendKey>,
    pub(super) hops: HashMap<IpAddr, NextHop>,
    pub(super) encap: Encap,
    pub(super) tables: HostTables,
    start: Instant,
    pub(super) now: Instant,
}

/// A TCP service by `dsr-ipip` on port 80 of 203.0.113.`n`, with backends of these weights.
pub(super) fn service(n: u8, weights: &[u16]) -> Service {
    Service {
        name: format!("service{n}"),
        vip: Vip::new([203, 0, 113, n].into(), 80, Protocol::Tcp),
        select: Select::Maglev,
        gue_port: 6080,
        server_id_bytes: 2,
        listener: None,
        forward: Forward::DsrIpip,
        tracking: Tracking::Auto,
        guard: ServiceGuard::OFF,
        idle: IDLE,
        health: Some(Check::default()),
        backends: (1..).zip(weights).map(|(host, weight)| backend(host, *weight)).collect(),
        line: 1,
    }
}

/// The backend 10.0.0.`host`:8080.
pub(super) fn backend(host: u8, weight: u16) -> config::Backend {
    let addr = ([10, 0, 0, host], 8080).into();
    config::Backend { name: format!("backend{host}"), addr, server_id: None, weight, drain: false }
}

impl World {
    /// These services, planned for the first time with every backend up.
    pub(super) fn new(services: Vec<Service>) -> Self {
        let mut world = Self::unplanned(services);
        world.plan();
        world
    }

    /// The same before the first plan.
    pub(super) fn unplanned(services: Vec<Service>) -> Self {
        let start = Instant::now();
        let hop = |host: u8| NextHop {
            ifindex: 7,
            link: Addresses::new([2, 0, 0, 0, 0, host], [2, 0, 0, 0, 1, 0]),
            source: [10, 0, 0, 254].into(),
            mtu: 1500,
            vlan: 0,
            second_vlan: 0,
            on_link: true,
        };
        let mut world = Self {
            planner: Planner::new(),
            services,
            health: HashMap::new(),
            drained: BTreeSet::new(),
            hops: (1..=250).map(|host| ([10, 0, 0, host].into(), hop(host))).collect(),
            encap: Encap { spread: false, ..Encap::default() },
            tables: HostTables { seed: SEED, ..HostTables::default() },
            start,
            now: start,
        };
        world.set_all(HealthState::Up);
        world
    }

    /// A world whose slot map is this small.
    pub(super) fn with_slots(slots: u32) -> Self {
        Self { planner: Planner::with_slots(slots), ..Self::unplanned(Vec::new()) }
    }

    pub(super) fn key(&self, service: usize, backend: usize) -> BackendKey {
        let service = &self.services[service];
        BackendKey::of(service, &service.backends[backend])
    }

    pub(super) fn id(&self, service: usize, backend: usize) -> BackendId {
        self.planner.id(&self.key(service, backend)).unwrap()
    }

    pub(super) fn set(&mut self, service: usize, backend: usize, health: HealthState) {
        self.health.insert(self.key(service, backend), health);
    }

    /// Gives every configured backend this verdict.
    pub(super) fn set_all(&mut self, health: HealthState) {
        let keys = self.services.iter().flat_map(|s| s.backends.iter().map(|b| BackendKey::of(s, b)));
        self.health.extend(keys.map(|key| (key, health)).collect::<Vec<_>>());
    }

    pub(super) fn try_plan(&mut self) -> Result<Plan, PlanError> {
        let plan = self.make_plan()?;
        self.apply(&plan);
        Ok(plan)
    }

    /// Plans, and leaves the writes to the caller.
    pub(super) fn make_plan(&mut self) -> Result<Plan, PlanError> {
        let inputs = Inputs {
            ping: true,
            encap: self.encap,
            services: &self.services,
            seed: SEED,
            health: &self.health,
            drained: &self.drained,
            next_hops: &self.hops,
        };
        self.planner.plan(&inputs, self.now)
    }

    pub(super) fn plan(&mut self) -> Plan {
        self.try_plan().unwrap()
    }

    /// Looks at the flow table from now on, and settles what can be settled.
    pub(super) fn settle(&mut self) -> Plan {
        let (mut strays, mut by_backend) = (HashMap::new(), HashMap::new());
        for (key, flow) in self.tables.flows.borrow().iter() {
            *by_backend.entry(flow.backend).or_default() += 1;
            match self.planner.slot_of(key, SEED) {
                Some((slot, current)) if current != flow.backend => *strays.entry(slot).or_default() += 1,
                _ => {}
            }
        }
        self.settle_seeing(self.now, &strays, &by_backend)
    }

    /// Settles by what a look at `taken_at` saw of the flows.
    pub(super) fn settle_seeing(
        &mut self,
        taken_at: Instant,
        strays: &HashMap<u32, u64>,
        by_backend: &HashMap<BackendId, u64>,
    ) -> Plan {
        let used = self.tables.settled_use.borrow().clone();
        let ticks = self.ticks();
        let age = |used: &Ticks| Duration::from_millis(u64::from(ticks.since(*used)) * TICK_MS);
        let last_use = |slot: u32| used.get(&slot).map(age);
        let seen = Observations { taken_at, last_use: &last_use, strays, by_backend };
        let plan = self.planner.step_transitions(&seen, self.now);
        self.apply(&plan);
        plan
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    pub(super) fn ticks(&self) -> Ticks {
        let millis = self.now.duration_since(self.start).as_millis();
        Ticks(u32::try_from(millis / u128::from(TICK_MS)).unwrap())
    }

    fn apply(&mut self, plan: &Plan) {
        plan.writes.iter().for_each(|write| self.write(*write));
    }

    /// Applies one write, and checks that nothing names what is not there.
    pub(super) fn write(&mut self, write: Write) {
        match write {
            Write::Backend(id, record) if record == Backend::UNWRITTEN => self.check_unnamed(id),
            Write::Slot(index, slot) => self.check_named(index, slot),
            Write::Service(_, entry) if !entry.is_vacant() => self.check_slots(&entry),
            _ => {}
        }
        store(&mut self.tables, write);
    }

    fn check_unnamed(&self, id: BackendId) {
        assert!(self.tables.backends.contains_key(&id), "{id:?} was never written");
        for service in self.planner.services() {
            let words = (service.first_slot..service.first_slot + service.slots).map(|slot| self.slot(slot));
            assert!(words.into_iter().all(|word| word.current() != id && word.settled() != id));
        }
        assert!(self.tables.flows.borrow().values().all(|flow| flow.backend != id), "{id:?} has flows");
    }

    fn check_named(&self, index: u32, slot: Slot) {
        for id in [slot.current(), slot.settled()] {
            assert!(id.is_none() || self.tables.backends.contains_key(&id), "slot {index} names no record");
        }
    }

    fn check_slots(&self, entry: &Entry) {
        let mut slots = entry.first_slot()..entry.first_slot() + entry.slots;
        assert!(slots.all(|slot| self.tables.slots.contains_key(&slot)), "slots come before their service");
    }

    pub(super) fn slot(&self, index: u32) -> Slot {
        self.tables.slots.get(&index).copied().unwrap_or_default()
    }

    /// The slots of a service as they lie in the table.
    pub(super) fn slots(&self, service: usize) -> BTreeMap<u32, Slot> {
        let vip = self.services[service].vip;
        let view = self.planner.services().find(|view| view.vip == vip).unwrap();
        (view.first_slot..view.first_slot + view.slots).map(|index| (index, self.slot(index))).collect()
    }

    /// How many slots of the service each of its configured backends has.
    pub(super) fn counts(&self, service: usize) -> Vec<usize> {
        let counts = self.planner.slots_by_backend(self.services[service].vip);
        let ids = (0..self.services[service].backends.len()).map(|backend| self.id(service, backend));
        ids.map(|id| counts.get(&id).copied().unwrap_or(0)).collect()
    }
}

/// Applies one write.
pub(super) fn store(tables: &mut HostTables, write: Write) {
    match write {
        Write::Backend(id, record) if record == Backend::UNWRITTEN => drop(tables.backends.remove(&id)),
        Write::Backend(id, record) => drop(tables.backends.insert(id, record)),
        Write::Slot(index, slot) => drop(tables.slots.insert(index, slot)),
        Write::Service(place, entry) if entry.is_vacant() => drop(tables.services.remove(&place)),
        Write::Service(place, entry) => drop(tables.services.insert(place, entry)),
        Write::Range(index, range) => drop(tables.ranges.insert(index, range)),
        Write::Prefix(prefix, Some(place)) => drop(tables.prefixes.insert(prefix, place)),
        Write::Prefix(prefix, None) => drop(tables.prefixes.remove(&prefix)),
        Write::QuicServer(server, Some(id)) => drop(tables.quic_servers.insert(server, id)),
        Write::QuicServer(server, None) => drop(tables.quic_servers.remove(&server)),
        Write::Contents(contents) => tables.contents = contents,
    }
}
