//! From the model's types to those of the kernel border.

use std::net::IpAddr;

use lb_common::abi::{Address, Backend, BackendFlags, FlowKey, Forward, Ip, ServiceKey};
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

/// What packets to a VIP are looked up by.
pub(super) fn service_key(vip: Vip) -> ServiceKey {
    let protocol = match vip.protocol {
        Protocol::Tcp => protocol::TCP,
        Protocol::Udp => protocol::UDP,
    };
    ServiceKey::new(address(vip.addr), U16be::new(vip.port), protocol, family(vip.addr))
}

/// What marks an address as the balancer's own.
pub(super) fn own_key(ip: IpAddr) -> ServiceKey {
    ServiceKey::new(address(ip), U16be::ZERO, 0, family(ip))
}

const fn family(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 4 } else { 6 }
}

/// The VIP that packets of a flow are for; `None` for a protocol that no service has.
pub(super) fn vip<A: Ip>(key: &FlowKey<A>) -> Option<Vip> {
    let protocol = match key.protocol() {
        protocol::TCP => Protocol::Tcp,
        protocol::UDP => Protocol::Udp,
        _ => return None,
    };
    Some(Vip { addr: ip(key.destination), port: key.ports.destination().get(), protocol })
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

/// How a service's packets reach its backends.
pub(super) const fn forward(forward: config::Forward) -> Forward {
    match forward {
        config::Forward::Nat => Forward::Nat,
        config::Forward::DsrIpip => Forward::DsrIpip,
    }
}

/// A backend's record, as the plan of this generation writes it.
pub(super) fn record(
    key: BackendKey,
    state: BackendState,
    hop: Option<&NextHop>,
    generation: u32,
) -> Backend {
    let alive = if state.keeps_flows() { BackendFlags::ALIVE } else { BackendFlags::default() };
    let bare = Backend {
        address: address(key.addr.ip()),
        port: U16be::new(key.addr.port()),
        flags: alive,
        generation,
        ..Backend::UNWRITTEN
    };
    hop.map_or(bare, |hop| reached_by(bare, hop)).prepared()
}

fn reached_by(backend: Backend, hop: &NextHop) -> Backend {
    Backend {
        link: hop.link,
        ifindex: hop.ifindex,
        source: address(hop.source),
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
        let vip = Vip { addr: "203.0.113.10".parse().unwrap(), port: 53, protocol: Protocol::Udp };
        let key = service_key(vip);
        assert_eq!(key, ServiceKey::v4(U32be::new(0xcb00_710a), U16be::new(53), 17));
        let ports = Ports::new(U16be::new(1000), key.port());
        let flow = |protocol| FlowKey::new(U32be::new(1), key.address.as_v4(), ports, protocol);
        assert_eq!(super::vip(&flow(protocol::UDP)), Some(vip));
        assert_eq!(super::vip(&flow(protocol::ICMP)), None);
        assert_eq!(own_key(vip.addr), ServiceKey::host(key.address.as_v4()));
    }

    #[test]
    fn an_ipv6_address_keeps_the_order_of_its_words() {
        let Address(words) = address("2001:db8:1:2:3:4:5:6".parse().unwrap());
        assert_eq!(words.map(U32be::get), [0x2001_0db8, 0x0001_0002, 0x0003_0004, 0x0005_0006]);
    }
}
