//! The stages that a packet takes: the verifier takes a second for some, so each case loads its own.

use lb_common::abi::{Forward, Stage, StageSet};
use lb_common::datapath::HostTables;
use lb_common::wire::ethernet;

/// All that a packet may go on to, with these tables.
pub(super) fn taken(host: &HostTables, packet: &[u8]) -> StageSet {
    let of = match ethertype(packet) {
        Some(kind) if kind == ethernet::IPV4.get() => &V4,
        Some(kind) if kind == ethernet::IPV6.get() => &V6,
        _ => return StageSet::NONE,
    };
    let modes = host.services.values().map(|service| match service.forward() {
        Forward::Nat => StageSet::of(&of.nat),
        Forward::Dnat | Forward::Endpoint => StageSet::of(&[of.dnat]),
        Forward::DsrIpip | Forward::DsrGue => StageSet::of(&[of.relay]),
        Forward::DsrL2 | Forward::Local | Forward::Host => StageSet::NONE,
    });
    modes.fold(StageSet::of(&of.common), StageSet::with)
}

/// The stages of a family.
struct Stages {
    common: [Stage; 2],
    nat: [Stage; 2],
    dnat: Stage,
    relay: Stage,
}

const V4: Stages = Stages {
    common: [Stage::TransportV4, Stage::ControlV4],
    nat: [Stage::NatV4, Stage::NatFirstV4],
    dnat: Stage::DnatV4,
    relay: Stage::RelayV4,
};

const V6: Stages = Stages {
    common: [Stage::TransportV6, Stage::ControlV6],
    nat: [Stage::NatV6, Stage::NatFirstV6],
    dnat: Stage::DnatV6,
    relay: Stage::RelayV6,
};

/// What a frame says it carries, behind at most two tags.
fn ethertype(packet: &[u8]) -> Option<u16> {
    let at = |place: usize| Some(u16::from_be_bytes([*packet.get(place)?, *packet.get(place + 1)?]));
    let is_tag = |kind: u16| kind == ethernet::VLAN.get() || kind == ethernet::SERVICE_VLAN.get();
    [12, 16, 20].into_iter().map_while(at).find(|kind| !is_tag(*kind))
}
