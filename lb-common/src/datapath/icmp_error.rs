//! What a sender is told of a packet that goes nowhere: that it does not fit the way, that nobody serves it, that its hops
//! are used up. Without the first, path MTU discovery fails and a connection with it, for nobody else on the way knows of an
//! outer header; without the second, clients wait where they could go elsewhere; without the third, nobody can trace the way.
//!
//! Source: RFC 792; RFC 1191, section 4; RFC 1812, sections 4.3.2 (what an error looks like, quotes and is not sent about)
//! and 5.3.1; RFC 4443, sections 2.4, 3.1, 3.2 and 3.3.

use super::family::{Family, Piece};
use super::parse::Frame;
use super::{Arrival, Direction, Outcome, Reason, Steered, Tables, link};
use crate::abi::{BackendId, Ip};
use crate::wire::checksum::Sum;
use crate::wire::{Packet, U16be, U32be, icmp};

/// Bytes quoted of what follows the IP header: ports and, for TCP, the sequence number, which the sender checks.
const QUOTED_PAYLOAD: usize = 8;
/// The longest quotation in words: an IPv4 header with all its options, or an IPv6 header with some extensions, and the
/// payload. Few enough for the compiler to unroll the loop over them: in a loop it does arithmetic on the packet's end
/// ("pointer arithmetic on `pkt_end` prohibited", Linux 6.18).
const QUOTED_WORDS: usize = (60 + QUOTED_PAYLOAD) / 4;

/// What is wrong with a packet, in words of ICMP and ours.
#[derive(Clone, Copy)]
pub(super) struct IcmpError {
    /// Type and code.
    message: U16be,
    /// What lies behind the checksum.
    rest: U32be,
    told: Reason,
    untold: Reason,
}

impl IcmpError {
    /// That a packet does not fit: the way takes so many bytes.
    #[inline(always)]
    pub(super) const fn too_big<A: Family>(mtu: u32, untold: Reason) -> Self {
        Self::new(A::TOO_BIG, mtu, Reason::FragmentationNeeded, untold)
    }

    #[inline(always)]
    const fn new(message: U16be, rest: u32, told: Reason, untold: Reason) -> Self {
        Self { message, rest: U32be::new(rest), told, untold }
    }
}

/// Turns a packet that did not leave into the answer to its sender, if it stopped for a reason that its sender can do
/// something about. `mtu` is asked where it was too big.
///
/// Senders that let their packets be fragmented are told, too: we do not fragment, and most heed it.
#[inline(always)]
pub(super) fn unless_left<A: Family>(
    packet: &mut impl Packet,
    tables: &impl Tables,
    frame: &Frame<A>,
    outcome: Outcome,
    mtu: impl Fn() -> Result<u32, Reason>,
    arrival: Arrival,
) -> Outcome {
    let error = match outcome {
        Err(why @ Reason::TooBig) => IcmpError::too_big::<A>(mtu()?, why),
        Err(why @ Reason::NoBackend) => IcmpError::new(A::NO_PORT, 0, Reason::Unserved, why),
        Err(why @ Reason::TimeToLive) => IcmpError::new(A::NO_HOPS, 0, Reason::HopsUsedUp, why),
        outcome => return outcome,
    };
    if is_told(tables, frame, arrival) { answer(packet, frame, error, arrival) } else { Err(error.untold) }
}

/// Whether a packet's sender is told of it, who is not told too often.
#[inline(always)]
pub(super) fn is_told<A: Family>(tables: &impl Tables, frame: &Frame<A>, arrival: Arrival) -> bool {
    may_be_told(frame) && tables.may_send_error(arrival.now)
}

/// Whether there is one sender to tell, and its packet can be quoted.
#[inline(always)]
fn may_be_told<A: Family>(frame: &Frame<A>) -> bool {
    let (source, _) = A::addresses(&frame.ip);
    frame.inside.piece == Piece::Whole && quoted(frame) <= QUOTED_WORDS * 4 && source.is_one_host()
}

/// Bytes that are quoted.
#[inline(always)]
const fn quoted<A: Family>(frame: &Frame<A>) -> usize {
    frame.l4() - frame.l3 + QUOTED_PAYLOAD
}

