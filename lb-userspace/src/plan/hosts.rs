//! What is known of addresses and prefixes: which are the balancer's own, which are VIPs, and which port ranges of
//! services lead where.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use lb_common::abi::{BackendId, PortRange, Service, ServiceFlags, ServiceKey, limits};

use super::encode;
use crate::config::{Protocol, Vip};

/// An address, or a prefix and its length.
pub(super) type Name = (IpAddr, u8);

/// All hosts by name.
pub(super) type Hosts = BTreeMap<Name, Host>;

/// What is known of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Host {
    flags: ServiceFlags,
    /// The lowest number of a service on it, or of a backend: its entry's place and its lists are found by that.
    number: u16,
    first_range: u32,
    ranges: Vec<PortRange>,
}

/// Where the entry of a service lies that is found by range.
pub(super) fn place_of_service(number: u16) -> u32 {
    limits::SERVICE_TABLE + u32::from(number)
}

/// Where the entry of a service's endpoints lies that are found by range: the place of a prefix with this number, which
/// no service has that is on an address.
pub(super) fn place_of_endpoints(number: u16) -> u32 {
    place_of_service(number) + limits::SERVICE_NUMBERS
}

/// By which the lists of a backend's address are found: those of backends lie behind those of services.
pub(super) fn number_of_backend(id: BackendId) -> u16 {
    #[allow(clippy::cast_possible_truncation, reason = "both are numbers of sixteen bits")]
    let services = limits::SERVICE_NUMBERS as u16;
    services + id.get()
}

impl Host {
    const NOTHING: Self = Self { flags: ServiceFlags(0), number: 0, first_range: 0, ranges: Vec::new() };

    /// One with these ranges, in a list that is not in use.
    pub(super) fn listing(
        flags: ServiceFlags,
        number: u16,
        ranges: Vec<PortRange>,
        previous: Option<&Self>,
    ) -> Self {
        let first_range = match previous {
            Some(previous) if previous.ranges == ranges && previous.number == number => previous.first_range,
            Some(previous) => list(number, previous.first_range == list(number, false)),
            None => list(number, false),
        };
        Self { flags, number, first_range, ranges }
    }

    /// The same as an address of our own.
    pub(super) fn owned(&self) -> Self {
        Self { flags: self.flags.with(ServiceFlags::OWN), ..self.clone() }
    }

    /// Its entry.
    pub(super) fn entry(&self, key: ServiceKey) -> Service {
        #[allow(clippy::cast_possible_truncation, reason = "the configuration allows sixteen")]
        Service::host(key, self.flags, (self.first_range, self.ranges.len() as u16))
    }

    /// Where its entry lies, if it is a prefix.
    pub(super) fn place(&self) -> u32 {
        limits::SERVICE_TABLE + limits::SERVICE_NUMBERS + u32::from(self.number)
    }

    /// Its ranges by index.
    pub(super) fn ranges(&self) -> impl Iterator<Item = (u32, PortRange)> {
        (self.first_range..).zip(self.ranges.iter().copied())
    }

    pub(super) fn has_ranges(&self) -> bool {
        !self.ranges.is_empty()
    }
}

/// The hosts of these services, given with their numbers, and of the balancer's own addresses.
pub(super) fn plan(
    services: &BTreeMap<Vip, u16>,
    own: &BTreeSet<IpAddr>,
    ping: bool,
    previous: &Hosts,
) -> Hosts {
    let mut hosts = Hosts::new();
    for (vip, number) in services {
        let name = (vip.addr, vip.bits);
        let lowest = services.iter().filter(|(other, _)| (other.addr, other.bits) == name);
        let number = lowest.map(|(_, number)| *number).min().unwrap_or(*number);
        hosts.entry(name).or_insert_with(|| vip_host(name, number, services, ping, previous.get(&name)));
    }
    for ip in own {
        let bits = if ip.is_ipv4() { 32 } else { 128 };
        let host = hosts.entry((*ip, bits)).or_insert(Host::NOTHING);
        host.flags = host.flags.with(ServiceFlags::OWN);
    }
    hosts
}

