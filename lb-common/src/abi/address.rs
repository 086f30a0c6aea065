//! IP addresses: of one family, as packets have them, and of either in one shape, as records do.

use crate::wire::checksum::{Difference, Sum};
use crate::wire::{Plain, U32be, ipv6};

/// An IPv6 address, or an IPv4 address in the first word with zeros behind it. The family is told elsewhere, because
/// every record knows it anyway.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Address(pub [U32be; 4]);

plain!(Address, 16);

impl Address {
    /// All zero.
    pub const UNSPECIFIED: Self = Self([U32be::ZERO; 4]);

    /// An IPv4 address.
    #[inline(always)]
    #[must_use]
    pub const fn v4(address: U32be) -> Self {
        Self([address, U32be::ZERO, U32be::ZERO, U32be::ZERO])
    }

    /// The IPv4 address, if the record's family is IPv4.
    #[inline(always)]
    #[must_use]
    pub const fn as_v4(self) -> U32be {
        self.0[0]
    }

    /// The sixteen bytes.
    #[inline(always)]
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        let [a, b, c, d] = self.0.map(|word| u128::from(word.get()));
        (a << 96 | b << 64 | c << 32 | d).to_be_bytes()
    }

    /// The IPv6 address, if the record's family is IPv6.
    #[inline(always)]
    #[must_use]
    pub const fn as_v6(self) -> ipv6::Address {
        ipv6::Address(self.0)
    }
}

/// Addresses of one family: [`U32be`] for IPv4, [`ipv6::Address`] for IPv6.
pub trait Ip: Plain + Default + Eq + core::hash::Hash + core::fmt::Debug {
    /// 4 or 6.
    const VERSION: u8;

    /// The address in the shape that holds either family.
    fn widen(self) -> Address;
    /// The address that a record of this family holds.
    fn narrow(address: Address) -> Self;
    /// Adds the address to a checksum.
    fn add_to(self, sum: Sum) -> Sum;
    /// Takes the address away from a checksum.
    fn take_from(self, sum: Sum) -> Sum;
    /// The first `bits` bits, with zeros behind them.
    #[must_use]
    fn masked(self, bits: u8) -> Self;
    /// Whether it may be a host's: not a group's, not everybody's, not nobody's, and not that of each host by itself.
    fn is_one_host(self) -> bool;
    /// Whether both are the same, word by word: the compiler would call a function for more than one.
    fn is(self, other: Self) -> bool;
    /// Writes the address to a place, word by word: the compiler would call a function for more than one.
    fn put(self, place: &mut Self);
    /// A sum of products of a source's words; [`super::FlowKey::hash`] goes on from here.
    fn mix_source(self) -> u64;
}

/// The golden ratio in 64 bits, odd.
pub(super) const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
/// Source: `MurmurHash3`, its 64-bit finisher.
pub(super) const MURMUR: u64 = 0xff51_afd7_ed55_8ccd;
/// Source: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators" (OOPSLA 2014).
const SPLITMIX: u64 = 0xbf58_476d_1ce4_e5b9;
/// Source: David Stafford, "Better Bit Mixing", variant 13.
const STAFFORD: u64 = 0x94d0_49bb_1331_11eb;
/// Source: Pelle Evensen's rrmxmx.
pub(super) const RRMXMX: u64 = 0x9fb2_1c65_1e98_df25;

/// Two words as they lie behind one another, for a compiler that finds the one load they came from.
#[inline(always)]
pub(super) const fn joined(first: U32be, second: U32be) -> u64 {
    first.raw() as u64 | (second.raw() as u64) << 32
}

#[inline(always)]
const fn word_mask(bits: u32) -> U32be {
    match bits {
        0 => U32be::ZERO,
        1..32 => U32be::new(u32::MAX << (32 - bits)),
        _ => U32be::new(u32::MAX),
    }
}

#[inline(always)]
const fn and(word: U32be, mask: U32be) -> U32be {
    U32be::from_raw(word.raw() & mask.raw())
}

impl Ip for U32be {
    const VERSION: u8 = 4;

    #[inline(always)]
    fn widen(self) -> Address {
        Address::v4(self)
    }

    #[inline(always)]
    fn narrow(address: Address) -> Self {
        address.as_v4()
    }

    #[inline(always)]
    fn add_to(self, sum: Sum) -> Sum {
        sum.add_long(self)
    }

    #[inline(always)]
    fn take_from(self, sum: Sum) -> Sum {
        sum.subtract_long(self)
    }

    #[inline(always)]
    fn masked(self, bits: u8) -> Self {
        and(self, word_mask(bits.into()))
    }

