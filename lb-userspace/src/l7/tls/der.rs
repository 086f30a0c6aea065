//! The few kinds of elements that are read of certificates and of what is stapled to them.
//!
//! Source: DER, ITU-T X.690.

pub(super) const INTEGER: u8 = 0x02;
pub(super) const OCTETS: u8 = 0x04;
pub(super) const ENUMERATED: u8 = 0x0a;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const UTC_TIME: u8 = 0x17;
pub(super) const GENERALIZED_TIME: u8 = 0x18;

/// The content of the first element, if it has this tag, and what follows it.
pub(super) fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    any(der).filter(|(first, ..)| *first == tag).map(|(_, content, rest)| (content, rest))
}

/// The first element's tag and content, and what follows it.
pub(super) fn any(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, length], rest) = der.split_first_chunk()?;
    let (length, rest) = match length {
        0..0x80 => (usize::from(length), rest),
        _ => long_length(usize::from(length & 0x7f), rest)?,
    };
    rest.split_at_checked(length).map(|(content, rest)| (tag, content, rest))
}

fn long_length(digits: usize, der: &[u8]) -> Option<(usize, &[u8])> {
    let (digits, rest) = der.split_at_checked(digits)?;
    let length =
        digits.iter().try_fold(0usize, |sum, &digit| sum.checked_mul(256)?.checked_add(usize::from(digit)));
    Some((length?, rest))
}

/// A time as either of its two kinds, and what follows it.
pub(super) fn either_time(der: &[u8]) -> Option<(Option<i64>, &[u8])> {
    if let Some((text, rest)) = element(der, UTC_TIME) {
        // Years of two digits are of this century up to 49.
        let (year, later) = (number(text, 0..2), text.get(2..)?);
        let year = year.map(|year| if year < 50 { 2000 + year } else { 1900 + year });
        return Some((year.and_then(|year| seconds(year, later)), rest));
    }
    let (text, rest) = element(der, GENERALIZED_TIME)?;
    Some((number(text, 0..4).and_then(|year| seconds(year, text.get(4..)?)), rest))
}

/// Unix time of `MMDDHHMMSSZ` in a year.
fn seconds(year: i64, text: &[u8]) -> Option<i64> {
    let two = |at: usize| number(text, at..at + 2);
    let (month, day) = (two(0)?, two(2)?);
    let in_day = (two(4)? * 60 + two(6)?) * 60 + two(8)?;
    (text.get(10..) == Some(b"Z") && (1..=12).contains(&month))
        .then(|| days(year, month, day) * 24 * 60 * 60 + in_day)
}

fn number(text: &[u8], digits: std::ops::Range<usize>) -> Option<i64> {
    std::str::from_utf8(text.get(digits)?).ok()?.parse().ok()
}

/// Days from the first of 1970 to this day. Years begin in March here, so that a leap day is a year's last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    const BEFORE_1970: i64 = 719_468;
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leaps = year / 4 - year / 100 + year / 400;
    // Months of 31, 30, 31, 30, 31 days, five of them 153.
    year * 365 + leaps + (153 * month + 2) / 5 + day - 1 - BEFORE_1970
}

#[cfg(test)]
pub(super) mod tests {
    /// An element of DER.
    pub(in super::super) fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = content.len();
        let head = match u8::try_from(length) {
            Ok(short) if short < 0x80 => vec![tag, short],
            _ => vec![tag, 0x82, u8::try_from(length >> 8).unwrap(), u8::try_from(length & 255).unwrap()],
        };
        [head, content.to_vec()].concat()
    }
}
