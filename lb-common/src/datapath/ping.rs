//! Echo requests to a VIP, answered where they arrive. Source: RFC 792; RFC 4443, section 4.2.

use super::family::Family;
use super::parse::{self, Frame};
use super::{Arrival, Direction, Outcome, Reason, Steered, Tables, classify, link};
use crate::abi::{BackendId, ServiceFlags};
use crate::wire::checksum::{self, Sum};
use crate::wire::{Packet, U16be, icmp};

/// Turns the request into its reply. One for an address that does not answer passes, and so does one from an address that
/// is no host's: what it stands for would all be answered. One with options or extension headers is the host's, for they may lead on
/// elsewhere (RFC 791, section 3.1; RFC 8200, section 4.4), and are not to be sent back as they came.
#[inline(always)]
pub(super) fn answer<A: Family>(
    packet: &mut impl Packet,
    tables: &impl Tables,
    frame: &Frame<A>,
    checksum: U16be,
    arrival: Arrival,
) -> Outcome {
    let (source, destination) = A::addresses(&frame.ip);
    let host = classify::host(tables, destination).filter(|host| host.flags().has(ServiceFlags::PING));
    let is_bare = frame.l4() == frame.l3 + A::LENGTH;
    host.filter(|_| is_bare && source.is_one_host()).ok_or(Reason::IcmpNotOurs)?;
    if parse::payload(packet, frame)? < icmp::LENGTH {
        return Err(Reason::Malformed);
    }
    let kind = A::ECHO.map(|kind| U16be::new(u16::from(kind) << 8));
    let change = Sum::ZERO.subtract(kind[0]).add(kind[1]).difference();
    packet.write(frame.l3, A::turned(&frame.ip)).ok_or(Reason::Inconsistent)?;
    packet.write(frame.l4(), kind[1]).ok_or(Reason::Inconsistent)?;
    let checksum = not_zero(checksum::update(checksum, change));
    packet.write(frame.l4() + icmp::CHECKSUM, checksum).ok_or(Reason::Inconsistent)?;
    link::turn_back(packet, frame, 0)?;
    Ok(Steered {
        reason: Reason::Ping,
        ifindex: arrival.ifindex,
        backend: BackendId::NONE,
        direction: Direction::ToClient,
        opened: false,
    })
}

/// Zero as all ones: of the two ways to write it the one that is right over any message. A reply without identifier,
/// number and data is nothing but zeros, which a checksum of zero does not complete.
#[inline(always)]
const fn not_zero(checksum: U16be) -> U16be {
    if checksum.raw() == 0 { U16be::from_raw(0xffff) } else { checksum }
}
