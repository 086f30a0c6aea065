//! One value of the file, read by the definition of its key: right type, right form, within bounds.
//!
//! A value that does not fit gives one [`Finding`] of one look ([`unfit`]): what stands there, what was expected, an
//! example. Where the operator's intention can be guessed, the help says how to write that instead.

mod address;
mod log;
mod web;

pub(super) use address::{endpoint, listener, network, prefix_v4, prefix_v6, server, vip};
pub(super) use log::{log_format, log_target};
pub(super) use web::{
    authority, body, cookie_name, field, field_value, hash_on, host_pattern, is_https, method, prefix_path,
    redirect_status, regex, route_path,
};

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeInteger, DeValue};

use super::bounds::{MAX_HOST, MAX_NAME, MAX_PATH, MAX_STATUS, MIN_NAT_PORT, MIN_STATUS};
use super::duration::{parse_millis, parse_percent, parse_size};
use super::finding::Finding;
use super::keys::{Key, Unit, Value};
use super::model::{Choice, NatPorts, Select, StatusRange};
use super::suggest::nearest;

/// A value as the parser gives it.
pub(super) type Written<'a> = Spanned<DeValue<'a>>;

/// Longest piece of the file a message repeats.
const SHOWN: usize = 60;

/// The mistake that `value` is not what `key` takes.
pub(super) fn unfit(key: &Key, value: &Written<'_>) -> Finding {
    let message = format!("`{}` cannot be {}", key.name, shown(value.get_ref()));
    let finding = if value.get_ref().is_table() { Finding::shape } else { Finding::value };
    finding(value.span(), message)
        .label(format!("expected {}", key.value))
        .help(format!("as in `{}`", key.example))
}

fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => quoted(text),
        DeValue::Integer(number) => clipped(&number.to_string()),
        DeValue::Float(number) => clipped(number.as_str()),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(date) => format!("the date {date}"),
        DeValue::Array(_) => "an array".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// Text of the file in quotes, fit for a terminal and not too long.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", clipped(text))
}

fn clipped(text: &str) -> String {
    let escaped = text.escape_debug().to_string();
    match escaped.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &escaped[..end]),
        None => escaped,
    }
}

pub(super) fn flag(key: &Key, value: &Written<'_>) -> Result<bool, Finding> {
    value.get_ref().as_bool().ok_or_else(|| unfit(key, value))
}

/// Any number of [`Value::Number`], in the smallest unit, within the definition's bounds.
fn number(key: &Key, value: &Written<'_>) -> Result<u64, Finding> {
    let Value::Number(unit, range) = &key.value else { return Err(unfit(key, value)) };
    let number = written_number(*unit, value.get_ref()).filter(|number| range.contains(number));
    number.ok_or_else(|| unfit(key, value))
}

/// A [`number`] of a type the bounds fit in.
pub(super) fn narrow<T: TryFrom<u64>>(key: &Key, value: &Written<'_>) -> Result<T, Finding> {
    T::try_from(number(key, value)?).map_err(|_| unfit(key, value))
}

pub(super) fn duration(key: &Key, value: &Written<'_>) -> Result<Duration, Finding> {
    number(key, value).map(Duration::from_millis)
}

fn written_number(unit: Unit, value: &DeValue<'_>) -> Option<u64> {
    match (unit, value) {
        (Unit::Plain | Unit::Size, DeValue::Integer(number)) => unsigned(number),
        (Unit::Size, DeValue::String(text)) => parse_size(text),
        (Unit::Duration, DeValue::String(text)) => parse_millis(text),
        (Unit::Percent, DeValue::String(text)) => parse_percent(text),
        _ => None,
    }
}

