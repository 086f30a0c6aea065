//! The stages that a packet takes: the verifier takes a second for some, so each case loads its own.

use lb_common::abi::{Forward, StageSet, Stages};
use lb_common::datapath::{HostTables, Version, version};
use lb_common::wire::Buffer;

/// All that a packet may go on to, with these tables.
pub(super) fn taken(host: &HostTables, packet: &[u8]) -> StageSet {
    let of = match version(&Buffer::new(packet)) {
        Some(Version::V4) => Stages::V4,
        Some(Version::V6) => Stages::V6,
        None => return StageSet::NONE,
    };
    let modes = host.services.values().map(|service| match service.forward() {
        Forward::DsrIpip | Forward::DsrGue => of.of_outer_headers(),
        forward => of.of_service(forward),
    });
    modes.fold(of.common(), StageSet::with)
}
