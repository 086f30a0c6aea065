//! The order in which a backend prefers the slots.

use std::net::{IpAddr, SocketAddr};

/// A backend's preference list: a bijection of the slots of a table, keyed by the backend's identity.
///
/// The paper steps through the table by a skip of the backend's own. In a table of a power of two all skips would be
/// odd, so all backends would step between even and odd slots at once and collide more. This is a mixing function
/// instead: multiplications by odd numbers and folds, each a bijection of the low bits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Permutation {
    mask: u32,
    fold: u32,
    offset: u32,
    factors: [u32; 2],
    /// Their inverses among the numbers of 32 bits.
    inverses: [u32; 2],
}

impl Permutation {
    /// The preferences of the backend with this identity in a table of `slots`, a power of two.
    #[allow(clippy::cast_possible_truncation, reason = "the hash is cut into parts")]
    pub(super) const fn new(identity: u64, slots: u32) -> Self {
        let factors = [(identity >> 32) as u32 | 1, (mix(identity) >> 32) as u32 | 1];
        let inverses = [invert(factors[0]), invert(factors[1])];
        Self { mask: slots - 1, fold: slots.ilog2().div_ceil(2), offset: identity as u32, factors, inverses }
    }

    /// The slot at a place of the list.
    pub(super) const fn slot(&self, place: u32) -> u32 {
        let [first, second] = self.factors;
        let mut slot = place.wrapping_add(self.offset) & self.mask;
        slot ^= slot >> self.fold;
        slot = slot.wrapping_mul(first) & self.mask;
        slot ^= slot >> self.fold;
        slot = slot.wrapping_mul(second) & self.mask;
        slot ^ slot >> self.fold
    }

    /// The place of a slot in the list: the way back. A fold by half of the bits is its own inverse.
    pub(super) const fn place(&self, slot: u32) -> u32 {
        let [first, second] = self.inverses;
        let mut place = slot ^ slot >> self.fold;
        place = place.wrapping_mul(second) & self.mask;
        place ^= place >> self.fold;
        place = place.wrapping_mul(first) & self.mask;
        place ^= place >> self.fold;
        place.wrapping_sub(self.offset) & self.mask
    }
}

/// What an odd number is multiplied by to give 1, by Newton's method: an odd number is its own inverse in the lowest three bits,
/// and each step doubles the bits.
const fn invert(odd: u32) -> u32 {
    let (mut inverse, mut bits) = (odd, 3);
    while bits < u32::BITS {
        inverse = inverse.wrapping_mul(2u32.wrapping_sub(odd.wrapping_mul(inverse)));
        bits *= 2;
    }
    inverse
}

/// A hash of an address and port: the same in every version, on every host and for every order of the file.
pub(super) fn identity(address: SocketAddr, seed: u64) -> u64 {
    let (family, ip) = match address.ip() {
        IpAddr::V4(ip) => (4, u128::from(ip.to_bits())),
        IpAddr::V6(ip) => (6, ip.to_bits()),
    };
    #[allow(clippy::cast_possible_truncation, reason = "the address is cut into halves")]
    let words = [(ip >> 64) as u64, ip as u64, family << 32 | u64::from(address.port())];
    words.into_iter().fold(mix(seed), |hash, word| mix(hash ^ word))
}

/// One step of `SplitMix64`. Source: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators",
/// OOPSLA 2014.
const fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_slot_is_in_the_list_once(identity in any::<u64>(), exponent in 2u32..13) {
            let permutation = Permutation::new(identity, 1 << exponent);
            let mut slots: Vec<u32> = (0..1 << exponent).map(|place| permutation.slot(place)).collect();
            prop_assert!((0..1 << exponent).all(|place| permutation.place(slots[place as usize]) == place));
            slots.sort_unstable();
            prop_assert!(slots.into_iter().eq(0..1 << exponent));
        }

        #[test]
        fn addresses_ports_and_seeds_make_different_identities(ip in any::<u32>(), port in 1u16.., seed: u64) {
            let of = |ip: u32, port, seed| identity(SocketAddr::new(IpAddr::V4(ip.into()), port), seed);
            let base = of(ip, port, seed);
            prop_assert!(![of(ip ^ 1, port, seed), of(ip, port - 1, seed), of(ip, port, seed ^ 1)].contains(&base));
        }
    }
}
