//! Packets built layer by layer, lengths and checksums worked out here by the definition, not by the code under test.

use super::segment::{self, Segment};
use std::net::IpAddr;

/// A packet from the inside out: begin with a transport, wrap it, end with [`Stack::bytes`].
#[derive(Clone)]
pub struct Stack(Vec<u8>);

/// An IPv4 address with a port.
pub(super) type End = ([u8; 4], u16);

impl Stack {
    /// A TCP segment from `source` to `destination` in an IPv4 packet.
    #[must_use]
    pub fn tcp(source: End, destination: End, flags: u8, payload: &[u8]) -> Ipv4 {
        let mut segment = Vec::new();
        segment.extend(source.1.to_be_bytes());
        segment.extend(destination.1.to_be_bytes());
        segment.extend(1_000_000u32.to_be_bytes());
        segment.extend(2_000_000u32.to_be_bytes());
        segment.extend([0x50, flags, 0x20, 0, 0, 0, 0, 0]);
        segment.extend(payload);
        Ipv4::new(source.0, destination.0, 6, segment).summed_at(segment::CHECKSUM)
    }

    /// A UDP datagram in an IPv4 packet.
    #[must_use]
    pub fn udp(source: End, destination: End, payload: &[u8]) -> Ipv4 {
        let mut segment = Vec::new();
        segment.extend(source.1.to_be_bytes());
        segment.extend(destination.1.to_be_bytes());
        segment.extend(u16::try_from(8 + payload.len()).unwrap_or(u16::MAX).to_be_bytes());
        segment.extend([0, 0]);
        segment.extend(payload);
        Ipv4::new(source.0, destination.0, 17, segment).summed_at(6)
    }

    /// An ICMP message; `body` follows the checksum.
    #[must_use]
    pub fn icmp(source: [u8; 4], destination: [u8; 4], kind: u8, code: u8, body: &[u8]) -> Ipv4 {
        let mut message = vec![kind, code, 0, 0];
        message.extend(body);
        let sum = checksum(&[&message]);
        message.splice(2..4, sum.to_be_bytes());
        Ipv4::new(source, destination, 1, message)
    }

    /// A packet of any protocol, its payload as it is.
    #[must_use]
    pub fn raw(source: [u8; 4], destination: [u8; 4], protocol: u8, payload: &[u8]) -> Ipv4 {
        Ipv4::new(source, destination, protocol, payload.to_vec())
    }

