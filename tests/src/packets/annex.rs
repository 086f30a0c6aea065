//! What rows may have besides the house: every way of forwarding in both families, and ways of choosing.

use super::house::{BACK_MAC, BACKEND, BACKEND_IFINDEX, BACKEND_MAC, GUE_PORT, MOVED, OWN};
use super::row::Setup;
use crate::family::Family;
use lb_common::abi::{
    Address, Backend, BackendFlags, BackendId, Contents, Forward, Ip as _, Service, ServiceFlags, ServiceKey,
    Slot,
};
use lb_common::datapath::HostTables;
use lb_common::wire::ethernet::Addresses;
use lb_common::wire::{U16be, U32be, ipv6, protocol};
use std::net::{IpAddr, SocketAddr};

/// Writes more into a row's tables. Run again when the set-up changes.
pub type Annex = fn(&mut HostTables, &Setup);

/// Nothing more.
pub(super) const NONE: Annex = |_, _| {};

/// A way of forwarding, and the port of both VIPs at which it is had.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mode {
    pub(super) name: &'static str,
    pub(super) port: u16,
    pub(super) forward: Forward,
    /// Family of the backends; that of the VIP where it is not told.
    pub(super) backends: Option<Family>,
    /// Switches of the service.
    flags: ServiceFlags,
}

const fn mode(name: &'static str, port: u16, forward: Forward, backends: Option<Family>) -> Mode {
    Mode { name, port, forward, backends, flags: ServiceFlags(0) }
}

impl Mode {
    /// Whether clients' addresses are kept in translating by record.
    pub(super) const fn keeps_client(self) -> bool {
        self.flags.has(ServiceFlags::KEEPS_CLIENT)
    }
}

pub(super) const NAT: Mode = mode("nat", 1001, Forward::Nat, None);
pub(super) const DNAT: Mode = mode("dnat", 1002, Forward::Dnat, None);
pub(super) const L2: Mode = mode("dsr-l2", 1003, Forward::DsrL2, None);
pub(super) const IPIP_V4: Mode = mode("dsr-ipip to v4", 1004, Forward::DsrIpip, Some(Family::V4));
pub(super) const IPIP_V6: Mode = mode("dsr-ipip to v6", 1006, Forward::DsrIpip, Some(Family::V6));
pub(super) const GUE_V4: Mode = mode("dsr-gue to v4", 1014, Forward::DsrGue, Some(Family::V4));
pub(super) const GUE_V6: Mode = mode("dsr-gue to v6", 1016, Forward::DsrGue, Some(Family::V6));
pub(super) const KEPT: Mode =
    Mode { flags: ServiceFlags::KEEPS_CLIENT, ..mode("dnat by record", 1008, Forward::Nat, None) };
/// All that have backends.
pub(super) const MODES: [Mode; 8] = [NAT, DNAT, KEPT, L2, IPIP_V4, IPIP_V6, GUE_V4, GUE_V6];
pub(super) const LOCAL: Mode = mode("local", 1007, Forward::Local, None);

/// An address of either family: IPv6 ones differ in their last byte alone.
pub(super) const fn by_family(family: Family, v4: [u8; 4], v6_last: u8) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(std::net::Ipv4Addr::from_octets(v4)),
        Family::V6 => IpAddr::V6(std::net::Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, v6_last as u16)),
    }
}

pub(super) const fn own(family: Family) -> IpAddr {
    by_family(family, OWN, 0x01)
}

pub(super) const fn backend(family: Family) -> IpAddr {
    by_family(family, BACKEND, 0x11)
}

pub(super) const fn moved(family: Family) -> IpAddr {
    by_family(family, MOVED, 0x12)
}

pub(super) const fn vip(family: Family) -> IpAddr {
    by_family(family, [203, 0, 113, 30], 0x30)
}

pub(super) const fn client(family: Family) -> SocketAddr {
    SocketAddr::new(by_family(family, [198, 51, 100, 7], 0x77), 51_000)
}

pub(super) const fn other_client(family: Family) -> SocketAddr {
    SocketAddr::new(by_family(family, [198, 51, 100, 8], 0x78), 51_001)
}

pub(super) const fn router(family: Family) -> IpAddr {
    by_family(family, [192, 0, 2, 1], 0x99)
}

/// The VIP's end at which a mode is had.
pub(super) const fn service(family: Family, mode: Mode) -> SocketAddr {
    SocketAddr::new(vip(family), mode.port)
}

/// The key of a destination.
pub(super) fn key(address: IpAddr, port: u16, protocol: u8) -> ServiceKey {
    let port = U16be::new(port);
    match address {
        IpAddr::V4(address) => ServiceKey::of(U32be::from(address.octets()), port, protocol),
        IpAddr::V6(address) => ServiceKey::of(ipv6::Address::from(address.octets()), port, protocol),
    }
}

