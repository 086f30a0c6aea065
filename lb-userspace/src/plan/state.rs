//! The whole plan as one value: a plan that fails is dropped, and the state before it stays.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::time::Instant;

use lb_common::abi::{Service, ServiceFlags, ServiceKey, limits};

use super::records::Records;
use super::regions::Regions;
use super::service::{Planned, Surroundings};
use super::service_table::ServiceTable;
use super::{BackendKey, Inputs, Observations, PlanError, encode};
use crate::config::{self, Vip};

/// Everything that has been planned. Cheap to copy: slots are shared until they change.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) generation: u32,
    pub(super) services: BTreeMap<Vip, Planned>,
    pub(super) records: Records,
    pub(super) table: ServiceTable,
    /// The balancer's own addresses. One that was used once stays: flows that began with it may live on.
    own: BTreeSet<IpAddr>,
    regions: Regions,
    /// Ranges given up by the last plan. They are free in the next one: within one, the packet path may still be in
    /// them.
    retired: Vec<u32>,
}

/// What an entry of the service table is for. Own addresses come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum EntryName {
    /// An address of the balancer's own, to which backends reply.
    Own(IpAddr),
    /// A service.
    Vip(Vip),
}

impl EntryName {
    pub(super) fn key(self) -> ServiceKey {
        match self {
            Self::Own(ip) => encode::own_key(ip),
            Self::Vip(vip) => encode::service_key(vip),
        }
    }
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(ip) => write!(f, "own address {ip}"),
            Self::Vip(vip) => write!(f, "VIP {vip}"),
        }
    }
}

impl State {
    /// Nothing at all: what fresh maps hold.
    pub(super) fn empty() -> Self {
        Self::with_slots(limits::SLOTS)
    }

    /// Nothing, with a slot map of this size.
    pub(super) fn with_slots(slots: u32) -> Self {
        Self {
            generation: 0,
            services: BTreeMap::new(),
            records: Records::default(),
            table: ServiceTable::vacant(),
            own: BTreeSet::new(),
            regions: Regions::new(slots),
            retired: Vec::new(),
        }
    }

    /// The state that the inputs ask for, apart from the service table's places. Its generation is the next one.
    pub(super) fn next(&self, inputs: &Inputs<'_>, now: Instant) -> Result<Self, PlanError> {
        let mut next = Self { generation: self.generation + 1, ..self.clone() };
        next.release_retired();
        let numbers = next.numbers(inputs.services);
        next.plan_records(inputs, &numbers)?;
        next.plan_services(inputs, &numbers, now)?;
        next.own.extend(sources(inputs));
        Ok(next)
    }

    /// The state after a look at the flows.
    pub(super) fn settled(&self, seen: &Observations<'_>, now: Instant) -> Self {
        let mut next = Self { generation: self.generation + 1, ..self.clone() };
        next.release_retired();
        for service in next.services.values_mut() {
            service.settle(seen, now);
        }
        let services = &next.services;
        let is_named =
            |id, key: &BackendKey| services.get(&key.service).is_some_and(|service| service.slots.names(id));
        let has_flows = |id| seen.by_backend.get(&id).is_some_and(|flows| *flows > 0);
        next.records.forget(is_named, has_flows, seen.taken_at, now);
        next
    }

    fn release_retired(&mut self) {
        for first in std::mem::take(&mut self.retired) {
            self.regions.release(first);
        }
    }

    /// A number for every service: the one it has, or the lowest that no service and no backend still uses.
    fn numbers(&self, services: &[config::Service]) -> BTreeMap<Vip, u16> {
        let kept: BTreeMap<Vip, u16> =
            self.services.iter().map(|(vip, service)| (*vip, service.number)).collect();
        let mut used: BTreeSet<u16> = self.records.iter().map(|(_, entry)| entry.service).collect();
        used.extend(kept.values());
        let mut free = (1..=u16::MAX).filter(|number| !used.contains(number));
        let mut number = |vip| kept.get(&vip).copied().or_else(|| free.next()).unwrap_or(0);
        services.iter().map(|service| service.vip).map(|vip| (vip, number(vip))).collect()
    }

    fn plan_records(&mut self, inputs: &Inputs<'_>, numbers: &BTreeMap<Vip, u16>) -> Result<(), PlanError> {
        self.records.dismiss_all();
        for service in inputs.services {
            let number = numbers.get(&service.vip).copied().unwrap_or(0);
            for backend in &service.backends {
                let key = BackendKey::of(service, backend);
                self.records.admit(key, inputs.state(service, backend), service.idle, number)?;
            }
        }
        self.records.refresh(inputs.next_hops, self.generation);
        Ok(())
    }

    fn plan_services(
        &mut self,
        inputs: &Inputs<'_>,
        numbers: &BTreeMap<Vip, u16>,
        now: Instant,
    ) -> Result<(), PlanError> {
        let before = std::mem::take(&mut self.services);
        let around = Surroundings { records: &self.records, seed: inputs.seed, now };
        for service in inputs.services {
            let number = numbers.get(&service.vip).copied().unwrap_or(0);
            let previous = before.get(&service.vip);
            let planned = Planned::next(service, number, previous, around, &mut self.regions)?;
            self.services.insert(service.vip, planned);
        }
        let is_used =
            |old: &Planned| self.services.get(&old.vip).is_some_and(|new| new.first_slot == old.first_slot);
        self.retired = before.values().filter(|old| !is_used(old)).map(|old| old.first_slot).collect();
        Ok(())
    }

    /// The entries that the service table shall have.
    pub(super) fn entries(&self) -> BTreeMap<EntryName, Service> {
        let own = |ip: &IpAddr| Service::host(encode::own_key(*ip), ServiceFlags::OWN, (0, 0));
        let own = self.own.iter().map(|ip| (EntryName::Own(*ip), own(ip)));
        own.chain(self.services.values().map(|service| (EntryName::Vip(service.vip), service.entry())))
            .collect()
    }
}

/// The balancer's own addresses towards the backends of services that translate.
fn sources(inputs: &Inputs<'_>) -> impl Iterator<Item = IpAddr> {
    let translated = inputs.services.iter().filter(|service| service.forward == config::Forward::Nat);
    let backends = translated.flat_map(|service| &service.backends);
    backends.filter_map(|backend| inputs.next_hops.get(&backend.addr.ip())).map(|hop| hop.source)
}
