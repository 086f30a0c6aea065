//! Plain packets of services with direct server return.

use super::super::encap::Outer;
use super::super::family::{Family, Piece};
use super::super::parse::Segment;
use super::super::track::{self, Asked};
use super::super::{Arrival, Outcome, Reason, TablesFor, link, select};
use super::peek::{L3, flags, key, opens, ports, source};
use super::{fits, inconsistent, sent_to, takes};
use crate::abi::{Backend, BackendId, FlowKey, Select, Service, ServiceKey, Slot};
use crate::wire::{Packet, U16be, U32be, tcp};

/// Sends a packet of this length in an outer header.
#[inline(always)]
pub(super) fn tunnelled<A: Family, const PROTOCOL: u8, const UDP: bool, const COMMON: bool>(
    packet: &mut impl Packet,
    tables: &impl TablesFor<A>,
    (vip, service, length): (&ServiceKey, &Service, u32),
    arrival: impl Fn() -> Arrival,
) -> Option<Outcome> {
    let found @ Found { slot, hash, .. } = slot::<A, PROTOCOL, COMMON>(packet, tables, (vip, service))?;
    let outer = (service, length, hash);
    let tracks = if COMMON { slot.is_tracked() } else { track::tracks(service, slot) };
    if tracks {
        let (id, reason) = recorded::<A, PROTOCOL, COMMON>(packet, tables, service, found, arrival)?;
        tunnelled_to::<A, PROTOCOL, UDP>(packet, tables, outer, (id, reason))
    } else {
        tunnelled_to::<A, PROTOCOL, UDP>(packet, tables, outer, (slot.current(), Reason::Settled))
    }
}

#[inline(always)]
fn tunnelled_to<A: Family, const PROTOCOL: u8, const UDP: bool>(
    packet: &mut impl Packet,
    tables: &impl TablesFor<A>,
    outer: (&Service, u32, u32),
    owner: (BackendId, Reason),
) -> Option<Outcome> {
    // Nobody's record is not resolved.
    let backend = tables.backend(owner.0)?;
    if backend.flags.untagged_v6()? {
        tunnelled_in::<A, PROTOCOL, true, UDP>(packet, tables, outer, backend, owner)
    } else {
        tunnelled_in::<A, PROTOCOL, false, UDP>(packet, tables, outer, backend, owner)
    }
}

#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "headers are tens of bytes")]
fn tunnelled_in<A: Family, const PROTOCOL: u8, const V6: bool, const UDP: bool>(
    packet: &mut impl Packet,
    tables: &impl TablesFor<A>,
    (service, length, hash): (&Service, u32, u32),
    backend: &Backend,
    (id, reason): (BackendId, Reason),
) -> Option<Outcome> {
    let outer = Outer::<V6, UDP>::LENGTH;
    if !fits::<A, PROTOCOL>(packet, backend, (length, outer as u32)) || A::peek_hops(packet, L3)? == 0 {
        return None;
    }
    packet.make_room(-Outer::<V6, UDP>::ROOM, Outer::<V6, UDP>::OUTSIDE)?;
    if wrap::<A, V6, UDP>(packet, (service, backend, (hash, tables.spread(V6)))).is_none() {
        return Some(inconsistent(tables, packet));
    }
    let opened = reason as u8 == Reason::Settled as u8 && opens::<A, PROTOCOL>(packet, L3 + outer);
    Some(sent_to(tables, (id, backend), (reason, opened), packet.length() - outer as u32))
}

/// Writes the headers before a packet that was moved.
#[inline(always)]
fn wrap<A: Family, const V6: bool, const UDP: bool>(
    packet: &mut impl Packet,
    (service, backend, spread): (&Service, &Backend, (u32, U32be)),
) -> Option<()> {
    let inner = L3 + Outer::<V6, UDP>::LENGTH;
    // One comparison for all that follows.
    if !packet.holds(inner + A::LENGTH + tcp::LENGTH) {
        return None;
    }
    let extent = A::peek_extent(packet, inner)?;
    Outer::<V6, UDP>::around::<A>(extent, service, backend, spread).write(packet, L3)?;
    link::write_untagged(packet, &backend.link, Outer::<V6, UDP>::ETHERTYPE)
}

/// Changes the link layer, and takes one hop off.
#[inline(always)]
pub(super) fn handed_on<A: Family, const PROTOCOL: u8>(
    packet: &mut impl Packet,
    tables: &impl TablesFor<A>,
    (vip, service, length): (&ServiceKey, &Service, u32),
    arrival: impl Fn() -> Arrival,
) -> Option<Outcome> {
    let found @ Found { slot, .. } = slot::<A, PROTOCOL, false>(packet, tables, (vip, service))?;
    let (id, reason) = if track::tracks(service, slot) {
        recorded::<A, PROTOCOL, false>(packet, tables, service, found, arrival)?
    } else {
        (slot.current(), Reason::Settled)
    };
    let backend = tables.backend(id)?;
    if !takes::<A, PROTOCOL>(packet, backend, length) {
        return None;
    }
    A::take_hop(packet, L3)?;
    link::write_untagged(packet, &backend.link, A::ETHERTYPE)?;
    let opened = reason as u8 == Reason::Settled as u8 && opens::<A, PROTOCOL>(packet, L3);
    Some(sent_to(tables, (id, backend), (reason, opened), packet.length()))
}

/// A slot and its place, and the flow's hash that led there.
#[derive(Clone, Copy)]
struct Found {
    index: u32,
    slot: Slot,
    hash: u32,
}

/// The slot of a packet's flow; nothing where a packet may be sent elsewhere than its slot says. `COMMON` says that the
/// service spreads flows by their hash and tracks them where their slots say so.
#[inline(always)]
fn slot<A: Family, const PROTOCOL: u8, const COMMON: bool>(
    packet: &impl Packet,
    tables: &impl TablesFor<A>,
    (vip, service): (&ServiceKey, &Service),
) -> Option<Found> {
    if !COMMON && service.select() == Select::Quic {
        return None;
    }
    let hash = if COMMON {
        FlowKey::<A>::hash_to(vip, source(packet)?, ports::<A>(packet)?, tables.seed())
    } else {
        select::hash(service, &key::<A, PROTOCOL>(packet)?, tables.seed())
    };
    let index = service.slot_index(hash);
    Some(Found { index, slot: tables.slot(index)?, hash })
}

/// The owner of a flow in a slot that tracks.
#[inline(always)]
fn recorded<A: Family, const PROTOCOL: u8, const COMMON: bool>(
    packet: &impl Packet,
    tables: &impl TablesFor<A>,
    service: &Service,
    Found { index, slot, hash }: Found,
    arrival: impl Fn() -> Arrival,
) -> Option<(BackendId, Reason)> {
    let flags = flags::<A, PROTOCOL>(packet, L3)?;
    let segment = Segment { protocol: PROTOCOL, flags, checksum: U16be::ZERO, piece: Piece::Whole };
    let key = key::<A, PROTOCOL>(packet)?;
    let asked =
        Asked { service, key: &key, segment: &segment, hash: COMMON.then_some(hash), now: arrival().now };
    track::remembered(tables, (index, slot), &asked)
}
