//! What the packet path needs of an IP version.

use super::Reason;
use crate::abi::{Extent, Ip, Stages, limits};
use crate::wire::checksum::Difference;
use crate::wire::{Packet, Plain, U16be, U32be, ethernet, icmp, icmpv6, ipv4, ipv6, protocol};

/// An IP version, by its type of address.
pub trait Family: Ip {
    /// The header, without options or extension headers.
    type Header: Plain;
    /// Bytes of the header.
    const LENGTH: usize;
    /// The frame's type for it.
    const ETHERTYPE: U16be;
    /// Protocol number of its ICMP.
    const ICMP: u8;
    /// Protocol number of its packets in an outer header.
    const TUNNELLED: u8;
    /// ICMP types of an echo request and its reply.
    const ECHO: [u8; 2];
    /// Type and code of its ICMP message that a packet is too big.
    const TOO_BIG: U16be;
    /// The same, that nobody is at the port.
    const NO_PORT: U16be;
    /// The same, that the hops were used up on the way.
    const NO_HOPS: U16be;
    /// Bits of the word behind its checksum that tell how many bytes fit, where a packet is too big.
    const MTU_BITS: u32;
    /// Bytes that every way takes: no sender heeds fewer (RFC 791; RFC 8201, section 4).
    const LEAST_MTU: u32;
    /// Whether its ICMP's checksum covers the addresses, too.
    const ICMP_SUMS_ADDRESSES: bool;
    /// The programs that its packets may go on to.
    const STAGES: Stages;

    /// Source and destination.
    fn addresses(header: &Self::Header) -> (Self, Self);
    /// Bytes of the packet from this header on, by the header's word.
    fn total_length(header: &Self::Header) -> u32;
    /// Differentiated services and ECN.
    fn traffic_class(header: &Self::Header) -> u8;
    /// The header with another traffic class.
    fn with_class(header: &Self::Header, class: u8) -> Self::Header;
    /// Hops the packet may still take.
    fn hops(header: &Self::Header) -> u8;
    /// The header's own checksum; zero where it has none.
    fn checksum(header: &Self::Header) -> U16be;
    /// The header with other addresses; `change` is what they do to a checksum.
    fn readdressed(header: &Self::Header, addresses: (Self, Self), change: Difference) -> Self::Header;
    /// The same one hop on.
    fn rewritten(header: &Self::Header, addresses: (Self, Self), change: Difference) -> Self::Header;
    /// The header of an answer: back to the sender, with all its hops.
    fn turned(header: &Self::Header) -> Self::Header;
    /// The header of an ICMP message of ours of this many bytes.
    fn control_header(addresses: (Self, Self), length: u16) -> Self::Header;
    /// The header of a TCP segment of ours of this many bytes.
    fn segment_header(addresses: (Self, Self), length: u16) -> Self::Header;
    /// The protocol, if the transport header follows at once and the packet is no fragment.
    fn plain_protocol(header: &Self::Header) -> Option<u8>;
    /// What lies between the header at `l3` and the transport header.
    fn walk(packet: &impl Packet, l3: usize, header: &Self::Header) -> Result<Inside, Reason>;
    /// Whether an ICMP message of this type quotes a packet.
    fn is_error(kind: u8) -> bool;

