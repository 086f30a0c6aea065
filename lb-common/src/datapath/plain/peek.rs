//! What a plain packet says of itself, read where it is asked for.

use super::super::family::Family;
use crate::abi::{FlowKey, Hop, ServiceKey};
use crate::wire::{Packet, Ports, U16be, U32be, ethernet, protocol, tcp, udp};

/// Where the IP header begins.
pub(super) const L3: usize = ethernet::LENGTH;

/// Where the transport header begins.
#[inline(always)]
pub(super) const fn l4<A: Family>() -> usize {
    L3 + A::LENGTH
}

/// Bytes that a plain packet has at least: those to the end of a TCP header. Shorter ones of UDP are left to the stages.
pub(in crate::datapath) const fn least<A: Family>() -> usize {
    l4::<A>() + tcp::LENGTH
}

/// Bytes of the IP packet, if the lengths that it speaks of agree with one another and with its own.
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "headers are tens of bytes")]
pub(super) fn sound_length<A: Family, const PROTOCOL: u8>(packet: &impl Packet) -> Option<u32> {
    let length = A::peek_length(packet, L3)?;
    let needed = A::LENGTH as u32 + transport_length::<A, PROTOCOL>(packet)?;
    (L3 as u32 + length <= packet.length() && needed <= length).then_some(length)
}

/// Bytes that the transport header speaks of: of itself for TCP, of the datagram for UDP.
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "headers are tens of bytes")]
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
pub(super) fn key<A: Family, const PROTOCOL: u8>(packet: &impl Packet) -> Option<FlowKey<A>> {
    let (source, destination) = (source(packet)?, destination(packet)?);
    Some(FlowKey::new(source, destination, ports::<A>(packet)?, PROTOCOL))
}

#[inline(always)]
pub(super) fn ports<A: Family>(packet: &impl Packet) -> Option<Ports> {
    packet.peek(l4::<A>())
}

/// What the packet is for.
#[inline(always)]
pub(in crate::datapath) fn vip<A: Family, const PROTOCOL: u8>(packet: &impl Packet) -> Option<ServiceKey> {
    let port = packet.peek(l4::<A>() + Ports::DESTINATION)?;
    Some(ServiceKey::of::<A>(destination(packet)?, port, PROTOCOL))
}

#[inline(always)]
pub(in crate::datapath) fn source<A: Family>(packet: &impl Packet) -> Option<A> {
    A::peek_source(packet, L3)
}

#[inline(always)]
pub(in crate::datapath) fn destination<A: Family>(packet: &impl Packet) -> Option<A> {
    A::peek_destination(packet, L3)
}

/// The sender's port.
#[inline(always)]
pub(in crate::datapath) fn source_port<A: Family>(packet: &impl Packet) -> Option<U16be> {
    packet.peek(l4::<A>())
}

/// TCP's data offset and control bits.
#[inline(always)]
pub(in crate::datapath) fn control<A: Family>(packet: &impl Packet) -> Option<U16be> {
    packet.peek(l4::<A>() + tcp::DATA_OFFSET)
}

/// The control bits of the packet whose IP header begins at `l3`; none for UDP.
#[inline(always)]
pub(super) fn flags<A: Family, const PROTOCOL: u8>(packet: &impl Packet, l3: usize) -> Option<tcp::Flags> {
    if PROTOCOL == protocol::TCP { packet.peek(l3 + A::LENGTH + tcp::FLAGS) } else { Some(tcp::Flags::NONE) }
}

/// Whether the packet whose IP header begins at `l3` asks for a new connection.
#[inline(always)]
pub(super) fn opens<A: Family, const PROTOCOL: u8>(packet: &impl Packet, l3: usize) -> bool {
    flags::<A, PROTOCOL>(packet, l3).is_some_and(tcp::Flags::opens)
}

/// Whether a packet came by the way that replies to it go.
#[inline(always)]
pub(super) fn came_by(packet: &impl Packet, way_back: &Hop, ifindex: u32) -> Option<bool> {
    // Compared piece by piece as they lie in the packet, not turned round first.
    let [a, b, c] = way_back.link.words();
    let (source, destination) = (packet.peek::<U16be>(10)?, packet.peek::<U16be>(0)?);
    let same = packet.peek::<U32be>(6)? == a && Ports::new(source, destination).word() == b;
    Some(same && packet.peek::<U32be>(2)? == c && way_back.ifindex == ifindex && way_back.is_untagged())
}
