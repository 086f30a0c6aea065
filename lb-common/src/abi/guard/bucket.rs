//! Token buckets, counted in debt: zero is a full bucket, so that one never written is full.

use crate::abi::Ticks;

/// How fast a bucket fills, what is taken at a time, and how much it holds, in units of userspace's choice that make the
/// numbers large enough to be exact.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    refill: u32,
    cost: u32,
    room: u32,
}

plain!(Rate, 12);

impl Rate {
    /// No rate, which nobody asks.
    pub const NONE: Self = Self { refill: 0, cost: 0, room: 0 };

    /// Largest debt: half of a word, so that the sum with a cost never overflows.
    const LARGEST: u64 = 1 << 31;
    /// Largest cost, which keeps the product with a rate below 64 bits.
    const LARGEST_COST: u64 = 1 << 24;

    /// So many a second, and so many at once after a pause, on a clock with so many ticks a second.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "each bounded by what a word holds")]
    pub const fn new(each_second: u32, at_once: u32, second: u32) -> Self {
        let at_once = if at_once == 0 { 1 } else { at_once as u64 };
        let (share, most) = (Self::LARGEST / at_once, Self::LARGEST_COST);
        let cost = if share < most { share } else { most };
        let second = if second == 0 { 1 } else { second as u64 };
        let refill = (each_second as u64 * cost).div_ceil(second);
        let refill = if refill > u32::MAX as u64 { u32::MAX as u64 } else { refill };
        Self { refill: refill as u32, cost: cost as u32, room: (cost * at_once) as u32 }
    }

    /// What is left of a debt after so many ticks.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "no more than the debt was")]
    const fn after(&self, debt: u32, ticks: u32) -> u32 {
        (debt as u64).saturating_sub(ticks as u64 * self.refill as u64) as u32
    }

    /// The debt with one more, if there is room.
    #[inline(always)]
    const fn take(&self, debt: u32) -> Option<u32> {
        let next = debt.wrapping_add(self.cost);
        if next <= self.room { Some(next) } else { None }
    }
}

/// One bucket. Two processors that use it at once may count a packet once.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    at: Ticks,
    debt: u32,
}

plain!(Bucket, 8);

impl Bucket {
    /// Takes one out; `false` if the bucket is empty.
    #[inline(always)]
    pub const fn admits(&mut self, rate: &Rate, now: Ticks) -> bool {
        let ticks = now.passed_since(self.at);
        let debt = rate.after(self.debt, ticks);
        // Not to `now`, which may lie a tick behind: that tick would be paid for twice.
        self.at = self.at.after(ticks);
        let taken = rate.take(debt);
        self.debt = match taken {
            Some(next) => next,
            None => debt,
        };
        taken.is_some()
    }

    /// Whether less than half is left.
    #[inline(always)]
    #[must_use]
    pub const fn is_low(&self, rate: &Rate, now: Ticks) -> bool {
        rate.after(self.debt, now.passed_since(self.at)) > rate.room / 2
    }
}

/// The buckets of one source.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceBuckets {
    /// Part of the source's hash; 0 where there is none.
    tag: u32,
    at: Ticks,
    packets: u32,
    flows: u32,
}

plain!(SourceBuckets, 16);

impl SourceBuckets {
    /// Lets the debts go down by the time that went by.
    #[inline(always)]
    pub const fn settle(&mut self, packets: &Rate, flows: &Rate, now: Ticks) {
        let ticks = now.passed_since(self.at);
        if ticks != 0 {
            self.at = now;
            self.packets = packets.after(self.packets, ticks);
            self.flows = flows.after(self.flows, ticks);
        }
    }

    /// Takes a packet; `false` if there are too many.
    #[inline(always)]
    pub const fn admits_packet(&mut self, rate: &Rate) -> bool {
        let Some(next) = rate.take(self.packets) else { return false };
        self.packets = next;
        true
    }

    /// Takes a new flow; `false` if there are too many.
    #[inline(always)]
    pub const fn admits_flow(&mut self, rate: &Rate) -> bool {
        let Some(next) = rate.take(self.flows) else { return false };
        self.flows = next;
        true
    }
}

/// The sources whose hashes lead to one cache line. Where there are more than it holds, the one that was silent longest
/// gives way, and begins with full buckets when it comes again.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BucketLine([SourceBuckets; 4]);

plain!(BucketLine, 64);

impl BucketLine {
    /// The buckets of a source, which are full if it was not here.
    #[inline(always)]
    pub fn of(&mut self, tag: u32, now: Ticks) -> &mut SourceBuckets {
        let Self([a, b, c, d]) = self;
        if a.tag == tag {
            return a;
        }
        if b.tag == tag {
            return b;
        }
        if c.tag == tag {
            return c;
        }
        if d.tag == tag {
            return d;
        }
        let oldest = older(older(a, b, now), older(c, d, now), now);
        *oldest = SourceBuckets { tag, at: now, packets: 0, flows: 0 };
        oldest
    }
}

