//! What rows about every way of forwarding share.

use super::super::annex::{MODES, Mode, backend, client, own, service};
use super::super::house::{GUE_PORT, SEED};
use super::super::ip::Ip;
use super::super::row::Row;
use crate::family::Family;
use lb_common::abi::{FlowKey, Forward};
use lb_common::datapath::Reason;
use lb_common::wire::{Ports, U16be, U32be, ipv6};
use std::net::{IpAddr, SocketAddr};

/// Rows for every way of forwarding over either family.
pub(super) fn in_every_mode(rows: impl Fn(Mode, Family) -> Vec<Row>) -> Vec<Row> {
    let over_both = |mode| Family::BOTH.into_iter().flat_map(move |family| [(mode, family)]);
    MODES.into_iter().flat_map(over_both).flat_map(|(mode, family)| rows(mode, family)).collect()
}

/// A row's sentence.
pub(super) fn title(mode: Mode, family: Family, sentence: &str) -> String {
    format!("{} over {family}: {sentence}", mode.name)
}

/// Whether a mode changes the packet itself.
pub(super) fn translates(mode: Mode) -> bool {
    matches!(mode.forward, Forward::Nat | Forward::Dnat)
}

/// Whether a mode takes a hop off a packet; what is wrapped keeps all of them.
pub(super) fn takes_a_hop(mode: Mode) -> bool {
    translates(mode) || mode.forward == Forward::DsrL2
}

/// Why a packet that begins a flow leaves.
pub(super) fn opening(mode: Mode) -> Reason {
    if mode.forward == Forward::Nat { Reason::NatOpened } else { Reason::Settled }
}

/// The balancer's own end of a translated flow.
pub(super) const fn own_end(family: Family) -> SocketAddr {
    SocketAddr::new(own(family), 40_000)
}

/// The end that the first backend serves at.
pub(super) const fn backend_end(family: Family) -> SocketAddr {
    SocketAddr::new(backend(family), 8080)
}

/// The ends of a client's packet as the backend sees them.
pub(super) fn ends_at_backend(mode: Mode, family: Family) -> (SocketAddr, SocketAddr) {
    match mode.forward {
        Forward::Nat if !mode.keeps_client() => (own_end(family), backend_end(family)),
        Forward::Nat | Forward::Dnat => (client(family), backend_end(family)),
        _ => (client(family), service(family, mode)),
    }
}

/// What a backend gets of a client's packet, which `make` makes of its ends.
pub(super) fn forwarded(mode: Mode, family: Family, make: impl Fn(SocketAddr, SocketAddr) -> Ip) -> Ip {
    let (source, destination) = ends_at_backend(mode, family);
    let packet = make(source, destination);
    if translates(mode) { one_hop_on(packet) } else { wrapped(mode, family, &packet) }
}

/// The packet after a hop.
pub(super) fn one_hop_on(packet: Ip) -> Ip {
    let hops = packet.hops_left();
    packet.hops(hops - 1)
}

/// A packet of the client's flow in a mode's outer header; where that has none, one hop on.
fn wrapped(mode: Mode, family: Family, packet: &Ip) -> Ip {
    wrapped_in(mode, family, packet, packet.transport())
}

/// The same for a packet that is about a flow of another protocol than its own, or cannot tell.
pub(super) fn wrapped_in(mode: Mode, family: Family, packet: &Ip, protocol: u8) -> Ip {
    let outer = mode.backends.unwrap_or(family);
    match mode.forward {
        Forward::DsrIpip => packet.within(own(outer), backend(outer)),
        Forward::DsrGue => {
            let source = SocketAddr::new(own(outer), outer_port(mode, family, protocol));
            packet.within_udp(source, SocketAddr::new(backend(outer), GUE_PORT))
        }
        _ => one_hop_on(packet.clone()),
    }
}

/// The source port of outer UDP headers: of the dynamic ports, by the flow's hash.
fn outer_port(mode: Mode, family: Family, protocol: u8) -> u16 {
    let hash = flow_hash(client(family), service(family, mode), protocol);
    0xc000 | u16::try_from(hash >> 16).unwrap_or(0)
}

/// The hash of a flow.
pub(super) fn flow_hash(source: SocketAddr, destination: SocketAddr, protocol: u8) -> u32 {
    let ports = Ports::new(U16be::new(source.port()), U16be::new(destination.port()));
    match (source.ip(), destination.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            FlowKey::new(U32be::from(from.octets()), U32be::from(to.octets()), ports, protocol).hash(SEED)
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let address = ipv6::Address::from;
            FlowKey::new(address(from.octets()), address(to.octets()), ports, protocol).hash(SEED)
        }
        _ => 0,
    }
}
