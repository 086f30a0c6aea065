//! Slots: the truth about which backend a hash belongs to.

use super::BackendId;

/// One word: `current` (15 bits), `settled` (15 bits), one bit unused, `tracked` (1 bit, the sign, which is asked for without a
/// mask); see "Stateless while nothing changes" in ARCHITECTURE.md.
///
/// While `tracked` is clear every packet goes to `current`. While it is set, a new flow goes to `current` and is
/// recorded; a flow without a record is an old one and goes to `settled`.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Slot(u32);

plain!(Slot, 4);

const MASK: u32 = 0x7fff;
const SETTLED_SHIFT: u32 = 15;
const TRACKED: u32 = 1 << 31;

impl Slot {
    /// Nobody's: as every slot is at first.
    pub const VACANT: Self = Self(0);

    /// A slot whose flows all belong to one backend.
    #[inline(always)]
    #[must_use]
    pub const fn settled_on(backend: BackendId) -> Self {
        let id = backend.get() as u32;
        Self(id | id << SETTLED_SHIFT)
    }

    /// A slot that tracks: new flows go to `current`, flows without a record to `settled`.
    #[inline(always)]
    #[must_use]
    pub const fn tracking(current: BackendId, settled: BackendId) -> Self {
        Self(current.get() as u32 | (settled.get() as u32) << SETTLED_SHIFT | TRACKED)
    }

    /// Owner of new flows.
    #[inline(always)]
    #[must_use]
    pub const fn current(self) -> BackendId {
        BackendId::from_bits((self.0 & MASK) as u16)
    }

    /// Owner of the flows without a record.
    #[inline(always)]
    #[must_use]
    pub const fn settled(self) -> BackendId {
        BackendId::from_bits((self.0 >> SETTLED_SHIFT & MASK) as u16)
    }

    /// The word.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether flows are looked up and recorded.
    #[inline(always)]
    #[must_use]
    pub const fn is_tracked(self) -> bool {
        self.0 & TRACKED != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_three_parts_do_not_touch_each_other(current in 0u16..0x1000, settled in 0u16..0x1000) {
            let id = |n| BackendId::new(n).unwrap();
            let slot = Slot::tracking(id(current), id(settled));
            prop_assert_eq!((slot.current(), slot.settled(), slot.is_tracked()), (id(current), id(settled), true));
            let slot = Slot::settled_on(id(current));
            prop_assert_eq!((slot.current(), slot.settled(), slot.is_tracked()), (id(current), id(current), false));
        }
    }
}