    #[inline(always)]
    fn is_one_host(self) -> bool {
        let network = self.get() >> 24;
        network != 0 && network != 127 && network < 224
    }

    #[inline(always)]
    fn is(self, other: Self) -> bool {
        self.raw() == other.raw()
    }

    #[inline(always)]
    fn put(self, place: &mut Self) {
        *place = self;
    }

    #[inline(always)]
    fn mix_source(self) -> u64 {
        u64::from(self.raw()).wrapping_mul(SPLITMIX)
    }
}

impl Ip for ipv6::Address {
    const VERSION: u8 = 6;

    #[inline(always)]
    fn widen(self) -> Address {
        Address(self.0)
    }

    #[inline(always)]
    fn narrow(address: Address) -> Self {
        address.as_v6()
    }

    #[inline(always)]
    fn add_to(self, sum: Sum) -> Sum {
        let Self([a, b, c, d]) = self;
        sum.add_long(a).add_long(b).add_long(c).add_long(d)
    }

    #[inline(always)]
    fn take_from(self, sum: Sum) -> Sum {
        let Self([a, b, c, d]) = self;
        sum.subtract_long(a).subtract_long(b).subtract_long(c).subtract_long(d)
    }

    #[inline(always)]
    fn masked(self, bits: u8) -> Self {
        let (Self([a, b, c, d]), bits) = (self, u32::from(bits));
        let mask = |before: u32| word_mask(bits.saturating_sub(before));
        Self([and(a, mask(0)), and(b, mask(32)), and(c, mask(64)), and(d, mask(96))])
    }

    #[inline(always)]
    fn is_one_host(self) -> bool {
        let Self([a, b, c, d]) = self;
        let is_low = a.raw() | b.raw() | c.raw() == 0 && d.get() <= 1;
        a.get() >> 24 != 0xff && !is_low
    }

    #[inline(always)]
    fn is(self, other: Self) -> bool {
        let (Self([a, b, c, d]), Self([e, f, g, h])) = (self, other);
        a == e && b == f && c == g && d == h
    }

    #[inline(always)]
    fn put(self, Self([a, b, c, d]): &mut Self) {
        let Self([e, f, g, h]) = self;
        (*a, *b, *c, *d) = (e, f, g, h);
    }

    #[inline(always)]
    fn mix_source(self) -> u64 {
        let Self([a, b, c, d]) = self;
        joined(a, b).wrapping_mul(SPLITMIX).wrapping_add(joined(c, d).wrapping_mul(STAFFORD))
    }
}

/// What replacing (source, destination) does to a checksum over them.
#[inline(always)]
#[must_use]
pub fn address_difference<A: Ip>(old: (A, A), new: (A, A)) -> Difference {
    let sum = old.1.take_from(old.0.take_from(Sum::ZERO));
    new.1.add_to(new.0.add_to(sum)).difference()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_mask_keeps_the_first_bits(address in any::<u128>(), bits in 0u8..=128) {
            let masked = ipv6::Address::from(address.to_be_bytes()).masked(bits);
            let mask = if bits == 0 { 0 } else { u128::MAX << (128 - u32::from(bits)) };
            prop_assert_eq!(masked, ipv6::Address::from((address & mask).to_be_bytes()));
            let (v4, bits) = ((address >> 96) as u32, bits.min(32));
            let mask = if bits == 0 { 0 } else { u32::MAX << (32 - u32::from(bits)) };
            prop_assert_eq!(U32be::new(v4).masked(bits), U32be::new(v4 & mask));
        }
    }

    #[test]
    fn groups_loopback_and_nobody_are_not_one_host() {
        let v4 = [[0, 0, 0, 0], [0, 1, 2, 3], [127, 0, 0, 1], [224, 0, 0, 1], [240, 0, 0, 1], [255; 4]];
        assert!(v4.into_iter().all(|address| !U32be::from(address).is_one_host()));
        let hosts = [[1, 0, 0, 0], [126, 255, 255, 255], [128, 0, 0, 1], [223, 255, 255, 255]];
        assert!(hosts.into_iter().all(|address| U32be::from(address).is_one_host()));
        let is_one_host = |address: u128| ipv6::Address::from(address.to_be_bytes()).is_one_host();
        assert!([0, 1, 0xff02 << 112 | 1, 0xff << 120].into_iter().all(|address| !is_one_host(address)));
        assert!([2, 1 << 64, 0xfe80 << 112 | 1, 0xfd00 << 112, 1 << 32].into_iter().all(is_one_host));
    }
}