    /// A frame with these tags around whatever is of this type.
    #[must_use]
    pub fn frame(
        destination: [u8; 6],
        source: [u8; 6],
        tags: &[(u16, u16)],
        ethertype: u16,
        payload: &[u8],
    ) -> Self {
        let mut frame = [destination, source].concat();
        for (kind, control) in tags {
            frame.extend(kind.to_be_bytes());
            frame.extend(control.to_be_bytes());
        }
        frame.extend(ethertype.to_be_bytes());
        frame.extend(payload);
        Self(frame)
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(self) -> Vec<u8> {
        self.0
    }

    /// The packet with one byte changed, for malformed ones.
    #[must_use]
    pub fn with_byte(mut self, at: usize, value: u8) -> Self {
        self.0.splice(at..=at, [value]);
        self
    }

    /// The packet with a big-endian word changed.
    #[must_use]
    pub fn with_word(mut self, at: usize, value: u16) -> Self {
        self.0.splice(at..at + 2, value.to_be_bytes());
        self
    }

    /// The packet with a checksum one too large, in one's complement.
    #[must_use]
    pub fn with_wrong_sum(self, at: usize) -> Self {
        let sum = self.0.iter().skip(at).take(2).fold(0u16, |sum, byte| sum << 8 | u16::from(*byte));
        self.with_word(at, sum.checked_add(1).unwrap_or(1))
    }

    /// The packet's first bytes.
    #[must_use]
    pub fn cut(mut self, length: usize) -> Self {
        self.0.truncate(length);
        self
    }

    /// The packet with other bytes behind it.
    #[must_use]
    pub fn followed_by(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    /// The packet with zeros behind it, as short frames have.
    #[must_use]
    pub fn padded(mut self, length: usize) -> Self {
        self.0.resize(length, 0);
        self
    }
}

/// An IPv4 packet whose header is still open to change.
#[derive(Clone)]
pub struct Ipv4 {
    source: [u8; 4],
    destination: [u8; 4],
    protocol: u8,
    ttl: u8,
    class: u8,
    identification: u16,
    fragment: u16,
    options: Vec<u8>,
    payload: Vec<u8>,
}

impl Ipv4 {
    fn new(source: [u8; 4], destination: [u8; 4], protocol: u8, payload: Vec<u8>) -> Self {
        Self {
            source,
            destination,
            protocol,
            ttl: 64,
            class: 0,
            identification: 0x1234,
            fragment: 0x4000,
            options: Vec::new(),
            payload,
        }
    }

    /// Puts the transport checksum, over the pseudo-header (RFC 9293, section 3.1), at an offset of the payload.
    fn summed_at(mut self, at: usize) -> Self {
        self.payload.splice(at..at + 2, [0, 0]);
        let length = u16::try_from(self.payload.len()).unwrap_or(u16::MAX).to_be_bytes();
        let pseudo = [&self.source[..], &self.destination[..], &[0, self.protocol], &length[..]].concat();
        let sum = match checksum(&[&pseudo, &self.payload]) {
            0 if self.protocol == 17 => 0xffff,
            sum => sum,
        };
        self.payload.splice(at..at + 2, sum.to_be_bytes());
        self
    }

    /// Without a transport checksum: what a UDP sender may do.
    #[must_use]
    pub fn unsummed(mut self) -> Self {
        self.payload.splice(6..8, [0, 0]);
        self
    }

    /// Bytes that IP counts and the transport does not.
    #[must_use]
    pub fn trailing(mut self, bytes: &[u8]) -> Self {
        self.payload.extend(bytes);
        self
    }

    /// The checksum of the header and that of TCP or UDP.
    #[must_use]
    pub fn sums(&self) -> (u16, u16) {
        let bytes = self.ip_bytes();
        let word =
            |at: usize| bytes.iter().skip(at).take(2).fold(0, |word, byte| word << 8 | u16::from(*byte));
        (word(10), word(20 + self.options.len() + if self.protocol == 17 { 6 } else { 16 }))
    }

    /// Another identification.
    #[must_use]
    pub fn identification(self, identification: u16) -> Self {
        Self { identification, ..self }
    }

    /// Another time to live.
    #[must_use]
    pub fn ttl(self, ttl: u8) -> Self {
        Self { ttl, ..self }
    }

    /// Another traffic class.
    #[must_use]
    pub fn class(self, class: u8) -> Self {
        Self { class, ..self }
    }

    /// Another word of flags and fragment offset.
    #[must_use]
    pub fn fragment(self, fragment: u16) -> Self {
        Self { fragment, ..self }
    }

    /// Options of a multiple of four bytes.
    #[must_use]
    pub fn options(self, options: &[u8]) -> Self {
        Self { options: options.to_vec(), ..self }
    }

    /// IPv4 around this packet.
    #[must_use]
    pub fn within(self, source: [u8; 4], destination: [u8; 4]) -> Self {
        let class = self.class;
        Self { identification: 0, class, ..Self::new(source, destination, 4, self.ip_bytes()) }
    }

    /// Header and payload without a link layer, as an ICMP error quotes them.
    #[must_use]
    pub fn ip_bytes(&self) -> Vec<u8> {
        let length = 20 + self.options.len();
        let mut header = vec![0x40 | u8::try_from(length / 4).unwrap_or(0xf), self.class];
        let total = u16::try_from(length + self.payload.len()).unwrap_or(u16::MAX);
        header.extend(total.to_be_bytes());
        header.extend(self.identification.to_be_bytes());
        header.extend(self.fragment.to_be_bytes());
        header.extend([self.ttl, self.protocol, 0, 0]);
        header.extend(self.source);
        header.extend(self.destination);
        header.extend(&self.options);
        let sum = checksum(&[&header]);
        header.splice(10..12, sum.to_be_bytes());
        header.extend(&self.payload);
        header
    }

    /// The packet in an Ethernet frame.
    #[must_use]
    pub fn ethernet(&self, destination: [u8; 6], source: [u8; 6]) -> Stack {
        self.framed(destination, source, &[])
    }

    /// The packet in a tagged Ethernet frame.
    #[must_use]
    pub fn tagged(&self, destination: [u8; 6], source: [u8; 6], control: u16) -> Stack {
        self.framed(destination, source, &[(0x8100, control)])
    }

    /// The packet in two fragments, the first with so many bytes of the payload: a multiple of eight.
    #[must_use]
    pub fn pieces(&self, identification: u16, bytes: usize) -> [Self; 2] {
        let (first, later) = self.payload.split_at(bytes);
        let offset = u16::try_from(bytes / 8).unwrap_or(0);
        let piece = |fragment, payload: &[u8]| Self {
            fragment,
            identification,
            payload: payload.to_vec(),
            ..self.clone()
        };
        [piece(0x2000, first), piece(offset, later)]
    }

    /// IPv4 around a packet of any protocol, in the way of a tunnel's entry.
    pub(super) fn tunnel(addresses: ([u8; 4], [u8; 4]), protocol: u8, class: u8, payload: Vec<u8>) -> Self {
        Self { identification: 0, class, ..Self::new(addresses.0, addresses.1, protocol, payload) }
    }

    /// Source and destination.
    pub(super) fn addresses(&self) -> (IpAddr, IpAddr) {
        (self.source.into(), self.destination.into())
    }

    /// The same, as they lie in the header.
    pub(super) const fn ends(&self) -> ([u8; 4], [u8; 4]) {
        (self.source, self.destination)
    }

    /// Bytes of the header and its options.
    pub(super) const fn header_bytes(&self) -> usize {
        20 + self.options.len()
    }

    /// Hops that it may still take.
    pub(super) const fn ttl_of(&self) -> u8 {
        self.ttl
    }

    /// The protocol of what it carries.
    pub(super) const fn protocol_of(&self) -> u8 {
        self.protocol
    }

    /// The traffic class.
    pub(super) const fn class_of(&self) -> u8 {
        self.class
    }
}

/// A packet from its IP header on.
pub trait Network {
    /// The frame's type for it.
    fn ethertype(&self) -> u16;
    /// Header and payload.
    fn network_bytes(&self) -> Vec<u8>;

    /// The packet in a frame with these tags, each a type and its control information.
    #[must_use]
    fn framed(&self, destination: [u8; 6], source: [u8; 6], tags: &[(u16, u16)]) -> Stack {
        Stack::frame(destination, source, tags, self.ethertype(), &self.network_bytes())
    }
}

impl Segment for Ipv4 {
    fn segment(&mut self) -> &mut Vec<u8> {
        &mut self.payload
    }

    fn summed(self) -> Self {
        self.summed_at(segment::CHECKSUM)
    }
}

impl Network for Ipv4 {
    fn ethertype(&self) -> u16 {
        0x0800
    }

    fn network_bytes(&self) -> Vec<u8> {
        self.ip_bytes()
    }
}

/// The Internet checksum of several pieces, all but the last of even length (RFC 1071).
pub(super) fn checksum(pieces: &[&[u8]]) -> u16 {
    let bytes = pieces.concat();
    let mut sum: u64 = 0;
    for (at, byte) in bytes.iter().enumerate() {
        sum += u64::from(*byte) << if at % 2 == 0 { 8 } else { 0 };
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}
