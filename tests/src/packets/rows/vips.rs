//! VIPs in every form: one port, a range of ports, all ports, prefixes, and which of them wins.

use super::super::annex::{
    backend, both_families, by_family, client, in_family, key, moved, own, put, vip, wide,
};
use super::super::house::{FIRST, SECOND};
use super::super::ip::Ip;
use super::super::row::{Row, Setup, from_client};
use super::SYN;
use crate::family::Family;
use lb_common::abi::{
    BackendId, Contents, Forward, PortRange, PrefixKey, Service, ServiceFlags, ServiceKey, Slot, limits,
};
use lb_common::datapath::HostTables;
use lb_common::datapath::Reason::{FragmentUnknown, Local, NotAVip, Ping, Settled};
use lb_common::wire::{U16be, U32be, ipv6, protocol};
use std::net::{IpAddr, SocketAddr};

/// Services of these tables: which ports of the VIP's address or of a prefix around it lead to which backend.
struct Ranged {
    ports: (u16, u16),
    backend: BackendId,
    forward: Forward,
}

const fn ranged(first: u16, last: u16, backend: BackendId) -> Ranged {
    Ranged { ports: (first, last), backend, forward: Forward::DsrIpip }
}

/// The VIP's own: a narrow range within a wide one.
const OF_ADDRESS: [Ranged; 3] = [
    ranged(8010, 8019, SECOND),
    ranged(8000, 8099, FIRST),
    Ranged { ports: (9000, 9000), backend: FIRST, forward: Forward::Local },
];
/// Of the prefix around it, and of the longer one that does not contain the VIP.
const OF_PREFIX: [Ranged; 1] = [ranged(80, 80, FIRST)];
const OF_LONGER: [Ranged; 1] = [ranged(0, 65_535, SECOND)];
/// The port at the VIP that has an entry of its own, in the middle of a range.
const EXACT: u16 = 8015;

/// An address in the shorter prefix alone, and one in both.
const fn in_prefix(family: Family) -> IpAddr {
    by_family(family, [203, 0, 113, 200], 0xc8)
}

const fn in_longer(family: Family) -> IpAddr {
    by_family(family, [203, 0, 113, 77], 0x4d)
}

/// The bits that both prefixes have: of an IPv4 address the last byte counts on from 24, of an IPv6 address from 120.
const fn bits(family: Family, of_last_byte: u8) -> u8 {
    match family {
        Family::V4 => 24 + of_last_byte,
        Family::V6 => 120 + of_last_byte,
    }
}

fn prefix(address: IpAddr, bits: u8) -> PrefixKey {
    let key = match address {
        IpAddr::V4(address) => PrefixKey::new(U32be::from(address.octets()), bits),
        IpAddr::V6(address) => PrefixKey::new(ipv6::Address::from(address.octets()), bits),
    };
    key.shortened(PrefixKey::FAMILY_BITS + u32::from(bits))
}

/// Tables with all of these for both families.
fn vips(tables: &mut HostTables, setup: &Setup) {
    both_families(tables, setup);
    tables.contents = tables.contents.with(Contents::RANGES).with(Contents::PREFIXES);
    for (family, base) in Family::BOTH.into_iter().zip([0u16, 40]) {
        ranges(tables, family, base, &OF_ADDRESS);
        put(tables, host(key(vip(family), 0, 0), base, &OF_ADDRESS));
        let exact = key(vip(family), EXACT, protocol::TCP);
        let exact = to(tables, exact, (base + 30, FIRST, Forward::DsrIpip), family);
        put(tables, exact);
        for (at, address, bits, of) in [
            (base + 16, in_prefix(family), bits(family, 0), OF_PREFIX),
            (base + 32, in_longer(family), bits(family, 4), OF_LONGER),
        ] {
            ranges(tables, family, at, &of);
            let place = limits::SERVICE_TABLE + 500 + u32::from(at);
            tables.services.insert(place, host(key(address, 0, 0), at, &of));
            tables.prefixes.insert(prefix(address, bits), place);
        }
    }
}

