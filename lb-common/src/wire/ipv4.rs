//! IPv4. Source: RFC 791, section 3.1.

use super::checksum::{Difference, Sum};
use super::{U16be, U32be};
use core::fmt;

/// Bytes of a header without options.
pub const LENGTH: usize = 20;
/// Where the length of header and payload lies.
pub const TOTAL_LENGTH: usize = 2;
/// Where flags and fragment offset lie.
pub const FRAGMENT: usize = 6;
/// Where the word of time to live, protocol and checksum lies.
pub const LIFETIME: usize = 8;
/// Where the protocol lies.
pub const PROTOCOL: usize = 9;
/// Where the source address lies.
pub const SOURCE: usize = 12;
/// Where the destination address lies.
pub const DESTINATION: usize = 16;
/// The first byte of a header without options.
pub const BARE: u8 = 0x45;
/// The bits of flags and fragment offset that a whole datagram has none of.
pub const IS_FRAGMENT: u16 = 0x3fff;
/// Taking one off the time to live, as a difference of the word it shares with the protocol (RFC 1812, 5.3.1).
const ONE_HOP: u16 = 0x0100;

/// The header, without options, as the five words it is drawn in: a struct of small fields would be copied byte by
/// byte on BPF.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Header([U32be; 5]);

plain!(Header, LENGTH);

/// A word of two bytes and a half-word as they lie in a packet, without turning it round as a whole.
#[inline(always)]
const fn word([first, second]: [u8; 2], half: U16be) -> U32be {
    // Little-endian, as all machines are that the kernel programs are built for.
    U32be::from_raw(first as u32 | (second as u32) << 8 | (half.raw() as u32) << 16)
}

impl Header {
    /// A header without options whose checksum is still zero. It may not be fragmented on the way, so its
    /// identification may be zero, too (RFC 6864, section 4.1).
    #[inline(always)]
    #[must_use]
    pub const fn new(
        (source, destination): (U32be, U32be),
        protocol: u8,
        time_to_live: u8,
        total_length: u16,
        traffic_class: u8,
    ) -> Self {
        let first = word([BARE, traffic_class], U16be::new(total_length));
        Self::beginning(first, (source, destination), protocol, time_to_live)
    }

    /// The same by its first word.
    #[inline(always)]
    #[must_use]
    pub const fn beginning(
        first: U32be,
        (source, destination): (U32be, U32be),
        protocol: u8,
        time_to_live: u8,
    ) -> Self {
        let lifetime = word([time_to_live, protocol], U16be::ZERO);
        Self([first, U32be::new(0x0000_4000), lifetime, source, destination])
    }

    /// The word of version, header length, traffic class and total length.
    #[inline(always)]
    #[must_use]
    pub const fn first_word(&self) -> U32be {
        self.0[0]
    }

    /// The header with another checksum.
    #[inline(always)]
    #[must_use]
    pub const fn with_checksum(self, checksum: U16be) -> Self {
        let Self([a, b, lifetime, c, d]) = self;
        let [time_to_live, protocol, ..] = lifetime.raw().to_le_bytes();
        Self([a, b, word([time_to_live, protocol], checksum), c, d])
    }

    /// Version 4, and a length that can hold the header.
    #[inline(always)]
    #[must_use]
    pub const fn is_valid(&self) -> bool {
        self.0[0].get() >> 28 == 4 && self.header_length() >= LENGTH
    }

    /// Whether this is a version 4 header without options.
    #[inline(always)]
    #[must_use]
    pub const fn is_bare(&self) -> bool {
        self.0[0].get() >> 24 == 0x45
    }

    /// Bytes of the header with its options: 20 to 60.
    #[inline(always)]
    #[must_use]
    pub const fn header_length(&self) -> usize {
        ((self.0[0].get() >> 24 & 0xf) as usize) << 2
    }

    /// Differentiated services and ECN (RFC 2474, RFC 3168).
    #[inline(always)]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "a part of a word")]
    pub const fn traffic_class(&self) -> u8 {
        (self.0[0].get() >> 16) as u8
    }

    /// Bytes of header and payload.
    #[inline(always)]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "a part of a word")]
    pub const fn total_length(&self) -> u16 {
        self.0[0].get() as u16
    }

    /// Whether this is a fragment but the first, so that no ports are in it.
    #[inline(always)]
    #[must_use]
    pub const fn is_later_fragment(&self) -> bool {
        self.0[1].get() & 0x1fff != 0
    }

    /// Whether this is any fragment of a larger datagram.
    #[inline(always)]
    #[must_use]
    pub const fn is_fragment(&self) -> bool {
        self.0[1].get() & 0x3fff != 0
    }

    /// The datagram's number, the same in all its fragments.
    #[inline(always)]
    #[must_use]
    pub const fn identification(&self) -> u16 {
        (self.0[1].get() >> 16) as u16
    }

    /// Time to live, in hops.
    #[inline(always)]
    #[must_use]
    pub const fn time_to_live(&self) -> u8 {
        (self.0[2].get() >> 24) as u8
    }

    /// Protocol of the payload.
    #[inline(always)]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "a part of a word")]
    pub const fn protocol(&self) -> u8 {
        (self.0[2].get() >> 16) as u8
    }

    /// Checksum of the header, options included.
    #[inline(always)]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "a part of a word")]
    pub const fn checksum(&self) -> U16be {
        U16be::new(self.0[2].get() as u16)
    }

