//! The answer to a packet that does not fit the way to its backend: without it, path MTU discovery fails and a
//! connection with it, because nobody else on the way knows of an outer header.
//!
//! Source: RFC 792; RFC 1191, section 4; RFC 1812, section 4.3.2 (what an error looks like and quotes); RFC 4443,
//! section 3.2.

use super::family::{Family, Piece};
use super::parse::Frame;
use super::{Arrival, Direction, Outcome, Reason, Steered, link};
use crate::abi::{BackendId, Ip};
use crate::wire::checksum::Sum;
use crate::wire::{Packet, U16be, U32be, icmp};

/// Bytes quoted of what follows the IP header: ports and, for TCP, the sequence number, which the sender checks.
const QUOTED_PAYLOAD: usize = 8;
/// The longest quotation in words: an IPv4 header with all its options, or an IPv6 header with some extensions, and the
/// payload. Few enough for the compiler to unroll the loop over them: in a loop it does arithmetic on the packet's end
/// ("pointer arithmetic on `pkt_end` prohibited", Linux 6.18).
const QUOTED_WORDS: usize = (60 + QUOTED_PAYLOAD) / 4;
/// Turns a packet into the answer to its sender, which may send `mtu` bytes. A packet that may be fragmented is
/// dropped: we do not fragment, and its sender did not ask to be told.
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "a quotation is tens of bytes")]
pub(super) fn answer<A: Family>(
    packet: &mut impl Packet,
    frame: &Frame<A>,
    mtu: u16,
    arrival: Arrival,
) -> Outcome {
    let quoted = frame.l4() - frame.l3 + QUOTED_PAYLOAD;
    let is_told = A::forbids_fragments(&frame.ip) && frame.inside.protocol != A::ICMP;
    if !is_told || frame.inside.piece != Piece::Whole || quoted > QUOTED_WORDS * 4 {
        return Err(Reason::TooBig);
    }
    let (source, destination) = A::addresses(&frame.ip);
    // It comes from the VIP: to the client, that is where the path ends.
    let back = (destination, source);
    let length = (icmp::LENGTH + quoted) as u16;
    let message = message(packet, frame, quoted, (back, length, mtu)).ok_or(Reason::Inconsistent)?;
    packet.cut(frame.l3 + quoted).ok_or(Reason::Inconsistent)?;
    let at = link::turn_back(packet, frame, A::LENGTH + icmp::LENGTH)?;
    packet.write(at, A::control_header(back, length)).ok_or(Reason::Inconsistent)?;
    packet.write(at + A::LENGTH, message).ok_or(Reason::Inconsistent)?;
    Ok(Steered {
        reason: Reason::FragmentationNeeded,
        ifindex: arrival.ifindex,
        backend: BackendId::NONE,
        direction: Direction::ToClient,
        opened: false,
    })
}

/// The ICMP header, its checksum over the quotation included.
#[inline(always)]
fn message<A: Family>(
    packet: &impl Packet,
    frame: &Frame<A>,
    quoted: usize,
    (addresses, length, mtu): ((A, A), u16, u16),
) -> Option<icmp::Header> {
    let rest = U32be::new(u32::from(mtu));
    let mut sum = pseudo_header(addresses, length).add(A::TOO_BIG).add_long(rest);
    for word in 0..QUOTED_WORDS {
        if word * 4 >= quoted {
            break;
        }
        sum = sum.add_long(packet.read(frame.l3 + word * 4)?);
    }
    let [kind, code] = A::TOO_BIG.get().to_be_bytes();
    Some(icmp::Header { kind, code, checksum: sum.checksum(), rest })
}

/// What the checksum covers besides the message (RFC 8200, section 8.1).
#[inline(always)]
fn pseudo_header<A: Family>((source, destination): (A, A), length: u16) -> Sum {
    if !A::ICMP_SUMS_ADDRESSES {
        return Sum::ZERO;
    }
    let addresses = Ip::add_to(destination, Ip::add_to(source, Sum::ZERO));
    addresses.add(U16be::new(length)).add(U16be::new(u16::from(A::ICMP)))
}
