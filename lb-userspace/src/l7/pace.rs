//! How slow a peer may be: how long it may let us wait for bytes that it owes us, or for room for those that we owe it.
//!
//! A deadline for each piece alone bounds nobody who sends or takes a byte now and then. So time that was waited is a debt, which
//! bytes that pass pay back at the rate that is asked for; what is left of the patience is how long the next wait may last. Time
//! in which nothing is waited for (the other end is slower, or has nothing to say) does not count, and nothing is saved up. Pure.

use super::deadline::TICK;
use crate::config::proxy::ClientDeadlines;
use std::time::Duration;

/// Microseconds of a tick.
#[expect(clippy::cast_possible_truncation, reason = "a tick is a tenth of a second")]
const TICK_US: u64 = TICK.as_micros() as u64;

/// How long somebody may be waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wait {
    /// Altogether, less what bytes have paid back.
    pub within: Duration,
    /// Bytes that pay back a second; 0 where each wait stands for itself.
    pub rate: u32,
}

impl Wait {
    /// For what a client sends.
    #[must_use]
    pub const fn for_body(deadlines: &ClientDeadlines) -> Self {
        Self { within: deadlines.body, rate: deadlines.min_rate }
    }

    /// For a client to take what it is sent.
    #[must_use]
    pub const fn for_reader(deadlines: &ClientDeadlines) -> Self {
        Self { within: deadlines.send, rate: deadlines.min_rate }
    }
}

impl From<Duration> for Wait {
    fn from(within: Duration) -> Self {
        Self { within, rate: 0 }
    }
}

/// Where a body is: bytes that have passed, and the time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mark {
    /// Bytes since some time in the past.
    pub passed: u64,
    /// Ticks since some time in the past.
    pub now: u32,
}

/// No wait is under way.
const NEVER: u32 = u32::MAX;

/// The waits of one direction of a body. Small, for every exchange has some and is moved about.
#[derive(Debug)]
pub struct Pace {
    within_ms: u32,
    rate: u32,
    debt_us: u64,
    /// Bytes that have paid.
    paid: u64,
    /// The tick at which the wait under way began.
    began: u32,
}

impl Pace {
    /// Nothing was waited for so far, and so many bytes had passed.
    #[must_use]
    pub fn new(wait: Wait, passed: u64) -> Self {
        Self { within_ms: millis(wait.within), rate: wait.rate, debt_us: 0, paid: passed, began: NEVER }
    }

    /// How long is waited from now on.
    pub fn change(&mut self, wait: Wait) {
        (self.within_ms, self.rate) = (millis(wait.within), wait.rate);
    }

    /// Begins to wait. How long, if it has not begun before.
    pub fn begin(&mut self, mark: Mark) -> Option<Duration> {
        if self.began != NEVER {
            return None;
        }
        self.began = mark.now;
        self.pay(mark.passed);
        let within = Duration::from_millis(self.within_ms.into());
        Some(within.saturating_sub(Duration::from_micros(self.debt_us)))
    }

    /// What was waited for has come, at this tick. Whether anything was.
    pub fn end(&mut self, now: impl FnOnce() -> u32) -> bool {
        let began = std::mem::replace(&mut self.began, NEVER);
        if began != NEVER && self.rate > 0 {
            self.debt_us += u64::from(now().saturating_sub(began)) * TICK_US;
        }
        began != NEVER
    }

    /// What was waited since the last [`begin`](Self::begin) shall not count: it is to be called again.
    pub const fn begin_anew(&mut self) {
        self.began = NEVER;
    }

    fn pay(&mut self, passed: u64) {
        if self.debt_us > 0 {
            let bytes = passed.saturating_sub(self.paid);
            let paid = bytes.saturating_mul(1_000_000).checked_div(self.rate.into()).unwrap_or(u64::MAX);
            self.debt_us = self.debt_us.saturating_sub(paid);
        }
        self.paid = passed;
    }
}

/// Seven weeks at most.
fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    /// The same in ticks.
    const A_SECOND: u32 = 10;

    /// How long the next waits may last where each lasts so many seconds and brings so many bytes.
    fn allowed(rate: u32, waits: &[(u32, u64)]) -> Vec<u64> {
        let mut pace = Pace::new(Wait { within: 30 * SECOND, rate }, 7);
        let mut mark = Mark { passed: 7, now: 100 * A_SECOND };
        let begin = |pace: &mut Pace, mark| pace.begin(mark).unwrap().as_secs();
        let mut allowed = vec![begin(&mut pace, mark)];
        for &(seconds, bytes) in waits {
            mark = Mark { passed: mark.passed + bytes, now: mark.now + seconds * A_SECOND };
            assert!(pace.end(|| mark.now));
            // The other end is waited for, which is nobody's fault here.
            mark.now += 1000 * A_SECOND;
            allowed.push(begin(&mut pace, mark));
        }
        allowed
    }

    #[test]
    fn a_byte_now_and_then_uses_the_patience_up() {
        assert_eq!(allowed(240, &[(20, 1), (9, 1), (1, 1)]), [30, 10, 1, 0]);
    }

    #[test]
    fn bytes_at_the_rate_that_is_asked_for_pay_for_their_waits() {
        assert_eq!(allowed(240, &[(20, 4800), (20, 4800), (29, 6960)]), [30, 30, 30, 30]);
        assert_eq!(allowed(240, &[(20, 2400), (20, 2400)]), [30, 20, 10]);
    }

    #[test]
    fn nothing_is_saved_up() {
        assert_eq!(allowed(240, &[(1, 1 << 40), (20, 0)]), [30, 30, 10]);
    }

    #[test]
    fn without_a_rate_each_wait_stands_for_itself() {
        assert_eq!(allowed(0, &[(29, 1), (29, 1)]), [30, 30, 30]);
    }

    #[test]
    fn a_wait_that_has_begun_goes_on() {
        let mut pace = Pace::new(SECOND.into(), 0);
        assert_eq!(pace.begin(Mark::default()), Some(SECOND));
        assert_eq!(pace.begin(Mark { passed: 1, now: A_SECOND }), None);
        assert!(pace.end(|| A_SECOND) && !pace.end(|| A_SECOND));
    }
}
