//! Backends: the record that holds the finished answer.

use super::{Address, limits};
use crate::wire::checksum::{Difference, Sum};
use crate::wire::ethernet::Addresses;
use crate::wire::vlan::Tags;
use crate::wire::{U16be, U32be, ipv4, ipv6, udp};
use core::hint::black_box;

/// Index of a backend record, below [`limits::BACKENDS`]; 0 means none.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BackendId(u16);

plain!(BackendId, 2);

const _: () = assert!(limits::BACKENDS.is_power_of_two() && limits::BACKENDS <= 1 << 15);

impl BackendId {
    /// No backend.
    pub const NONE: Self = Self(0);

    /// The bits that identifiers have.
    #[allow(clippy::cast_possible_truncation, reason = "a slot has room for 15 bits")]
    const MASK: u16 = limits::BACKENDS as u16 - 1;

    /// An identifier; `None` if there is no such record.
    #[must_use]
    pub const fn new(id: u16) -> Option<Self> {
        if id <= Self::MASK { Some(Self(id)) } else { None }
    }

    /// The identifier in the low bits. Masked as the table's index is, it need not be kept beside that.
    #[inline(always)]
    #[must_use]
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits & Self::MASK)
    }

    /// The number.
    #[inline(always)]
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// Whether this is no backend.
    #[inline(always)]
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }
}

/// What is known of a backend.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackendFlags(pub u8);

plain!(BackendFlags, 1);

impl BackendFlags {
    /// The next hop's address is known; without it nothing can be sent.
    pub const RESOLVED: Self = Self(1);
    /// Health says it serves, so that its recorded flows stay with it.
    pub const ALIVE: Self = Self(2);
    /// Its address is of IPv6.
    pub const V6: Self = Self(4);
    /// [`RESOLVED`](Self::RESOLVED), and frames to it have no tag; [`Backend::prepared`] tells.
    pub const UNTAGGED: Self = Self(8);
    /// It has an endpoint, by which answers to packets are known whose destination was translated. Nobody else is sent any.
    pub const ENDPOINT: Self = Self(16);
    /// New flows are given to it: it serves, and nobody takes it out.
    pub const OPEN: Self = Self(32);

    /// Whether all of `other`'s flags are set.
    #[inline(always)]
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets together.
    #[inline(always)]
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether an untagged backend is of IPv6; `None` for any other.
    #[inline(always)]
    #[must_use]
    pub const fn untagged_v6(self) -> Option<bool> {
        const V4: u8 = BackendFlags::UNTAGGED.0;
        const V6: u8 = BackendFlags::UNTAGGED.with(BackendFlags::V6).0;
        match self.0 & V6 {
            V4 => Some(false),
            V6 => Some(true),
            _ => None,
        }
    }
}

/// A backend: one cache line with all a packet needs, so that forwarding is a copy and an addition.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backend {
    /// The next hop's and our own link-layer address.
    pub link: Addresses,
    /// Interface to send by.
    pub ifindex: u32,
    /// The backend's address.
    pub address: Address,
    /// The source of translated packets and of outer headers: the balancer's own address towards the backend, or, for
    /// outer headers that spread, the first address of the range they are drawn from.
    pub source: Address,
    /// The backend's port; 0 keeps the one the client asked for.
    pub port: U16be,
    /// Tag to send with; 0 for none.
    pub vlan: U16be,
    /// Second tag to send with; 0 for none.
    pub second_vlan: U16be,
    /// Sum of the outer IPv4 header but for protocol, length, traffic class and spreading; [`Backend::prepared`] fills
    /// it in.
    pub outer: Difference,
    /// Largest packet the interface takes, in bytes from the IP header on.
    pub mtu: u16,
    /// What is known of it.
    pub flags: BackendFlags,
    /// Zero.
    pub reserved: u8,
    /// The plan that wrote the record.
    pub generation: u32,
}

plain!(Backend, 64);

/// Hops an outer header may take (RFC 1700's recommended default).
const OUTER_TIME_TO_LIVE: u8 = 64;

/// A packet's traffic class and its length, as the first word of an IPv4 header without options says them: an outer header
/// takes that word over, and adds its own length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent(u32);

impl Extent {
    /// Of nothing.
    const NOTHING: Self = Self::new(0, 0);

    /// An extent from its parts.
    #[inline(always)]
    #[must_use]
    pub const fn new(traffic_class: u8, length: u16) -> Self {
        Self((ipv4::BARE as u32) << 24 | (traffic_class as u32) << 16 | length as u32)
    }

    /// That of the packet whose IPv4 header, without options, begins with this word.
    #[inline(always)]
    #[must_use]
    pub const fn from_word(first: U32be) -> Self {
        Self(first.get())
    }

    /// With so many bytes more, which an MTU has room for.
    #[inline(always)]
    #[must_use]
    pub const fn with(self, bytes: u16) -> Self {
        Self(self.0 + bytes as u32)
    }

    /// The first word of an IPv4 header.
    #[inline(always)]
    const fn word(self) -> U32be {
        U32be::new(self.0)
    }

    /// Traffic class.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "a part of a word")]
    const fn traffic_class(self) -> u8 {
        (self.0 >> 16) as u8
    }

    /// Bytes.
    #[inline(always)]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "a part of a word")]
    pub const fn length(self) -> u16 {
        self.0 as u16
    }
}

