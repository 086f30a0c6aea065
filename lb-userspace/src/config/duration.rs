//! Durations and sizes as people write them: `500ms`, `5m`, `256k`.

use std::fmt;
use std::time::Duration;

/// Units of a duration with their milliseconds, largest first so that the shortest writing is found first.
const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Milliseconds of a duration such as `500ms`, `1s`, `5m`, `1h`: one whole number and one unit.
pub(super) fn parse_millis(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text)?;
    let (_, millis) = UNITS.iter().find(|(name, _)| *name == unit)?;
    number.checked_mul(*millis)
}

/// A duration such as `500ms`, `1s`, `5m`, `1h`, as the command line takes it.
#[must_use]
pub fn parse(text: &str) -> Option<Duration> {
    parse_millis(text).map(Duration::from_millis)
}

/// A count such as `262144`, `256k` or `1M`, where k is 1,024 and M is 1,048,576, as tables come in powers of two.
pub(super) fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text)?;
    let shift = match unit {
        "" => 0,
        "k" | "K" => 10,
        "m" | "M" => 20,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

/// A share such as `10%`.
pub(super) fn parse_percent(text: &str) -> Option<u64> {
    split_unit(text).filter(|(_, unit)| *unit == "%").map(|(number, _)| number)
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit))
}

/// Writes a duration the way [`parse_millis`] reads it, in the largest unit that is exact.
pub(super) struct Written(pub(super) Duration);

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        let (name, unit) =
            UNITS.into_iter().find(|(_, unit)| millis.is_multiple_of(*unit)).unwrap_or(("ms", 1));
        write!(f, "{}{name}", millis / unit)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_one_number_and_one_unit() {
        assert_eq!(parse_millis("500ms"), Some(500));
        assert_eq!(parse_millis("1s"), Some(1_000));
        assert_eq!(parse_millis("5m"), Some(300_000));
        assert_eq!(parse_millis("1h"), Some(3_600_000));
        for wrong in [
            "",
            "5",
            "s",
            "5 s",
            "1.5s",
            "-1s",
            "1m30s",
            "1S",
            "5d",
            "99999999999999999999s",
            "99999999999999999h",
        ] {
            assert_eq!(parse_millis(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn sizes_count_in_powers_of_two() {
        assert_eq!(parse_size("262144"), Some(262_144));
        assert_eq!(parse_size("256k"), Some(262_144));
        assert_eq!(parse_size("1M"), Some(1_048_576));
        for wrong in ["", "k", "1G", "1 k", "1kb", "-1", "18446744073709551615k"] {
            assert_eq!(parse_size(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn percents_need_their_sign() {
        assert_eq!(parse_percent("10%"), Some(10));
        assert_eq!(parse_percent("10"), None);
        assert_eq!(parse_percent("1.5%"), None);
    }

    proptest! {
        #[test]
        fn a_written_duration_reads_back(millis in 0u64..100_000_000_000) {
            prop_assert_eq!(parse_millis(&Written(Duration::from_millis(millis)).to_string()), Some(millis));
        }
    }
}
