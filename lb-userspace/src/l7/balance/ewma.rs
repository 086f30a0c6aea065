//! Latency of late: rises at once, falls slowly.
//!
//! Source: `PeakEwma` of Finagle (`com.twitter.finagle.loadbalancer.PeakEwma`), which Linkerd has, too.

use std::time::Duration;

/// Time after which a third of an old latency is left.
const DECAY: Duration = Duration::from_secs(10);
/// What a backend is taken for of which nothing is known but that it has exchanges: slow, so that it does not get all at once.
const UNKNOWN: f64 = 1.0;

/// An exponentially weighted moving average that jumps to what is greater than itself.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PeakEwma {
    /// In seconds; 0 is nothing known.
    cost: f64,
    at: Duration,
}

impl PeakEwma {
    pub(super) fn observe(&mut self, latency: Duration, now: Duration) {
        let (latency, left) = (latency.as_secs_f64(), self.left(now));
        self.cost =
            if latency > self.cost { latency } else { self.cost.mul_add(left, latency * (1.0 - left)) };
        self.at = now;
    }

    /// What one more exchange would cost, with `load` exchanges for each part of the backend's weight. What is not used
    /// gets cheaper with time, until it is tried again.
    pub(super) fn cost(&self, load: f64, now: Duration) -> f64 {
        let cost = self.cost * self.left(now);
        if cost == 0.0 && load > 0.0 { UNKNOWN + load } else { cost * (load + 1.0) }
    }

    /// The average; `None` if nothing is known.
    pub(super) fn mean(&self) -> Option<Duration> {
        (self.cost > 0.0).then(|| Duration::from_secs_f64(self.cost))
    }

    fn left(&self, now: Duration) -> f64 {
        let age = now.saturating_sub(self.at).as_secs_f64() / DECAY.as_secs_f64();
        // From one request of a busy backend to the next, the series is the same to nine digits after two terms.
        if age < 1e-3 { 1.0 - age + age * age / 2.0 } else { (-age).exp() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_greater_latency_counts_at_once_and_a_smaller_one_slowly() {
        let mut latency = PeakEwma::default();
        latency.observe(ms(10), ms(0));
        latency.observe(ms(100), ms(1));
        assert_eq!(latency.mean(), Some(ms(100)));
        latency.observe(ms(10), ms(1001));
        let mean = latency.mean().unwrap();
        assert!(mean > ms(85) && mean < ms(95), "{mean:?}");
    }

    #[test]
    fn what_is_not_asked_gets_cheaper_until_it_is() {
        let mut latency = PeakEwma::default();
        latency.observe(ms(100), ms(0));
        assert!(latency.cost(0.0, ms(30_000)) < latency.cost(0.0, ms(1000)) / 10.0);
    }

    #[test]
    fn one_that_is_not_known_yet_and_is_asked_already_is_dear() {
        let unknown = PeakEwma::default();
        assert!(unknown.cost(0.0, ms(0)) == 0.0 && unknown.cost(1.0, ms(0)) >= UNKNOWN);
    }
}