/// What an outer header says of the packet inside and of what follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
// See `parse::Segment` for the alignment.
#[repr(align(32))]
pub struct Wrapped {
    /// The protocol that follows the outer header.
    pub protocol: u8,
    /// Bytes that follow the outer header, and the traffic class of the packet inside, copied outside (RFC 2983, RFC 6040's
    /// normal mode).
    pub extent: Extent,
    /// Bits of the flow's hash for the outer source.
    pub spread: U32be,
}

impl Backend {
    /// All zero: what an unwritten record is.
    pub const UNWRITTEN: Self = Self {
        link: Addresses::NONE,
        ifindex: 0,
        address: Address::UNSPECIFIED,
        source: Address::UNSPECIFIED,
        port: U16be::ZERO,
        vlan: U16be::ZERO,
        second_vlan: U16be::ZERO,
        outer: Difference::NONE,
        mtu: 0,
        flags: BackendFlags(0),
        reserved: 0,
        generation: 0,
    };

    /// The record with what packets would else have to find out each. Call it last: it sums the addresses.
    #[must_use]
    pub fn prepared(self) -> Self {
        let is_untagged = self.flags.has(BackendFlags::RESOLVED) && self.tags().count() == 0;
        let untagged = if is_untagged { BackendFlags::UNTAGGED } else { BackendFlags(0) };
        Self {
            flags: self.flags.with(untagged),
            outer: self.unsummed_outer_v4(Wrapped::NOTHING).sum().subtract_long(EMPTY_OUTER).difference(),
            ..self
        }
    }

    /// The record of a backend that has an endpoint.
    #[must_use]
    pub const fn with_endpoint(self) -> Self {
        Self { flags: self.flags.with(BackendFlags::ENDPOINT), ..self }
    }

    /// Whether the backend's address is of IPv6.
    #[inline(always)]
    #[must_use]
    pub const fn is_v6(&self) -> bool {
        self.flags.has(BackendFlags::V6)
    }

    /// The tags to send with.
    #[inline(always)]
    #[must_use]
    pub const fn tags(&self) -> Tags {
        Tags::of(self.vlan, self.second_vlan)
    }

    /// The outer IPv4 header (RFC 2003).
    #[inline(always)]
    #[must_use]
    pub fn outer_v4(&self, wrapped: Wrapped) -> ipv4::Header {
        let bare = self.unsummed_outer_v4(wrapped);
        // What is known of the packet first: the record is what has to be waited for.
        let sum = Sum::ZERO.add_long(bare.first_word()).add(U16be::new(u16::from(wrapped.protocol)));
        // Nothing is spread where a load-time constant says so, which removes the sum of it.
        let sum = if wrapped.spread == U32be::ZERO { sum } else { black_box(sum).add_long(wrapped.spread) };
        bare.with_checksum(self.outer.add_to(sum).checksum())
    }

    #[inline(always)]
    fn unsummed_outer_v4(&self, wrapped: Wrapped) -> ipv4::Header {
        let source = U32be::from_raw(self.source.as_v4().raw() | wrapped.spread.raw());
        ipv4::Header::beginning(
            outer_word(wrapped.extent),
            (source, self.address.as_v4()),
            wrapped.protocol,
            OUTER_TIME_TO_LIVE,
        )
    }

    /// The outer IPv6 header (RFC 2473).
    #[inline(always)]
    #[must_use]
    pub const fn outer_v6(&self, wrapped: Wrapped) -> ipv6::Header {
        let Address([a, b, c, d]) = self.source;
        let source = ipv6::Address([a, b, c, U32be::from_raw(d.raw() | wrapped.spread.raw())]);
        ipv6::Header::new(
            (source, self.address.as_v6()),
            wrapped.protocol,
            OUTER_TIME_TO_LIVE,
            wrapped.extent.length(),
            (wrapped.extent.traffic_class(), 0),
        )
    }

    /// Bytes that encapsulation towards this backend adds.
    #[inline(always)]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "headers are tens of bytes")]
    pub const fn overhead(&self, in_udp: bool) -> u16 {
        let ip = if self.is_v6() { ipv6::LENGTH } else { ipv4::LENGTH };
        (ip + if in_udp { udp::LENGTH } else { 0 }) as u16
    }
}

/// First word of an outer IPv4 header around nothing.
const EMPTY_OUTER: U32be = outer_word(Extent::NOTHING);

/// First word of an outer IPv4 header.
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "headers are tens of bytes")]
const fn outer_word(inside: Extent) -> U32be {
    inside.with(ipv4::LENGTH as u16).word()
}

impl Wrapped {
    /// Nothing inside.
    const NOTHING: Self = Self { protocol: 0, extent: Extent::NOTHING, spread: U32be::ZERO };
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_prepared_outer_header_has_the_checksum_of_a_fresh_sum(
            source in any::<u16>(), destination in any::<u32>(), length in 20u16..65_000, class in any::<u8>(),
            protocol in any::<u8>(), spread in any::<u16>()
        ) {
            let backend = Backend {
                source: Address::v4(U32be::new(u32::from(source) << 16)),
                address: Address::v4(U32be::new(destination)),
                ..Backend::default()
            }.prepared();
            let spread = U32be::new(spread.into());
            let outer = backend.outer_v4(Wrapped { protocol, extent: Extent::new(class, length), spread });
            prop_assert_eq!(outer.checksum(), outer.sum().checksum());
            prop_assert_eq!((outer.traffic_class(), outer.total_length()), (class, length + 20));
            prop_assert_eq!(outer.source().get(), u32::from(source) << 16 | spread.get());
        }
    }
}
