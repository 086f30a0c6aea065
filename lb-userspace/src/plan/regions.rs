//! Where in the slot map each service's slots lie.

use std::collections::BTreeMap;

/// Ranges of the slot map in use, by their first slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Regions {
    size: u32,
    used: BTreeMap<u32, u32>,
}

impl Regions {
    /// All free.
    pub(super) const fn new(size: u32) -> Self {
        Self { size, used: BTreeMap::new() }
    }

    /// Takes the first gap of this many slots and gives its first one; `None` if there is no such gap.
    pub(super) fn allocate(&mut self, slots: u32) -> Option<u32> {
        let starts = std::iter::once(0).chain(self.used.iter().map(|(first, slots)| first + slots));
        let ends = self.used.keys().copied().chain([self.size]);
        let (first, _) = starts.zip(ends).find(|(start, end)| end - start >= slots)?;
        self.used.insert(first, slots);
        Some(first)
    }

    /// Gives the range that begins here back.
    pub(super) fn release(&mut self, first: u32) {
        self.used.remove(&first);
    }

    /// Slots that are free, in however many pieces.
    pub(super) fn free(&self) -> u32 {
        self.size - self.used.values().sum::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_gap_that_fits_is_taken() {
        let mut regions = Regions::new(100);
        assert_eq!(
            [10, 20, 30, 40].map(|slots| regions.allocate(slots)),
            [Some(0), Some(10), Some(30), Some(60)]
        );
        assert_eq!(regions.allocate(1), None);
        regions.release(10);
        assert_eq!([15, 6, 5].map(|slots| regions.allocate(slots)), [Some(10), None, Some(25)]);
        assert_eq!(regions.free(), 0);
    }

    proptest! {
        #[test]
        fn ranges_never_overlap_nor_leave_the_map(steps in prop::collection::vec((1u32..30, any::<bool>()), 0..60)) {
            let mut regions = Regions::new(128);
            for (slots, release) in steps {
                match regions.used.keys().nth(slots as usize % 4).copied() {
                    Some(first) if release => regions.release(first),
                    _ => drop(regions.allocate(slots)),
                }
                let ends = regions.used.iter().map(|(first, slots)| first + slots);
                let starts = regions.used.keys().copied().skip(1).chain([128]);
                prop_assert!(ends.zip(starts).all(|(end, start)| end <= start));
            }
        }
    }
}
