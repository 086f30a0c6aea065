//! The whole plan as one value: a plan that fails is dropped, and the state before it stays.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::ops::Range;
use std::time::Instant;

use lb_common::abi::{
    BackendId, Contents, Forward, PortRange, QuicServer, Service, ServiceFlags, ServiceKey, limits,
};

use super::endpoints::Endpoints;
use super::hosts::{self, Host, Hosts};
use super::records::Records;
use super::regions::Regions;
use super::service::{Planned, Surroundings};
use super::service_table::ServiceTable;
use super::{BackendKey, Inputs, Observations, PlanError, encode};
use crate::config::{self, Protocol, Vip};

/// Numbers of services: 0 is none, and the tables have no places for more.
#[allow(clippy::cast_possible_truncation, reason = "a number of sixteen bits")]
const NUMBERS: Range<u16> = 1..limits::SERVICE_NUMBERS as u16;

/// Everything that has been planned. Cheap to copy: slots are shared until they change.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) generation: u32,
    pub(super) services: BTreeMap<Vip, Planned>,
    pub(super) records: Records,
    pub(super) table: ServiceTable,
    /// Services that end on this host, with their numbers: they have no slots and no backends.
    locals: BTreeMap<Vip, u16>,
    pub(super) hosts: Hosts,
    /// The balancer's own addresses. One that was used once stays: flows that began with it may live on.
    own: BTreeSet<IpAddr>,
    pub(super) endpoints: Endpoints,
    regions: Regions,
    /// Ranges given up by the last plan. They are free in the next one: within one, the packet path may still be in
    /// them.
    retired: Vec<u32>,
}

/// What a hashed entry of the service table is for, in the order in which they are written: a service by its very port
/// before what is left to ranges changes, so that no port is in neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum EntryName {
    /// A port where a backend listens that answers through the balancer under its own address.
    Endpoint(Vip),
    /// The address of such a backend, where it listens on more than one port.
    Server(IpAddr),
    /// A service.
    Vip(Vip),
    /// An address: the balancer's own, to which backends reply, or a VIP.
    Host(IpAddr),
}

