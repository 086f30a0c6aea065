//! IPv4. Source: RFC 791, section 3.1.

use super::checksum::{Difference, Sum};
use super::{U16be, U32be};

/// Bytes of a header without options.
pub const LENGTH: usize = 20;
/// The "don't fragment" flag in [`Header::fragment`].
pub const DONT_FRAGMENT: U16be = U16be::new(0x4000);
/// Taking one off the time to live, as a difference of the word it shares with the protocol (RFC 1812, 5.3.1).
const ONE_HOP: u16 = 0x0100;

/// The header, without options.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Version (4 bits) and header length in 32-bit words (4 bits).
    pub version_length: u8,
    /// Differentiated services and ECN (RFC 2474, RFC 3168).
    pub traffic_class: u8,
    /// Bytes of header and payload.
    pub total_length: U16be,
    /// Identification, for reassembly.
    pub identification: U16be,
    /// Flags (3 bits) and fragment offset (13 bits).
    pub fragment: U16be,
    /// Time to live, in hops.
    pub time_to_live: u8,
    /// Protocol of the payload.
    pub protocol: u8,
    /// Checksum of the header, options included.
    pub checksum: U16be,
    /// Source address.
    pub source: U32be,
    /// Destination address.
    pub destination: U32be,
}

plain!(Header, LENGTH);

impl Header {
    /// Version 4, and a length that can hold the header.
    #[inline(always)]
    #[must_use]
    pub const fn is_valid(&self) -> bool {
        self.version_length >> 4 == 4 && self.version_length & 0xf >= 5
    }

    /// Bytes of the header with its options: 20 to 60.
    #[inline(always)]
    #[must_use]
    pub const fn header_length(&self) -> usize {
        ((self.version_length & 0xf) as usize) << 2
    }

    /// Whether this is a fragment but the first, so that no ports are in it.
    #[inline(always)]
    #[must_use]
    pub const fn is_later_fragment(&self) -> bool {
        self.fragment.get() & 0x1fff != 0
    }

    /// Whether this is any fragment of a larger datagram.
    #[inline(always)]
    #[must_use]
    pub const fn is_fragment(&self) -> bool {
        self.fragment.get() & 0x3fff != 0
    }

    /// The header after a hop that also replaced the addresses; `addresses` is what that does to a checksum.
    /// The time to live must be at least one.
    #[inline(always)]
    #[must_use]
    pub const fn rewritten(&self, source: U32be, destination: U32be, addresses: Difference) -> Self {
        let difference = addresses.sum().subtract(U16be::new(ONE_HOP)).difference();
        Self {
            source,
            destination,
            time_to_live: self.time_to_live.wrapping_sub(1),
            checksum: super::checksum::update(self.checksum, difference),
            ..*self
        }
    }

    /// The sum of all words but the checksum.
    #[must_use]
    pub fn sum(&self) -> Sum {
        let first = U16be::new(u16::from_be_bytes([self.version_length, self.traffic_class]));
        let lifetime = U16be::new(u16::from_be_bytes([self.time_to_live, self.protocol]));
        Sum::ZERO
            .add(first)
            .add(self.total_length)
            .add(self.identification)
            .add(self.fragment)
            .add(lifetime)
            .add_long(self.source)
            .add_long(self.destination)
    }
}

/// What replacing (source, destination) does to a checksum over them.
#[inline(always)]
#[must_use]
pub const fn address_difference(old: (U32be, U32be), new: (U32be, U32be)) -> Difference {
    Sum::ZERO.subtract_long(old.0).subtract_long(old.1).add_long(new.0).add_long(new.1).difference()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(total: u16, ttl: u8, source: u32, destination: u32) -> Header {
        let mut header = Header {
            version_length: 0x45,
            traffic_class: 0,
            total_length: U16be::new(total),
            identification: U16be::new(7),
            fragment: DONT_FRAGMENT,
            time_to_live: ttl,
            protocol: super::super::protocol::TCP,
            checksum: U16be::ZERO,
            source: U32be::new(source),
            destination: U32be::new(destination),
        };
        header.checksum = header.sum().checksum();
        header
    }

    proptest! {
        #[test]
        fn a_rewrite_leaves_the_checksum_a_fresh_sum_would_give(
            total in any::<u16>(), ttl in 1u8.., old in any::<(u32, u32)>(), new in any::<(u32, u32)>()
        ) {
            let before = header(total, ttl, old.0, old.1);
            let new = (U32be::new(new.0), U32be::new(new.1));
            let after = before.rewritten(new.0, new.1, address_difference((before.source, before.destination), new));
            prop_assert_eq!(after.time_to_live, ttl - 1);
            prop_assert_eq!(after.checksum, after.sum().checksum());
        }
    }
}
