//! The packets that come by the million: TCP and UDP without tag, option or fragment, of flows that need no new state.
//! All else is left untouched for the stages, which answer these packets alike.
//!
//! Every word is read where it is used, at an offset that the compiler knows, and a packet is counted when all is done:
//! little has to be kept meanwhile, and there are but four registers to keep it in.

use super::encap::Outer;
use super::family::{Family, Piece};
use super::parse::Segment;
use super::track::{self, Asked};
use super::{Arrival, Direction, Outcome, Reason, Steered, Tables, TablesFor, classify, link, nat, select};
use crate::abi::{
    Backend, BackendFlags, BackendId, Contents, Flow, FlowKey, FlowKind, Forward, Hop, Select, Service,
    ServiceKey, Slot,
};
use crate::wire::{Packet, Ports, U16be, U32be, checksum, ethernet, protocol, tcp, udp};

/// Where the IP header begins.
const L3: usize = ethernet::LENGTH;

/// Where the transport header begins.
#[inline(always)]
const fn l4<A: Family>() -> usize {
    L3 + A::LENGTH
}

/// Bytes that a plain packet has at least: those to the end of a TCP header. Shorter ones of UDP are left to the stages.
pub(super) const fn least<A: Family>() -> usize {
    l4::<A>() + tcp::LENGTH
}

/// Steers and counts a packet of this kind, which holds [`least`] bytes; `None`, and all as it was, for any other. `arrival` is
/// asked only where it is needed.
#[inline(always)]
pub(super) fn steer<A: Family>(
    packet: &mut impl Packet,
    tables: &impl TablesFor<A>,
    arrival: impl Fn() -> Arrival,
) -> Option<Outcome> {
    if packet.peek::<u8>(0)? & ethernet::GROUP != 0 {
        return None;
    }
    // Each by itself: what is known of the protocol need not be kept.
    match A::peek_protocol(packet, L3)? {
        protocol::TCP => carried::<A, { protocol::TCP }>(packet, tables, arrival),
        protocol::UDP => carried::<A, { protocol::UDP }>(packet, tables, arrival),
        _ => None,
    }
}

/// The packets of one protocol.
#[inline(always)]
fn carried<A: Family, const PROTOCOL: u8>(
    packet: &mut impl Packet,
    tables: &impl TablesFor<A>,
    arrival: impl Fn() -> Arrival,
) -> Option<Outcome> {
    let port = packet.peek::<Ports>(l4::<A>())?.destination();
    let vip = ServiceKey::of(A::peek_destination(packet, L3)?, port, PROTOCOL);
    match classify::exact(tables, &vip) {
        Some(service) => of_a_service::<A, PROTOCOL>(packet, tables, service, arrival),
        None => of_none::<A, PROTOCOL>(packet, tables, &vip, arrival),
    }
}

/// A client's packet.
#[inline(always)]
fn of_a_service<A: Family, const PROTOCOL: u8>(
    packet: &mut impl Packet,
    tables: &impl TablesFor<A>,
    service: &Service,
    arrival: impl Fn() -> Arrival,
) -> Option<Outcome> {
    let length = sound_length::<A, PROTOCOL>(packet)?;
    if service.is_common(Forward::DsrIpip) {
        return tunnelled::<A, PROTOCOL, false, true>(packet, tables, (service, length), arrival);
    }
    match service.forward() {
        Forward::DsrIpip => {
            tunnelled::<A, PROTOCOL, false, false>(packet, tables, (service, length), arrival)
        }
        Forward::DsrGue => tunnelled::<A, PROTOCOL, true, false>(packet, tables, (service, length), arrival),
        Forward::DsrL2 => handed_on::<A, PROTOCOL>(packet, tables, (service, length), arrival),
        Forward::Nat => translated::<A, PROTOCOL>(packet, tables, length, arrival),
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
        return translated_back::<A, PROTOCOL>(packet, tables, arrival);
    }
    if tables.contents() != Contents::default() {
        return None;
    }
    tables.count(Reason::NotAVip, packet.length());
    Some(Err(Reason::NotAVip))
}

