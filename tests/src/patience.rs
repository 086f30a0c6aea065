//! How long things may take. What waits for a hang waits longer on a slow machine; what claims a bound does not use this.

use std::env;
use std::sync::LazyLock;
use std::time::Duration;

/// Times as long as usual: a whole number in `LB_TEST_PATIENCE`, for machines under emulation.
static FACTOR: LazyLock<u32> = LazyLock::new(|| parse_factor(env::var("LB_TEST_PATIENCE").ok().as_deref()));

/// What is `usual` elsewhere, on this machine.
#[must_use]
pub fn of(usual: Duration) -> Duration {
    usual.saturating_mul(*FACTOR)
}

/// Impatience is not to be had: it would make failures of what is merely slow.
fn parse_factor(text: Option<&str>) -> u32 {
    text.and_then(|text| text.parse().ok()).unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_number_of_at_least_one_changes_anything() {
        assert_eq!(parse_factor(Some("12")), 12);
        for nothing in [None, Some(""), Some("0"), Some("-3"), Some("1.5")] {
            assert_eq!(parse_factor(nothing), 1, "{nothing:?}");
        }
    }
}
