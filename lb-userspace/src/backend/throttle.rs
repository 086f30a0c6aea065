//! Spreads a download over time.

use std::num::NonZeroU64;
use std::time::Duration;

/// Bytes written at once when nothing slows them.
const CHUNK_BYTES: u64 = 64 * 1024;
/// A throttled download is written so many times a second: smooth, and cheap for hundreds of them.
const STEPS_PER_SECOND: u64 = 20;

/// How many bytes to write at once.
pub(super) fn plan_step(rate: Option<NonZeroU64>) -> u64 {
    rate.map_or(CHUNK_BYTES, |rate| (rate.get() / STEPS_PER_SECOND).clamp(1, CHUNK_BYTES))
}

/// When, after the start, so many bytes may have been sent.
pub(super) fn plan_due(sent: u64, rate: Option<NonZeroU64>) -> Duration {
    let Some(rate) = rate else { return Duration::ZERO };
    let nanos = u128::from(sent) * 1_000_000_000 / u128::from(rate.get());
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_sets_the_time_and_the_size_of_a_step() {
        let rate = NonZeroU64::new(1000);
        assert_eq!((plan_step(rate), plan_due(2500, rate)), (50, Duration::from_millis(2500)));
        assert_eq!(plan_step(NonZeroU64::new(1)), 1);
        assert_eq!((plan_step(None), plan_due(u64::MAX, None)), (CHUNK_BYTES, Duration::ZERO));
    }
}