/// Bytes of the IP packet, if the lengths that it speaks of agree with one another and with its own.
#[inline(always)]
fn sound_length<A: Family, const PROTOCOL: u8>(packet: &impl Packet) -> Option<u32> {
    let length = A::peek_length(packet, L3)?;
    let needed = A::LENGTH as u32 + transport_length::<A, PROTOCOL>(packet)?;
    (L3 as u32 + length <= packet.length() && needed <= length).then_some(length)
}

/// Bytes that the transport header speaks of: of itself for TCP, of the datagram for UDP.
#[inline(always)]
fn transport_length<A: Family, const PROTOCOL: u8>(packet: &impl Packet) -> Option<u32> {
    let (length, least) = if PROTOCOL == protocol::TCP {
        let offset: u8 = packet.peek(l4::<A>() + tcp::DATA_OFFSET)?;
        (u32::from(offset >> 4) * 4, tcp::LENGTH)
    } else {
        let length: U16be = packet.peek(l4::<A>() + udp::DATAGRAM_LENGTH)?;
        (u32::from(length.get()), udp::LENGTH)
    };
    (length >= least as u32).then_some(length)
}

#[inline(always)]
fn key<A: Family, const PROTOCOL: u8>(packet: &impl Packet) -> Option<FlowKey<A>> {
    let (source, destination) = A::peek_addresses(packet, L3)?;
    Some(FlowKey::new(source, destination, packet.peek(l4::<A>())?, PROTOCOL))
}

/// The control bits of the packet whose IP header begins at `l3`; none for UDP.
#[inline(always)]
fn flags<A: Family, const PROTOCOL: u8>(packet: &impl Packet, l3: usize) -> Option<tcp::Flags> {
    if PROTOCOL == protocol::TCP { packet.peek(l3 + A::LENGTH + tcp::FLAGS) } else { Some(tcp::Flags::NONE) }
}

/// Whether the packet whose IP header begins at `l3` asks for a new connection.
#[inline(always)]
fn opens<A: Family, const PROTOCOL: u8>(packet: &impl Packet, l3: usize) -> bool {
    flags::<A, PROTOCOL>(packet, l3).is_some_and(tcp::Flags::opens)
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
    service: &Service,
) -> Option<Found> {
    let key = key::<A, PROTOCOL>(packet)?;
    if !COMMON && service.select() == Select::Quic {
        return None;
    }
    let hash = if COMMON { key.hash(tables.seed()) } else { select::hash(service, &key, tables.seed()) };
    let index = service.slot_index(hash);
    Some(Found { index, slot: tables.slot(index)?, hash })
}

/// The owner of a flow in a slot that tracks.
#[inline(always)]
fn recorded<A: Family, const PROTOCOL: u8>(
    packet: &impl Packet,
    tables: &impl TablesFor<A>,
    service: &Service,
    slot: (u32, Slot),
    arrival: impl Fn() -> Arrival,
) -> Option<(BackendId, Reason)> {
    let flags = flags::<A, PROTOCOL>(packet, L3)?;
    let segment = Segment { protocol: PROTOCOL, flags, checksum: U16be::ZERO, piece: Piece::Whole };
    let key = key::<A, PROTOCOL>(packet)?;
    let asked = Asked { service, key: &key, segment: &segment, now: arrival().now };
    track::remembered(tables, slot, &asked)
}

