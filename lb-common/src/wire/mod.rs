//! Wire formats, one protocol a file, and the [`Packet`] trait.
//!
//! Header structs are [`Plain`]: what is read is what lies in the packet. Fields of more than one byte are [`U16be`]
//! or [`U32be`], so byte order is a type. Their alignment is natural (2 or 4): packed structs would become byte loads
//! and shifts on BPF.

#[macro_use]
mod packet;
mod be;

pub mod checksum;
pub mod ethernet;
pub mod icmp;
pub mod icmpv6;
pub mod ipv4;
pub mod ipv6;
pub mod quic;
pub mod tcp;
pub mod udp;
pub mod vlan;

pub use be::{U16be, U32be};
#[cfg(feature = "host")]
pub use packet::Buffer;
pub use packet::{Outside, Packet, Plain, Transport};

/// IP protocol numbers. Source: IANA, "Assigned Internet Protocol Numbers".
pub mod protocol {
    /// Internet Control Message Protocol.
    pub const ICMP: u8 = 1;
    /// IPv4 in an outer header (RFC 2003).
    pub const IPIP: u8 = 4;
    /// Transmission Control Protocol.
    pub const TCP: u8 = 6;
    /// User Datagram Protocol.
    pub const UDP: u8 = 17;
    /// IPv6 in an outer header (RFC 2473).
    pub const IPV6: u8 = 41;
    /// Internet Control Message Protocol for IPv6.
    pub const ICMPV6: u8 = 58;
}

/// Source and destination port, which TCP and UDP both have first: one word, because they are read, written and
/// compared at once.
#[repr(transparent)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Ports(U32be);

plain!(Ports, 4);

impl Ports {
    /// Where the receiver's port lies.
    pub const DESTINATION: usize = 2;

    /// Joins the sender's and the receiver's port.
    #[inline(always)]
    #[must_use]
    pub const fn new(source: U16be, destination: U16be) -> Self {
        // Little-endian, as all machines are that the kernel programs are built for: the first half lies below.
        Self(U32be::from_raw(source.raw() as u32 | (destination.raw() as u32) << 16))
    }

    /// The sender's port.
    #[inline(always)]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "a part of a word")]
    pub const fn source(self) -> U16be {
        U16be::from_raw(self.0.raw() as u16)
    }

    /// The receiver's port.
    #[inline(always)]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "a part of a word")]
    pub const fn destination(self) -> U16be {
        U16be::from_raw((self.0.raw() >> 16) as u16)
    }

    /// The ports of packets the other way.
    #[inline(always)]
    #[must_use]
    pub const fn reversed(self) -> Self {
        Self(U32be::from_raw(self.0.raw().rotate_left(16)))
    }

    /// Both from how they lie in a packet.
    #[inline(always)]
    #[must_use]
    pub const fn from_word(word: U32be) -> Self {
        Self(word)
    }

    /// Both as they lie in a packet.
    #[inline(always)]
    #[must_use]
    pub const fn word(self) -> U32be {
        self.0
    }
}

impl core::fmt::Debug for Ports {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:?} -> {:?}", self.source(), self.destination())
    }
}
