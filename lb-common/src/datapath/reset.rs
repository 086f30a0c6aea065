//! The answer to a segment of a translated connection that nobody knows any more: that it is over. Without it a client
//! would send again and again into nothing, for minutes, or wait for data that never come.
//!
//! Source: RFC 9293, section 3.10.7.1 (a connection that does not exist).

use super::family::{Family, Piece};
use super::parse::{self, Frame, Segment};
use super::{Arrival, Direction, Outcome, Reason, Steered, Tables, link};
use crate::abi::{BackendId, Ip};
use crate::wire::checksum::Sum;
use crate::wire::{Packet, U16be, U32be, protocol, tcp};

/// The data offset of a header without options.
const DATA_OFFSET: u8 = 5 << 4;
/// Bytes of it, as a packet's header says it.
const BYTES: u16 = 20;

/// Turns a segment of no connection into the reset that answers it. Who resets a connection is not answered.
#[inline(always)]
pub(super) fn answer<A: Family>(
    packet: &mut impl Packet,
    tables: &impl Tables,
    frame: &Frame<A>,
    segment: &Segment,
    arrival: Arrival,
) -> Outcome {
    let (source, destination) = A::addresses(&frame.ip);
    let is_whole = segment.protocol == protocol::TCP && segment.piece == Piece::Whole;
    let is_told = is_whole && !segment.flags.resets() && source.is_one_host();
    if !is_told || !tables.may_send_error(arrival.now) {
        return Err(Reason::NoFlow);
    }
    let back = (destination, source);
    let reset = reset(packet, frame, back)?;
    packet.cut(frame.l3 + A::LENGTH + tcp::LENGTH).ok_or(Reason::Inconsistent)?;
    let at = link::turn_back(packet, frame, 0)?;
    packet.write(at, A::segment_header(back, BYTES)).ok_or(Reason::Inconsistent)?;
    packet.write(at + A::LENGTH, reset).ok_or(Reason::Inconsistent)?;
    Ok(Steered {
        reason: Reason::Reset,
        ifindex: arrival.ifindex,
        backend: BackendId::NONE,
        direction: Direction::ToClient,
        opened: false,
    })
}

/// The header of the reset between these addresses: it is where its peer believes us to be, or if that does not say,
/// acknowledges all.
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "a packet's length")]
fn reset<A: Family>(
    packet: &impl Packet,
    frame: &Frame<A>,
    addresses: (A, A),
) -> Result<tcp::Header, Reason> {
    let segment: tcp::Header = packet.read(frame.l4()).ok_or(Reason::Malformed)?;
    let carried = parse::payload(packet, frame)?.checked_sub(segment.length()).ok_or(Reason::Malformed)?;
    let (sequence, acknowledgment, flags) = if segment.flags.0 & tcp::Flags::ACK.0 != 0 {
        (segment.acknowledgment, U32be::ZERO, tcp::Flags::RST)
    } else {
        // SYN and FIN count as one each.
        let marks = u32::from(segment.flags.0 & (tcp::Flags::SYN.0 | tcp::Flags::FIN.0)).count_ones();
        let next = segment.sequence.get().wrapping_add(carried as u32).wrapping_add(marks);
        (U32be::ZERO, U32be::new(next), tcp::Flags(tcp::Flags::RST.0 | tcp::Flags::ACK.0))
    };
    let bare = tcp::Header {
        ports: segment.ports.reversed(),
        sequence,
        acknowledgment,
        data_offset: DATA_OFFSET,
        flags,
        window: U16be::ZERO,
        checksum: U16be::ZERO,
        urgent: U16be::ZERO,
    };
    Ok(tcp::Header { checksum: sum(&bare, addresses).checksum(), ..bare })
}

/// The sum over a header whose window is closed, and its pseudo-header (RFC 9293, section 3.1).
#[inline(always)]
fn sum<A: Family>(header: &tcp::Header, (source, destination): (A, A)) -> Sum {
    let control = U16be::new(u16::from(header.data_offset) << 8 | u16::from(header.flags.0));
    Ip::add_to(destination, Ip::add_to(source, Sum::ZERO))
        .add(U16be::new(u16::from(protocol::TCP)))
        .add(U16be::new(BYTES))
        .add_long(header.ports.word())
        .add_long(header.sequence)
        .add_long(header.acknowledgment)
        .add(control)
}
