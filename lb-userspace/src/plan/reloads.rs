//! Random reloads over every form of VIP, both families and all kinds of forwarding, looked at write by write with the
//! packet path's own eyes.
//!
//! - At every single write a packet finds the service that it found before the reload or the one it finds afterwards.
//!   So what was findable and stays so is findable all the time.
//! - Whatever translates is preceded by the balancer's own addresses, to which its answers come.
//! - A packet that is sent to an endpoint gets its answer from where it was sent to, at every single write; and after a
//!   reload no backend is left without a way.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use lb_common::abi::{self, BackendFlags, FlowKey, ServiceFlags};
use lb_common::datapath::HostTables;
use lb_common::wire::{Ports, U16be, U32be, ipv6, protocol};
use proptest::prelude::*;
use proptest::sample::subsequence;

use super::answers::{ACK, SYN, answered};
use super::world::*;
use super::*;
use crate::config::{self, Forward, Protocol, Service, Vip};
use crate::kernel::NextHop;

/// The balancer's own addresses, in a prefix of services each.
const OWN: [&str; 2] = ["203.0.113.254", "2001:db8::fe"];
/// Addresses and prefixes of services: nested ones, one of our own, and one that is a backend at other times.
const NAMES: [(&str, u8); 9] = [
    ("203.0.113.10", 32),
    ("203.0.113.11", 32),
    ("203.0.113.254", 32),
    ("203.0.113.0", 24),
    ("203.0.0.0", 16),
    ("10.0.0.1", 32),
    ("2001:db8::10", 128),
    ("2001:db8::", 64),
    ("2001:db8::", 32),
];
/// Ports of services that may stand together on one of them.
const PORTS: [(u16, u16); 4] = [(80, 80), (8080, 8080), (8000, 8099), (1, u16::MAX)];
/// Where packets go: to the names, beside them in their prefixes, and elsewhere.
const ADDRESSES: [&str; 12] = [
    "203.0.113.10",
    "203.0.113.11",
    "203.0.113.254",
    "203.0.113.77",
    "203.0.77.1",
    "10.0.0.1",
    "198.51.100.1",
    "2001:db8::10",
    "2001:db8::fe",
    "2001:db8::77",
    "2001:db8:77::1",
    "2001:db9::1",
];

/// Backends' addresses, few enough for services to want the same.
const SERVERS: u8 = 3;
/// Slots that are written between two looks.
const SLOTS_A_LOOK: usize = 1000;

/// A destination of packets.
type Destination = (IpAddr, u16, Protocol);

fn destinations() -> impl Iterator<Item = Destination> {
    let addresses = ADDRESSES.iter().map(|address| address.parse().unwrap());
    addresses.flat_map(|address: IpAddr| {
        let ports = [22, 80, 8000, 8050, 8080, 8099].into_iter();
        ports.flat_map(move |port| [Protocol::Tcp, Protocol::Udp].map(|protocol| (address, port, protocol)))
    })
}

/// What the packet path finds.
fn found(tables: &HostTables, (address, port, protocol): Destination) -> Option<abi::Service> {
    let ports = Ports::new(U16be::new(1024), U16be::new(port));
    let protocol = if protocol == Protocol::Tcp { protocol::TCP } else { protocol::UDP };
    let found = match address {
        IpAddr::V4(address) => {
            let key = FlowKey::new(U32be::new(1), U32be::from(address.octets()), ports, protocol);
            tables.service_of(&key)
        }
        IpAddr::V6(address) => {
            let to = ipv6::Address::from(address.octets());
            tables.service_of(&FlowKey::new(to, to, ports, protocol))
        }
    };
    found.copied()
}

/// The service of a destination by the words of the reference: the more special wins. Prefixes leave own addresses out
/// that are no VIPs themselves.
fn expected(services: &[Service], own: &[IpAddr], (address, port, protocol): Destination) -> Option<Vip> {
    let vips = services.iter().map(|service| service.vip);
    let is_vip = services.iter().any(|service| service.vip.is_address() && service.vip.addr == address);
    if own.contains(&address) && !is_vip {
        return None;
    }
    let fits = |vip: &Vip| vip.takes((address, port, protocol));
    vips.filter(fits).min_by_key(|vip| (Reverse(vip.bits), vip.last_port - vip.port))
}

/// What is random about a service: mode, number of backends, the first of them, the port that they are given, and whether it
/// is of UDP.
type Detail = (Forward, u8, u8, u16, bool);

