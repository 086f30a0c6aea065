//! The Internet checksum and its incremental update.
//!
//! Source: RFC 1071 (the sum does not depend on byte order, so words are added as they lie in memory) and RFC 1624
//! (equation 3, which unlike RFC 1141 never turns a correct checksum into negative zero).

use super::{U16be, U32be};

/// A running one's complement sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum(u32);

impl Sum {
    /// The sum of nothing.
    pub const ZERO: Self = Self(0);

    /// Takes up a sum that was folded before.
    #[inline(always)]
    #[must_use]
    pub const fn resume(folded: u16) -> Self {
        Self(folded as u32)
    }

    /// Adds a 16-bit word. At most 65,535 words fit before a fold.
    #[inline(always)]
    #[must_use]
    pub const fn add(self, word: U16be) -> Self {
        Self(self.0 + word.0 as u32)
    }

    /// Adds the two halves of a 32-bit word.
    #[inline(always)]
    #[must_use]
    pub const fn add_long(self, long: U32be) -> Self {
        Self(self.0 + (long.0 & 0xffff) + (long.0 >> 16))
    }

    /// Takes a word away.
    #[inline(always)]
    #[must_use]
    pub const fn subtract(self, word: U16be) -> Self {
        Self(self.0 + !word.0 as u32)
    }

    /// Takes the two halves of a 32-bit word away.
    #[inline(always)]
    #[must_use]
    pub const fn subtract_long(self, long: U32be) -> Self {
        self.add_long(U32be(!long.0))
    }

    /// Adds bytes, the last odd one as if a zero followed. For tests and tools; the packet path knows its words.
    #[must_use]
    pub fn add_bytes(self, bytes: &[u8]) -> Self {
        bytes.chunks(2).fold(self, |sum, pair| {
            let word = [pair.first().copied().unwrap_or(0), pair.get(1).copied().unwrap_or(0)];
            Self(u32::from(sum.add(U16be(u16::from_ne_bytes(word))).fold()))
        })
    }

    /// The sum in 16 bits, end-around carries added.
    #[inline(always)]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "two folds leave 16 bits")]
    pub const fn fold(self) -> u16 {
        let once = (self.0 & 0xffff) + (self.0 >> 16);
        ((once & 0xffff) + (once >> 16)) as u16
    }

    /// The checksum field for data with this sum.
    #[inline(always)]
    #[must_use]
    pub const fn checksum(self) -> U16be {
        U16be(!self.fold())
    }

    /// This sum as a difference that [`update`] can apply: new words added, old ones subtracted.
    #[inline(always)]
    #[must_use]
    pub const fn difference(self) -> Difference {
        Difference(self.fold())
    }
}

/// What a rewrite does to a checksum: the new words less the old ones, folded. Kept in flow records.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Difference(u16);

plain!(Difference, 2);

impl Difference {
    /// No difference.
    pub const NONE: Self = Self(0);

    /// Adds the difference to a sum.
    #[inline(always)]
    #[must_use]
    pub const fn add_to(self, sum: Sum) -> Sum {
        sum.add(U16be(self.0))
    }

    /// As the kernel's helpers take it: the words as they lie in memory, added.
    #[inline(always)]
    #[must_use]
    pub const fn raw(self) -> u16 {
        self.0
    }

    /// The difference as a sum that more words can be added to.
    #[inline(always)]
    #[must_use]
    pub const fn sum(self) -> Sum {
        Sum::resume(self.0)
    }
}

/// What a translation of addresses and ports does to a TCP or UDP checksum.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    /// What all that changes does.
    pub all: Difference,
    /// What the addresses alone do, which the checksum covers by way of the pseudo-header.
    pub addresses: Difference,
    /// Whether a checksum of zero says that there is none, as it does for UDP.
    pub is_optional: bool,
}

impl Change {
    /// What the ports alone do.
    #[inline(always)]
    #[must_use]
    pub const fn ports(self) -> Difference {
        self.all.sum().subtract(U16be(self.addresses.0)).difference()
    }

    /// The checksum after the translation.
    #[inline(always)]
    #[must_use]
    pub const fn applied_to(self, checksum: U16be) -> U16be {
        if self.is_optional {
            super::udp::update_checksum(checksum, self.all)
        } else {
            update(checksum, self.all)
        }
    }
}

/// The checksum after a rewrite (RFC 1624, equation 3: `HC' = ~(~HC + ~m + m')`).
#[inline(always)]
#[must_use]
pub const fn update(checksum: U16be, difference: Difference) -> U16be {
    difference.sum().subtract(checksum).checksum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, byte by byte, without any of the above.
    fn naive(bytes: &[u8]) -> u16 {
        let mut sum = 0u64;
        for (at, byte) in bytes.iter().enumerate() {
            sum += u64::from(*byte) << if at % 2 == 0 { 8 } else { 0 };
        }
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !u16::try_from(sum).unwrap()
    }

    #[test]
    fn the_example_of_rfc_1071_sums_as_printed_there() {
        let sum = Sum::ZERO.add_bytes(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(U16be(sum.fold()).get(), 0xddf2);
    }

    #[test]
    fn the_example_of_rfc_1624_keeps_positive_zero() {
        let difference = Sum::ZERO.subtract(U16be::new(0x5555)).add(U16be::new(0x3285)).difference();
        assert_eq!(update(U16be::new(0xdd2f), difference).get(), 0x0000);
    }

    proptest! {
        #[test]
        fn addresses_and_ports_one_after_the_other_do_what_all_does_at_once(
            (addresses, ports, before) in any::<(u32, u32, u16)>(),
        ) {
            let addresses = Sum::ZERO.add_long(U32be::new(addresses)).difference();
            let all = addresses.sum().add_long(U32be::new(ports)).difference();
            let change = Change { all, addresses, is_optional: false };
            let stepwise = update(update(U16be::new(before), addresses), change.ports());
            // Zero is written as all ones, too.
            let folded = |checksum: U16be| checksum.raw() % u16::MAX;
            prop_assert_eq!(folded(stepwise), folded(change.applied_to(U16be::new(before))));
        }

        #[test]
        fn the_sum_agrees_with_a_naive_one(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            prop_assert_eq!(Sum::ZERO.add_bytes(&bytes).checksum().get(), naive(&bytes));
        }

        #[test]
        fn an_update_agrees_with_a_fresh_sum(
            words in proptest::collection::vec(any::<u16>(), 2..40),
            at in any::<proptest::sample::Index>(),
            new in any::<u16>(),
        ) {
            let bytes = |words: &[u16]| words.iter().flat_map(|w| w.to_be_bytes()).collect::<Vec<_>>();
            let before = naive(&bytes(&words));
            let mut after = words.clone();
            let at = at.index(words.len());
            let difference = Sum::ZERO.subtract(U16be::new(words[at])).add(U16be::new(new)).difference();
            after[at] = new;
            // All-zero data is the one case with two right answers; headers are never all zero.
            prop_assume!(words.iter().any(|w| *w != 0) && after.iter().any(|w| *w != 0));
            prop_assert_eq!(update(U16be::new(before), difference).get(), naive(&bytes(&after)));
        }
    }
}
