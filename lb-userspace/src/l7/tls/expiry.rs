//! When a certificate expires: the one thing of it that operators have to watch, and that rustls does not tell.
//!
//! Source: RFC 5280, sections 4.1 and 4.1.2.5; the encoding is DER (ITU-T X.690).

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The end of a certificate's validity in seconds since 1970. `None` if it is not encoded as certificates are.
pub(super) fn of_der(der: &[u8]) -> Option<i64> {
    let (certificate, _) = expect(SEQUENCE, der)?;
    let (mut rest, _) = expect(SEQUENCE, certificate)?;
    if let Some((_, behind)) = expect(VERSION, rest) {
        rest = behind;
    }
    // Serial number, algorithm of the signature, issuer.
    for _ in 0..3 {
        (_, _, rest) = element(rest)?;
    }
    let (validity, _) = expect(SEQUENCE, rest)?;
    let (_, _, after) = element(validity)?;
    let (tag, time, _) = element(after)?;
    match tag {
        UTC_TIME => seconds(two_digits_of_year(time)?, time.get(2..)?),
        GENERALIZED_TIME => seconds(number(time.get(..4)?)?, time.get(4..)?),
        _ => None,
    }
}

/// The content of an element of this kind, and what stands behind it.
fn expect(tag: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = element(bytes)?;
    (found == tag).then_some((content, rest))
}

/// Tag, content and what stands behind.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (len, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        let len = digits
            .iter()
            .try_fold(0_usize, |len, digit| Some(len.checked_mul(256)? | usize::from(*digit)))?;
        (len, rest)
    };
    let (content, rest) = rest.split_at_checked(len)?;
    Some((tag, content, rest))
}

/// Years from 50 on are of the last century.
fn two_digits_of_year(time: &[u8]) -> Option<i64> {
    let year = number(time.get(..2)?)?;
    Some(if year < 50 { 2000 + year } else { 1900 + year })
}

fn number(digits: &[u8]) -> Option<i64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// `MMDDHHMMSSZ` of a year.
fn seconds(year: i64, rest: &[u8]) -> Option<i64> {
    let two = |at: usize| number(rest.get(at..at + 2)?);
    (rest.get(10..) == Some(b"Z")).then_some(())?;
    let (month, day) = (two(0)?, two(2)?);
    let days = days(year, month, day);
    Some(((days * 24 + two(4)?) * 60 + two(6)?) * 60 + two(8)?)
}

/// Days since 1970.
///
/// Source: Howard Hinnant, "chrono-compatible low-level date algorithms", `days_from_civil`.
const fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Part of a certificate as far as the end of its validity, each length that of what stands there.
    fn certificate(version: &[u8], not_after: &[u8]) -> Vec<u8> {
        let wrap = |content: &[u8]| [&[SEQUENCE, u8::try_from(content.len()).unwrap()], content].concat();
        let validity = wrap(&[b"\x17\x0d240101000000Z", not_after].concat());
        wrap(&wrap(&[version, b"\x02\x01\x07", &wrap(b"algorithm"), &wrap(b"issuer"), &validity].concat()))
    }

    #[test]
    fn the_end_is_found_in_both_forms_and_versions() {
        let version = b"\xa0\x03\x02\x01\x02";
        assert_eq!(of_der(&certificate(version, b"\x17\x0d270301120102Z")), Some(1_803_902_462));
        assert_eq!(of_der(&certificate(version, b"\x18\x0f20500101000000Z")), Some(2_524_608_000));
        assert_eq!(of_der(&certificate(b"", b"\x17\x0d700101000000Z")), Some(0));
    }

    #[test]
    fn what_is_cut_off_or_no_time_is_none() {
        let whole = certificate(b"", b"\x17\x0d700101000000Z");
        for len in 0..whole.len() {
            assert_eq!(of_der(&whole[..len]), None, "{len}");
        }
        for bad in
            [&b"\x17\x0d7001010000000"[..], b"\x17\x0d7x0101000000Z", b"\x16\x0d700101000000Z", b"\x17\x02Z0"]
        {
            assert_eq!(of_der(&certificate(b"", bad)), None);
        }
        assert_eq!(of_der(b"\x30\x8fx"), None);
        assert_eq!(of_der(b"\x30\x89\xff\xff\xff\xff\xff\xff\xff\xff\xffx"), None);
    }
}
