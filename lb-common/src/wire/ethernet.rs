//! Ethernet II. Source: IEEE 802.3, clause 3; types from the IANA "IEEE 802 Numbers" registry.

use super::{U16be, U32be};

/// Bytes of the header.
pub const LENGTH: usize = 14;
/// Where the type lies.
pub const TYPE: usize = 12;
/// Where the source lies.
pub const SOURCE: usize = 6;
/// The bit of an address's first byte that says that it is a group's.
pub const GROUP: u8 = 1;
/// The same bit in an address's first two bytes.
pub const GROUP_WORD: U16be = U16be::new((GROUP as u16) << 8);
/// Type of IPv4 (RFC 894).
pub const IPV4: U16be = U16be::new(0x0800);
/// Type of IPv6 (RFC 2464).
pub const IPV6: U16be = U16be::new(0x86dd);
/// Type of an 802.1Q tag.
pub const VLAN: U16be = U16be::new(0x8100);
/// Type of an 802.1ad service tag, the outer one of two.
pub const SERVICE_VLAN: U16be = U16be::new(0x88a8);

/// Destination and source address, which forwarding always replaces together: twelve bytes as three words.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Addresses([U32be; 3]);

plain!(Addresses, 12);

impl Addresses {
    /// All zero: not known.
    pub const NONE: Self = Self([U32be::ZERO; 3]);

    /// Joins a destination and a source.
    #[must_use]
    pub fn new(destination: [u8; 6], source: [u8; 6]) -> Self {
        let [d0, d1, d2, d3, d4, d5] = destination;
        let [s0, s1, s2, s3, s4, s5] = source;
        Self([[d0, d1, d2, d3].into(), [d4, d5, s0, s1].into(), [s2, s3, s4, s5].into()])
    }

    /// The destination, then the source.
    #[must_use]
    pub fn split(self) -> ([u8; 6], [u8; 6]) {
        let [[d0, d1, d2, d3], [d4, d5, s0, s1], [s2, s3, s4, s5]] = self.0.map(<[u8; 4]>::from);
        ([d0, d1, d2, d3, d4, d5], [s0, s1, s2, s3, s4, s5])
    }

    /// The twelve bytes as they lie in a packet.
    #[inline(always)]
    #[must_use]
    pub const fn words(&self) -> [U32be; 3] {
        let Self([a, b, c]) = *self;
        [a, b, c]
    }

    /// The way back: destination and source exchanged.
    #[inline(always)]
    #[must_use]
    pub const fn reversed(self) -> Self {
        // Six bytes are a word and a half; in network order the halves move whole.
        let [a, b, c] = [self.0[0].get(), self.0[1].get(), self.0[2].get()];
        Self([U32be::new(b << 16 | c >> 16), U32be::new(c << 16 | a >> 16), U32be::new(a << 16 | b >> 16)])
    }

    /// Whether one station sent it to another, which can be answered. Neither end is a group (multicast or broadcast): an address's
    /// first bit on the wire, from which no station sends (IEEE 802, section 8.2). Nor is the source all zero, which is nobody's
    /// (`is_valid_ether_addr` of the kernel's `etherdevice.h`), but on the loopback, where both ends are.
    #[inline(always)]
    #[must_use]
    pub const fn is_unicast(self) -> bool {
        let [a, b, c] = [self.0[0].get(), self.0[1].get(), self.0[2].get()];
        let is_group = (a >> 24 | b >> 8) & GROUP as u32 != 0;
        let is_from_nobody = b & 0xffff | c == 0;
        let is_to_nobody = a | b >> 16 == 0;
        !is_group && (is_to_nobody || !is_from_nobody)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_exchanges_the_two_addresses() {
        let there = Addresses::new([1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11, 12]);
        assert_eq!(there.reversed(), Addresses::new([7, 8, 9, 10, 11, 12], [1, 2, 3, 4, 5, 6]));
        assert_eq!(there.split(), ([1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11, 12]));
    }

    #[test]
    fn the_group_bit_is_the_lowest_of_an_address_s_first_byte() {
        assert!(!Addresses::new([0xff; 6], [2; 6]).is_unicast());
        assert!(!Addresses::new([2; 6], [3; 6]).is_unicast());
        assert!(Addresses::new([0xfe, 1, 1, 1, 1, 1], [2, 1, 1, 1, 1, 1]).is_unicast());
    }

    #[test]
    fn nobody_sends_but_on_the_loopback() {
        assert!(!Addresses::new([2; 6], [0; 6]).is_unicast());
        assert!(Addresses::new([0; 6], [0; 6]).is_unicast());
        for place in 0..6 {
            let mut source = [0; 6];
            source[place] = 2;
            assert!(Addresses::new([2; 6], source).is_unicast(), "{source:?}");
            assert!(!Addresses::new(source, [0; 6]).is_unicast(), "to {source:?}");
        }
    }
}
