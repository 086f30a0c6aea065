//! What the frames of a flood are: one as a pattern, and what differs from frame to frame.

use std::net::Ipv4Addr;

use crate::net::tap::LinkAddress;
use crate::packets::Network;

/// The word of a source that differs. Of IPv6 it is the second one, the end of most providers' part, so that hardly two
/// frames are one customer's.
#[derive(Debug, Clone, Copy)]
pub struct Sources {
    /// What all have in common.
    pub base: u32,
    /// Bits that are drawn for each frame.
    pub drawn: u32,
}

impl Sources {
    /// Half a billion addresses all over the Internet: 64.0.0.0/3.
    pub const EVERYWHERE: Self = Self { base: 0x4000_0000, drawn: 0x1fff_ffff };

    /// The addresses that differ from this one in so many of its last bits.
    #[must_use]
    pub const fn around(address: Ipv4Addr, bits: u32) -> Self {
        Self { base: address.to_bits(), drawn: (1 << bits) - 1 }
    }
}

/// What is behind a packet's IP header, and has a field that nobody looks at.
#[derive(Debug, Clone, Copy)]
pub enum Carries {
    /// TCP without urgent bytes, which says nevertheless how far they go.
    Tcp,
    /// A datagram of two bytes or more.
    Udp,
    /// Nothing with a checksum: a fragment.
    Piece,
}

impl Carries {
    const fn spare(self, l4: i16) -> Option<i16> {
        match self {
            Self::Tcp => Some(l4 + 18),
            Self::Udp => Some(l4 + 8),
            Self::Piece => None,
        }
    }
}

/// The link-layer addresses of a frame.
#[derive(Debug, Clone, Copy)]
pub struct Way {
    /// Who sends.
    pub from: LinkAddress,
    /// Who receives.
    pub to: LinkAddress,
}

/// A frame as a pattern. Its checksums are right as it is, with zeros for what differs: where the program puts a source, it
/// puts what makes up for it into fields that nobody looks at, and so they stay right.
#[derive(Debug, Clone)]
pub struct Shape {
    /// The frame.
    pub(super) bytes: Vec<u8>,
    /// What its sources are.
    pub(super) sources: Sources,
    /// Where the source's word is.
    pub(super) word_at: i16,
    /// Where what makes up for it goes.
    pub(super) spare_at: Vec<i16>,
}

/// Where the IP header begins.
const IP: i16 = 14;
/// The number of an IPv4 datagram: any will do.
const IDENTIFICATION: i16 = IP + 4;
const SOURCE_V4: i16 = IP + 12;
const L4_V4: i16 = IP + 20;
const SOURCE_V6: i16 = IP + 8 + 4;
const L4_V6: i16 = IP + 40;

impl Shape {
    /// An IPv4 packet without options, of source and number 0.
    #[must_use]
    pub fn v4(packet: &impl Network, carries: Carries, sources: Sources, way: Way) -> Self {
        let spare_at = carries.spare(L4_V4).into_iter().chain([IDENTIFICATION]).collect();
        Self { bytes: framed(packet, way), sources, word_at: SOURCE_V4, spare_at }
    }

    /// An IPv6 packet without extension headers, with a source whose second word is 0.
    #[must_use]
    pub fn v6(packet: &impl Network, carries: Carries, sources: Sources, way: Way) -> Self {
        let spare_at = carries.spare(L4_V6).into_iter().collect();
        Self { bytes: framed(packet, way), sources, word_at: SOURCE_V6, spare_at }
    }

    /// The same with a byte changed, whatever becomes of checksums.
    #[must_use]
    pub fn with_byte(mut self, at: usize, value: u8) -> Self {
        self.bytes.splice(at..=at, [value]);
        self
    }
}

fn framed(packet: &impl Network, way: Way) -> Vec<u8> {
    packet.framed(way.to, way.from, &[]).bytes()
}