    /// The protocol of the packet whose header begins at `l3`, if the transport header follows at once and the packet is
    /// no fragment; see [`Packet::peek`]. Those that are neither TCP nor UDP may be left out.
    fn peek_protocol(packet: &impl Packet, l3: usize) -> Option<u8>;
    /// Its source.
    fn peek_source(packet: &impl Packet, l3: usize) -> Option<Self>;
    /// Its destination.
    fn peek_destination(packet: &impl Packet, l3: usize) -> Option<Self>;
    /// Hops it may still take.
    fn peek_hops(packet: &impl Packet, l3: usize) -> Option<u8>;
    /// Bytes from the header on, by the header's word.
    fn peek_length(packet: &impl Packet, l3: usize) -> Option<u32>;
    /// The same with its differentiated services and ECN.
    fn peek_extent(packet: &impl Packet, l3: usize) -> Option<Extent>;
    /// Gives it other addresses and takes one hop off; `None`, and nothing written, if that was its last. `change` is what
    /// the addresses do to a checksum.
    fn send_on(
        packet: &mut impl Packet,
        l3: usize,
        addresses: (Self, Self),
        change: Difference,
    ) -> Option<()>;
    /// Takes one hop off; `None`, and nothing written, if that was its last.
    fn take_hop(packet: &mut impl Packet, l3: usize) -> Option<()>;
}

/// What an IP packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inside {
    /// The protocol behind options and extension headers.
    pub protocol: u8,
    /// Where its header begins.
    pub l4: usize,
    /// Which part of a datagram it is.
    pub piece: Piece,
    /// The datagram's number, if it is a fragment.
    pub identification: U32be,
}

/// How much of a datagram a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// All of it.
    Whole,
    /// Its first fragment, which has the ports.
    First,
    /// Another fragment, which has none.
    Later,
}

impl Family for U32be {
    type Header = ipv4::Header;
    const LENGTH: usize = ipv4::LENGTH;
    const ETHERTYPE: U16be = ethernet::IPV4;
    const ICMP: u8 = protocol::ICMP;
    const TUNNELLED: u8 = protocol::IPIP;
    const ECHO: [u8; 2] = [icmp::ECHO_REQUEST, icmp::ECHO_REPLY];
    const TOO_BIG: U16be = icmp::FRAGMENTATION_NEEDED;
    const MTU_BITS: u32 = 0xffff;
    const LEAST_MTU: u32 = 68;
    const NO_PORT: U16be = icmp::PORT_UNREACHABLE;
    const NO_HOPS: U16be = icmp::TIME_EXCEEDED;
    const ICMP_SUMS_ADDRESSES: bool = false;
    const STAGES: Stages = Stages::V4;

    #[inline(always)]
    fn addresses(header: &ipv4::Header) -> (Self, Self) {
        (header.source(), header.destination())
    }

    #[inline(always)]
    fn total_length(header: &ipv4::Header) -> u32 {
        u32::from(header.total_length())
    }

    #[inline(always)]
    fn traffic_class(header: &ipv4::Header) -> u8 {
        header.traffic_class()
    }

    #[inline(always)]
    fn with_class(header: &ipv4::Header, class: u8) -> ipv4::Header {
        header.with_traffic_class(class)
    }

    #[inline(always)]
    fn hops(header: &ipv4::Header) -> u8 {
        header.time_to_live()
    }

    #[inline(always)]
    fn checksum(header: &ipv4::Header) -> U16be {
        header.checksum()
    }

    #[inline(always)]
    fn readdressed(header: &ipv4::Header, addresses: (Self, Self), change: Difference) -> ipv4::Header {
        header.readdressed(addresses.0, addresses.1, change)
    }

    #[inline(always)]
    fn rewritten(header: &ipv4::Header, addresses: (Self, Self), change: Difference) -> ipv4::Header {
        header.rewritten(addresses.0, addresses.1, change)
    }

