//! The time as lines tell it. What is true for a second is written once in it.

use crate::l7::http1::date::{MONTHS, civil};
use std::fmt::Write as _;
use std::time::Duration;

const DAY: u64 = 24 * 3600;

/// The second that was written last, in both forms.
#[derive(Debug, Default)]
pub(super) struct Moment {
    second: Option<u64>,
    micros: u32,
    /// `2026-11-21T15:06:04`
    iso: String,
    /// `21/Nov/2026:15:06:04 +0000`, as the common log format has it.
    common: String,
}

impl Moment {
    /// Takes a time since 1970.
    pub(super) fn set(&mut self, now: Duration) {
        self.micros = now.subsec_micros();
        if self.second != Some(now.as_secs()) {
            self.second = Some(now.as_secs());
            self.write(now.as_secs());
        }
    }

    fn write(&mut self, second: u64) {
        let (day, time) = (second / DAY, second % DAY);
        let (year, month, of_month) = civil(day);
        let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
        let name = MONTHS.get(month).copied().unwrap_or_default();
        self.iso.clear();
        self.common.clear();
        // Writing to a String cannot fail.
        _ = write!(self.iso, "{year:04}-{:02}-{of_month:02}T{hour:02}:{minute:02}:{second:02}", month + 1);
        _ = write!(self.common, "{of_month:02}/{name}/{year:04}:{hour:02}:{minute:02}:{second:02} +0000");
    }

    pub(super) fn common(&self) -> &str {
        &self.common
    }

    /// `2026-11-21T15:06:04.123456Z`
    pub(super) fn push_iso(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.iso.as_bytes());
        out.push(b'.');
        push_digits::<6>(self.micros.into(), out);
        out.push(b'Z');
    }
}

/// Seconds with six places behind the point.
pub(super) fn push_seconds(time: Duration, out: &mut Vec<u8>) {
    push_number(time.as_secs(), out);
    out.push(b'.');
    push_digits::<6>(time.subsec_micros().into(), out);
}

/// A number in as many digits as it needs.
pub(super) fn push_number(number: u64, out: &mut Vec<u8>) {
    let mut digits = [b'0'; 20];
    let mut left = number;
    let mut used = 0;
    for digit in digits.iter_mut().rev() {
        *digit = digit_of(left % 10);
        left /= 10;
        used += 1;
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(20 - used..).unwrap_or_default());
}

fn push_digits<const N: usize>(number: u64, out: &mut Vec<u8>) {
    let mut digits = [b'0'; N];
    let mut left = number;
    for digit in digits.iter_mut().rev() {
        *digit = digit_of(left % 10);
        left /= 10;
    }
    out.extend_from_slice(&digits);
}

fn digit_of(number: u64) -> u8 {
    b"0123456789".get(usize::try_from(number).unwrap_or(0)).copied().unwrap_or(b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(push: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        push(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_moment_is_told_in_both_forms() {
        let mut moment = Moment::default();
        moment.set(Duration::from_micros(1_709_211_661_000_042));
        assert_eq!(moment.common(), "29/Feb/2024:13:01:01 +0000");
        assert_eq!(written(|out| moment.push_iso(out)), "2024-02-29T13:01:01.000042Z");
        moment.set(Duration::from_secs(784_111_777));
        assert_eq!(moment.common(), "06/Nov/1994:08:49:37 +0000");
    }

    #[test]
    fn numbers_have_the_digits_they_need() {
        for number in [0, 7, 10, 1_234_567_890, u64::MAX] {
            assert_eq!(written(|out| push_number(number, out)), number.to_string());
        }
        assert_eq!(written(|out| push_seconds(Duration::from_micros(12_000_345), out)), "12.000345");
    }
}
