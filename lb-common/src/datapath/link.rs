//! The link layer of a packet that leaves.

use super::parse::Frame;
use super::{Arrival, Reason};
use crate::abi::{Backend, BackendFlags, BackendId, Hop};
use crate::wire::{Packet, U16be, ethernet, vlan};

/// The way to a backend, if its next hop is known.
#[inline(always)]
pub(super) fn hop_to(backend: &Backend) -> Result<Hop, Reason> {
    if !backend.flags.has(BackendFlags::RESOLVED) {
        return Err(Reason::Unresolved);
    }
    Ok(Hop::new(backend.link, backend.ifindex, backend.vlan))
}

/// The way back to where a packet came from.
#[inline(always)]
pub(super) const fn hop_back(frame: &Frame, arrival: Arrival) -> Hop {
    Hop::new(frame.link.reversed(), arrival.ifindex, frame.vlan)
}

/// A record's backend, which must exist.
#[inline(always)]
pub(super) fn backend<T: super::Tables>(tables: &T, id: BackendId) -> Result<&Backend, Reason> {
    tables.backend(id).ok_or(Reason::Inconsistent)
}

/// Puts the link-layer header for `hop` in front of `room` bytes for an outer header and the IP packet behind it.
/// Returns where that room, or without one the IP header, begins.
#[inline(always)]
pub(super) fn address(
    packet: &mut impl Packet,
    frame: &Frame,
    hop: &Hop,
    room: usize,
) -> Result<usize, Reason> {
    let tagged = hop.vlan != U16be::ZERO;
    let header = if tagged { ethernet::LENGTH + vlan::LENGTH } else { ethernet::LENGTH };
    let moved = frame.l3 != header + room;
    if moved {
        #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "offsets below 200")]
        let delta = frame.l3 as i32 - (header + room) as i32;
        packet.move_front(delta).ok_or(Reason::NoHeadroom)?;
    }
    write(packet, hop, tagged, moved).ok_or(Reason::Inconsistent)?;
    Ok(header)
}

#[inline(always)]
fn write(packet: &mut impl Packet, hop: &Hop, tagged: bool, moved: bool) -> Option<()> {
    packet.write(0, hop.link)?;
    if tagged {
        packet.write(ethernet::TYPE, ethernet::VLAN)?;
        return packet.write(ethernet::LENGTH, vlan::Tag { control: hop.vlan, ethertype: ethernet::IPV4 });
    }
    if moved { packet.write(ethernet::TYPE, ethernet::IPV4) } else { Some(()) }
}