fn unsigned(number: &DeInteger<'_>) -> Option<u64> {
    u64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// A weight: 0 is what other balancers call draining, so the help says how to ask for that here.
pub(super) fn weight(key: &Key, value: &Written<'_>) -> Result<u16, Finding> {
    narrow(key, value).map_err(|finding| match value.get_ref().as_integer().and_then(unsigned) {
        Some(0) => finding.help("for a backend that gets no new flows write `drain = true`"),
        _ => finding,
    })
}

pub(super) fn choice<T: Choice>(key: &Key, value: &Written<'_>) -> Result<T, Finding> {
    let word = text(key, value)?;
    let found = T::WORDS.iter().find(|(name, _)| *name == word).map(|(_, choice)| *choice);
    found.ok_or_else(|| match nearest(word, T::WORDS.iter().map(|(name, _)| *name)) {
        Some(meant) => unfit(key, value).help(format!("did you mean \"{meant}\"?")),
        None => unfit(key, value),
    })
}

pub(super) fn text<'a>(key: &Key, value: &'a Written<'_>) -> Result<&'a str, Finding> {
    value.get_ref().as_str().ok_or_else(|| unfit(key, value))
}

fn text_that(key: &Key, value: &Written<'_>, fits: impl Fn(&str) -> bool) -> Result<String, Finding> {
    let text = text(key, value)?;
    if fits(text) { Ok(text.to_owned()) } else { Err(unfit(key, value)) }
}

pub(super) fn name(key: &Key, value: &Written<'_>) -> Result<String, Finding> {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    text_that(key, value, |text| (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(letter))
}

/// A path that can stand in a request line as it is: anything else could end the line and start a header.
pub(super) fn path(key: &Key, value: &Written<'_>) -> Result<String, Finding> {
    text_that(key, value, |text| text.starts_with('/') && text.len() <= MAX_PATH && is_graphic(text))
}

pub(super) fn host(key: &Key, value: &Written<'_>) -> Result<String, Finding> {
    text_that(key, value, |text| (1..=MAX_HOST).contains(&text.len()) && is_graphic(text))
}

fn is_graphic(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

pub(super) fn seed(key: &Key, value: &Written<'_>) -> Result<u64, Finding> {
    let seed = match value.get_ref() {
        DeValue::Integer(number) => unsigned(number),
        DeValue::String(text) => hexadecimal(text),
        _ => None,
    };
    seed.ok_or_else(|| unfit(key, value))
}

fn hexadecimal(text: &str) -> Option<u64> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    plain.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}

pub(super) fn status(key: &Key, value: &Written<'_>) -> Result<StatusRange, Finding> {
    let range = match value.get_ref() {
        DeValue::Integer(number) => {
            unsigned(number).and_then(|code| u16::try_from(code).ok()).map(|code| code..=code)
        }
        DeValue::String(text) => parse_range(text),
        _ => None,
    };
    let range = range.filter(|range| *range.start() >= MIN_STATUS && *range.end() <= MAX_STATUS);
    range
        .map(|range| StatusRange { first: *range.start(), last: *range.end() })
        .ok_or_else(|| unfit(key, value))
}

pub(super) fn ports(key: &Key, value: &Written<'_>) -> Result<NatPorts, Finding> {
    let range = match text(key, value)? {
        "auto" => return Ok(NatPorts::Auto),
        text => parse_range(text).filter(|range| *range.start() >= MIN_NAT_PORT),
    };
    range.map(NatPorts::Range).ok_or_else(|| unfit(key, value))
}

/// `FIRST-LAST`, neither end missing, not backwards.
fn parse_range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-')?;
    let range = digits(first)?..=digits(last)?;
    (!range.is_empty()).then_some(range)
}

/// Digits alone: `parse` would take a sign as well.
fn digits(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// `maglev`, `source-hash/24` and the like.
pub(super) fn select(key: &Key, value: &Written<'_>) -> Result<Select, Finding> {
    const WORDS: [(&str, Select); 5] = [
        ("maglev", Select::Maglev),
        ("source-hash", Select::SourceHash { bits: 128 }),
        ("round-robin", Select::RoundRobin),
        ("least-connections", Select::LeastConnections),
        ("quic", Select::Quic),
    ];
    let text = text(key, value)?;
    if let Some((_, select)) = WORDS.iter().find(|(word, _)| *word == text) {
        return Ok(*select);
    }
    let bits = text.strip_prefix("source-hash/").and_then(digits).and_then(|bits| u8::try_from(bits).ok());
    match (bits, nearest(text, WORDS.iter().map(|(word, _)| *word))) {
        (Some(bits @ 1..=128), _) => Ok(Select::SourceHash { bits }),
        (_, Some(meant)) => Err(unfit(key, value).help(format!("did you mean \"{meant}\"?"))),
        _ => Err(unfit(key, value)),
    }
}

/// Bytes in hexadecimal digits, and how many.
pub(super) fn server_id(key: &Key, value: &Written<'_>) -> Result<(u8, [u8; 8]), Finding> {
    let text = text(key, value)?;
    let is_bytes = text.len() % 2 == 0 && (2..=16).contains(&text.len());
    let number = hexadecimal(text).filter(|_| is_bytes && !text.starts_with("0x"));
    let number = number.ok_or_else(|| unfit(key, value))?;
    let bits = u32::try_from(text.len() * 4).unwrap_or(64);
    Ok((u8::try_from(text.len() / 2).unwrap_or(8), (number << (64 - bits)).to_be_bytes()))
}

/// The whole path of a file, since the daemon may be started anywhere.
pub(super) fn file(key: &Key, value: &Written<'_>) -> Result<PathBuf, Finding> {
    let path = PathBuf::from(text(key, value)?);
    if path.is_absolute() { Ok(path) } else { Err(unfit(key, value)) }
}
