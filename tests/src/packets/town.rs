//! Tables for random traffic: several services of each kind, with several slots, over backends that differ.

use super::build::End;
use super::house::{BACK_MAC, BACKEND_MAC, LEAVING, OWN, SERVING};
use super::random::Random;
use lb_common::abi::{
    Address, Backend, BackendFlags, BackendId, Forward, Service, ServiceFlags, ServiceKey, Slot,
};
use lb_common::datapath::{HostTables, PortPool};
use lb_common::wire::ethernet::Addresses;
use lb_common::wire::{U16be, U32be, protocol};

/// Two ranges, few enough to be used up.
pub const TOWN_PORTS: [u16; 4] = [40_000, 48, 50_000, 16];

const BACKENDS: u16 = 6;
const SLOTS: u32 = 7;

/// A service of the town.
pub(super) struct Place {
    pub(super) vip: End,
    pub(super) protocol: u8,
    pub(super) forward: Forward,
    flags: ServiceFlags,
}

const fn place(host: u8, port: u16, protocol: u8, forward: Forward, flags: ServiceFlags) -> Place {
    Place { vip: ([203, 0, 113, host], port), protocol, forward, flags }
}

pub(super) const PLACES: [Place; 8] = [
    place(10, 80, protocol::TCP, Forward::Nat, ServiceFlags(0)),
    place(10, 443, protocol::TCP, Forward::Nat, ServiceFlags(0)),
    place(10, 53, protocol::UDP, Forward::Nat, ServiceFlags(0)),
    place(11, 443, protocol::UDP, Forward::Nat, ServiceFlags(0)),
    place(20, 80, protocol::TCP, Forward::DsrIpip, ServiceFlags(0)),
    place(20, 443, protocol::TCP, Forward::DsrIpip, ServiceFlags::TRACK_ALWAYS),
    place(20, 53, protocol::UDP, Forward::DsrIpip, ServiceFlags::TRACK_ALWAYS),
    place(21, 80, protocol::TCP, Forward::DsrIpip, ServiceFlags::TRACK_NEVER),
];

/// The tables at first: every slot settled. `room` is that of the flow table; 0 means enough.
#[must_use]
pub fn town(seed: u64, room: usize) -> HostTables {
    let mut tables = HostTables { seed, room, ports: PortPool::new(TOWN_PORTS), ..HostTables::default() };
    for number in 1..=BACKENDS {
        tables.backends.insert(BackendId::from_bits(number), backend(number, SERVING));
    }
    for (id, place) in (0u16..).zip(&PLACES) {
        let key = ServiceKey::v4(U32be::from(place.vip.0), U16be::new(place.vip.1), place.protocol);
        let first = u32::from(id) * SLOTS;
        tables.add_service(Service::new(key, place.forward, id, first, SLOTS, place.flags));
        for (number, slot) in (1..=BACKENDS).cycle().skip(id.into()).zip(first..first + SLOTS) {
            tables.slots.insert(slot, Slot::settled_on(BackendId::from_bits(number)));
        }
    }
    let own = ServiceKey::host(U32be::from(OWN));
    tables.add_service(Service::host(own, ServiceFlags::OWN, (0, 0)));
    for vip in [[203, 0, 113, 10], [203, 0, 113, 11], [203, 0, 113, 20], [203, 0, 113, 21]] {
        let key = ServiceKey::host(U32be::from(vip));
        let flags = ServiceFlags::VIP.with(ServiceFlags::PING);
        tables.add_service(Service::host(key, flags, (0, 0)));
    }
    tables
}

/// Two share an address, and with it their ports; one is behind a tag, one has a small interface.
fn backend(number: u16, flags: BackendFlags) -> Backend {
    let host = if number == 2 { 1 } else { u8::try_from(number).unwrap_or(0) };
    Backend {
        link: Addresses::new(BACKEND_MAC, BACK_MAC),
        ifindex: 7 + u32::from(number % 2),
        address: Address::v4(U32be::from([10, 0, 0, 10 + host])),
        source: Address::v4(U32be::from(OWN)),
        port: U16be::new(8080),
        vlan: U16be::new(if number == 3 { 300 } else { 0 }),
        mtu: if number == 4 { 576 } else { 1500 },
        flags,
        ..Backend::default()
    }
    .prepared()
}

/// Something changes: mostly a slot moves or settles, sometimes a backend dies, comes back or cannot be resolved.
pub fn change(tables: &mut HostTables, random: &mut Random) {
    if random.percent(20) {
        let number = 1 + random.word(BACKENDS);
        let known = [SERVING, SERVING, LEAVING, BackendFlags::RESOLVED, BackendFlags::ALIVE];
        tables.backends.insert(BackendId::from_bits(number), backend(number, *random.one_of(&known)));
        return;
    }
    let slots: Vec<u32> = tables.slots.keys().copied().collect();
    let index = *random.one_of(&slots);
    let former = tables.slots.get(&index).copied().unwrap_or_default();
    // Zero, no backend, is among them.
    let next = BackendId::from_bits(random.word(BACKENDS + 1));
    let slot = if random.percent(30) {
        Slot::settled_on(former.current())
    } else {
        Slot::tracking(next, former.current())
    };
    tables.slots.insert(index, slot);
}