/// An address that is the balancer's own from now on, with what was known of it: as a VIP, or where it becomes one, as an
/// address of the prefixes around it.
pub(super) fn own(ip: IpAddr, now: Option<&Host>, before: &Hosts) -> Host {
    let whole = if ip.is_ipv4() { 32 } else { 128 };
    let around = |name: &Name| Vip { bits: name.1, ..Vip::new(name.0, 0, Protocol::Tcp) }.covers(ip);
    let longest = || before.iter().filter(|(name, _)| around(name)).max_by_key(|(name, _)| name.1);
    let becomes_vip = now.is_some_and(|host| host.flags.has(ServiceFlags::VIP));
    let known = match before.get(&(ip, whole)) {
        Some(vip) => Some(vip),
        None if becomes_vip => longest().map(|(_, prefix)| prefix),
        None => None,
    };
    known.unwrap_or(&Host::NOTHING).owned()
}

fn vip_host(
    name: Name,
    number: u16,
    services: &BTreeMap<Vip, u16>,
    ping: bool,
    previous: Option<&Host>,
) -> Host {
    let ping = if ping { ServiceFlags::PING } else { ServiceFlags::default() };
    Host::listing(ServiceFlags::VIP.with(ping), number, ranges(name, services), previous)
}

/// Where one of the two lists of a number begins. They take turns, so that a list in use is never written to.
fn list(number: u16, second: bool) -> u32 {
    (u32::from(number) * 2 + u32::from(second)) * limits::RANGE_PROBES
}

/// The ranges that hold on a host, those of the prefixes around it behind its own, and the narrower first.
fn ranges((addr, bits): Name, services: &BTreeMap<Vip, u16>) -> Vec<PortRange> {
    let holds = |vip: &Vip| !vip.is_exact() && vip.bits <= bits && vip.covers(addr);
    let mut found: Vec<_> = services.iter().filter(|(vip, _)| holds(vip)).collect();
    found.sort_by_key(|(vip, _)| (Reverse(vip.bits), vip.last_port - vip.port, vip.port));
    found.into_iter().map(|(vip, number)| encode::range(*vip, place_of_service(*number))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vip(addr: &str, bits: u8, ports: (u16, u16)) -> Vip {
        let addr = addr.parse().unwrap();
        Vip { addr, bits, port: ports.0, last_port: ports.1, protocol: Protocol::Tcp }
    }

    #[test]
    fn the_more_special_range_comes_first() {
        let all = [
            (vip("203.0.113.0", 24, (80, 80)), 1),
            (vip("203.0.113.10", 32, (1, 65535)), 2),
            (vip("203.0.113.10", 32, (8000, 8099)), 3),
            (vip("203.0.113.10", 32, (443, 443)), 4),
        ];
        let found = ranges((all[1].0.addr, 32), &all.into());
        let places: Vec<_> = found.iter().map(|range| range.place - limits::SERVICE_TABLE).collect();
        assert_eq!(places, [3, 2, 1], "the exact one is found without ranges");
    }

    #[test]
    fn a_list_in_use_is_not_written_to() {
        let before = [(vip("203.0.113.10", 32, (1, 65535)), 5)].into();
        let after = [(vip("203.0.113.10", 32, (1, 65535)), 5), (vip("203.0.113.10", 32, (80, 90)), 6)].into();
        let own = BTreeSet::new();
        let first = plan(&before, &own, true, &Hosts::new());
        let second = plan(&after, &own, true, &first);
        let third = plan(&before, &own, true, &second);
        let lists = [&first, &second, &third].map(|hosts| hosts.values().next().unwrap().first_range);
        assert!(lists[0] != lists[1] && lists[1] != lists[2], "{lists:?}");
        assert_eq!(plan(&before, &own, true, &third), third);
    }
}