/// Turns the packet into the answer to its sender.
#[inline(always)]
fn answer<A: Family>(
    packet: &mut impl Packet,
    frame: &Frame<A>,
    error: IcmpError,
    arrival: Arrival,
) -> Outcome {
    let quoted = quoted(frame);
    let message = message(packet, frame, quoted, error).ok_or(Reason::Malformed)?;
    packet.cut(frame.l3 + quoted).ok_or(Reason::Malformed)?;
    let at = link::turn_back(packet, frame, A::LENGTH + icmp::LENGTH)?;
    say(packet, frame, (at, message), (error.told, arrival))
}

/// The same about a packet that lies in another one, at least as far behind as the answer's quotation goes: so what is quoted of it
/// can be copied there from its beginning on.
#[inline(always)]
pub(super) fn answer_inner<A: Family>(
    packet: &mut impl Packet,
    frame: &Frame<A>,
    error: IcmpError,
    arrival: Arrival,
) -> Outcome {
    let quoted = quoted(frame);
    let message = message(packet, frame, quoted, error).ok_or(Reason::Malformed)?;
    let at = link::header_length(frame.tags);
    let to = at + A::LENGTH + icmp::LENGTH;
    copy(packet, (frame.l3, to), quoted).ok_or(Reason::Malformed)?;
    packet.cut(to + quoted).ok_or(Reason::Malformed)?;
    link::turn_back(packet, frame, 0)?;
    say(packet, frame, (at, message), (error.told, arrival))
}

#[inline(always)]
fn copy(packet: &mut impl Packet, (from, to): (usize, usize), bytes: usize) -> Option<()> {
    for word in 0..QUOTED_WORDS {
        if word * 4 >= bytes {
            break;
        }
        let copied: U32be = packet.read(from + word * 4)?;
        packet.write(to + word * 4, copied)?;
    }
    Some(())
}

/// Writes the answer's headers, which begin at `at`: it comes from whom the packet was for, since to its sender that is where the
/// path ends.
#[inline(always)]
fn say<A: Family>(
    packet: &mut impl Packet,
    frame: &Frame<A>,
    (at, message): (usize, icmp::Header),
    (reason, arrival): (Reason, Arrival),
) -> Outcome {
    packet.write(at, A::control_header(back(frame), length(frame))).ok_or(Reason::Inconsistent)?;
    packet.write(at + A::LENGTH, message).ok_or(Reason::Inconsistent)?;
    Ok(Steered {
        reason,
        ifindex: arrival.ifindex,
        backend: BackendId::NONE,
        direction: Direction::ToClient,
        opened: false,
    })
}

/// Whom an answer is from, and for.
#[inline(always)]
fn back<A: Family>(frame: &Frame<A>) -> (A, A) {
    let (source, destination) = A::addresses(&frame.ip);
    (destination, source)
}

/// Bytes of the ICMP message about a packet.
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "a quotation is tens of bytes")]
const fn length<A: Family>(frame: &Frame<A>) -> u16 {
    (icmp::LENGTH + quoted(frame)) as u16
}