fn host(key: ServiceKey, first: u16, of: &[Ranged]) -> Service {
    let flags = ServiceFlags::VIP.with(ServiceFlags::PING);
    Service::host(key, flags, (first.into(), u16::try_from(of.len()).unwrap_or(0)))
}

fn ranges(tables: &mut HostTables, family: Family, first: u16, of: &[Ranged]) {
    for (at, Ranged { ports, backend, forward }) in (first..).zip(of) {
        let place = limits::SERVICE_TABLE + u32::from(at);
        let unhashed = ServiceKey::new(wide(vip(family)), U16be::new(ports.0), protocol::TCP, 4);
        let service = to(tables, unhashed, (at, *backend, *forward), family);
        tables.services.insert(place, service);
        tables.ranges.insert(at.into(), PortRange::new(ports.0, ports.1, protocol::TCP, place));
    }
}

/// A service with one slot of this backend's.
fn to(
    tables: &mut HostTables,
    key: ServiceKey,
    (number, backend, forward): (u16, BackendId, Forward),
    family: Family,
) -> Service {
    let slot = 100 + u32::from(number);
    tables.slots.insert(slot, Slot::settled_on(in_family(backend, family)));
    let slots = u32::from(forward != Forward::Local);
    Service::new(key, forward, 100 + number, slot, slots, ServiceFlags(0))
}

pub(super) fn rows() -> Vec<Row> {
    Family::BOTH.into_iter().flat_map(|family| [found(family), missed(family)].concat()).collect()
}

fn syn(family: Family, address: IpAddr, port: u16) -> Ip {
    Ip::tcp(client(family), SocketAddr::new(address, port), SYN, b"")
}

fn found(family: Family) -> Vec<Row> {
    let row = |sentence: &str, address, port, backend| {
        let packet = syn(family, address, port);
        from_client(format!("vips over {family}: {sentence}"), &packet)
            .with_annex(vips)
            .reaches_backend(Settled, &packet.within(own(family), backend))
    };
    let (first, second) = (backend(family), moved(family));
    let vip = vip(family);
    vec![
        row("the first port of a range is found", vip, 8000, first),
        row("the last port of a range is found", vip, 8099, first),
        row("a narrow range goes before the wide one around it", vip, 8010, second),
        row("the narrow range's last port is its own", vip, 8019, second),
        row("behind the narrow range the wide one goes on", vip, 8020, first),
        row("an exact port goes before the range around it", vip, EXACT, first),
        row("an address is found by its prefix", in_prefix(family), 80, first),
        row("a longer prefix goes before a shorter one", in_longer(family), 80, second),
        row("all ports contain the first", in_longer(family), 0, second),
        row("all ports contain the last", in_longer(family), 65_535, second),
    ]
}

fn missed(family: Family) -> Vec<Row> {
    let named = |sentence: &str| format!("vips over {family}: {sentence}");
    let passes = |sentence, address, port| {
        from_client(named(sentence), &syn(family, address, port)).with_annex(vips).stops(NotAVip)
    };
    let datagram = Ip::udp(client(family), SocketAddr::new(vip(family), 8000), b"x");
    let fragment =
        &Ip::udp(client(family), SocketAddr::new(in_prefix(family), 80), &[0; 40]).pieces(4, 24)[1];
    let from = client(family).ip();
    let ping = Ip::ping(from, in_prefix(family), 0, b"data");
    vec![
        passes("the port before a range passes", vip(family), 7999),
        passes("the port behind a range passes", vip(family), 8100),
        passes("another port of a prefix passes", in_prefix(family), 81),
        passes("an address of its own is in no prefix", vip(family), 80),
        from_client(named("a datagram to a range of TCP passes"), &datagram).with_annex(vips).stops(NotAVip),
        from_client(named("a port that this host serves passes"), &syn(family, vip(family), 9000))
            .with_annex(vips)
            .stops(Local),
        from_client(named("a fragment to a prefix that comes first is dropped"), fragment)
            .with_annex(vips)
            .stops(FragmentUnknown),
        from_client(named("a ping to an address in a prefix is answered"), &ping)
            .with_annex(vips)
            .reaches_client(Ping, &Ip::pong(in_prefix(family), from, b"data")),
    ]
}