/// An address as records have it.
pub(super) fn wide(address: IpAddr) -> Address {
    match address {
        IpAddr::V4(address) => U32be::from(address.octets()).widen(),
        IpAddr::V6(address) => ipv6::Address::from(address.octets()).widen(),
    }
}

/// The house's backends are 1 and 2; those of IPv6 follow.
pub(super) const fn in_family(id: BackendId, family: Family) -> BackendId {
    match family {
        Family::V6 if !id.is_none() => BackendId::from_bits(id.get() + 2),
        _ => id,
    }
}

/// The row's slot word with backends of this family.
pub(super) fn slot(setup: &Setup, family: Family) -> Slot {
    let (current, settled) =
        (in_family(setup.slot.current(), family), in_family(setup.slot.settled(), family));
    if setup.slot.is_tracked() { Slot::tracking(current, settled) } else { Slot::settled_on(current) }
}

/// Puts an entry where it is found, in the place of the one with its key.
pub(super) fn put(tables: &mut HostTables, service: Service) {
    if let Some(former) = tables.services.values_mut().find(|former| former.key == service.key) {
        *former = service;
    } else {
        tables.add_service(service);
    }
}

/// The source of outer headers: where it spreads, the first address of its range. The word that spreads is an IPv4
/// address, or the last of an IPv6 address.
pub(super) fn spreading(setup: &Setup, Address(mut words): Address, word: usize) -> Address {
    let bits = setup.spread[usize::from(word != 0)];
    words[word] = U32be::new(words[word].get() & !bits);
    Address(words)
}

/// A backend of IPv6.
fn backend_v6(setup: &Setup, address: IpAddr) -> Backend {
    Backend {
        link: Addresses::new(BACKEND_MAC, BACK_MAC),
        ifindex: BACKEND_IFINDEX,
        address: wide(address),
        source: spreading(setup, wide(own(Family::V6)), 3),
        port: U16be::new(8080),
        vlan: U16be::new(setup.backend_vlan),
        second_vlan: U16be::new(setup.backend_second_vlan),
        mtu: 1500,
        flags: setup.backend_flags.with(BackendFlags::V6).with(BackendFlags::ENDPOINT),
        generation: 1,
        ..Backend::default()
    }
    .prepared()
}

/// The addresses and backends of both families.
pub(super) fn both_families(tables: &mut HostTables, setup: &Setup) {
    for (id, address) in [(3, backend(Family::V6)), (4, moved(Family::V6))] {
        tables.backends.insert(BackendId::from_bits(id), backend_v6(setup, address));
    }
    for family in Family::BOTH {
        put(tables, Service::host(key(own(family), 0, 0), ServiceFlags::OWN, (0, 0)));
        let flags = ServiceFlags::VIP.with(ServiceFlags::PING);
        put(tables, Service::host(key(vip(family), 0, 0), flags, (0, 0)));
    }
}

/// Every way of forwarding at both VIPs.
pub(super) fn every_mode(tables: &mut HostTables, setup: &Setup) {
    both_families(tables, setup);
    let mut number = 20;
    for mode in MODES.into_iter().chain([LOCAL]) {
        for family in Family::BOTH {
            for protocol in [protocol::TCP, protocol::UDP] {
                put(tables, entry(mode, family, protocol, number));
                tables.slots.insert(number.into(), slot(setup, mode.backends.unwrap_or(family)));
                number += 1;
            }
        }
    }
    tables.contents = tables.contents.with(Contents::KEPT_CLIENTS);
}

fn entry(mode: Mode, family: Family, protocol: u8, number: u16) -> Service {
    let key = key(vip(family), mode.port, protocol);
    let slots = u32::from(mode.forward != Forward::Local);
    let mut service = Service::new(key, mode.forward, number, number.into(), slots, mode.flags);
    service.gue_port = U16be::new(GUE_PORT);
    service
}

/// The same, and the endpoints that the destination's translation leads to, so that their packets are translated back.
pub(super) fn with_endpoints(tables: &mut HostTables, setup: &Setup) {
    every_mode(tables, setup);
    for family in Family::BOTH {
        for address in [backend(family), moved(family)] {
            for protocol in [protocol::TCP, protocol::UDP] {
                let other = (wide(vip(family)), U16be::new(DNAT.port));
                put(tables, Service::endpoint(key(address, 8080, protocol), other));
            }
        }
    }
    tables.contents = tables.contents.with(Contents::ENDPOINTS);
}
