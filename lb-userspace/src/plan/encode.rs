//! From the model's types to those of the kernel border.

use std::net::IpAddr;

use lb_common::abi::{
    self, Address, Backend, BackendFlags, FlowKey, Forward, Ip, PortRange, PrefixKey, QuicServer, Select,
    ServiceKey,
};
use lb_common::wire::{U16be, U32be, protocol};

use super::{BackendKey, BackendState};
use crate::config::{self, Protocol, Vip};
use crate::kernel::NextHop;

/// An address of either family.
pub(super) fn address(ip: IpAddr) -> Address {
    match ip {
        IpAddr::V4(ip) => Address::v4(U32be::from(ip.octets())),
        IpAddr::V6(ip) => {
            let [a, b, c, d] = [96, 64, 32, 0].map(|shift| ip.to_bits() >> shift);
            #[allow(clippy::cast_possible_truncation, reason = "the address is cut into words")]
            Address([a, b, c, d].map(|word| U32be::new(word as u32)))
        }
    }
}

/// What packets to a VIP are looked up by, or those that an endpoint sends.
pub(super) fn service_key(vip: Vip) -> ServiceKey {
    ServiceKey::new(address(vip.addr), U16be::new(vip.port), number(vip.protocol), family(vip.addr))
}

pub(super) const fn number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => protocol::TCP,
        Protocol::Udp => protocol::UDP,
    }
}

/// What is known of an address is looked up by this.
pub(super) fn host_key(ip: IpAddr) -> ServiceKey {
    ServiceKey::new(address(ip), U16be::ZERO, 0, family(ip))
}

/// What a prefix is looked up by.
pub(super) fn prefix_key(ip: IpAddr, bits: u8) -> PrefixKey {
    match ip {
        IpAddr::V4(_) => PrefixKey::new(address(ip).as_v4(), bits),
        IpAddr::V6(_) => PrefixKey::new(address(ip).as_v6(), bits),
    }
}

/// A service's ports, and where its entry is.
pub(super) fn range(vip: Vip, place: u32) -> PortRange {
    PortRange::new(vip.port, vip.last_port, number(vip.protocol), place)
}

/// A server of a QUIC service.
pub(super) fn quic_server(service: &abi::Service, id: [u8; 8]) -> QuicServer {
    let number = u64::from_be_bytes(id);
    #[allow(clippy::cast_possible_truncation, reason = "the identifier is cut into words")]
    QuicServer::named(service, [U32be::new((number >> 32) as u32), U32be::new(number as u32)])
}

const fn family(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 4 } else { 6 }
}

/// Address, port and protocol that packets of a flow are for; `None` for a protocol that no service has.
pub(super) fn destination<A: Ip>(key: &FlowKey<A>) -> Option<(IpAddr, u16, Protocol)> {
    let protocol = match key.protocol() {
        protocol::TCP => Protocol::Tcp,
        protocol::UDP => Protocol::Udp,
        _ => return None,
    };
    Some((ip(key.destination), key.ports.destination().get(), protocol))
}

/// An address of the model.
fn ip<A: Ip>(address: A) -> IpAddr {
    let address = address.widen();
    if A::VERSION == 4 {
        IpAddr::from(<[u8; 4]>::from(address.as_v4()))
    } else {
        IpAddr::from(address.to_bytes())
    }
}

/// How a service's packets reach its backends. Who knows answers by record translates as `nat` does.
pub(super) const fn forward(forward: config::Forward, tracking: config::Tracking) -> Forward {
    match forward {
        _ if forward.knows_answers_by_record(tracking) => Forward::Nat,
        config::Forward::Nat => Forward::Nat,
        config::Forward::Dnat => Forward::Dnat,
        config::Forward::DsrL2 => Forward::DsrL2,
        config::Forward::DsrIpip => Forward::DsrIpip,
        config::Forward::DsrGue => Forward::DsrGue,
        config::Forward::Local => Forward::Local,
    }
}

/// How a service's new flows are spread.
pub(super) const fn select(select: config::Select) -> Select {
    match select {
        config::Select::Maglev => Select::Flow,
        config::Select::SourceHash { .. } => Select::Source,
        config::Select::RoundRobin => Select::RoundRobin,
        config::Select::LeastConnections => Select::LeastConnections,
        config::Select::Quic => Select::Quic,
    }
}

/// A backend's record, as the plan of this generation writes it.
pub(super) fn record(
    key: BackendKey,
    state: BackendState,
    (hop, outer_source): (Option<&NextHop>, Option<IpAddr>),
    generation: u32,
) -> Backend {
    let alive = if state.keeps_flows() { BackendFlags::ALIVE } else { BackendFlags::default() };
    let open = if state.takes_new_flows() { BackendFlags::OPEN } else { BackendFlags::default() };
    let family = if key.addr.is_ipv6() { BackendFlags::V6 } else { BackendFlags::default() };
    let bare = Backend {
        address: address(key.addr.ip()),
        port: U16be::new(key.addr.port()),
        flags: alive.with(open).with(family),
        generation,
        ..Backend::UNWRITTEN
    };
    hop.map_or(bare, |hop| reached_by(bare, hop, outer_source)).prepared()
}

fn reached_by(backend: Backend, hop: &NextHop, outer_source: Option<IpAddr>) -> Backend {
    Backend {
        link: hop.link,
        ifindex: hop.ifindex,
        source: address(outer_source.unwrap_or(hop.source)),
        vlan: U16be::new(hop.vlan),
        second_vlan: U16be::new(hop.second_vlan),
        mtu: hop.mtu,
        flags: backend.flags.with(BackendFlags::RESOLVED),
        ..backend
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb_common::wire::Ports;

    #[test]
    fn a_vip_and_its_key_are_two_forms_of_one_thing() {
        let vip = Vip::new("203.0.113.10".parse().unwrap(), 53, Protocol::Udp);
        let key = service_key(vip);
        assert_eq!(key, ServiceKey::v4(U32be::new(0xcb00_710a), U16be::new(53), 17));
        let ports = Ports::new(U16be::new(1000), key.port());
        let flow = |protocol| FlowKey::new(U32be::new(1), key.address.as_v4(), ports, protocol);
        assert_eq!(destination(&flow(protocol::UDP)), Some((vip.addr, vip.port, vip.protocol)));
        assert_eq!(destination(&flow(protocol::ICMP)), None);
        assert_eq!(host_key(vip.addr), ServiceKey::host(key.address.as_v4()));
    }

    #[test]
    fn an_ipv6_address_keeps_the_order_of_its_words() {
        let Address(words) = address("2001:db8:1:2:3:4:5:6".parse().unwrap());
        assert_eq!(words.map(U32be::get), [0x2001_0db8, 0x0001_0002, 0x0003_0004, 0x0005_0006]);
    }
}