/// A configuration: some of the VIPs, each with its details.
fn services() -> impl Strategy<Value = Vec<Service>> {
    let places: Vec<_> = NAMES.iter().flat_map(|name| PORTS.map(|ports| (*name, ports))).collect();
    let modes = [Forward::Nat, Forward::Dnat, Forward::Dnat, Forward::DsrIpip, Forward::Local];
    let modes = prop::sample::select(modes.to_vec());
    let port = prop::sample::select(vec![0, 80, 8050, 8080]);
    let details = (modes, 1u8..3, 0..SERVERS, port, prop::bool::weighted(0.2));
    (subsequence(places, 0..8), prop::collection::vec(details, 8)).prop_map(|(places, details)| {
        // The backend that is a VIP at times is left out then.
        let is_vip = places.iter().any(|((address, _), _)| *address == "10.0.0.1");
        let mut services = Vec::new();
        for ((name, ports), detail) in places.into_iter().zip(details) {
            let next = configured((name, ports), detail, u8::from(is_vip), &services);
            services.push(next);
        }
        services
    })
}

/// A service that may stand beside the others: no backend that answers through the balancer is another's as well.
fn configured(
    (name, ports): ((&str, u8), (u16, u16)),
    (forward, count, first, port, is_udp): Detail,
    skipped: u8,
    others: &[Service],
) -> Service {
    let protocol = if is_udp { Protocol::Udp } else { Protocol::Tcp };
    let vip = vip(name, ports, protocol);
    let forward = if forward == Forward::Dnat && !vip.is_address() { Forward::Nat } else { forward };
    let count = if forward == Forward::Local { 0 } else { count };
    let host = |backend| 1 + skipped + (first + backend) % SERVERS;
    let backends = (0..count).map(|backend| server(vip, forward, host(backend), port));
    let translated = others.iter().filter(|other| other.forward == Forward::Dnat);
    let taken: Vec<Vip> = translated.flat_map(listening).collect();
    let is_free = |backend: &config::Backend| {
        let at = vip.endpoint(backend.addr);
        forward != Forward::Dnat || taken.iter().all(|taken| !taken.meets(&at))
    };
    let backends = backends.filter(is_free).collect();
    Service { name: vip.to_string(), vip, forward, health: None, backends, ..service(1, &[]) }
}

/// Where the backends of a service listen.
fn listening(service: &Service) -> impl Iterator<Item = Vip> {
    service.backends.iter().map(|backend| service.vip.endpoint(backend.addr))
}

fn vip((address, bits): (&str, u8), (port, last_port): (u16, u16), protocol: Protocol) -> Vip {
    Vip { addr: address.parse().unwrap(), bits, port, last_port, protocol }
}

fn server(vip: Vip, forward: Forward, host: u8, port: u16) -> config::Backend {
    let is_kept = forward.keeps_destination() || (forward == Forward::Dnat && !vip.is_exact());
    let port = if is_kept { 0 } else { port };
    let addr = SocketAddr::new(address_of(host, vip.addr.is_ipv6()), port);
    config::Backend { name: format!("backend{host}"), addr, server_id: None, weight: 1, drain: false }
}

fn address_of(host: u8, is_v6: bool) -> IpAddr {
    if is_v6 { format!("fd00::{host:x}").parse().unwrap() } else { [10, 0, 0, host].into() }
}

/// A world whose backends are reached from our own addresses.
fn world() -> World {
    let mut world = World::unplanned(Vec::new());
    let [v4, v6] = OWN.map(|own| own.parse::<IpAddr>().unwrap());
    let hops: HashMap<IpAddr, NextHop> = world
        .hops
        .values()
        .enumerate()
        .flat_map(|(host, hop)| {
            let host = u8::try_from(host + 1).unwrap();
            [
                (address_of(host, false), NextHop { source: v4, ..*hop }),
                (address_of(host, true), NextHop { source: v6, ..*hop }),
            ]
        })
        .collect();
    world.hops = hops;
    world
}

/// What must hold at every moment of a translating service that packets are sent by.
fn own_addresses_are_known(world: &World) {
    let translates = |service: &&Service| matches!(service.forward, Forward::Nat | Forward::Dnat);
    for service in world.services.iter().filter(translates) {
        let mode = encode::forward(service.forward, service.tracking);
        let view = world.planner.services().find(|view| view.vip == service.vip).unwrap();
        let in_force = |entry: &&abi::Service| entry.id == view.number && entry.forward() == mode;
        if world.tables.services.values().find(in_force).is_none() {
            continue;
        }
        for backend in &service.backends {
            let id = world.planner.id(&BackendKey::of(service, backend)).unwrap();
            // One that has no record yet is sent nothing.
            let Some(record) = world.tables.backends.get(&id) else { continue };
            assert!(record.flags.has(BackendFlags::RESOLVED));
            let own = world.tables.entry(&host_key(record));
            assert!(
                own.is_some_and(|own| own.flags().has(ServiceFlags::OWN)),
                "{} replies to nobody",
                backend.addr
            );
        }
    }
}

