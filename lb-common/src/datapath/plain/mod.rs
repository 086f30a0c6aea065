//! The packets that come by the million: TCP and UDP without tag, option or fragment, of flows that need no new state.
//! All else is left untouched for the stages, which answer these packets alike.
//!
//! Every word is read where it is used, at an offset that the compiler knows, and a packet is counted when all is done:
//! little has to be kept meanwhile, and there are but four registers to keep it in.

mod dsr;
mod nat;
mod peek;

use super::family::Family;
use super::{Arrival, Direction, Outcome, Reason, Steered, Tables, TablesFor, classify};
use crate::abi::{Backend, BackendFlags, BackendId, Contents, Forward, Service, ServiceKey};
use crate::wire::{Packet, Transport, U16be, ethernet, protocol};
use core::hint::black_box;
use peek::{L3, l4, sound_length};
pub(super) use peek::{control, destination, least, source, source_port, vip};

/// Steers and counts a packet of this kind, which holds [`least`] bytes; `None`, and all as it was, for any other. `arrival` is
/// asked only where it is needed.
#[inline(always)]
pub(super) fn steer<A: Family>(
    packet: &mut impl Packet,
    tables: &impl TablesFor<A>,
    arrival: impl Fn() -> Arrival,
) -> Option<Outcome> {
    if !is_unicast(packet)? {
        return None;
    }
    // Each by itself: what is known of the protocol need not be kept.
    match A::peek_protocol(packet, L3)? {
        protocol::TCP => carried::<A, { protocol::TCP }>(packet, tables, arrival),
        protocol::UDP => carried::<A, { protocol::UDP }>(packet, tables, arrival),
        _ => None,
    }
}

/// Whether one station sent a frame to another: [`ethernet::Addresses::is_unicast`], most of the time by two words.
#[inline(always)]
pub(super) fn is_unicast(packet: &impl Packet) -> Option<bool> {
    let (to, from) = (packet.peek::<U16be>(0)?, packet.peek::<U16be>(ethernet::SOURCE)?);
    if from == U16be::ZERO {
        return Some(packet.read::<ethernet::Addresses>(0)?.is_unicast());
    }
    Some((to.raw() | from.raw()) & ethernet::GROUP_WORD.raw() == 0)
}

/// The packets of one protocol.
#[inline(always)]
fn carried<A: Family, const PROTOCOL: u8>(
    packet: &mut impl Packet,
    tables: &impl TablesFor<A>,
    arrival: impl Fn() -> Arrival,
) -> Option<Outcome> {
    let vip = vip::<A, PROTOCOL>(packet)?;
    if let Some(service) = classify::exact(tables, &vip) {
        return of_a_service::<A, PROTOCOL>(packet, tables, (&vip, service), arrival);
    }
    // Read anew, rather than kept for those that have a service.
    black_box(());
    of_none::<A, PROTOCOL>(packet, tables, &self::vip::<A, PROTOCOL>(packet)?, arrival)
}

/// A client's packet.
#[inline(always)]
pub(super) fn of_a_service<A: Family, const PROTOCOL: u8>(
    packet: &mut impl Packet,
    tables: &impl TablesFor<A>,
    (vip, service): (&ServiceKey, &Service),
    arrival: impl Fn() -> Arrival,
) -> Option<Outcome> {
    let length = sound_length::<A, PROTOCOL>(packet)?;
    let found = (vip, service, length);
    if service.is_common(Forward::DsrIpip) {
        return dsr::tunnelled::<A, PROTOCOL, false, true>(packet, tables, found, arrival);
    }
    match service.forward() {
        Forward::DsrIpip => dsr::tunnelled::<A, PROTOCOL, false, false>(packet, tables, found, arrival),
        Forward::DsrGue => dsr::tunnelled::<A, PROTOCOL, true, false>(packet, tables, found, arrival),
        Forward::DsrL2 => dsr::handed_on::<A, PROTOCOL>(packet, tables, found, arrival),
        Forward::Nat => nat::translated::<A, PROTOCOL>(packet, tables, length, arrival),
        _ => None,
    }
}

/// A packet that is for no service by its very address and port.
#[inline(always)]
fn of_none<A: Family, const PROTOCOL: u8>(
    packet: &mut impl Packet,
    tables: &impl TablesFor<A>,
    vip: &ServiceKey,
    arrival: impl Fn() -> Arrival,
) -> Option<Outcome> {
    if tables.ports().contains(vip.port()) && classify::is_own(tables, A::narrow(vip.address)) {
        return nat::translated_back::<A, PROTOCOL>(packet, tables, arrival);
    }
    of_nobody(packet, tables)
}

/// A packet that passes, unless a range, a prefix or an endpoint may have it.
#[inline(always)]
pub(super) fn of_nobody(packet: &impl Packet, tables: &impl Tables) -> Option<Outcome> {
    if tables.contents() != Contents::default() {
        return None;
    }
    tables.count(Reason::NotAVip, packet.length());
    Some(Err(Reason::NotAVip))
}

/// Whether a backend's next hop is known, without tags, and takes an IP packet of this length.
#[inline(always)]
pub(super) fn takes<A: Family, const PROTOCOL: u8>(
    packet: &impl Packet,
    backend: &Backend,
    length: u32,
) -> bool {
    backend.flags.has(BackendFlags::UNTAGGED) && fits::<A, PROTOCOL>(packet, backend, (length, 0))
}

/// Whether a backend's interface takes an IP packet of this length with so much more.
#[inline(always)]
pub(super) fn fits<A: Family, const PROTOCOL: u8>(
    packet: &impl Packet,
    backend: &Backend,
    (length, overhead): (u32, u32),
) -> bool {
    let transport = Transport { l3: L3, l4: l4::<A>(), protocol: PROTOCOL };
    let (whole, leaves) = (length + overhead, packet.wire_length(length, overhead, transport));
    // What leaves whole and fits an MTU has a length of 16 bits.
    let has_length = leaves == whole || u16::try_from(whole).is_ok();
    leaves <= u32::from(backend.mtu) && has_length
}

/// Counts a packet that was sent to a backend. The interface is read when all is counted: kept until then, it would take a
/// place on the stack.
#[inline(always)]
#[allow(clippy::unnecessary_wraps, reason = "it is what becomes of a packet")]
pub(super) fn sent_to(
    tables: &impl Tables,
    (id, backend): (BackendId, &Backend),
    (reason, opened): (Reason, bool),
    bytes: u32,
) -> Outcome {
    let counted = Steered { reason, ifindex: 0, backend: id, direction: Direction::ToBackend, opened };
    tables.count_steered(&counted, bytes);
    Ok(Steered { ifindex: backend.ifindex, ..counted })
}

/// Counts a packet that was sent.
#[inline(always)]
#[allow(clippy::unnecessary_wraps, reason = "it is what becomes of a packet")]
pub(super) fn sent(tables: &impl Tables, steered: Steered, bytes: u32) -> Outcome {
    tables.count_steered(&steered, bytes);
    Ok(steered)
}

/// A packet that was moved, but that cannot be written where it was found to have room.
#[cold]
#[inline(always)]
pub(super) fn inconsistent(tables: &impl Tables, packet: &impl Packet) -> Outcome {
    tables.count(Reason::Inconsistent, packet.length());
    Err(Reason::Inconsistent)
}