#[inline(always)]
fn older<'a>(a: &'a mut SourceBuckets, b: &'a mut SourceBuckets, now: Ticks) -> &'a mut SourceBuckets {
    let age = |buckets: &SourceBuckets| match buckets.tag {
        0 => u32::MAX,
        _ => now.passed_since(buckets.at),
    };
    if age(a) >= age(b) { a } else { b }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u32 = 250;

    #[allow(clippy::cast_possible_truncation, reason = "a few thousand")]
    /// How many of `tries` packets a tick are admitted in so many ticks.
    fn admitted(rate: &Rate, from: u32, ticks: u32, tries: u32) -> u32 {
        let mut bucket = Bucket { at: Ticks(from), debt: 0 };
        let mut count = 0;
        for tick in 0..ticks {
            count +=
                (0..tries).filter(|_| bucket.admits(rate, Ticks(from.wrapping_add(tick)))).count() as u32;
        }
        count
    }

    proptest! {
        #[test]
        fn a_bucket_admits_its_rate_and_its_burst(rate in 1u32..20_000, burst in 1u32..20_000) {
            let seconds = 10;
            let wanted = rate * seconds + burst;
            let admitted = admitted(&Rate::new(rate, burst, SECOND), u32::MAX - 700, seconds * SECOND, 200);
            // No more than comes, and no more in a tick than the bucket holds.
            let most = wanted.min(200 * seconds * SECOND);
            prop_assert!(admitted <= most + most / 50 + 1, "{admitted} of {wanted}");
            let held = burst.min(200) * SECOND * seconds;
            let least = most.min(held);
            prop_assert!(admitted + least / 50 + rate / SECOND + 1 >= least, "{admitted} of {wanted}");
        }
    }

    #[test]
    fn a_bucket_never_written_is_full() {
        let rate = Rate::new(10, 3, SECOND);
        let mut bucket = Bucket::default();
        let admitted = (0..9).filter(|_| bucket.admits(&rate, Ticks(0))).count();
        assert_eq!(admitted, 3);
    }

    #[test]
    fn a_bucket_is_low_until_half_of_it_is_back() {
        let rate = Rate::new(100, 100, SECOND);
        let mut bucket = Bucket::default();
        assert!(!bucket.is_low(&rate, Ticks(0)));
        while bucket.admits(&rate, Ticks(0)) {}
        assert!(bucket.is_low(&rate, Ticks(0)) && bucket.is_low(&rate, Ticks(SECOND / 2 - 1)));
        assert!(!bucket.is_low(&rate, Ticks(SECOND / 2)));
    }

    #[test]
    fn rates_at_either_end_are_kept() {
        assert_eq!(admitted(&Rate::new(1, 1, 1000), 5, 10_000, 1), 10);
        let fast = admitted(&Rate::new(4_000_000, 4_000_000, SECOND), 5, 2, 3_000_000);
        assert!((4_000_000..=4_020_000).contains(&fast), "{fast}");
    }

    #[test]
    fn a_clock_read_before_another_cpu_s_note_pays_no_debt() {
        let rate = Rate::new(SECOND, 3, SECOND);
        let mut bucket = Bucket { at: Ticks(1001), debt: 0 };
        let mut admitted = |now| (0..9).filter(|_| bucket.admits(&rate, Ticks(now))).count();
        assert_eq!([1001, 1000, 1001, 1000].map(&mut admitted), [3, 0, 0, 0]);
        assert_eq!(admitted(1002), 1, "the tick that went by is paid for, and once");
        assert!(bucket.is_low(&rate, Ticks(1001)));

        let mut buckets = SourceBuckets { tag: 7, at: Ticks(0), packets: 0, flows: 0 };
        let mut admitted = |now| {
            let mut admits = || {
                buckets.settle(&rate, &rate, Ticks(now));
                [buckets.admits_packet(&rate), buckets.admits_flow(&rate)]
            };
            (0..9)
                .map(|_| admits())
                .fold([0, 0], |sums, admitted| [0, 1].map(|i| sums[i] + i32::from(admitted[i])))
        };
        assert_eq!([0, u32::MAX, 0, u32::MAX].map(&mut admitted), [[3, 3], [0, 0], [0, 0], [0, 0]]);
        assert_eq!(admitted(1), [1, 1]);
    }

    #[test]
    fn a_bucket_that_rested_for_most_of_the_clock_s_round_is_full() {
        let rate = Rate::new(SECOND, 3, SECOND);
        for rest in [u32::MAX / 2, u32::MAX / 2 + 1, u32::MAX - 75_000] {
            let mut bucket = Bucket::default();
            while bucket.admits(&rate, Ticks(0)) {}
            assert!(bucket.admits(&rate, Ticks(rest)), "{rest} ticks");
        }
    }

    #[test]
    fn the_source_that_another_cpu_just_saw_is_not_the_oldest() {
        let mut line = BucketLine::default();
        for (tag, at) in [(1, 50), (2, 101), (3, 70), (4, 80)] {
            line.of(tag, Ticks(at));
        }
        line.of(5, Ticks(100));
        assert_eq!(line.0.map(|buckets| buckets.tag), [5, 2, 3, 4]);
    }

    #[test]
    fn the_source_that_was_silent_longest_gives_way() {
        let (mut line, rate) = (BucketLine::default(), Rate::new(1, 1, SECOND));
        let mut comes = |tag, now| {
            let buckets = line.of(tag, Ticks(now));
            buckets.settle(&rate, &rate, Ticks(now));
            buckets.admits_packet(&rate)
        };
        assert!([(1, 1), (2, 2), (3, 3), (4, 4), (1, 255)].into_iter().all(|(tag, now)| comes(tag, now)));
        assert!(comes(5, 256), "a new one begins with a full bucket");
        assert!(!comes(1, 257), "who came often is still known");
        assert!(!comes(3, 10), "as is who is not the oldest");
        assert!(comes(2, 20), "the oldest is not");
    }

    #[test]
    fn packets_and_flows_of_a_source_are_counted_apart() {
        let (mut line, rate) = (BucketLine::default(), Rate::new(1, 2, SECOND));
        let buckets = line.of(7, Ticks(0));
        let packets = (0..5).filter(|_| buckets.admits_packet(&rate)).count();
        let flows = (0..5).filter(|_| buckets.admits_flow(&rate)).count();
        assert_eq!((packets, flows), (2, 2));
    }
}
