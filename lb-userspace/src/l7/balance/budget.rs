//! How many retries there may be: a share of the requests of late, and a few besides.
//!
//! Source: `RetryBudget` of Finagle, whose deposits expire after ten seconds, too.

use std::time::Duration;

use crate::config::proxy::Retries;

/// Seconds for which a request counts.
const WINDOW: usize = 10;
/// What a retry costs, in the pieces that requests pay in.
const RETRY: u64 = 100;

/// A worker's budget for one service.
#[derive(Clone, Debug, Default)]
pub struct RetryBudget {
    /// What was paid in in each second of the window and is not spent, the second's number by the remainder.
    paid: [u64; WINDOW],
    /// The latest second.
    second: u64,
}

impl RetryBudget {
    /// Counts a request that is tried for the first time.
    pub fn deposit(&mut self, rules: &Retries, now: Duration) {
        self.turn_to(*rules, now);
        *self.of(self.second) += u64::from(rules.budget);
    }

    /// Whether a retry may be; if so it is paid for, by what would expire first.
    pub fn withdraw(&mut self, rules: &Retries, now: Duration) -> bool {
        self.turn_to(*rules, now);
        let enough = self.paid.iter().sum::<u64>() >= RETRY;
        let mut due = if enough { RETRY } else { 0 };
        for second in self.second + 1..=self.second + WINDOW as u64 {
            let paid = self.of(second);
            let part = due.min(*paid);
            (*paid, due) = (*paid - part, due - part);
        }
        enough
    }

    /// What was paid in in a second.
    fn of(&mut self, second: u64) -> &mut u64 {
        let place = usize::try_from(second % WINDOW as u64).unwrap_or(0);
        &mut self.paid[place]
    }

    /// Lets go what is too old; each new second brings the reserve.
    fn turn_to(&mut self, rules: Retries, now: Duration) {
        // The first second is 1, so that it is new to a budget that was never used.
        let now = now.as_secs() + 1;
        for second in (self.second + 1).max(now.saturating_sub(WINDOW as u64 - 1))..=now {
            *self.of(second) = u64::from(rules.reserve) * RETRY;
        }
        self.second = self.second.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Retries = Retries { budget: 20, reserve: 2, ..Retries::DEFAULT };

    const fn at(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn retries(budget: &mut RetryBudget, rules: Retries, now: Duration) -> usize {
        (0..10_000).filter(|_| budget.withdraw(&rules, now)).count()
    }

    #[test]
    fn a_fifth_of_the_requests_may_be_retried_and_the_reserve_besides() {
        let mut budget = RetryBudget::default();
        (0..100).for_each(|_| budget.deposit(&RULES, at(5)));
        assert_eq!(
            retries(&mut budget, RULES, at(5)),
            20 + 2 * 6,
            "six seconds of reserve, and a fifth of 100"
        );
        assert_eq!(retries(&mut budget, RULES, at(6)), 2, "a second later the reserve");
    }

    #[test]
    fn what_is_not_spent_expires() {
        let mut budget = RetryBudget::default();
        let none = Retries { reserve: 0, ..RULES };
        (0..100).for_each(|_| budget.deposit(&none, at(0)));
        assert!(budget.clone().withdraw(&none, at(9)));
        assert!(!budget.withdraw(&none, at(10)));
    }

    #[test]
    fn a_budget_of_nothing_allows_nothing() {
        let none = Retries { budget: 0, reserve: 0, ..RULES };
        let mut budget = RetryBudget::default();
        budget.deposit(&none, at(0));
        assert!(!budget.withdraw(&none, at(0)));
    }
}
