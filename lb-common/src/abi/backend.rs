//! Backends: the record that holds the finished answer.

use super::Address;
use crate::wire::checksum::Difference;
use crate::wire::ethernet::Addresses;
use crate::wire::{U16be, ipv4, protocol};

/// Index of a backend record: 15 bits, 0 means none.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BackendId(u16);

plain!(BackendId, 2);

impl BackendId {
    /// No backend.
    pub const NONE: Self = Self(0);

    /// An identifier; `None` if it needs more than 15 bits.
    #[must_use]
    pub const fn new(id: u16) -> Option<Self> {
        if id < 1 << 15 { Some(Self(id)) } else { None }
    }

    /// The identifier in the low 15 bits.
    #[inline(always)]
    #[must_use]
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits & 0x7fff)
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
    /// The balancer's own address towards it: source of outer headers and of translated packets.
    pub source: Address,
    /// The backend's port.
    pub port: U16be,
    /// 802.1Q tag to send with; 0 for none.
    pub vlan: U16be,
    /// Sum of the outer header but for length and traffic class; [`Backend::prepared`] fills it in.
    pub outer: Difference,
    /// Largest packet the interface takes, in bytes from the IP header on.
    pub mtu: u16,
    /// Number of the service it serves.
    pub service: u16,
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
/// Bytes of an outer IPv4 header.
pub const OUTER_LENGTH: u16 = 20;
const _: () = assert!(OUTER_LENGTH as usize == ipv4::LENGTH);

impl Backend {
    /// All zero: what an unwritten record is.
    pub const UNWRITTEN: Self = Self {
        link: Addresses::NONE,
        ifindex: 0,
        address: Address::UNSPECIFIED,
        source: Address::UNSPECIFIED,
        port: U16be::ZERO,
        vlan: U16be::ZERO,
        outer: Difference::NONE,
        mtu: 0,
        service: 0,
        flags: BackendFlags(0),
        reserved: 0,
        generation: 0,
    };

    /// The record with its outer header's checksum prepared. Call it last: it sums the addresses.
    #[must_use]
    pub fn prepared(self) -> Self {
        Self { outer: self.unsummed_outer_header(0, 0).sum().difference(), ..self }
    }

    /// The outer IPv4 header around a packet of `inner_length` bytes with this traffic class (RFC 2003).
    #[inline(always)]
    #[must_use]
    pub fn outer_header(&self, inner_length: u16, traffic_class: u8) -> ipv4::Header {
        let total_length = inner_length.wrapping_add(OUTER_LENGTH);
        let sum = self.outer.sum().add(U16be::new(total_length)).add(U16be::new(u16::from(traffic_class)));
        self.unsummed_outer_header(total_length, traffic_class).with_checksum(sum.checksum())
    }

    #[inline(always)]
    fn unsummed_outer_header(&self, total_length: u16, traffic_class: u8) -> ipv4::Header {
        let addresses = (self.source.as_v4(), self.address.as_v4());
        ipv4::Header::new(addresses, protocol::IPIP, OUTER_TIME_TO_LIVE, total_length, traffic_class)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::U32be;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_prepared_outer_header_has_the_checksum_of_a_fresh_sum(
            source in any::<u32>(), destination in any::<u32>(), length in 20u16..65_000, class in any::<u8>()
        ) {
            let backend = Backend {
                source: Address::v4(U32be::new(source)),
                address: Address::v4(U32be::new(destination)),
                ..Backend::default()
            }.prepared();
            let outer = backend.outer_header(length, class);
            prop_assert_eq!(outer.checksum(), outer.sum().checksum());
            prop_assert_eq!(outer.total_length(), length + 20);
        }
    }
}
