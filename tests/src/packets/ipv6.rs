//! IPv6 packets, built layer by layer, as [`super::build`] does for IPv4.

use super::build::{Network, checksum};
use super::segment::{self, Segment};
use std::net::IpAddr;

/// An IPv6 address with a port.
pub(super) type End6 = ([u8; 16], u16);

/// Extension headers by their number.
pub(super) const HOP_BY_HOP: u8 = 0;
pub(super) const ROUTING: u8 = 43;
pub(super) const FRAGMENT: u8 = 44;
pub(super) const DESTINATION_OPTIONS: u8 = 60;

/// An IPv6 packet whose header is still open to change.
#[derive(Clone)]
pub struct Ipv6 {
    source: [u8; 16],
    destination: [u8; 16],
    protocol: u8,
    hops: u8,
    class: u8,
    /// Extension headers in their order: number, and what follows the byte that names the next one.
    extensions: Vec<(u8, Vec<u8>)>,
    payload: Vec<u8>,
}

impl Ipv6 {
    fn new(source: [u8; 16], destination: [u8; 16], protocol: u8, payload: Vec<u8>) -> Self {
        Self { source, destination, protocol, hops: 64, class: 0, extensions: Vec::new(), payload }
    }

    /// A packet of any protocol, its payload as it is.
    #[must_use]
    pub fn raw(source: [u8; 16], destination: [u8; 16], protocol: u8, payload: &[u8]) -> Self {
        Self::new(source, destination, protocol, payload.to_vec())
    }

    /// A TCP segment.
    #[must_use]
    pub fn tcp(source: End6, destination: End6, flags: u8, payload: &[u8]) -> Self {
        let ports = [source.1.to_be_bytes(), destination.1.to_be_bytes()].concat();
        let numbers = [1_000_000u32.to_be_bytes(), 2_000_000u32.to_be_bytes()].concat();
        let segment = [&ports, &numbers, &[0x50, flags, 0x20, 0, 0, 0, 0, 0][..], payload].concat();
        Self::new(source.0, destination.0, 6, segment).summed_at(segment::CHECKSUM)
    }

    /// A UDP datagram.
    #[must_use]
    pub fn udp(source: End6, destination: End6, payload: &[u8]) -> Self {
        let length = u16::try_from(8 + payload.len()).unwrap_or(u16::MAX);
        let header = [source.1, destination.1, length, 0].map(u16::to_be_bytes).concat();
        Self::new(source.0, destination.0, 17, [&header, payload].concat()).summed_at(6)
    }

    /// An `ICMPv6` message; `body` follows the checksum.
    #[must_use]
    pub fn icmp(source: [u8; 16], destination: [u8; 16], kind: u8, code: u8, body: &[u8]) -> Self {
        Self::new(source, destination, 58, [&[kind, code, 0, 0], body].concat()).summed_at(2)
    }

    /// Puts the checksum, over the pseudo-header (RFC 8200, section 8.1), at an offset of the payload.
    fn summed_at(mut self, at: usize) -> Self {
        self.payload.splice(at..at + 2, [0, 0]);
        let length = u32::try_from(self.payload.len()).unwrap_or(u32::MAX).to_be_bytes();
        let pseudo =
            [&self.source[..], &self.destination[..], &length[..], &[0, 0, 0, self.protocol]].concat();
        let sum = match checksum(&[&pseudo, &self.payload]) {
            0 if self.protocol == 17 => 0xffff,
            sum => sum,
        };
        self.payload.splice(at..at + 2, sum.to_be_bytes());
        self
    }

    /// Without a UDP checksum, which only tunnels may do over IPv6 (RFC 6935).
    #[must_use]
    pub fn unsummed(mut self) -> Self {
        self.payload.splice(6..8, [0, 0]);
        self
    }

    /// Another hop limit.
    #[must_use]
    pub fn hops(self, hops: u8) -> Self {
        Self { hops, ..self }
    }

    /// Another traffic class.
    #[must_use]
    pub fn class(self, class: u8) -> Self {
        Self { class, ..self }
    }

    /// One more extension header, behind those there are: six bytes of content, or so many eights more.
    #[must_use]
    pub fn extended(mut self, kind: u8, content: &[u8]) -> Self {
        let eights = u8::try_from((content.len() + 2) / 8 - 1).unwrap_or(u8::MAX);
        self.extensions.push((kind, [&[eights], content].concat()));
        self
    }

    /// One more extension header: that of a fragment at an offset in bytes.
    #[must_use]
    pub fn fragment(mut self, identification: u32, offset: usize, more: bool) -> Self {
        let offset = u16::try_from(offset).unwrap_or(0) | u16::from(more);
        let content = [&[0], &offset.to_be_bytes()[..], &identification.to_be_bytes()].concat();
        self.extensions.push((FRAGMENT, content));
        self
    }

    /// The packet in two fragments, the first with so many bytes of the payload: a multiple of eight.
    #[must_use]
    pub fn pieces(&self, identification: u32, bytes: usize) -> [Self; 2] {
        let (first, later) = self.payload.split_at(bytes);
        let piece = |payload: &[u8]| Self { payload: payload.to_vec(), ..self.clone() };
        [piece(first).fragment(identification, 0, true), piece(later).fragment(identification, bytes, false)]
    }

    /// IPv6 around a packet of any protocol, in the way of a tunnel's entry.
    pub(super) fn tunnel(addresses: ([u8; 16], [u8; 16]), protocol: u8, class: u8, payload: Vec<u8>) -> Self {
        Self::new(addresses.0, addresses.1, protocol, payload).class(class)
    }

    /// Source and destination.
    pub(super) fn addresses(&self) -> (IpAddr, IpAddr) {
        (self.source.into(), self.destination.into())
    }

    /// Bytes of the header and its extensions.
    pub(super) fn header_bytes(&self) -> usize {
        40 + self.extensions.iter().map(|(_, content)| 1 + content.len()).sum::<usize>()
    }

    /// Hops that it may still take.
    pub(super) const fn hops_of(&self) -> u8 {
        self.hops
    }

    /// The protocol of what it carries.
    pub(super) const fn protocol_of(&self) -> u8 {
        self.protocol
    }

    /// The traffic class.
    pub(super) const fn class_of(&self) -> u8 {
        self.class
    }

    fn chain(&self) -> (u8, Vec<u8>) {
        let chain = self.extensions.iter().rev();
        chain.fold((self.protocol, self.payload.clone()), |(next, behind), (kind, content)| {
            (*kind, [&[next], &content[..], &behind].concat())
        })
    }
}

impl Segment for Ipv6 {
    fn segment(&mut self) -> &mut Vec<u8> {
        &mut self.payload
    }

    fn summed(self) -> Self {
        self.summed_at(segment::CHECKSUM)
    }
}

impl Network for Ipv6 {
    fn ethertype(&self) -> u16 {
        0x86dd
    }

    fn network_bytes(&self) -> Vec<u8> {
        let (next, behind) = self.chain();
        let class = u32::from(self.class) << 20 | 0x6000_0000;
        let length = u16::try_from(behind.len()).unwrap_or(u16::MAX);
        [
            &class.to_be_bytes()[..],
            &length.to_be_bytes(),
            &[next, self.hops],
            &self.source,
            &self.destination,
            &behind,
        ]
        .concat()
    }
}
