//! The backend's side of direct server return: takes the outer header off, and the rest goes to the stack.

use super::family::{Family, Piece};
use super::parse::{self, Frame};
use super::{Reason, pipeline};
use crate::wire::{Packet, Ports, U16be, U32be, ethernet, ipv4, ipv6, protocol, udp};
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
    let inner = inside(packet, &frame, gue_port).ok_or(Reason::NotEncapsulated)?;
    let ethertype = version_at(packet, inner).ok_or(Reason::NotEncapsulated)?;
    if A::traffic_class(&frame.ip) & CONGESTED == CONGESTED {
        match ethertype {
            ethernet::IPV4 => mark::<U32be>(packet, inner)?,
            _ => mark::<ipv6::Address>(packet, inner)?,
        }
    }
    // The link-layer header moves with its tags, which the stack wants to see.
    let words: [U32be; 3] = frame.link.words();
    #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "offsets below 64 KiB")]
    let stripped = (inner - frame.l3) as i32;
    packet.strip(stripped, ethertype == ethernet::IPV6).ok_or(Reason::NoHeadroom)?;
    link_header(packet, &frame, words, ethertype).ok_or(Reason::Inconsistent)
}

/// The two bits of a traffic class that are ECN's, and the mark that a router makes where it is congested (RFC 3168).
const CONGESTED: u8 = 3;

/// Takes over to the packet inside what a router on the tunnel's way marked outside, or its sender would never hear of it
/// (RFC 6040, section 4.2). A sender that does not heed marks hears of congestion by loss.
#[inline(always)]
fn mark<A: Family>(packet: &mut impl Packet, inner: usize) -> Result<(), Reason> {
    let header: A::Header = packet.read(inner).ok_or(Reason::NotEncapsulated)?;
    let class = A::traffic_class(&header);
    if class & CONGESTED == 0 {
        return Err(Reason::CongestionUnheard);
    }
    packet.write(inner, A::with_class(&header, class | CONGESTED)).ok_or(Reason::Inconsistent)
}

/// Where the packet in the outer header begins, which must be what the outer header counts, not padding behind it.
#[inline(always)]
fn inside<A: Family>(packet: &impl Packet, frame: &Frame<A>, gue_port: U16be) -> Option<usize> {
    let end = frame.l3 + A::total_length(&frame.ip) as usize;
    let inner = behind_outer(packet, frame, gue_port)?;
    (inner + ipv4::LENGTH <= end).then_some(inner)
}

#[inline(always)]
fn behind_outer<A: Family>(packet: &impl Packet, frame: &Frame<A>, gue_port: U16be) -> Option<usize> {
    if frame.inside.piece != Piece::Whole {
        return None;
    }
    match frame.inside.protocol {
        protocol::IPIP | protocol::IPV6 => Some(frame.l4()),
        protocol::UDP => {
            let ports: Ports = packet.read(frame.l4())?;
            (ports.destination() == gue_port && gue_port != U16be::ZERO).then_some(frame.l4() + udp::LENGTH)
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
