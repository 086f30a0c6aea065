//! The backend's side of direct server return: takes the outer header off, and the rest goes to the stack.

use super::family::{Family, Piece};
use super::parse::{self, Frame};
use super::{Reason, pipeline};
use crate::wire::{Packet, U16be, U32be, ethernet, ipv6, protocol, udp};
use pipeline::Version;

/// Takes an outer header off: IP in IP (RFC 2003, RFC 2473), or IP in UDP to `gue_port` (GUE, variant 1). Whatever is
/// not one is left as it is, and passes.
#[inline(always)]
pub fn decapsulate(packet: &mut impl Packet, gue_port: U16be) -> Reason {
    let outcome = match pipeline::version(packet) {
        Some(Version::V4) => unwrap::<U32be>(packet, gue_port),
        Some(Version::V6) => unwrap::<ipv6::Address>(packet, gue_port),
        None => Err(Reason::NotIp),
    };
    match outcome {
        Ok(()) => Reason::Decapsulated,
        Err(reason) => reason,
    }
}

#[inline(always)]
fn unwrap<A: Family>(packet: &mut impl Packet, gue_port: U16be) -> Result<(), Reason> {
    let frame = parse::frame::<A>(packet)?;
    let (inner, end) = inside(packet, &frame, gue_port).ok_or(Reason::NotEncapsulated)?;
    let ethertype = version_at(packet, inner).ok_or(Reason::NotEncapsulated)?;
    let outside = A::traffic_class(&frame.ip) & ECN;
    match ethertype {
        ethernet::IPV4 => take_over::<U32be>(packet, (inner, end), outside)?,
        _ => take_over::<ipv6::Address>(packet, (inner, end), outside)?,
    }
    // The link-layer header moves with its tags, which the stack wants to see.
    let words: [U32be; 3] = frame.link.words();
    #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "offsets below 64 KiB")]
    let stripped = (inner - frame.l3) as i32;
    packet.strip(stripped, ethertype == ethernet::IPV6).ok_or(Reason::NoHeadroom)?;
    link_header(packet, &frame, words, ethertype).ok_or(Reason::Inconsistent)
}

/// The two bits of a traffic class that are ECN's, and their values: of a sender that heeds no marks, of one that does in either kind,
/// and the mark that a router makes where it is congested (RFC 3168).
const ECN: u8 = 3;
const NOT_ECT: u8 = 0;
const ECT_1: u8 = 1;
const ECT_0: u8 = 2;
const CONGESTED: u8 = 3;

/// Takes over to the packet inside, which must lie before `end`, what routers on the tunnel's way marked outside, or its sender would
/// never hear of it (RFC 6040, section 4.2, figure 4). A sender that does not heed marks hears of congestion by loss.
#[inline(always)]
fn take_over<A: Family>(
    packet: &mut impl Packet,
    (inner, end): (usize, usize),
    outside: u8,
) -> Result<(), Reason> {
    let header: A::Header = packet.read(inner).ok_or(Reason::NotEncapsulated)?;
    if inner + A::total_length(&header) as usize > end {
        return Err(Reason::NotEncapsulated);
    }
    let class = A::traffic_class(&header);
    let mark = match (class & ECN, outside) {
        (NOT_ECT, CONGESTED) => return Err(Reason::CongestionUnheard),
        (_, CONGESTED) => CONGESTED,
        (ECT_0, ECT_1) => ECT_1,
        _ => return Ok(()),
    };
    packet.write(inner, A::with_class(&header, class & !ECN | mark)).ok_or(Reason::Inconsistent)
}

/// Where the packet in the outer header begins, and where what the outer headers count ends: padding behind is none of it.
#[inline(always)]
fn inside<A: Family>(packet: &impl Packet, frame: &Frame<A>, gue_port: U16be) -> Option<(usize, usize)> {
    if frame.inside.piece != Piece::Whole {
        return None;
    }
    let (l4, end) = (frame.l4(), frame.l3 + A::total_length(&frame.ip) as usize);
    match frame.inside.protocol {
        protocol::IPIP | protocol::IPV6 => Some((l4, end)),
        protocol::UDP => {
            let header: udp::Header = packet.read(l4)?;
            let is_gue = header.ports.destination() == gue_port && gue_port != U16be::ZERO;
            let datagram_end = l4 + usize::from(header.length.get());
            (is_gue && datagram_end <= end).then_some((l4 + udp::LENGTH, datagram_end))
        }
        _ => None,
    }
}

/// The frame's type for the IP header at an offset.
#[inline(always)]
pub(super) fn version_at(packet: &impl Packet, offset: usize) -> Option<U16be> {
    let v4: Option<<U32be as Family>::Header> = packet.read(offset);
    if v4.is_some_and(|header| header.is_valid()) {
        return Some(ethernet::IPV4);
    }
    let v6: <ipv6::Address as Family>::Header = packet.read(offset)?;
    v6.is_valid().then_some(ethernet::IPV6)
}

#[inline(always)]
fn link_header<A: Family>(
    packet: &mut impl Packet,
    frame: &Frame<A>,
    [a, b, c]: [U32be; 3],
    ethertype: U16be,
) -> Option<()> {
    super::link::write_tags(packet, frame.tags, ethertype)?;
    packet.write(8, c)?;
    packet.write(4, b)?;
    packet.write(0, a)
}
