//! Numbers that selection and the flood guard go by.

use super::Ticks;

/// How much a backend has to do, for the choice of the less loaded one.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Live flows: counted up by the kernel programs as flows open, set right by userspace as often as it walks
    /// through the flow records.
    pub flows: u64,
    /// The backend's weight.
    pub weight: u64,
}

plain!(Load, 16);

impl Load {
    /// Whether this backend has less to do for its weight than another.
    #[inline(always)]
    #[must_use]
    pub const fn is_below(&self, other: &Self) -> bool {
        self.flows.wrapping_mul(other.weight) < other.flows.wrapping_mul(self.weight)
    }
}

/// How many flow records one CPU inserted in the second that began at `since`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InsertRate {
    /// When the second began.
    pub since: Ticks,
    /// Records inserted in it.
    pub inserted: u32,
}

plain!(InsertRate, 8);

impl InsertRate {
    /// Notes that a record is to be inserted; `false` if there were `limit` in this second already.
    #[inline(always)]
    pub const fn admits(&mut self, now: Ticks, second: u32, limit: u32) -> bool {
        if now.since(self.since) >= second {
            *self = Self { since: now, inserted: 0 };
        }
        if self.inserted >= limit {
            return false;
        }
        self.inserted += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_admits_as_many_as_the_limit_and_the_next_one_again() {
        let mut rate = InsertRate { since: Ticks(u32::MAX - 10), inserted: 0 };
        let mut admitted = |now| (0..5).filter(|_| rate.admits(Ticks(now), 250, 3)).count();
        assert_eq!((admitted(0), admitted(100), admitted(239), admitted(300)), (3, 0, 3, 0));
    }

    #[test]
    fn loads_are_compared_by_weight() {
        let load = |flows, weight| Load { flows, weight };
        assert!(load(9, 5).is_below(&load(2, 1)) && !load(2, 1).is_below(&load(9, 5)));
        assert!(!load(4, 2).is_below(&load(2, 1)) && !load(2, 1).is_below(&load(4, 2)));
    }
}