    /// Source address.
    #[inline(always)]
    #[must_use]
    pub const fn source(&self) -> U32be {
        self.0[3]
    }

    /// Destination address.
    #[inline(always)]
    #[must_use]
    pub const fn destination(&self) -> U32be {
        self.0[4]
    }

    /// The header with other addresses; `addresses` is what that does to a checksum.
    #[inline(always)]
    #[must_use]
    pub const fn readdressed(&self, source: U32be, destination: U32be, addresses: Difference) -> Self {
        let Self([a, b, lifetime, ..]) = *self;
        let checksum = super::checksum::update(self.checksum(), addresses);
        Self([a, b, lifetime, source, destination]).with_checksum(checksum)
    }

    /// The header after a hop that also replaced the addresses; `addresses` is what that does to a checksum.
    /// The time to live must be at least one.
    #[inline(always)]
    #[must_use]
    pub const fn rewritten(&self, source: U32be, destination: U32be, addresses: Difference) -> Self {
        let difference = addresses.sum().subtract(U16be::new(ONE_HOP)).difference();
        let Self([a, b, lifetime, c, d]) = self.readdressed(source, destination, difference);
        Self([a, b, U32be::new(lifetime.get().wrapping_sub(0x0100_0000)), c, d])
    }

    /// The header with another traffic class, and the checksum that goes with it.
    #[inline(always)]
    #[must_use]
    pub const fn with_traffic_class(&self, class: u8) -> Self {
        let (old, new) = (self.traffic_class() as u16, class as u16);
        let change = Sum::ZERO.subtract(U16be::new(old)).add(U16be::new(new)).difference();
        let Self([a, b, lifetime, c, d]) = self.readdressed(self.source(), self.destination(), change);
        Self([U32be::new(a.get() & 0xff00_ffff | (class as u32) << 16), b, lifetime, c, d])
    }

    /// The header with source and destination exchanged, and another time to live. What the addresses do to the
    /// checksum cancels out.
    #[inline(always)]
    #[must_use]
    pub const fn turned(&self, time_to_live: u8) -> Self {
        let (old, new) = ((self.time_to_live() as u16) << 8, (time_to_live as u16) << 8);
        let change = Sum::ZERO.subtract(U16be::new(old)).add(U16be::new(new)).difference();
        let Self([a, b, lifetime, c, d]) = self.readdressed(self.destination(), self.source(), change);
        Self([a, b, U32be::new(lifetime.get() & 0x00ff_ffff | (time_to_live as u32) << 24), c, d])
    }

    /// The sum of all words but the checksum.
    #[inline(always)]
    #[must_use]
    pub fn sum(&self) -> Sum {
        let Self(words) = self.with_checksum(U16be::ZERO);
        words.into_iter().fold(Sum::ZERO, Sum::add_long)
    }
}

/// The word of time to live, protocol and header checksum: what a hop changes, beside addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime(U32be);

impl Lifetime {
    /// The word as it lies in a packet.
    #[inline(always)]
    #[must_use]
    pub const fn of(word: U32be) -> Self {
        Self(word)
    }

    /// The word as it lies in a packet.
    #[inline(always)]
    #[must_use]
    pub const fn word(self) -> U32be {
        self.0
    }

    /// The word one hop on, where `change` is what happened to the rest of the header; `None` after the last hop.
    #[inline(always)]
    #[must_use]
    pub const fn one_hop_on(self, change: Difference) -> Option<Self> {
        let before = Header([U32be::ZERO, U32be::ZERO, self.0, U32be::ZERO, U32be::ZERO]);
        if before.time_to_live() <= 1 {
            return None;
        }
        let Header([_, _, lifetime, ..]) = before.rewritten(U32be::ZERO, U32be::ZERO, change);
        Some(Self(lifetime))
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(words) = self;
        write!(f, "IPv4 {words:08x?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(total: u16, ttl: u8, source: u32, destination: u32) -> Header {
        let addresses = (U32be::new(source), U32be::new(destination));
        let header = Header::new(addresses, super::super::protocol::TCP, ttl, total, 0);
        header.with_checksum(header.sum().checksum())
    }

    #[test]
    fn the_fields_lie_where_rfc_791_draws_them() {
        let header = header(0x1234, 63, 0x0a00_0001, 0xcb00_710a);
        assert!(header.is_valid() && header.is_bare() && !header.is_fragment());
        assert_eq!((header.header_length(), header.total_length(), header.time_to_live()), (20, 0x1234, 63));
        assert_eq!((header.protocol(), header.traffic_class()), (6, 0));
        assert_eq!((header.source().get(), header.destination().get()), (0x0a00_0001, 0xcb00_710a));
    }

    proptest! {
        #[test]
        fn a_rewrite_leaves_the_checksum_a_fresh_sum_would_give(
            total in any::<u16>(), ttl in 1u8.., old in any::<(u32, u32)>(), new in any::<(u32, u32)>()
        ) {
            let before = header(total, ttl, old.0, old.1);
            let new = (U32be::new(new.0), U32be::new(new.1));
            let change = Sum::ZERO.subtract_long(before.source()).subtract_long(before.destination());
            let after = before.rewritten(new.0, new.1, change.add_long(new.0).add_long(new.1).difference());
            prop_assert_eq!(after.time_to_live(), ttl - 1);
            prop_assert_eq!(after.checksum(), after.sum().checksum());
        }
    }
}