    #[inline(always)]
    fn turned(header: &ipv4::Header) -> ipv4::Header {
        header.turned(HOPS)
    }

    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "headers are tens of bytes")]
    fn control_header(addresses: (Self, Self), length: u16) -> ipv4::Header {
        let length = length.wrapping_add(ipv4::LENGTH as u16);
        let bare = ipv4::Header::new(addresses, protocol::ICMP, HOPS, length, CONTROL_CLASS);
        bare.with_checksum(bare.sum().checksum())
    }

    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "headers are tens of bytes")]
    fn segment_header(addresses: (Self, Self), length: u16) -> ipv4::Header {
        let length = length.wrapping_add(ipv4::LENGTH as u16);
        let bare = ipv4::Header::new(addresses, protocol::TCP, HOPS, length, 0);
        bare.with_checksum(bare.sum().checksum())
    }

    #[inline(always)]
    fn plain_protocol(header: &ipv4::Header) -> Option<u8> {
        (header.is_bare() && !header.is_fragment()).then(|| header.protocol())
    }

    #[inline(always)]
    fn walk(_: &impl Packet, l3: usize, header: &ipv4::Header) -> Result<Inside, Reason> {
        if !header.is_valid() {
            return Err(Reason::BadIp);
        }
        let piece = match (header.is_fragment(), header.is_later_fragment()) {
            (false, _) => Piece::Whole,
            (true, false) => Piece::First,
            (true, true) => Piece::Later,
        };
        Ok(Inside {
            protocol: header.protocol(),
            l4: l3 + header.header_length(),
            piece,
            identification: U32be::new(u32::from(header.identification())),
        })
    }

    #[inline(always)]
    fn is_error(kind: u8) -> bool {
        icmp::is_error(kind)
    }

    #[inline(always)]
    fn peek_protocol(packet: &impl Packet, l3: usize) -> Option<u8> {
        // The place in a datagram, the hops left and the protocol, looked at as one word.
        let word: U32be = packet.peek(l3 + ipv4::FRAGMENT)?;
        if packet.peek::<u8>(l3)? != ipv4::BARE {
            return None;
        }
        let told = |word: u32| U32be::new(word & (u32::from(ipv4::IS_FRAGMENT) << 16 | 0xff)).raw();
        let known = [protocol::TCP, protocol::UDP];
        known.into_iter().find(|known| told(word.get()) == told(u32::from(*known)))
    }

    #[inline(always)]
    fn peek_source(packet: &impl Packet, l3: usize) -> Option<Self> {
        packet.peek(l3 + ipv4::SOURCE)
    }

    #[inline(always)]
    fn peek_destination(packet: &impl Packet, l3: usize) -> Option<Self> {
        packet.peek(l3 + ipv4::DESTINATION)
    }

    #[inline(always)]
    fn peek_hops(packet: &impl Packet, l3: usize) -> Option<u8> {
        packet.peek(l3 + ipv4::LIFETIME)
    }

    #[inline(always)]
    fn peek_length(packet: &impl Packet, l3: usize) -> Option<u32> {
        packet.peek(l3 + ipv4::TOTAL_LENGTH).map(|length: U16be| u32::from(length.get()))
    }

    #[inline(always)]
    fn peek_extent(packet: &impl Packet, l3: usize) -> Option<Extent> {
        packet.peek(l3).map(Extent::from_word)
    }

    #[inline(always)]
    fn send_on(
        packet: &mut impl Packet,
        l3: usize,
        (source, destination): (Self, Self),
        change: Difference,
    ) -> Option<()> {
        let lifetime = ipv4::Lifetime::of(packet.peek(l3 + ipv4::LIFETIME)?).one_hop_on(change)?;
        packet.write(l3 + ipv4::DESTINATION, destination)?;
        packet.write(l3 + ipv4::SOURCE, source)?;
        packet.write(l3 + ipv4::LIFETIME, lifetime.word())
    }

    #[inline(always)]
    fn take_hop(packet: &mut impl Packet, l3: usize) -> Option<()> {
        let lifetime = ipv4::Lifetime::of(packet.peek(l3 + ipv4::LIFETIME)?).one_hop_on(Difference::NONE)?;
        packet.write(l3 + ipv4::LIFETIME, lifetime.word())
    }
}

/// Hops that an answer of ours may take.
const HOPS: u8 = 64;
/// Traffic class of ICMP errors: internetwork control, as routers mark them (RFC 1812, section 4.3.2.5).
const CONTROL_CLASS: u8 = 0xc0;