impl EntryName {
    pub(super) fn key(self) -> ServiceKey {
        match self {
            Self::Host(ip) | Self::Server(ip) => encode::host_key(ip),
            Self::Endpoint(vip) | Self::Vip(vip) => encode::service_key(vip),
        }
    }
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(ip) | Self::Server(ip) => write!(f, "address {ip}"),
            Self::Endpoint(endpoint) => write!(f, "endpoint {endpoint}"),
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
            locals: BTreeMap::new(),
            hosts: Hosts::new(),
            own: BTreeSet::new(),
            endpoints: Endpoints::default(),
            regions: Regions::new(slots),
            retired: Vec::new(),
        }
    }

    /// The state that the inputs ask for, apart from the service table's places. Its generation is the next one.
    pub(super) fn next(&self, inputs: &Inputs<'_>, now: Instant) -> Result<Self, PlanError> {
        let mut next = Self { generation: self.generation + 1, ..self.clone() };
        next.release_retired();
        let numbers = next.numbers(inputs.services)?;
        next.own.extend(sources(inputs));
        next.plan_records(inputs, &numbers)?;
        next.plan_services(inputs, &numbers, now)?;
        next.hosts = hosts::plan(&numbers, &next.own, inputs.ping, &self.hosts);
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
        next.endpoints = self.endpoints.kept(&next.records, &next.own);
        next
    }

    fn release_retired(&mut self) {
        for first in std::mem::take(&mut self.retired) {
            self.regions.release(first);
        }
    }

    /// A number for every service: the one it has, or the lowest that no service and no backend still uses.
    fn numbers(&self, services: &[config::Service]) -> Result<BTreeMap<Vip, u16>, PlanError> {
        let kept: BTreeMap<Vip, u16> = self
            .services
            .iter()
            .map(|(vip, service)| (*vip, service.number))
            .chain(self.locals.clone())
            .collect();
        let mut used: BTreeSet<u16> = self.records.iter().map(|(_, entry)| entry.service).collect();
        used.extend(kept.values());
        let mut free = NUMBERS.filter(|number| !used.contains(number));
        let number = |service: &config::Service| {
            let number = kept.get(&service.vip).copied().or_else(|| free.next());
            let full = || PlanError::NumbersFull { service: service.name.clone() };
            Ok((service.vip, number.ok_or_else(full)?))
        };
        services.iter().map(number).collect()
    }

    fn plan_records(&mut self, inputs: &Inputs<'_>, numbers: &BTreeMap<Vip, u16>) -> Result<(), PlanError> {
        self.records.dismiss_all();
        for service in inputs.services {
            let number = numbers.get(&service.vip).copied().unwrap_or(0);
            for backend in &service.backends {
                let key = BackendKey::of(service, backend);
                let about = (number, inputs.outer_source(service, backend));
                self.records.admit(key, inputs.state(service, backend), service.idle, about)?;
            }
        }
        self.endpoints = self.endpoints.next(inputs.services, &mut self.records, &self.own);
        self.records.refresh(inputs.next_hops, self.generation, &self.endpoints);
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
        let is_local = |service: &&config::Service| service.forward == config::Forward::Local;
        let number = |service: &config::Service| numbers.get(&service.vip).copied().unwrap_or(0);
        self.locals =
            inputs.services.iter().filter(is_local).map(|service| (service.vip, number(service))).collect();
        for service in inputs.services.iter().filter(|service| !is_local(service)) {
            let number = number(service);
            let previous = before.get(&service.vip);
            let planned = Planned::next(service, number, previous, around, &mut self.regions)?;
            self.services.insert(service.vip, planned);
        }
        let is_used =
            |old: &Planned| self.services.get(&old.vip).is_some_and(|new| new.first_slot == old.first_slot);
        self.retired = before.values().filter(|old| !is_used(old)).map(|old| old.first_slot).collect();
        Ok(())
    }

    /// The service that packets to this address and port are for, if it has backends.
    pub(super) fn service_of(&self, (addr, port, protocol): (IpAddr, u16, Protocol)) -> Option<&Planned> {
        let exact = self.services.get(&Vip::new(addr, port, protocol));
        exact.or_else(|| {
            let found = self.services.values().filter(|service| service.vip.takes((addr, port, protocol)));
            found.min_by_key(|service| (Reverse(service.vip.bits), service.vip.last_port - service.vip.port))
        })
    }

    /// The numbers of services, those without backends included.
    pub(super) fn numbered(&self) -> impl Iterator<Item = (Vip, u16)> {
        let balanced = self.services.values().map(|service| (service.vip, service.number));
        balanced.chain(self.locals.iter().map(|(vip, number)| (*vip, *number)))
    }

    /// The entries of services, those without backends included.
    fn service_entries(&self) -> impl Iterator<Item = (Vip, u16, Service)> {
        let local = |(vip, number): (&Vip, &u16)| {
            let (key, flags) = (encode::service_key(*vip), ServiceFlags::default());
            (*vip, *number, Service::new(key, Forward::Local, *number, 0, 0, flags))
        };
        let balanced = self.services.values().map(|service| (service.vip, service.number, service.entry()));
        balanced.chain(self.locals.iter().map(local))
    }

    /// The entries that the hashed part of the service table shall have.
    pub(super) fn entries(&self) -> BTreeMap<EntryName, Service> {
        let host = |(name, host): (&hosts::Name, &Host)| {
            let ip = address_of(*name).filter(|ip| self.endpoints.host(*ip).is_none())?;
            Some((EntryName::Host(ip), host.entry(encode::host_key(ip))))
        };
        let hosts = self.hosts.iter().filter_map(host);
        let exact = self.service_entries().filter(|(vip, ..)| vip.is_exact());
        let exact = exact.map(|(vip, _, entry)| (EntryName::Vip(vip), entry));
        hosts.chain(self.endpoints.entries()).chain(exact).collect()
    }

    /// The balancer's own addresses that were not known as such before: each with what the tables said of it so far, so
    /// that it is known before anything leads to it.
    pub(super) fn new_own(&self, before: &Self) -> Vec<(EntryName, Service)> {
        let mut entries = Vec::new();
        for ip in self.own.difference(&before.own) {
            let now = self.hosts.iter().find(|(name, _)| address_of(**name) == Some(*ip));
            let host = match before.endpoints.host(*ip) {
                Some(host) => host.owned(),
                None => hosts::own(*ip, now.map(|(_, host)| host), &before.hosts),
            };
            entries.push((EntryName::Host(*ip), host.entry(encode::host_key(*ip))));
        }
        entries
    }

    /// The entries of services that are found by range, by place.
    pub(super) fn ranged(&self) -> BTreeMap<u32, Service> {
        let ranged = self.service_entries().filter(|(vip, ..)| !vip.is_exact());
        ranged.map(|(_, number, entry)| (hosts::place_of_service(number), entry)).collect()
    }

    fn prefix_hosts(&self) -> impl Iterator<Item = (&hosts::Name, &Host)> {
        self.hosts.iter().filter(|(name, _)| address_of(**name).is_none())
    }

    /// Prefixes, with the place of each one's entry and the entry.
    pub(super) fn prefixes(&self) -> BTreeMap<hosts::Name, (u32, Service)> {
        let entry = |(name, host): (&hosts::Name, &Host)| {
            (*name, (host.place(), host.entry(encode::host_key(name.0))))
        };
        self.prefix_hosts().map(entry).collect()
    }

    /// The port ranges of services, by index.
    pub(super) fn ranges(&self) -> BTreeMap<u32, PortRange> {
        self.hosts.values().flat_map(Host::ranges).collect()
    }

    /// The servers of QUIC services.
    pub(super) fn quic_servers(&self) -> BTreeMap<[u32; 3], (QuicServer, BackendId)> {
        let named = self.services.values().flat_map(|service| {
            let entry = service.entry();
            service.servers.iter().map(move |(id, backend)| (encode::quic_server(&entry, *id), *backend))
        });
        named.map(|(server, backend)| (server.to_words(), (server, backend))).collect()
    }

    /// What there is in the tables.
    pub(super) fn contents(&self) -> Contents {
        let parts = [
            (Contents::RANGES, self.endpoints.has_ranges() || self.hosts.values().any(Host::has_ranges)),
            (Contents::PREFIXES, self.prefix_hosts().next().is_some()),
            (Contents::ENDPOINTS, !self.endpoints.is_empty()),
            (Contents::KEPT_CLIENTS, self.services.values().any(Planned::keeps_clients)),
        ];
        parts.iter().filter(|(_, is)| *is).fold(Contents::default(), |all, (part, _)| all.with(*part))
    }
}

/// The address that a host is, if it is no prefix.
fn address_of((addr, bits): hosts::Name) -> Option<IpAddr> {
    Vip { bits, ..Vip::new(addr, 0, Protocol::Tcp) }.is_address().then_some(addr)
}

/// The balancer's own addresses towards the backends of services that translate. What comes back to them is for the
/// balancer itself: for `nat` a reply, for `dnat` that to a probe.
fn sources(inputs: &Inputs<'_>) -> impl Iterator<Item = IpAddr> {
    let translated = inputs
        .services
        .iter()
        .filter(|service| matches!(service.forward, config::Forward::Nat | config::Forward::Dnat));
    let backends = translated.flat_map(|service| &service.backends);
    backends.filter_map(|backend| inputs.next_hops.get(&backend.addr.ip())).map(|hop| hop.source)
}
