//! A backend that fails too often in a row is left out for a while: a machine of its own.
//!
//! ```text
//! counting ── failures in a row, if the cap allows ──► out ── time ──► counting
//! ```
//!
//! The second time in a row it is out for twice as long, and so on; one success long after the last time forgives all.

use std::time::Duration;

use crate::config::proxy::Outliers;

/// Longer than so many times the first time nobody is left out.
const MOST_TIMES: u32 = 10;

/// How many backends serve, and how many of them are left out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cap {
    pub(super) all: u32,
    pub(super) out: u32,
}

impl Cap {
    /// Whether one more may be left out: of several always one, never all.
    fn allows(self, rules: &Outliers) -> bool {
        let most = (self.all * u32::from(rules.most) / 100).max(1).min(self.all.saturating_sub(1));
        rules.most > 0 && self.out < most
    }
}

/// What is held against a backend.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outlier {
    failures: u16,
    /// How often in a row it was left out.
    times: u32,
    /// Until when it is, or was.
    until: Duration,
}

impl Outlier {
    pub(super) fn is_out(&self, now: Duration) -> bool {
        now < self.until
    }

    /// Until when it is left out, or was last.
    pub(super) const fn until(&self) -> Duration {
        self.until
    }

    /// Takes a success in.
    pub(super) fn forgive(&mut self, rules: &Outliers, now: Duration) {
        if !self.is_out(now) {
            self.failures = 0;
            if self.times > 0 && now > self.until + rules.eject {
                self.times = 0;
            }
        }
    }

    /// Takes a failure in. Whether it is left out for it: what was begun before it was, and fails now, is not held against it
    /// again.
    pub(super) fn blame(&mut self, rules: &Outliers, cap: Cap, now: Duration) -> bool {
        if self.is_out(now) {
            return false;
        }
        self.failures = self.failures.saturating_add(1);
        if self.failures >= rules.failures && cap.allows(rules) {
            self.times = (self.times + 1).min(MOST_TIMES);
            *self = Self { failures: 0, times: self.times, until: now + rules.eject * self.times };
        }
        self.is_out(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAP: Cap = Cap { all: 4, out: 0 };
    const RULES: Outliers = Outliers { failures: 3, ..Outliers::DEFAULT };

    const fn at(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn failing(times: usize, now: Duration, outlier: &mut Outlier) {
        for _ in 0..times {
            outlier.blame(&RULES, CAP, now);
        }
    }

    #[test]
    fn failures_in_a_row_leave_it_out_and_time_brings_it_back() {
        let mut outlier = Outlier::default();
        failing(3, at(0), &mut outlier);
        assert!(outlier.is_out(at(29)) && !outlier.is_out(at(30)));
    }

    #[test]
    fn a_success_between_failures_forgives_them() {
        let mut outlier = Outlier::default();
        failing(2, at(0), &mut outlier);
        outlier.forgive(&RULES, at(0));
        failing(2, at(0), &mut outlier);
        assert!(!outlier.is_out(at(1)));
    }

    #[test]
    fn who_fails_again_is_left_out_for_longer_until_it_has_behaved() {
        let mut outlier = Outlier::default();
        failing(3, at(0), &mut outlier);
        failing(3, at(30), &mut outlier);
        assert!(outlier.is_out(at(89)) && !outlier.is_out(at(90)), "twice as long");
        outlier.forgive(&RULES, at(200));
        failing(3, at(300), &mut outlier);
        assert!(!outlier.is_out(at(330)), "as the first time");
    }

    #[test]
    fn the_cap_is_a_share_but_one_of_several_and_never_all() {
        let allows = |all, out, most| Cap { all, out }.allows(&Outliers { most, ..RULES });
        assert!(allows(4, 1, 50) && !allows(4, 2, 50));
        assert!(allows(3, 0, 10) && !allows(3, 1, 10), "one always may");
        assert!(!allows(1, 0, 100) && !allows(2, 1, 100), "never all");
        assert!(!allows(4, 0, 0), "0 is nobody");
    }
}
