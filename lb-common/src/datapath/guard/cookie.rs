//! SYN cookies: a flood's SYNs answered here, and the acknowledgements of such answers checked, so that a listener on this
//! host sees completed handshakes only.
//!
//! A cookie is a sequence number that says all that a listener must know of the SYN it answers (RFC 4987, section 3.6), made
//! and checked by the kernel, with its own secret: what is answered here the listener takes for its own answer. It does so
//! only if told to look for cookies at any time (`net.ipv4.tcp_syncookies=2`), and only if it has sent one itself within two
//! minutes, which it has: some SYNs are left to it, as many as may begin flows.

use super::super::family::{Family, Piece};
use super::super::link;
use super::super::parse::{self, Frame};
use super::super::{Arrival, Direction, Outcome, Reason, Steered, Tables};
use crate::abi::BackendId;
use crate::wire::checksum::Sum;
use crate::wire::{Packet, Ports, U16be, U32be, protocol, tcp};

/// What the kernel knows of connections and cookies.
pub trait Cookies<A: Family> {
    /// The sequence number to answer a SYN with, made of its headers and the longest segment that it asks for.
    fn cookie(&self, ip: &A::Header, syn: &Asking) -> Option<U32be>;
    /// Whether a segment acknowledges such a number.
    fn is_valid(&self, ip: &A::Header, segment: &tcp::Header) -> bool;
    /// Whether there is a connection between these ends.
    fn is_connected(&self, addresses: (A, A), ports: Ports) -> bool;
}

/// A TCP header with one option: the longest segment that its sender takes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asking {
    /// The header.
    pub header: tcp::Header,
    /// The option.
    pub segment: U32be,
}

/// Bytes of it.
const LENGTH: usize = tcp::LENGTH + 4;

plain!(Asking, LENGTH);

/// Kind and length of the option (RFC 9293, section 3.2).
const SEGMENT_OPTION: u32 = 2 << 24 | 4 << 16;
/// Where the kind and the length are.
const OPTION_MASK: u32 = 0xffff_0000;
/// The data offset of a header with this option.
const DATA_OFFSET: u8 = 6 << 4;
/// As a packet's header says it.
const BYTES: u16 = 24;
/// The window that an answer offers: as much as goes without scaling, which a cookie has no room to agree on.
const WINDOW: u16 = u16::MAX;

/// What becomes of a segment that a flood makes suspect: `None` if it may go on.
#[inline(always)]
pub fn challenge<A: Family>(
    packet: &mut impl Packet,
    tables: &impl Tables,
    cookies: &impl Cookies<A>,
    arrival: Arrival,
) -> Option<Outcome> {
    let bytes = packet.length();
    let outcome = judge(packet, cookies, arrival)?;
    let reason = match &outcome {
        Ok(steered) => steered.reason,
        Err(reason) => *reason,
    };
    tables.count(reason, bytes);
    Some(outcome)
}

#[inline(always)]
fn judge<A: Family>(
    packet: &mut impl Packet,
    cookies: &impl Cookies<A>,
    arrival: Arrival,
) -> Option<Outcome> {
    let frame = parse::frame::<A>(packet).ok()?;
    if frame.inside.protocol != protocol::TCP || frame.inside.piece != Piece::Whole {
        return None;
    }
    let segment: tcp::Header = packet.read(frame.l4())?;
    if segment.flags.opens() {
        return Some(answer(packet, cookies, &frame, &segment, arrival));
    }
    let is_known =
        cookies.is_connected(A::addresses(&frame.ip), segment.ports) || cookies.is_valid(&frame.ip, &segment);
    if is_known { None } else { Some(Err(Reason::SynCookieBad)) }
}

/// Turns a SYN into the answer with a cookie. One without options is no client's, and gets none: there is no room for the
/// answer's.
#[inline(always)]
fn answer<A: Family>(
    packet: &mut impl Packet,
    cookies: &impl Cookies<A>,
    frame: &Frame<A>,
    syn: &tcp::Header,
    arrival: Arrival,
) -> Outcome {
    let option: U32be = packet.read(frame.l4() + tcp::LENGTH).ok_or(Reason::ServiceNewFlows)?;
    let segment = asked(option, syn).ok_or(Reason::ServiceNewFlows)?;
    let asking = Asking { header: tcp::Header { data_offset: DATA_OFFSET, ..*syn }, segment };
    let cookie = cookies.cookie(&frame.ip, &asking).ok_or(Reason::ServiceNewFlows)?;
    let (client, service) = A::addresses(&frame.ip);
    let answer = answer_to::<A>(syn, cookie, (service, client));
    packet.write(frame.l3, A::segment_header((service, client), BYTES)).ok_or(Reason::Inconsistent)?;
    packet.write(frame.l3 + A::LENGTH, answer).ok_or(Reason::Inconsistent)?;
    packet.cut(frame.l3 + A::LENGTH + LENGTH).ok_or(Reason::Inconsistent)?;
    link::turn_back(packet, frame, 0)?;
    Ok(Steered {
        reason: Reason::SynCookie,
        ifindex: arrival.ifindex,
        backend: BackendId::NONE,
        direction: Direction::ToClient,
        opened: false,
    })
}