impl Family for ipv6::Address {
    type Header = ipv6::Header;
    const LENGTH: usize = ipv6::LENGTH;
    const ETHERTYPE: U16be = ethernet::IPV6;
    const ICMP: u8 = protocol::ICMPV6;
    const TUNNELLED: u8 = protocol::IPV6;
    const ECHO: [u8; 2] = [icmpv6::ECHO_REQUEST, icmpv6::ECHO_REPLY];
    const TOO_BIG: U16be = icmpv6::PACKET_TOO_BIG;
    const MTU_BITS: u32 = u32::MAX;
    const LEAST_MTU: u32 = 1280;
    const NO_PORT: U16be = icmpv6::PORT_UNREACHABLE;
    const NO_HOPS: U16be = icmpv6::TIME_EXCEEDED;
    const ICMP_SUMS_ADDRESSES: bool = true;
    const STAGES: Stages = Stages::V6;

    #[inline(always)]
    fn addresses(header: &ipv6::Header) -> (Self, Self) {
        (header.source(), header.destination())
    }

    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "headers are tens of bytes")]
    fn total_length(header: &ipv6::Header) -> u32 {
        u32::from(header.payload_length()) + ipv6::LENGTH as u32
    }

    #[inline(always)]
    fn traffic_class(header: &ipv6::Header) -> u8 {
        header.traffic_class()
    }

    #[inline(always)]
    fn with_class(header: &ipv6::Header, class: u8) -> ipv6::Header {
        header.with_traffic_class(class)
    }

    #[inline(always)]
    fn hops(header: &ipv6::Header) -> u8 {
        header.hop_limit()
    }

    #[inline(always)]
    fn checksum(_: &ipv6::Header) -> U16be {
        U16be::ZERO
    }

    #[inline(always)]
    fn readdressed(header: &ipv6::Header, addresses: (Self, Self), _: Difference) -> ipv6::Header {
        header.readdressed(addresses.0, addresses.1)
    }

    #[inline(always)]
    fn rewritten(header: &ipv6::Header, addresses: (Self, Self), _: Difference) -> ipv6::Header {
        header.readdressed(addresses.0, addresses.1).one_hop_on()
    }

    #[inline(always)]
    fn turned(header: &ipv6::Header) -> ipv6::Header {
        header.readdressed(header.destination(), header.source()).with_hop_limit(HOPS)
    }

    #[inline(always)]
    fn control_header(addresses: (Self, Self), length: u16) -> ipv6::Header {
        ipv6::Header::new(addresses, protocol::ICMPV6, HOPS, length, (CONTROL_CLASS, 0))
    }

    #[inline(always)]
    fn segment_header(addresses: (Self, Self), length: u16) -> ipv6::Header {
        ipv6::Header::new(addresses, protocol::TCP, HOPS, length, (0, 0))
    }

    #[inline(always)]
    fn plain_protocol(header: &ipv6::Header) -> Option<u8> {
        header.is_valid().then(|| header.next_header())
    }

    #[inline(always)]
    fn walk(packet: &impl Packet, l3: usize, header: &ipv6::Header) -> Result<Inside, Reason> {
        if !header.is_valid() {
            return Err(Reason::BadIp);
        }
        let mut inside = Inside {
            protocol: header.next_header(),
            l4: l3 + ipv6::LENGTH,
            piece: Piece::Whole,
            identification: U32be::ZERO,
        };
        for _ in 0..limits::IPV6_EXTENSIONS {
            if !ipv6::is_extension(inside.protocol) || inside.piece == Piece::Later {
                break;
            }
            let extension: ipv6::Extension = packet.read(inside.l4).ok_or(Reason::BadIp)?;
            inside = behind(inside, extension);
        }
        if inside.l4 - l3 > FARTHEST {
            return Err(Reason::BadIp);
        }
        Ok(Inside { l4: packet.forget(inside.l4), ..inside })
    }

    #[inline(always)]
    fn is_error(kind: u8) -> bool {
        icmpv6::is_error(kind)
    }

    #[inline(always)]
    fn peek_protocol(packet: &impl Packet, l3: usize) -> Option<u8> {
        if packet.peek::<u8>(l3)? >> 4 == Self::VERSION { packet.peek(l3 + ipv6::NEXT_HEADER) } else { None }
    }

    #[inline(always)]
    fn peek_source(packet: &impl Packet, l3: usize) -> Option<Self> {
        peek_v6(packet, l3 + ipv6::SOURCE)
    }

    #[inline(always)]
    fn peek_destination(packet: &impl Packet, l3: usize) -> Option<Self> {
        peek_v6(packet, l3 + ipv6::DESTINATION)
    }

    #[inline(always)]
    fn peek_hops(packet: &impl Packet, l3: usize) -> Option<u8> {
        packet.peek(l3 + ipv6::HOP_LIMIT)
    }

    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "headers are tens of bytes")]
    fn peek_length(packet: &impl Packet, l3: usize) -> Option<u32> {
        let payload: U16be = packet.peek(l3 + ipv6::PAYLOAD_LENGTH)?;
        Some(u32::from(payload.get()) + ipv6::LENGTH as u32)
    }

    #[inline(always)]
    #[allow(
        clippy::cast_possible_truncation,
        reason = "a part of a word; a length that was compared with an MTU"
    )]
    fn peek_extent(packet: &impl Packet, l3: usize) -> Option<Extent> {
        let class = packet.peek(l3).map(|first: U16be| (first.get() >> 4) as u8)?;
        Some(Extent::new(class, Self::peek_length(packet, l3)? as u16))
    }

    #[inline(always)]
    fn send_on(
        packet: &mut impl Packet,
        l3: usize,
        (source, destination): (Self, Self),
        _: Difference,
    ) -> Option<()> {
        let hops: u8 = packet.peek(l3 + ipv6::HOP_LIMIT)?;
        if hops <= 1 {
            return None;
        }
        packet.write(l3 + ipv6::DESTINATION, destination)?;
        packet.write(l3 + ipv6::SOURCE, source)?;
        packet.write(l3 + ipv6::HOP_LIMIT, hops - 1)
    }

    #[inline(always)]
    fn take_hop(packet: &mut impl Packet, l3: usize) -> Option<()> {
        let hops: u8 = packet.peek(l3 + ipv6::HOP_LIMIT)?;
        if hops <= 1 {
            return None;
        }
        packet.write(l3 + ipv6::HOP_LIMIT, hops - 1)
    }
}

/// An address at an offset.
#[inline(always)]
fn peek_v6(packet: &impl Packet, at: usize) -> Option<ipv6::Address> {
    let ((a, b), (c, d)) = (U32be::both(packet.peek(at)?), U32be::both(packet.peek(at + 8)?));
    Some(ipv6::Address([a, b, c, d]))
}

/// Bytes of extension headers that are walked over. RFC 8504, section 5.3, lets a host give up before.
const FARTHEST: usize = 1024;

/// What is left behind one more extension header.
#[inline(always)]
const fn behind(inside: Inside, extension: ipv6::Extension) -> Inside {
    // The length that others have there is reserved in a fragment header, and zero.
    let bytes = (extension.length as usize + 1) * 8;
    let next = Inside { protocol: extension.next_header, l4: inside.l4 + bytes, ..inside };
    if inside.protocol != ipv6::FRAGMENT {
        return next;
    }
    let piece = match extension.offset.get() {
        // A datagram in one fragment is a whole one (RFC 6946).
        0..=7 if extension.offset.get() & 1 == 0 => Piece::Whole,
        0..=7 => Piece::First,
        _ => Piece::Later,
    };
    Inside { piece, identification: extension.identification, ..next }
}
