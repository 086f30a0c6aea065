//! How long a certificate is valid: the one thing of it that the library checks for others and does not tell.
//!
//! Source: RFC 5280, section 4.1; the encoding is DER, ITU-T X.690.

use super::names::dns_names;
use super::{TlsError, files};
use crate::config::proxy::{CertificateFiles, Proxy};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// How long before its end a certificate is worth a warning: whoever renews by machine has done so by then.
pub(super) const SOON: Duration = Duration::from_hours(14 * 24);

const INTEGER: u8 = 0x02;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// A certificate of a listener, and when it ends to be valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The file.
    pub file: PathBuf,
    /// Seconds of Unix time; `None` for one that cannot be read that far.
    pub expires: Option<i64>,
    /// Its names in lower case; wildcards by what stands behind their `*`.
    pub(super) names: Vec<Box<str>>,
}

impl Shown {
    pub(super) fn read(files: &CertificateFiles) -> Result<Self, TlsError> {
        let chain = files::chain(&files.cert)?;
        let leaf = chain.first();
        Ok(Self {
            file: files.cert.clone(),
            expires: leaf.and_then(|leaf| not_after(leaf)),
            names: leaf.and_then(|leaf| dns_names(leaf).ok()).unwrap_or_default(),
        })
    }

    /// What an operator should know of it, at this time.
    #[must_use]
    pub fn warning(&self, now: SystemTime) -> Option<String> {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let left = self.expires? - i64::try_from(now).ok()?;
        let (file, days) = (self.file.display(), left / (24 * 60 * 60));
        match left {
            ..=0 => Some(format!("the certificate in {file} is no longer valid")),
            _ if left.unsigned_abs() < SOON.as_secs() => {
                Some(format!("the certificate in {file} is valid for {days} more days"))
            }
            _ => None,
        }
    }
}

/// What an operator should know of the certificates that a configuration names: what cannot be used, and what ends soon.
#[must_use]
pub fn warnings(proxy: &Proxy, now: SystemTime) -> Vec<String> {
    let tls = proxy.listeners.iter().filter_map(|listener| listener.tls.as_ref());
    let told = tls.flat_map(|tls| &tls.certificates).filter_map(|files| match Shown::read(files) {
        Ok(shown) => shown.warning(now),
        Err(error) => Some(error.to_string()),
    });
    told.collect()
}

/// When a certificate ends to be valid, in seconds of Unix time.
fn not_after(certificate: &[u8]) -> Option<i64> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (signed, _) = element(certificate, SEQUENCE)?;
    let rest = element(signed, VERSION).map_or(signed, |(_, rest)| rest);
    let (_serial, rest) = element(rest, INTEGER)?;
    let (_algorithm, rest) = element(rest, SEQUENCE)?;
    let (_issuer, rest) = element(rest, SEQUENCE)?;
    let (validity, _) = element(rest, SEQUENCE)?;
    let (_not_before, rest) = either_time(validity)?;
    either_time(rest)?.0
}

/// The content of the first element, if it has this tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[first, length], rest) = der.split_first_chunk()?;
    let (length, rest) = match length {
        0..0x80 => (usize::from(length), rest),
        _ => long_length(usize::from(length & 0x7f), rest)?,
    };
    (first == tag).then(|| rest.split_at_checked(length)).flatten()
}

fn long_length(digits: usize, der: &[u8]) -> Option<(usize, &[u8])> {
    let (digits, rest) = der.split_at_checked(digits)?;
    let length =
        digits.iter().try_fold(0usize, |sum, &digit| sum.checked_mul(256)?.checked_add(usize::from(digit)));
    Some((length?, rest))
}

/// A time as either of its two kinds, and what follows it.
fn either_time(der: &[u8]) -> Option<(Option<i64>, &[u8])> {
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
mod tests {
    use super::*;

    /// An element of DER.
    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = content.len();
        let head = match u8::try_from(length) {
            Ok(short) if short < 0x80 => vec![tag, short],
            _ => vec![tag, 0x82, u8::try_from(length >> 8).unwrap(), u8::try_from(length & 255).unwrap()],
        };
        [head, content.to_vec()].concat()
    }

    /// A certificate, as far as it is read, that ends at this time.
    fn certificate(version: &[u8], tag: u8, end: &str) -> Vec<u8> {
        let validity = [der(UTC_TIME, b"200101000000Z"), der(tag, end.as_bytes())].concat();
        let parts = [
            version.to_vec(),
            der(INTEGER, &[1; 20]),
            der(SEQUENCE, b"algorithm"),
            der(SEQUENCE, &[b'i'; 300]),
            der(SEQUENCE, &validity),
            der(SEQUENCE, b"subject"),
        ];
        der(SEQUENCE, &der(SEQUENCE, &parts.concat()))
    }

    #[test]
    fn the_end_is_read_from_either_kind_of_time() {
        let version = der(VERSION, &der(INTEGER, &[2]));
        // `date -d ... +%s` gives the same.
        let rows = [
            (UTC_TIME, "700101000000Z", 0),
            (UTC_TIME, "491231235959Z", 2_524_607_999),
            (UTC_TIME, "240229120000Z", 1_709_208_000),
            (GENERALIZED_TIME, "20500101000000Z", 2_524_608_000),
            (GENERALIZED_TIME, "99991231235959Z", 253_402_300_799),
        ];
        for (tag, end, expected) in rows {
            assert_eq!(not_after(&certificate(&version, tag, end)), Some(expected), "{end}");
        }
        assert_eq!(not_after(&certificate(b"", UTC_TIME, "700101000001Z")), Some(1), "of version 1");
    }

    #[test]
    fn what_is_no_certificate_has_no_end() {
        let whole = certificate(b"", UTC_TIME, "700101000000Z");
        for end in 0..whole.len() - 60 {
            assert_eq!(not_after(&whole[..end]), None, "{end}");
        }
        assert_eq!(not_after(&certificate(b"", UTC_TIME, "700101000000+0100")), None);
        assert_eq!(not_after(&certificate(b"", UTC_TIME, "701301000000Z")), None);
        assert_eq!(not_after(&[0x30, 0xff, 1, 1]), None);
    }

    #[test]
    fn an_operator_is_warned_two_weeks_before() {
        const DAY: i64 = 24 * 60 * 60;
        let now = SystemTime::UNIX_EPOCH + Duration::from_hours(24 * 1000);
        let warning = |expires: i64| {
            Shown { file: "a.crt".into(), expires: Some(expires), names: Vec::new() }.warning(now)
        };
        assert_eq!(warning(1000 * DAY + 14 * DAY), None);
        assert!(warning(1000 * DAY + 14 * DAY - 1).unwrap().ends_with("a.crt is valid for 13 more days"));
        assert!(warning(1000 * DAY).unwrap().ends_with("a.crt is no longer valid"));
    }
}