/// The option of a SYN that says how long segments may be; what holds without it, if another option comes first, as no
/// common system has it. `None` if there is no option.
#[inline(always)]
fn asked(option: U32be, syn: &tcp::Header) -> Option<U32be> {
    if syn.length() < LENGTH {
        return None;
    }
    let is_length = option.get() & OPTION_MASK == SEGMENT_OPTION;
    Some(if is_length { option } else { U32be::new(SEGMENT_OPTION | DEFAULT_SEGMENT) })
}

/// What every host takes (RFC 9293, section 3.7.1).
const DEFAULT_SEGMENT: u32 = 536;
/// The longest packet of an Ethernet: what the way takes may be less, and path MTU discovery tells.
const MTU: u32 = 1500;

/// The answer to a SYN, between these addresses.
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "headers are tens of bytes")]
fn answer_to<A: Family>(syn: &tcp::Header, cookie: U32be, addresses: (A, A)) -> Asking {
    let header = tcp::Header {
        ports: syn.ports.reversed(),
        sequence: cookie,
        acknowledgment: U32be::new(syn.sequence.get().wrapping_add(1)),
        data_offset: DATA_OFFSET,
        flags: tcp::Flags(tcp::Flags::SYN.0 | tcp::Flags::ACK.0),
        window: U16be::new(WINDOW),
        checksum: U16be::ZERO,
        urgent: U16be::ZERO,
    };
    let longest = MTU - A::LENGTH as u32 - tcp::LENGTH as u32;
    let answer = Asking { header, segment: U32be::new(SEGMENT_OPTION | longest) };
    let checksum = answer.sum(addresses).checksum();
    Asking { header: tcp::Header { checksum, ..header }, ..answer }
}

impl Asking {
    /// The sum over it and its pseudo-header (RFC 9293, section 3.1).
    #[inline(always)]
    fn sum<A: Family>(&self, (source, destination): (A, A)) -> Sum {
        let header = &self.header;
        let control = U16be::new(u16::from(header.data_offset) << 8 | u16::from(header.flags.0));
        let pseudo = [source, destination].into_iter().flat_map(|address| address.widen().0);
        pseudo
            .chain([header.ports.word(), header.sequence, header.acknowledgment, self.segment])
            .fold(Sum::ZERO, Sum::add_long)
            .add(U16be::new(u16::from(protocol::TCP)))
            .add(U16be::new(BYTES))
            .add(control)
            .add(header.window)
            .add(header.checksum)
    }
}

#[cfg(all(test, feature = "host"))]
mod tests {
    use super::*;
    use crate::abi::Ticks;
    use crate::datapath::HostTables;
    use crate::wire::{Buffer, ipv6};
    use std::vec::Vec;

    /// A kernel whose cookie is always this, and which knows whom it is told to.
    #[derive(Default)]
    struct Kernel {
        connected: bool,
    }

    const COOKIE: u32 = 0x1234_5678;

    impl<A: Family> Cookies<A> for Kernel {
        fn cookie(&self, _: &A::Header, syn: &Asking) -> Option<U32be> {
            assert_eq!((syn.header.length(), syn.segment.get()), (LENGTH, SEGMENT_OPTION + 1400));
            Some(U32be::new(COOKIE))
        }

        fn is_valid(&self, _: &A::Header, segment: &tcp::Header) -> bool {
            segment.acknowledgment.get() == COOKIE + 1
        }

        fn is_connected(&self, _: (A, A), _: Ports) -> bool {
            self.connected
        }
    }

    const ARRIVAL: Arrival = Arrival { ifindex: 7, now: Ticks(0) };
    const PORTS: [u8; 4] = [0x30, 0x39, 0, 80];
    /// A longest segment of 1400 bytes, and the permission to acknowledge selectively.
    const OPTIONS: [u8; 8] = [2, 4, 5, 120, 4, 2, 1, 1];

    /// A segment with these options.
    fn segment(flags: tcp::Flags, acknowledgment: u32, options: &[u8]) -> Vec<u8> {
        let words = u8::try_from(5 + options.len() / 4).unwrap();
        let numbers = [u32::MAX.to_be_bytes(), acknowledgment.to_be_bytes()].concat();
        [&PORTS, &numbers[..], &[words << 4, flags.0, 0xff, 0, 0, 0, 0, 0], options].concat()
    }

    /// A frame from 2:… to 4:…, with a segment from 192.0.2.1 to 203.0.113.10.
    fn v4(segment: &[u8]) -> Buffer {
        let length = u16::try_from(20 + segment.len()).unwrap().to_be_bytes();
        let ip =
            [&[0x45, 0], &length[..], &[0, 1, 0x40, 0, 7, 6, 0, 0, 192, 0, 2, 1, 203, 0, 113, 10]].concat();
        Buffer::new(&[&[4; 6][..], &[2; 6], &[8, 0], &ip, segment].concat())
    }

