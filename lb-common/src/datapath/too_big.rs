//! What a sender is told of a packet that does not fit with its outer header: fragmentation is needed, at this size.
//!
//! Without it such packets would vanish and a connection with them, because nobody else on the way knows of the outer
//! header. Source: RFC 792; RFC 1191, section 4; RFC 1812, section 4.3.2 (what an error looks like and quotes).

use super::parse::Frame;
use super::{Arrival, Direction, Outcome, Reason, Steered, link};
use crate::abi::{BackendId, OUTER_LENGTH};
use crate::wire::checksum::Sum;
use crate::wire::{Packet, U32be, icmp, ipv4, protocol};

/// Bytes quoted of what follows the IP header: ports and, for TCP, the sequence number, which the sender checks.
const QUOTED_PAYLOAD: usize = 8;
/// The longest quotation in words: a header with all its options, and the payload.
const QUOTED_WORDS: usize = (60 + QUOTED_PAYLOAD) / 4;
/// Bytes put in front of the quotation.
const ROOM: usize = ipv4::LENGTH + icmp::LENGTH;
/// Internetwork control, as routers mark errors (RFC 1812, section 4.3.2.5).
const TRAFFIC_CLASS: u8 = 0xc0;
/// Hops the answer may take.
const TIME_TO_LIVE: u8 = 64;

/// Turns a packet into the answer to its sender. One that may be fragmented is dropped: we do not fragment, and its
/// sender did not ask to be told.
#[inline(always)]
pub(super) fn answer(packet: &mut impl Packet, frame: &Frame, mtu: u16, arrival: Arrival) -> Outcome {
    if !frame.ip.forbids_fragments() || frame.ip.protocol() == protocol::ICMP {
        return Err(Reason::TooBig);
    }
    let quoted = frame.ip.header_length() + QUOTED_PAYLOAD;
    let message = message(packet, frame, quoted, mtu).ok_or(Reason::Inconsistent)?;
    packet.cut(frame.l3 + quoted).ok_or(Reason::Inconsistent)?;
    let at = link::turn_back(packet, frame, ROOM)?;
    packet.write(at, header(frame, quoted)).ok_or(Reason::Inconsistent)?;
    packet.write(at + ipv4::LENGTH, message).ok_or(Reason::Inconsistent)?;
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
fn message(packet: &impl Packet, frame: &Frame, quoted: usize, mtu: u16) -> Option<icmp::Header> {
    let rest = U32be::new(u32::from(mtu.saturating_sub(OUTER_LENGTH)));
    let mut sum = Sum::ZERO.add(icmp::FRAGMENTATION_NEEDED).add_long(rest);
    for word in 0..QUOTED_WORDS {
        if word * 4 >= quoted {
            break;
        }
        sum = sum.add_long(packet.read(frame.l3 + word * 4)?);
    }
    let [kind, code] = icmp::FRAGMENTATION_NEEDED.get().to_be_bytes();
    Some(icmp::Header { kind, code, checksum: sum.checksum(), rest })
}

/// The answer comes from the VIP: to the client, that is where the path ends.
#[inline(always)]
fn header(frame: &Frame, quoted: usize) -> ipv4::Header {
    #[allow(clippy::cast_possible_truncation, reason = "at most 96")]
    let length = (ROOM + quoted) as u16;
    let addresses = (frame.ip.destination(), frame.ip.source());
    let bare = ipv4::Header::new(addresses, protocol::ICMP, TIME_TO_LIVE, length, TRAFFIC_CLASS);
    bare.with_checksum(bare.sum().checksum())
}
