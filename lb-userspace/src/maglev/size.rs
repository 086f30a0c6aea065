//! How many slots a service gets.

/// Slots for a backend of the lightest weight. A hundred would keep shares within 1 % after rounding to whole slots;
/// twice as many also keep the slots that move needlessly few, and equal backends still run out before slots do.
const SLOTS_OF_THE_LIGHTEST: u64 = 200;

/// The number of slots of a table.
///
/// The paper takes a prime, so that any skip steps through the whole table. Ours are powers of two, because slots then
/// nest: the packet path takes the upper bits of `hash × slots`, so slot *i* of a table is exactly slots *4i* to
/// *4i + 3* of the next larger one. A service that outgrows its table takes the state of every slot along and breaks
/// no flow, and two hosts whose tables differ in size still agree on every flow. The permutation makes up for the loss
/// of the prime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(u32);

impl Size {
    /// 16 KiB of slot words. A thousand services of this size fit into the slot map.
    pub const SMALL: Self = Self(1 << 12);
    /// 64 KiB.
    pub const MEDIUM: Self = Self(1 << 14);
    /// 256 KiB, about a core's second-level cache, which one table should not outgrow.
    pub const LARGE: Self = Self(1 << 16);

    /// The smallest size at which every share is well within 1 % of its weight, for backends of these weights.
    ///
    /// That takes `200 × sum ÷ lightest` slots. [`Size::LARGE`] has as many for 327 equal backends and keeps the 1 %
    /// for 655; beyond that, or where weights differ by a similar factor, shares are exact to one slot.
    #[must_use]
    pub fn for_weights(weights: impl Iterator<Item = u16> + Clone) -> Self {
        let sum: u64 = weights.clone().map(u64::from).sum();
        let lightest = weights.map(u64::from).filter(|weight| *weight > 0).min().unwrap_or(1);
        let fits = |size: &Self| u64::from(size.0) * lightest >= SLOTS_OF_THE_LIGHTEST * sum;
        [Self::SMALL, Self::MEDIUM].into_iter().find(fits).unwrap_or(Self::LARGE)
    }

    /// The number of slots.
    #[must_use]
    pub const fn slots(self) -> u32 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lightest_backend_gets_two_hundred_slots_where_they_exist() {
        let equal = |n| Size::for_weights(std::iter::repeat_n(7, n));
        assert_eq!([equal(0), equal(1), equal(20)], [Size::SMALL; 3]);
        assert_eq!([equal(21), equal(81)], [Size::MEDIUM; 2]);
        assert_eq!([equal(82), equal(327), equal(4000)], [Size::LARGE; 3]);
        assert_eq!(Size::for_weights([1000, 1].into_iter()), Size::LARGE);
        assert_eq!(Size::for_weights([1000, 500].into_iter()), Size::SMALL);
    }
}
