//! What a key definition is. The definitions themselves stand in [`super::sections`].
//!
//! One definition gives the unknown-key check, the missing-key check, the bounds of the value, the words of the messages
//! and the reference, so that none of them can say anything else than the others.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::bounds::{MAX_NAME, MAX_STATUS, MIN_NAT_PORT, MIN_STATUS};
use super::duration::Written;

/// A table of the file and its keys.
pub(super) struct Section {
    /// As it is written in the file, such as `[[service]]`; empty for the top level.
    pub(super) title: &'static str,
    /// What it describes.
    pub(super) meaning: &'static str,
    /// Its keys, in the order of the reference.
    pub(super) keys: &'static [Key],
}

/// A key of a section.
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) value: Value,
    pub(super) presence: Presence,
    /// A line of TOML that sets it, for messages.
    pub(super) example: &'static str,
    /// What it does.
    pub(super) meaning: &'static str,
    /// Why the default, or the lack of one, is what it is.
    pub(super) why: &'static str,
}

/// Whether a key must be there.
pub(super) enum Presence {
    Required,
    /// The TOML value that has the same effect as leaving the key out.
    Default(&'static str),
    /// What happens without it, where no value says that.
    Optional(&'static str),
}

/// What values a key takes.
pub(super) enum Value {
    Flag,
    Number(Unit, RangeInclusive<u64>),
    Choice(&'static [&'static str]),
    Text(Form),
    /// A number, or text of this form.
    NumberOr(Form),
    Table(&'static Section),
    Tables(&'static Section),
    /// A table, or this word.
    TableOr(&'static Section, &'static str),
    /// One text of this form, or several.
    Texts(Form),
    /// A text of this form, or a table.
    TextOr(Form, &'static Section),
}

/// How a number is written.
#[derive(Clone, Copy)]
pub(super) enum Unit {
    Plain,
    /// `262144`, `"256k"`
    Size,
    /// `"500ms"`, kept in milliseconds
    Duration,
    /// `"10%"`
    Percent,
}

/// Text with a form of its own.
#[derive(Clone, Copy)]
pub(super) enum Form {
    Name,
    Endpoint,
    /// `203.0.113.0/24:8000-8099`
    Vip,
    /// An address, with or without a port.
    Server,
    /// `source-hash/24`
    Select,
    /// `0a0b`
    ServerId,
    /// `172.16.0.0/16`
    Prefix,
    Ports,
    Path,
    /// `/etc/lb/deny.list`
    File,
    Host,
    Status,
    Seed,
    /// `example.org` or `*.example.org`
    HostPattern,
    /// `example.org:8080`
    Authority,
    Method,
    /// The name of a header field.
    Field,
    FieldValue,
    CookieName,
    /// `header:x-user`
    HashOn,
    Regex,
    /// `stdout`, or a file.
    LogTarget,
    LogFormat,
    /// Text of any kind.
    Body,
}

impl Section {
    pub(super) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// Whether it stands in braces, without a header of its own.
    pub(super) fn is_inline(&self) -> bool {
        self.title.contains('{')
    }

    /// Where its keys stand, in a sentence.
    pub(super) fn place(&self) -> String {
        match self.title {
            "" => "at the top level".to_owned(),
            title => format!("in `{title}`"),
        }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.keys.iter().map(|key| key.name)
    }
}

impl Key {
    /// The section its value is a table of.
    pub(super) fn section(&self) -> Option<&'static Section> {
        match self.value {
            Value::Table(section)
            | Value::Tables(section)
            | Value::TableOr(section, _)
            | Value::TextOr(_, section) => Some(section),
            _ => None,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("true or false"),
            Self::Number(unit, range) => unit.describe(f, range),
            Self::Choice(words) => write!(f, "{}", OneOf(words)),
            Self::Text(form) => form.fmt(f),
            Self::NumberOr(form) => write!(f, "an integer {form}"),
            Self::Table(section) => write!(f, "the table `{}`", section.title),
            Self::Tables(section) if section.is_inline() => f.write_str("a list of tables in braces"),
            Self::Tables(section) => write!(f, "tables, each with the header `{}`", section.title),
            Self::TableOr(_, word) => write!(f, "a table in braces, or \"{word}\""),
            Self::Texts(form) => write!(f, "{form}; or a list of such"),
            Self::TextOr(form, _) => write!(f, "{form}; or a table in braces"),
        }
    }
}

impl Unit {
    fn describe(self, f: &mut fmt::Formatter<'_>, range: &RangeInclusive<u64>) -> fmt::Result {
        let (first, last) = (*range.start(), *range.end());
        match self {
            Self::Plain => write!(f, "an integer from {first} to {last}"),
            Self::Size => write!(f, "a number from {first} to {last}, or a size such as \"256k\" or \"1M\""),
            Self::Duration => {
                let written = |millis| Written(Duration::from_millis(millis));
                write!(f, "a duration from \"{}\" to \"{}\" (ms, s, m or h)", written(first), written(last))
            }
            Self::Percent => write!(f, "a share from \"{first}%\" to \"{last}%\""),
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => write!(f, "text of 1 to {MAX_NAME} letters A-Z a-z, digits, `_`, `.` and `-`"),
            Self::Endpoint => f.write_str("text \"ADDRESS:PORT\""),
            Self::Vip => {
                f.write_str("text \"ADDRESS:PORT\", where a prefix, a range of ports or `*` may stand, too")
            }
            Self::Server => f.write_str("text \"ADDRESS:PORT\" or \"ADDRESS\""),
            Self::Select => write!(f, "{}", OneOf(&SELECTORS)),
            Self::ServerId => f.write_str("1 to 8 bytes in hexadecimal digits"),
            Self::Prefix => f.write_str("text \"ADDRESS/LENGTH\""),
            Self::Ports => write!(f, "\"auto\", or a range \"FIRST-LAST\" within {MIN_NAT_PORT}-65535"),
            Self::File => f.write_str("the whole path of a file, starting with `/`"),
            Self::Path => f.write_str("text starting with `/`, printable ASCII without spaces"),
            Self::Host => f.write_str("a host name, printable ASCII without spaces"),
            Self::Status => write!(f, "from {MIN_STATUS} to {MAX_STATUS}, or a range \"FIRST-LAST\" of them"),
            Self::HostPattern => f.write_str("text \"HOST\" or \"*.HOST\", without port"),
            Self::Authority => f.write_str("text \"HOST\" or \"HOST:PORT\""),
            Self::Method => f.write_str("text of the letters of a method, such as \"GET\""),
            Self::Field => f.write_str("the name of a header field"),
            Self::FieldValue => f.write_str("printable ASCII text, without spaces at its ends"),
            Self::CookieName => f.write_str("the name of a cookie"),
            Self::HashOn => {
                f.write_str("\"path\", \"host\", \"header:NAME\", \"cookie:NAME\" or \"query:NAME\"")
            }
            Self::Regex => f.write_str("a regular expression"),
            Self::LogTarget => f.write_str("\"stdout\", or the whole path of a file, starting with `/`"),
            Self::LogFormat => f.write_str("\"text\", \"json\", or text with fields in braces"),
            Self::Body => f.write_str("text"),
            Self::Seed => f.write_str("of 64 bits, or hexadecimal text such as \"0x5eed\""),
        }
    }
}

/// The forms of `select`.
const SELECTORS: [&str; 6] =
    ["maglev", "source-hash", "source-hash/24", "round-robin", "least-connections", "quic"];

/// Words as a person lists them: `"nat" or "dsr-ipip"`.
struct OneOf<'a>(&'a [&'a str]);

impl fmt::Display for OneOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, word) in self.0.iter().enumerate() {
            let joint = match index {
                0 => "",
                index if index + 1 == self.0.len() => " or ",
                _ => ", ",
            };
            write!(f, "{joint}\"{word}\"")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_describe_themselves_in_a_sentence() {
        assert_eq!(Value::Number(Unit::Plain, 1..=1000).to_string(), "an integer from 1 to 1000");
        assert_eq!(
            Value::Number(Unit::Duration, 10..=3_600_000).to_string(),
            "a duration from \"10ms\" to \"1h\" (ms, s, m or h)"
        );
        assert_eq!(Value::Choice(&["a", "b", "c"]).to_string(), "\"a\", \"b\" or \"c\"");
        assert_eq!(
            Value::NumberOr(Form::Status).to_string(),
            "an integer from 200 to 599, or a range \"FIRST-LAST\" of them"
        );
    }
}