/// The ICMP header, its checksum over the quotation included.
#[inline(always)]
fn message<A: Family>(
    packet: &impl Packet,
    frame: &Frame<A>,
    quoted: usize,
    error: IcmpError,
) -> Option<icmp::Header> {
    let IcmpError { message, rest, .. } = error;
    let mut sum = pseudo_header(back(frame), length(frame)).add(message).add_long(rest);
    for word in 0..QUOTED_WORDS {
        if word * 4 >= quoted {
            break;
        }
        sum = sum.add_long(packet.read(frame.l3 + word * 4)?);
    }
    let [kind, code] = message.get().to_be_bytes();
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

#[cfg(all(test, feature = "host"))]
mod tests {
    use super::*;
    use crate::abi::{
        Address, Contents, Forward, Hop, Service, ServiceFlags, ServiceKey, Slot, Ticks, limits,
    };
    use crate::datapath::{HostTables, balance};
    use crate::wire::{Buffer, protocol};
    use std::vec::Vec;

    const VIP: [u8; 4] = [203, 0, 113, 10];
    const CLIENT: [u8; 4] = [192, 0, 2, 1];
    const BACKEND: [u8; 4] = [10, 0, 0, 11];
    const ARRIVAL: Arrival = Arrival { ifindex: 1, now: Ticks(1000) };
    const CLIENTS_IFINDEX: u32 = 9;

    /// A datagram of this many bytes from the IP header on.
    fn datagram((source, from): ([u8; 4], u16), (destination, to): ([u8; 4], u16), bytes: u16) -> Buffer {
        let [high, low] = bytes.to_be_bytes();
        let ip = [0x45, 0, high, low, 0, 1, 0x40, 0, 64, protocol::UDP, 0, 0];
        let udp = [from, to, bytes - 20, 0].map(u16::to_be_bytes).concat();
        let link = [&[4; 6][..], &[2; 6], &[8, 0]].concat();
        let rest = std::vec![0; usize::from(bytes) - 28];
        Buffer::new(&[&link, &ip[..], &source, &destination, &udp, &rest].concat::<u8>())
    }

    fn key((address, port): ([u8; 4], u16)) -> ServiceKey {
        ServiceKey::v4(U32be::from(address), U16be::new(port), protocol::UDP)
    }

    #[test]
    fn no_more_senders_are_told_in_a_second_than_the_bound_says() {
        let mut tables = HostTables::default();
        tables.slots.insert(0, Slot::default());
        let service = Service::new(key((VIP, 53)), Forward::DsrIpip, 0, 0, 1, ServiceFlags(0));
        assert!(tables.add_service(service));
        let end = |now| {
            let arrival = Arrival { now: Ticks(now), ..ARRIVAL };
            balance(&mut datagram((CLIENT, 1000), (VIP, 53), 40), &tables, arrival)
        };
        let told = (0..=limits::ERRORS_PER_SECOND).filter(|_| end(1000).is_ok()).count();
        assert_eq!(told, limits::ERRORS_PER_SECOND as usize);
        assert_eq!(end(1249), Err(Reason::NoBackend));
        assert_eq!(end(1250).map(|steered| steered.reason), Ok(Reason::Unserved));
    }

    /// What becomes of an endpoint's answer of so many bytes, which the kernel would send by an interface that takes 1400.
    fn answer_of(bytes: u16) -> (Outcome, Vec<u8>) {
        let hop = Hop { ifindex: CLIENTS_IFINDEX, ..Hop::default() };
        let by_an_interface = |tables: &mut HostTables| {
            tables.routes.insert(Address::v4(U32be::from(CLIENT)), hop);
        };
        answer_by(by_an_interface, bytes)
    }

    /// The same by a way that `furnish` makes.
    fn answer_by(furnish: impl Fn(&mut HostTables), bytes: u16) -> (Outcome, Vec<u8>) {
        let mut tables = HostTables::default();
        let other = (Address::v4(U32be::from(VIP)), U16be::new(53));
        assert!(tables.add_service(Service::endpoint(key((BACKEND, 8053)), other)));
        tables.contents = Contents::default().with(Contents::ENDPOINTS);
        tables.mtus = [(1, 9000), (CLIENTS_IFINDEX, 1400)].into();
        furnish(&mut tables);
        let mut packet = datagram((BACKEND, 8053), (CLIENT, 1000), bytes);
        (balance(&mut packet, &tables, ARRIVAL), packet.bytes().to_vec())
    }

    #[test]
    fn an_endpoint_s_answer_is_compared_with_the_interface_that_it_leaves_by() {
        let end = |bytes| answer_of(bytes).0.map(|steered| (steered.reason, steered.ifindex));
        assert_eq!(end(1400), Ok((Reason::DnatReply, CLIENTS_IFINDEX)));
        assert_eq!(end(1401), Ok((Reason::FragmentationNeeded, ARRIVAL.ifindex)));
    }

    #[test]
    fn an_endpoint_s_answer_that_is_left_to_the_kernel_is_compared_with_the_kernel_s_way() {
        let narrow = |tables: &mut HostTables| {
            tables.narrow.insert(Address::v4(U32be::from(CLIENT)), 1400);
        };
        let end = |bytes| answer_by(narrow, bytes).0.map(|steered| (steered.reason, steered.ifindex));
        assert_eq!(end(1400), Err(Reason::DnatRouted));
        assert_eq!(end(1401), Ok((Reason::FragmentationNeeded, ARRIVAL.ifindex)));
    }

    #[test]
    fn who_sent_an_answer_is_told_in_its_own_terms() {
        let (_, told) = answer_of(1401);
        assert_eq!(told.get(26..34), Some(&[CLIENT, BACKEND].concat()[..]), "from whom it was for");
        assert_eq!(told.get(34..36), Some(&[3, 4][..]));
        assert_eq!(told.get(38..42), Some(&1400u32.to_be_bytes()[..]));
        assert_eq!(told.get(54..62), Some(&[BACKEND, CLIENT].concat()[..]), "what it sent, untranslated");
    }
}
