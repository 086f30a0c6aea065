//! What rows of the guard have besides: every way of forwarding, and rules for all of it.

use super::annex::{client, every_mode, other_client, vip};
use super::row::Setup;
use crate::family::Family;
use lb_common::abi::{
    BlockKey, Contents, GuardFlags, GuardRule, List, Origin, PortRange, Rate, Service, ServiceFlags,
    SourceMask, Ticks, limits,
};
use lb_common::datapath::HostTables;
use lb_common::wire::{U32be, ipv6, protocol};
use lb_userspace::guard::martians;
use lb_userspace::guard::network::Network;
use lb_userspace::guard::trie::Marks;
use std::net::IpAddr;
use std::sync::LazyLock;

/// Ports of the VIPs that a range leads to.
pub(super) const RANGED: u16 = 2001;
/// Packets that a source may send, where that is bounded; none comes back while a row lasts.
pub(super) const PACKETS: u32 = 3;
/// Flows that a source may begin.
pub(super) const FLOWS: u32 = 2;
/// Flows of a service that may begin.
pub(super) const BUDGET: u32 = 2;

/// A third client of either family, of whom nothing is known, and one who is blocked no longer.
pub(super) const fn stranger(family: Family) -> IpAddr {
    super::annex::by_family(family, [192, 0, 2, 9], 0x99)
}

pub(super) const fn forgiven(family: Family) -> IpAddr {
    super::annex::by_family(family, [192, 0, 2, 10], 0x9a)
}

/// One of a network that is denied as a whole, and one of a network that is allowed.
pub(super) fn outlined(family: Family) -> [IpAddr; 2] {
    [([198, 18, 5, 7], 0x9b), ([198, 18, 6, 7], 0x9c)].map(|(v4, v6)| super::annex::by_family(family, v4, v6))
}

/// Every service with these guards. The network of the clients is denied, but for the other client, who is allowed.
pub(super) fn with<const FLAGS: u32>(tables: &mut HostTables, setup: &Setup) {
    every_mode(tables, setup);
    ranged(tables);
    let [packets, flows, budget] = [PACKETS, FLOWS, BUDGET].map(|most| Rate::new(0, most, 250));
    let rule = GuardRule::new(GuardFlags(FLAGS), SourceMask::new(32, 64), [packets, flows, budget]);
    let numbers: Vec<u32> = tables.services.values().map(|service| service.id.into()).collect();
    tables.guard.rules =
        numbers.into_iter().chain([limits::GUARD_HOSTS]).map(|number| (number, rule)).collect();
    tables.guard.lists.clone_from(&LISTS);
}

/// The same, and the third client blocked, as the allowed one would be if that were possible.
pub(super) fn with_blocks<const FLAGS: u32>(tables: &mut HostTables, setup: &Setup) {
    with::<FLAGS>(tables, setup);
    for family in Family::BOTH {
        tables.guard.blocks.insert(block_key(stranger(family)), Ticks(100_000));
        tables.guard.blocks.insert(block_key(other_client(family).ip()), Ticks(100_000));
        tables.guard.blocks.insert(block_key(forgiven(family)), Ticks(0).before(100_000));
        tables.guard.blocks.insert(block_key(outlined(family)[1]), Ticks(100_000));
    }
    tables.guard.state.blocks = 8;
}

/// Clients are one source by their first 24 bits, or 64.
pub(super) fn by_network<const FLAGS: u32>(tables: &mut HostTables, setup: &Setup) {
    with::<FLAGS>(tables, setup);
    let wider = SourceMask::new(24, 64);
    tables.guard.rules.values_mut().for_each(|rule| rule.mask = wider);
}

/// Built once: it takes longer than all else that a row starts with.
static LISTS: LazyLock<List> = LazyLock::new(|| marks().build());

fn marks() -> Marks {
    let mut marks = Marks::default();
    martians::networks(false).for_each(|network| marks.add(network, Origin::MARTIAN));
    for family in Family::BOTH {
        let bits = if family == Family::V4 { 29 } else { 125 };
        let denied = Network::new(client(family).ip(), bits);
        if let Some(network) = denied {
            marks.add(network, Origin::DENIED);
        }
        let whole = if family == Family::V4 { 24 } else { 128 };
        for (address, origin) in outlined(family).into_iter().zip([Origin::DENIED, Origin::ALLOWED]) {
            if let Some(network) = Network::new(address, whole) {
                marks.add(network, origin);
            }
        }
        marks.add(Network::host(other_client(family).ip()), Origin::ALLOWED);
        marks.add(Network::host(vip(family)), Origin::VIP);
    }
    marks
}

/// A local service at a range of ports of either VIP.
fn ranged(tables: &mut HostTables) {
    tables.contents = tables.contents.with(Contents::RANGES);
    for (number, family) in (0u16..).zip(Family::BOTH) {
        let place = limits::SERVICE_TABLE + u32::from(number);
        let key = super::annex::key(vip(family), RANGED, protocol::TCP);
        let local = lb_common::abi::Forward::Local;
        let service = Service::new(key, local, 90 + number, 0, 0, ServiceFlags(0));
        tables.services.insert(place, service);
        let range = PortRange::new(RANGED, RANGED + 9, protocol::TCP, place);
        tables.ranges.insert(number.into(), range);
        let host = super::annex::key(vip(family), 0, 0);
        let flags = ServiceFlags::VIP.with(ServiceFlags::PING);
        super::annex::put(tables, Service::host(host, flags, (number.into(), 1)));
    }
}

fn block_key(address: IpAddr) -> BlockKey {
    match address {
        IpAddr::V4(address) => BlockKey::of(U32be::from(address.octets())),
        IpAddr::V6(address) => BlockKey::of(ipv6::Address::from(address.octets())),
    }
}