    /// The same with addresses of IPv6.
    fn v6(segment: &[u8]) -> Buffer {
        let length = u16::try_from(segment.len()).unwrap().to_be_bytes();
        let ip = [&[0x60, 0, 0, 0], &length[..], &[6, 7], &[1; 16], &[3; 16]].concat();
        Buffer::new(&[&[4; 6][..], &[2; 6], &[0x86, 0xdd], &ip, segment].concat())
    }

    fn fate<A: Family>(packet: &mut Buffer, kernel: &Kernel) -> Option<Result<Reason, Reason>> {
        let outcome = challenge::<A>(packet, &HostTables::default(), kernel, ARRIVAL)?;
        Some(outcome.map(|steered| steered.reason))
    }

    #[test]
    fn a_syn_is_turned_into_the_answer_of_its_listener() {
        let mut packet = v4(&segment(tcp::Flags::SYN, 0, &OPTIONS));
        assert_eq!(fate::<U32be>(&mut packet, &Kernel::default()), Some(Ok(Reason::SynCookie)));
        let bytes = packet.bytes();
        assert_eq!((&bytes[..12], bytes.len()), (&[[2; 6], [4; 6]].concat()[..], 14 + 20 + LENGTH));
        assert_eq!(bytes[14..20], [0x45, 0, 0, 44, 0, 0]);
        assert_eq!(bytes[26..34], [203, 0, 113, 10, 192, 0, 2, 1]);
        assert_eq!(bytes[34..38], [0, 80, 0x30, 0x39]);
        assert_eq!(bytes[38..46], [0x12, 0x34, 0x56, 0x78, 0, 0, 0, 0], "the number after the last is 0");
        assert_eq!(bytes[46..50], [0x60, 0x12, 0xff, 0xff]);
        assert_eq!(bytes[54..], [2, 4, 5, 180], "1460 bytes");
        let pseudo = [&bytes[26..34], &[0, 6, 0, 24], &bytes[34..]].concat();
        assert_eq!(Sum::ZERO.add_bytes(&pseudo).fold(), 0xffff);
        assert_eq!(Sum::ZERO.add_bytes(&bytes[14..34]).fold(), 0xffff);
    }

    #[test]
    fn the_same_goes_for_ipv6() {
        let mut packet = v6(&segment(tcp::Flags::SYN, 0, &OPTIONS));
        assert_eq!(fate::<ipv6::Address>(&mut packet, &Kernel::default()), Some(Ok(Reason::SynCookie)));
        let bytes = packet.bytes();
        assert_eq!(bytes[14..22], [0x60, 0, 0, 0, 0, 24, 6, 64]);
        assert_eq!((&bytes[22..38], &bytes[38..54], bytes.len()), (&[3; 16][..], &[1; 16][..], 78));
        assert_eq!(bytes[74..], [2, 4, 5, 160], "1440 bytes");
        let pseudo = [&bytes[22..54], &[0, 0, 0, 24, 0, 0, 0, 6], &bytes[54..]].concat();
        assert_eq!(Sum::ZERO.add_bytes(&pseudo).fold(), 0xffff);
    }

    #[test]
    fn what_comes_first_need_not_be_the_longest_segment() {
        let syn = |options: &[u8]| {
            let mut header = [0; 20];
            header.copy_from_slice(&segment(tcp::Flags::SYN, 0, options)[..20]);
            Buffer::new(&header).read::<tcp::Header>(0).unwrap()
        };
        let option = |bytes: [u8; 4]| U32be::from(bytes);
        assert_eq!(asked(option([2, 4, 5, 120]), &syn(&OPTIONS)).unwrap().get(), SEGMENT_OPTION + 1400);
        assert_eq!(asked(option([1, 3, 3, 7]), &syn(&OPTIONS)).unwrap().get(), SEGMENT_OPTION + 536);
        assert_eq!(asked(option([2, 4, 5, 120]), &syn(&[])), None);
    }

    #[test]
    fn a_syn_without_options_gets_no_answer() {
        let mut packet = v4(&segment(tcp::Flags::SYN, 0, &[]));
        let before = packet.bytes().to_vec();
        let fate = fate::<U32be>(&mut packet, &Kernel::default());
        assert_eq!((fate, packet.bytes()), (Some(Err(Reason::ServiceNewFlows)), &before[..]));
    }

    #[test]
    fn of_acknowledgements_those_of_connections_and_of_cookies_go_on() {
        let (stranger, connected) = (Kernel::default(), Kernel { connected: true });
        let ack = |number| v4(&segment(tcp::Flags::ACK, number, b""));
        assert_eq!(fate::<U32be>(&mut ack(COOKIE + 1), &stranger), None);
        assert_eq!(fate::<U32be>(&mut ack(7), &connected), None);
        assert_eq!(fate::<U32be>(&mut ack(7), &stranger), Some(Err(Reason::SynCookieBad)));
    }
}