/// Packets to services that translate the destination get their answers, those of old flows and those of new ones. Once a
/// reload is over, backends are all there is to lack.
fn answers_come_back(world: &World, is_over: bool) {
    for (address, port, protocol) in destinations() {
        let to = (SocketAddr::new(address, port), protocol);
        let is_translated = |entry: &abi::Service| entry.forward() == abi::Forward::Dnat;
        if !found(&world.tables, (address, port, protocol)).is_some_and(|entry| is_translated(&entry)) {
            continue;
        }
        for packet in [(1024, SYN), (1025, ACK), (1024, ACK)] {
            let first = answered(&world.tables, to, packet);
            // A record of another service's goes with the first packet that finds it.
            let end = first.or_else(|_| answered(&world.tables, to, packet));
            assert!(!is_over || end.is_ok(), "{to:?} ended as {first:?}, and then as {end:?}");
        }
    }
}

/// What the source of a record is looked up by.
fn host_key(record: &abi::Backend) -> abi::ServiceKey {
    let family = if record.flags.has(BackendFlags::V6) { 6 } else { 4 };
    abi::ServiceKey::new(record.source, U16be::ZERO, 0, family)
}

/// Reloads, and looks at every write but those of slots, which have no say in whose packet it is.
fn reload(world: &mut World, services: Vec<Service>) {
    world.services = services;
    let plan = world.make_plan().unwrap();
    let mut done = world.tables.clone();
    plan.writes.iter().for_each(|write| store(&mut done, *write));
    let number = |tables: &HostTables, to| found(tables, to).map(|service| service.id);
    let ends: Vec<_> = destinations().map(|to| (to, number(&world.tables, to), number(&done, to))).collect();
    for (step, write) in plan.writes.iter().enumerate() {
        world.write(*write);
        if !matches!(write, Write::Slot(..)) || step % SLOTS_A_LOOK == 0 {
            answers_come_back(world, false);
        }
        if !matches!(write, Write::Slot(..)) {
            for (to, before, after) in &ends {
                let now = number(&world.tables, *to);
                let is_one = now == *before || now == *after;
                assert!(is_one, "{to:?} went from {before:?} to {after:?} by way of {now:?} at {write:?}");
            }
            own_addresses_are_known(world);
        }
    }
    answers_come_back(world, true);
}

/// Whether every packet finds what the reference says, in tables that grew and in those that a restart writes.
fn everybody_is_found(world: &World, own: &[IpAddr]) {
    let mut fresh = HostTables::default();
    world.planner.plan_whole().writes.into_iter().for_each(|write| store(&mut fresh, write));
    for to in destinations() {
        let entry = found(&world.tables, to);
        assert_eq!(found(&fresh, to), entry, "{to:?} after a restart");
        let vip = expected(&world.services, own, to);
        assert_eq!(entry.is_some(), vip.is_some(), "{to:?} is of {vip:?}");
        let Some((vip, entry)) = vip.zip(entry) else { continue };
        assert_eq!(entry.key, encode::service_key(vip), "{to:?} is of {vip}");
        let service = world.services.iter().find(|service| service.vip == vip).unwrap();
        assert_eq!(entry.forward(), encode::forward(service.forward, service.tracking), "{vip}");
    }
}

/// All flows are over, and so is what was kept for them.
fn flows_end(world: &mut World) {
    world.tables.flows.borrow_mut().clear();
    world.tables.flows_v6.borrow_mut().clear();
    for time in [IDLE, GRACE] {
        world.pass(time);
        world.settle();
    }
    answers_come_back(world, true);
}

/// The own addresses that were needed so far: one that was is never forgotten.
fn note_own(own: &mut Vec<IpAddr>, services: &[Service]) {
    let translated = services.iter().filter(|s| matches!(s.forward, Forward::Nat | Forward::Dnat));
    own.extend(translated.map(|s| OWN[usize::from(s.vip.addr.is_ipv6())].parse::<IpAddr>().unwrap()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn every_write_of_a_reload_leaves_every_service_findable(
        reloads in prop::collection::vec((services(), any::<bool>()), 1..7)
    ) {
        let (mut world, mut own) = (world(), Vec::new());
        for (services, ends) in reloads {
            note_own(&mut own, &services);
            reload(&mut world, services);
            everybody_is_found(&world, &own);
            prop_assert_eq!(world.plan().writes, [], "a plan that was made needs no other");
            if ends {
                flows_end(&mut world);
                everybody_is_found(&world, &own);
            }
        }
    }
}
