//! The tables every row starts from.

use super::annex;
use super::row::Setup;
use lb_common::abi::{
    Address, Backend, BackendFlags, BackendId, Forward, Service, ServiceFlags, ServiceKey, Slot,
};
use lb_common::datapath::{HostTables, PortPool};
use lb_common::wire::ethernet::Addresses;
use lb_common::wire::{U16be, U32be, protocol};

/// Seed of the flow hash in the fixtures.
pub const SEED: u64 = 0x5eed;
/// One port, so that a row can say which one a flow gets.
pub const PORTS: [u16; 4] = [40_000, 1, 0, 0];
/// Port of outer UDP headers.
pub const GUE_PORT: u16 = 6080;
/// The loopback interface: where the kernel's test run says a packet arrived.
pub const ARRIVAL_IFINDEX: u32 = 1;

pub(super) const NAT_VIP: [u8; 4] = [203, 0, 113, 10];
pub(super) const DSR_VIP: [u8; 4] = [203, 0, 113, 20];
pub(super) const OWN: [u8; 4] = [10, 0, 0, 1];
pub(super) const BACKEND: [u8; 4] = [10, 0, 0, 11];
pub(super) const MOVED: [u8; 4] = [10, 0, 0, 12];
pub(super) const ROUTER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x01];
pub(super) const OWN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x02];
pub(super) const BACKEND_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x0b];
pub(super) const BACK_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x0a];
pub(super) const BACKEND_IFINDEX: u32 = 7;

/// The backend every service's only slot names, unless the row says otherwise.
pub(super) const FIRST: BackendId = BackendId::from_bits(1);
/// The backend a moved slot names.
pub(super) const SECOND: BackendId = BackendId::from_bits(2);

const SERVICES: [([u8; 4], u16, u8, Forward, ServiceFlags); 5] = [
    (NAT_VIP, 80, protocol::TCP, Forward::Nat, ServiceFlags(0)),
    (NAT_VIP, 53, protocol::UDP, Forward::Nat, ServiceFlags(0)),
    (DSR_VIP, 80, protocol::TCP, Forward::DsrIpip, ServiceFlags(0)),
    (DSR_VIP, 53, protocol::UDP, Forward::DsrIpip, ServiceFlags::TRACK_ALWAYS),
    (DSR_VIP, 443, protocol::TCP, Forward::DsrIpip, ServiceFlags::TRACK_NEVER),
];

/// The tables a row starts with: its services have one slot each.
#[must_use]
pub fn house(setup: &Setup) -> HostTables {
    let spread = setup.spread.map(U32be::new);
    let limits = HostTables { room: setup.room, new_flows: setup.new_flows, ..HostTables::default() };
    let mut tables = HostTables { seed: SEED, ports: PortPool::new(PORTS), spread, ..limits };
    if setup.mtu != 0 {
        tables.mtus.insert(ARRIVAL_IFINDEX, setup.mtu);
    }
    furnish(&mut tables, setup);
    let own = ServiceKey::host(U32be::from(OWN));
    annex::put(&mut tables, Service::host(own, ServiceFlags::OWN, (0, 0)));
    for vip in [NAT_VIP, DSR_VIP] {
        let key = ServiceKey::host(U32be::from(vip));
        let flags = ServiceFlags::VIP.with(ServiceFlags::PING);
        tables.add_service(Service::host(key, flags, (0, 0)));
    }
    tables
}

/// Writes what a row may have different; records and counters stay.
pub fn furnish(tables: &mut HostTables, setup: &Setup) {
    tables.backends = [(FIRST, backend(setup, BACKEND)), (SECOND, backend(setup, MOVED))].into();
    for (index, (vip, port, protocol, forward, flags)) in (0u16..).zip(SERVICES) {
        let key = ServiceKey::v4(U32be::from(vip), U16be::new(port), protocol);
        let slot = u32::from(index);
        tables.slots.insert(slot, setup.slot);
        annex::put(tables, Service::new(key, in_mode(setup, forward), index, slot, 1, flags));
    }
    (setup.annex)(tables, setup);
}

fn in_mode(setup: &Setup, forward: Forward) -> Forward {
    match forward {
        Forward::Nat if setup.modes_exchanged => Forward::DsrIpip,
        Forward::DsrIpip if setup.modes_exchanged => Forward::Nat,
        forward => forward,
    }
}

fn backend(setup: &Setup, address: [u8; 4]) -> Backend {
    Backend {
        link: Addresses::new(BACKEND_MAC, BACK_MAC),
        ifindex: BACKEND_IFINDEX,
        address: Address::v4(U32be::from(address)),
        source: annex::spreading(setup, Address::v4(U32be::from(OWN)), 0),
        port: U16be::new(8080),
        vlan: U16be::new(setup.backend_vlan),
        second_vlan: U16be::new(setup.backend_second_vlan),
        mtu: 1500,
        flags: setup.backend_flags.with(BackendFlags::ENDPOINT),
        generation: 1,
        ..Backend::default()
    }
    .prepared()
}

/// A backend that can be reached and is being taken out.
pub(super) const LEAVING: BackendFlags = BackendFlags::RESOLVED.with(BackendFlags::ALIVE);
/// A backend that serves and can be reached.
pub(super) const SERVING: BackendFlags = LEAVING.with(BackendFlags::OPEN);
/// A slot that never moved.
pub(super) const SETTLED: Slot = Slot::settled_on(FIRST);
/// A slot that moved from the first backend to the second.
pub(super) const MOVING: Slot = Slot::tracking(SECOND, FIRST);