/// Sends a packet of this length in an outer header.
#[inline(always)]
fn tunnelled<A: Family, const PROTOCOL: u8, const UDP: bool, const COMMON: bool>(
    packet: &mut impl Packet,
    tables: &impl TablesFor<A>,
    (service, length): (&Service, u32),
    arrival: impl Fn() -> Arrival,
) -> Option<Outcome> {
    let Found { index, slot, hash } = slot::<A, PROTOCOL, COMMON>(packet, tables, service)?;
    let outer = (service, length, hash);
    let tracks = if COMMON { slot.is_tracked() } else { track::tracks(service, slot) };
    if tracks {
        let (id, reason) = recorded::<A, PROTOCOL>(packet, tables, service, (index, slot), arrival)?;
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
    if backend.is_v6() {
        tunnelled_in::<A, PROTOCOL, true, UDP>(packet, tables, outer, backend, owner)
    } else {
        tunnelled_in::<A, PROTOCOL, false, UDP>(packet, tables, outer, backend, owner)
    }
}

#[inline(always)]
fn tunnelled_in<A: Family, const PROTOCOL: u8, const V6: bool, const UDP: bool>(
    packet: &mut impl Packet,
    tables: &impl TablesFor<A>,
    (service, length, hash): (&Service, u32, u32),
    backend: &Backend,
    (id, reason): (BackendId, Reason),
) -> Option<Outcome> {
    let outer = Outer::<V6, UDP>::LENGTH;
    if !takes(backend, length + outer as u32) {
        return None;
    }
    packet.move_front(-Outer::<V6, UDP>::ROOM)?;
    if wrap::<A, V6, UDP>(packet, (service, backend, (hash, tables.spread(V6)))).is_none() {
        return Some(inconsistent(tables, packet));
    }
    let opened = reason as u8 == Reason::Settled as u8 && opens::<A, PROTOCOL>(packet, L3 + outer);
    Some(sent(tables, to_backend(id, backend, (reason, opened)), packet.length() - outer as u32))
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
    let measures = (A::peek_length(packet, inner)?, A::peek_traffic_class(packet, inner)?);
    Outer::<V6, UDP>::around::<A>(measures, service, backend, spread).write(packet, L3)?;
    link::write_untagged(packet, &backend.link, Outer::<V6, UDP>::ETHERTYPE)
}

/// Changes the link layer alone.
#[inline(always)]
fn handed_on<A: Family, const PROTOCOL: u8>(
    packet: &mut impl Packet,
    tables: &impl TablesFor<A>,
    (service, length): (&Service, u32),
    arrival: impl Fn() -> Arrival,
) -> Option<Outcome> {
    let Found { index, slot, .. } = slot::<A, PROTOCOL, false>(packet, tables, service)?;
    let (id, reason) = if track::tracks(service, slot) {
        recorded::<A, PROTOCOL>(packet, tables, service, (index, slot), arrival)?
    } else {
        (slot.current(), Reason::Settled)
    };
    let backend = tables.backend(id)?;
    if !takes(backend, length) {
        return None;
    }
    link::write_untagged(packet, &backend.link, A::ETHERTYPE)?;
    let opened = reason as u8 == Reason::Settled as u8 && opens::<A, PROTOCOL>(packet, L3);
    Some(sent(tables, to_backend(id, backend, (reason, opened)), packet.length()))
}

/// Translates a client's packet of this length by its flow's record.
#[inline(always)]
fn translated<A: Family, const PROTOCOL: u8>(
    packet: &mut impl Packet,
    tables: &impl TablesFor<A>,
    length: u32,
    arrival: impl Fn() -> Arrival,
) -> Option<Outcome> {
    let mut flow = tables.flow(&key::<A, PROTOCOL>(packet)?)?;
    let backend = tables.backend(flow.backend)?;
    let flags = flags::<A, PROTOCOL>(packet, L3)?;
    let usable = backend.flags.has(BackendFlags::ALIVE) && takes(backend, length);
    let Arrival { ifindex, now } = arrival();
    if !usable || !nat::goes_on(&flow, flags) || !came_by(packet, &flow.way_back, ifindex)? {
        return None;
    }
    rewrite::<A, PROTOCOL>(packet, &flow)?;
    flow.note(flags, now);
    link::write_untagged(packet, &backend.link, A::ETHERTYPE)?;
    let steered = to_backend(flow.backend, backend, (Reason::NatForward, false));
    Some(sent(tables, steered, packet.length()))
}

/// Translates a backend's packet by its flow's record.
#[inline(always)]
fn translated_back<A: Family, const PROTOCOL: u8>(
    packet: &mut impl Packet,
    tables: &impl TablesFor<A>,
    arrival: impl Fn() -> Arrival,
) -> Option<Outcome> {
    let mut flow = tables.flow(&key::<A, PROTOCOL>(packet)?)?;
    if flow.kind() != FlowKind::Reply || !flow.way_back.is_untagged() {
        return None;
    }
    sound_length::<A, PROTOCOL>(packet)?;
    rewrite::<A, PROTOCOL>(packet, &flow)?;
    flow.note(flags::<A, PROTOCOL>(packet, L3)?, arrival().now);
    link::write_untagged(packet, &flow.way_back.link, A::ETHERTYPE)?;
    let (ifindex, direction) = (flow.way_back.ifindex, Direction::ToClient);
    let steered =
        Steered { reason: Reason::NatReply, ifindex, backend: flow.backend, direction, opened: false };
    Some(sent(tables, steered, packet.length()))
}

/// Applies a record's translation, and takes one hop off; nothing if that was the last.
#[inline(always)]
fn rewrite<A: Family, const PROTOCOL: u8>(packet: &mut impl Packet, flow: &Flow<A>) -> Option<()> {
    A::send_on(packet, L3, (flow.source, flow.destination), flow.address_difference)?;
    let l4 = l4::<A>();
    packet.write(l4, flow.ports)?;
    if PROTOCOL == protocol::TCP {
        let before = packet.peek(l4 + tcp::CHECKSUM)?;
        packet.write(l4 + tcp::CHECKSUM, checksum::update(before, flow.difference))
    } else {
        let before = packet.peek(l4 + udp::CHECKSUM)?;
        packet.write(l4 + udp::CHECKSUM, udp::update_checksum(before, flow.difference))
    }
}

/// Whether a packet came by the way that replies to it go.
#[inline(always)]
fn came_by(packet: &impl Packet, way_back: &Hop, ifindex: u32) -> Option<bool> {
    // Compared piece by piece as they lie in the packet, not turned round first.
    let [a, b, c] = way_back.link.words();
    let (source, destination) = (packet.peek::<U16be>(10)?, packet.peek::<U16be>(0)?);
    let same = packet.peek::<U32be>(6)? == a && Ports::new(source, destination).word() == b;
    Some(same && packet.peek::<U32be>(2)? == c && way_back.ifindex == ifindex && way_back.is_untagged())
}

/// What became of a packet that goes to a backend.
#[inline(always)]
const fn to_backend(id: BackendId, backend: &Backend, (reason, opened): (Reason, bool)) -> Steered {
    Steered { reason, ifindex: backend.ifindex, backend: id, direction: Direction::ToBackend, opened }
}

/// Counts a packet that was sent.
#[inline(always)]
#[allow(clippy::unnecessary_wraps, reason = "it is what becomes of a packet")]
fn sent(tables: &impl Tables, steered: Steered, bytes: u32) -> Outcome {
    tables.count(steered.reason, bytes);
    tables.count_backend(steered.backend, steered.direction, steered.opened, bytes);
    Ok(steered)
}

/// A packet that was moved, but that cannot be written where it was found to have room.
#[cold]
#[inline(always)]
fn inconsistent(tables: &impl Tables, packet: &impl Packet) -> Outcome {
    tables.count(Reason::Inconsistent, packet.length());
    Err(Reason::Inconsistent)
}

/// Whether a backend's next hop is known, without tags, and takes an IP packet of this length.
#[inline(always)]
fn takes(backend: &Backend, length: u32) -> bool {
    backend.flags.has(BackendFlags::RESOLVED)
        && backend.vlan == U16be::ZERO
        && length <= u32::from(backend.mtu)
}
