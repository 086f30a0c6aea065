//! The tables that the paths go through: services of the size a deployment has, so that nothing fits a cache line that
//! would not in service.

use crate::guard;
use anyhow::{Context, Result, ensure};
use lb_common::abi::{
    Address, Backend, BackendFlags, BackendId, Forward, Ip as _, Service, ServiceFlags, ServiceKey, Slot,
};
use lb_common::datapath::HostTables;
use lb_common::wire::ethernet::Addresses;
use lb_common::wire::{U16be, U32be, ipv6, protocol};
use lb_userspace::config::Encap;
use lb_userspace::kernel::{Settings, Tables};

pub(crate) const NAT_VIP: [u8; 4] = [203, 0, 113, 10];
pub(crate) const SETTLED_VIP: [u8; 4] = [203, 0, 113, 20];
pub(crate) const MOVING_VIP: [u8; 4] = [203, 0, 113, 30];
/// Its backends are on another interface than the clients.
pub(crate) const FAR_VIP: [u8; 4] = [203, 0, 113, 40];
/// Behind every guard; and one of which a source gets but a packet through.
pub(crate) const GUARDED_VIP: [u8; 4] = [203, 0, 113, 50];
pub(crate) const RATED_VIP: [u8; 4] = [203, 0, 113, 60];
pub(crate) const OWN: [u8; 4] = [10, 0, 0, 1];
/// Its backends are of IPv6, too.
pub(crate) const SETTLED_VIP_V6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0xf, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10];
/// Every backend's port.
pub(crate) const BACKEND_PORT: u16 = 8080;
/// Every service's port.
pub(crate) const PORT: u16 = 80;
pub(crate) const OWN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x02];
pub(crate) const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x01];

/// Slots of each service: the size that FACTS of other balancers speak of, 256 KiB of slot words.
const SLOTS: u32 = 65_537;
/// Backends of each service.
const BACKENDS: u16 = 10;
/// Where the kernel's test run says a packet arrived: the loopback interface.
const ARRIVAL: u32 = 1;
/// Any other interface; nothing is sent in a test run.
const ELSEWHERE: u32 = 2;

/// A service's place among the slots and the backends is its place in this list.
const SERVICES: [([u8; 4], Forward, bool, u32); 6] = [
    (NAT_VIP, Forward::Nat, false, ARRIVAL),
    (SETTLED_VIP, Forward::DsrIpip, false, ARRIVAL),
    (MOVING_VIP, Forward::DsrIpip, true, ARRIVAL),
    (FAR_VIP, Forward::DsrIpip, false, ELSEWHERE),
    (GUARDED_VIP, Forward::DsrIpip, false, ARRIVAL),
    (RATED_VIP, Forward::DsrIpip, false, ARRIVAL),
];

/// As the daemon loads the programs by default, but for the seed, so that two runs hash alike, and the guard.
pub(crate) fn settings() -> Settings {
    Settings {
        seed: 0x5eed,
        // Four times as many as are walked through, so that every one finds a place: 768 MiB of lines.
        flows: 1 << 22,
        ports: [1024, 31_744, 61_000, 4_536],
        spread: Encap::default().drawn(),
        guard: Some(guard::guarding()),
        ..Settings::default()
    }
}

/// Writes the tables.
pub(crate) fn furnish(tables: &mut Tables) -> Result<()> {
    tables.write_common_mtu(1500)?;
    let mut places = HostTables::default();
    guard::furnish(tables, [GUARDED_VIP, RATED_VIP].map(number))?;
    for (number, (vip, forward, moving, ifindex)) in (0u16..).zip(SERVICES) {
        let first_backend = 1 + number * BACKENDS;
        for id in first_backend..first_backend + BACKENDS {
            tables.write_backend(BackendId::from_bits(id), &backend(id, forward, ifindex))?;
        }
        let first_slot = u32::from(number) * SLOTS;
        tables.write_slots(&slots(first_slot, first_backend, moving))?;
        let key = ServiceKey::v4(U32be::from(vip), U16be::new(PORT), protocol::TCP);
        let service = Service::new(key, forward, number, first_slot, SLOTS, ServiceFlags(0));
        ensure!(places.add_service(service), "no place for a service");
    }
    ensure!(places.add_service(furnish_v6(tables)?), "no place for a service");
    let own = ServiceKey::host(U32be::from(OWN));
    ensure!(places.add_service(Service::host(own, ServiceFlags::OWN, (0, 0))), "no place for an address");
    let mut written = places.services.iter();
    written.try_for_each(|(place, service)| tables.write_service(*place, service)).context("the services")
}

/// The number of a service.
fn number(vip: [u8; 4]) -> u32 {
    (0u32..).zip(SERVICES).find(|(_, service)| service.0 == vip).map_or(0, |(number, _)| number)
}

/// The service of IPv6, behind all others.
fn furnish_v6(tables: &mut Tables) -> Result<Service> {
    let number = u16::try_from(SERVICES.len()).context("so many services")?;
    let (first_backend, first_slot) = (1 + number * BACKENDS, u32::from(number) * SLOTS);
    for id in first_backend..first_backend + BACKENDS {
        tables.write_backend(BackendId::from_bits(id), &backend_v6(id))?;
    }
    tables.write_slots(&slots(first_slot, first_backend, false))?;
    let key = ServiceKey::of(ipv6::Address::from(SETTLED_VIP_V6), U16be::new(PORT), protocol::TCP);
    Ok(Service::new(key, Forward::DsrIpip, number, first_slot, SLOTS, ServiceFlags(0)))
}

fn backend_v6(id: u16) -> Backend {
    let v4 = backend(id, Forward::DsrIpip, ARRIVAL);
    let address = Address([0xfd00_0001, 0, 0, id.into()].map(U32be::new));
    let source = ipv6::Address::from(Encap::default().source_v6.0.octets()).widen();
    Backend { address, source, flags: v4.flags.with(BackendFlags::V6), ..v4 }.prepared()
}

/// The service's backends in turn; in a moving service each slot goes from one to the next.
fn slots(first_slot: u32, first_backend: u16, moving: bool) -> Vec<(u32, Slot)> {
    let owner = |index: u32| {
        let turn = u16::try_from(index % u32::from(BACKENDS)).unwrap_or(0);
        BackendId::from_bits(first_backend + turn)
    };
    let slot = |index| {
        if moving { Slot::tracking(owner(index + 1), owner(index)) } else { Slot::settled_on(owner(index)) }
    };
    (0..SLOTS).map(|index| (first_slot + index, slot(index))).collect()
}

fn backend(id: u16, forward: Forward, ifindex: u32) -> Backend {
    let [high, low] = id.to_be_bytes();
    let source = if forward == Forward::Nat { OWN } else { Encap::default().source_v4.0.octets() };
    Backend {
        link: Addresses::new([2, 0, 0, 1, high, low], OWN_MAC),
        ifindex,
        address: Address::v4(U32be::from([10, 0, 1 + high, low])),
        source: Address::v4(U32be::from(source)),
        port: U16be::new(BACKEND_PORT),
        mtu: 1500,
        flags: BackendFlags::RESOLVED.with(BackendFlags::ALIVE).with(BackendFlags::OPEN),
        generation: 1,
        ..Backend::default()
    }
    .prepared()
}
