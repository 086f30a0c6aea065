//! The lists in outline: what they say of IPv4 networks of 24 bits.
//!
//! Prefixes are seldom longer. Where the whole of such a network is denied, allowed or unknown, two bits say so, in a table
//! that programs address directly, and the trie is not asked. Where there is more to be said they say that the trie knows
//! it, which is right at any time: so a list takes another's place at once although the outline is written word by word.

use super::Origin;
use crate::wire::U32be;

/// Sixteen neighbouring networks, two bits each from the lowest on. Zeros say that nothing is known of them.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outline(u32);

plain!(Outline, 4);

impl Outline {
    /// Bits of an address that tell networks apart.
    pub const BITS: u8 = 24;
    /// Words of all networks: 4 MiB.
    pub const WORDS: u32 = 1 << 20;
    /// Of all sixteen the trie knows more.
    pub const UNSURE: Self = Self(u32::MAX);

    const ASK: u32 = 3;
    /// The lower bit of each network.
    const EACH: u32 = 0x5555_5555;

    /// Sixteen networks of which the same is known.
    #[must_use]
    pub const fn all(origin: Origin) -> Self {
        match origin {
            Origin(0) | Origin::DENIED | Origin::ALLOWED => Self(origin.0 * Self::EACH),
            _ => Self::UNSURE,
        }
    }

    /// The word with one network as it is in another word.
    #[must_use]
    pub const fn with(self, number: u32, other: Self) -> Self {
        let network = Self::ASK << (2 * (number & 15));
        Self((self.0 & !network) | (other.0 & network))
    }

    /// The word with every network unsure that is another in `other`.
    #[must_use]
    pub const fn unsure_beside(self, other: Self) -> Self {
        let differ = self.0 ^ other.0;
        let networks = (differ | differ >> 1) & Self::EACH;
        Self(self.0 | (networks * Self::ASK))
    }

    /// Place of the word that an address's network is in.
    #[inline(always)]
    #[must_use]
    pub const fn place(address: U32be) -> u32 {
        address.get() >> 12
    }

    /// What is known of an address in one of these networks, unless the trie has to be asked.
    #[inline(always)]
    #[must_use]
    pub const fn origin(self, address: U32be) -> Option<Origin> {
        match self.0 >> (address.get() >> 7 & 0x1e) & Self::ASK {
            Self::ASK => None,
            known => Some(Origin(known)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Origin = Origin(0);

    #[test]
    fn each_of_sixteen_networks_has_its_own() {
        let denied = Outline::all(Origin::DENIED);
        let word = Outline::default().with(0, denied).with(7, Outline::UNSURE).with(15, denied);
        let known = |network: u8| word.origin(U32be::from([192, 0, 0x20 | network, 9]));
        assert_eq!([known(0), known(7), known(15)], [Some(Origin::DENIED), None, Some(Origin::DENIED)]);
        assert!((1..15).filter(|network| *network != 7).all(|network| known(network) == Some(NOTHING)));
        assert_eq!(word.with(0, Outline::default()).origin(U32be::from([192, 0, 0x20, 9])), Some(NOTHING));
    }

    #[test]
    fn what_two_bits_cannot_say_is_left_to_the_trie() {
        let known = |origin| Outline::all(origin).origin(U32be::ZERO);
        assert!([NOTHING, Origin::DENIED, Origin::ALLOWED].into_iter().all(|said| known(said) == Some(said)));
        let more = [Origin::MARTIAN, Origin::VIP, Origin::VIP.with(Origin::DENIED)];
        assert!(more.into_iter().all(|said| known(said).is_none()));
    }

    #[test]
    fn between_two_lists_only_what_they_agree_on_is_said() {
        let said = [NOTHING, Origin::DENIED, Origin::ALLOWED, Origin::MARTIAN].map(Outline::all);
        for (before, after) in said.into_iter().flat_map(|before| said.map(|after| (before, after))) {
            let between = before.with(3, after).unsure_beside(after).with(3, Outline::default());
            let expected = if before == after { after } else { Outline::UNSURE };
            assert_eq!(between, expected.with(3, Outline::default()));
            assert_eq!(
                before.unsure_beside(before.with(5, after)),
                before.with(5, before.unsure_beside(after))
            );
        }
    }
}
