//! Where a body ends, by what the fields say of it.

use super::{Refusal, Version};
use httparse::Header;

/// How the end of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// By this many bytes; 0 is no body.
    Length(u64),
    /// By its last chunk.
    Chunked,
    /// By the end of the connection. Of responses only.
    UntilClose,
}

impl Framing {
    /// No body.
    pub const NONE: Self = Self::Length(0);
}

/// Digits of a Content-Length: all of them fit into 64 bits.
const LENGTH_DIGITS: usize = 19;

/// What the fields say of the body's end and of the connection's, gathered in the one pass over them.
#[derive(Debug, Default)]
pub(super) struct Noted<'b> {
    length: Option<u64>,
    chunked: bool,
    connection: Connection,
    names_fields: bool,
    protocol: Option<&'b [u8]>,
}

/// The options of Connection that mean something to us.
#[derive(Debug, Default)]
struct Connection {
    close: bool,
    keep_alive: bool,
    upgrade: bool,
}

impl Connection {
    /// Takes a value in. Whether it names fields.
    fn note(&mut self, value: &[u8]) -> bool {
        if is_named(value, b"keep-alive") {
            // Most say this and nothing else.
            self.keep_alive = true;
            return false;
        }
        let mut names_fields = false;
        for option in list(value) {
            self.close |= is_named(option, b"close");
            self.keep_alive |= is_named(option, b"keep-alive");
            self.upgrade |= is_named(option, b"upgrade");
            names_fields |= names_field(option);
        }
        names_fields
    }
}

impl<'b> Noted<'b> {
    /// Looks at one field. Nearly all are passed over by their length.
    #[inline]
    pub(super) fn note(&mut self, field: &Header<'b>, version: Version) -> Result<(), Refusal> {
        match field.name.len() {
            7 | 10 | 14 | 17 => self.note_likely(field, version),
            _ => Ok(()),
        }
    }

    fn note_likely(&mut self, field: &Header<'b>, version: Version) -> Result<(), Refusal> {
        let (name, value) = (field.name.as_bytes(), field.value);
        if is_named(name, b"connection") {
            self.names_fields |= self.connection.note(value);
        } else if is_named(name, b"content-length") {
            self.note_length(value)?;
        } else if is_named(name, b"transfer-encoding") {
            self.note_coding(value, version)?;
        } else if is_named(name, b"upgrade") {
            self.protocol = Some(value);
        }
        Ok(())
    }

    fn note_length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        let length = parse_length(value)?;
        match self.length.replace(length) {
            None => Ok(()),
            Some(former) if former == length => Err(Refusal::ContentLengthRepeated),
            Some(_) => Err(Refusal::ContentLengthConflict),
        }
    }

    fn note_coding(&mut self, value: &[u8], version: Version) -> Result<(), Refusal> {
        if version == Version::V10 {
            Err(Refusal::TransferEncodingVersion)
        } else if std::mem::replace(&mut self.chunked, true) {
            Err(Refusal::TransferEncodingRepeated)
        } else if value.eq_ignore_ascii_case(b"chunked") {
            Ok(())
        } else {
            Err(refuse_codings(value))
        }
    }

    /// What the fields say of the body's end, if anything.
    pub(super) const fn framing(&self) -> Result<Option<Framing>, Refusal> {
        match (self.chunked, self.length) {
            (true, Some(_)) => Err(Refusal::TwoLengths),
            (true, None) => Ok(Some(Framing::Chunked)),
            (false, Some(length)) => Ok(Some(Framing::Length(length))),
            (false, None) => Ok(None),
        }
    }

    /// Whether the sender keeps the connection behind this message. Source: RFC 9112, section 9.3.
    pub(super) fn keeps_alive(&self, version: Version) -> bool {
        !self.connection.close && (self.connection.keep_alive || version == Version::V11)
    }

    /// Whether Connection names fields.
    pub(super) const fn names_fields(&self) -> bool {
        self.names_fields
    }

    /// The protocol that the sender would rather speak. `h2c` is none: RFC 9113 took it back, and it is known for leading
    /// requests past proxies.
    pub(super) fn upgrade(&self, version: Version) -> Option<&'b [u8]> {
        let protocol = self.protocol.filter(|_| self.connection.upgrade && version == Version::V11)?;
        list(protocol).all(|token| !token.eq_ignore_ascii_case(b"h2c")).then_some(protocol)
    }
}

/// Whether an option of Connection names a field, which is then of this hop. Source: RFC 9110, section 7.6.1.
pub(in crate::l7) fn names_field(option: &[u8]) -> bool {
    let is_usual = is_named(option, b"keep-alive")
        || is_named(option, b"close")
        || is_named(option, b"upgrade")
        || is_named(option, b"te");
    !is_usual
}

/// Whether it is this name or word, which is in lower case, whatever its own. Nothing that was parsed has a control character but
/// the tabulator, so that one bit more makes letters small and nothing else equal.
#[inline]
pub(super) fn is_named<const LENGTH: usize>(name: &[u8], lower: &[u8; LENGTH]) -> bool {
    let Ok(name) = <&[u8; LENGTH]>::try_from(name) else { return false };
    name.iter().zip(lower).fold(0, |differs, (byte, other)| differs | ((byte | 0x20) ^ other)) == 0
}

/// The elements of a list. Source: RFC 9110, section 5.6.1.
pub(in crate::l7) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|item| !item.is_empty())
}

/// The one number that a Content-Length is: no sign, no list, no space.
pub(in crate::l7) fn parse_length(value: &[u8]) -> Result<u64, Refusal> {
    let longer = |number, digit: &u8| digit.is_ascii_digit().then(|| number * 10 + u64::from(digit - b'0'));
    match value.len() {
        1..=LENGTH_DIGITS => value.iter().try_fold(0, longer).ok_or_else(|| refuse_length(value)),
        _ => Err(refuse_length(value)),
    }
}

/// Some intermediaries join repeated fields to a list.
fn refuse_length(value: &[u8]) -> Refusal {
    if !value.contains(&b',') {
        return Refusal::ContentLength;
    }
    let mut items = value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    let first = items.next();
    if items.all(|item| Some(item) == first) {
        Refusal::ContentLengthRepeated
    } else {
        Refusal::ContentLengthConflict
    }
}

fn refuse_codings(value: &[u8]) -> Refusal {
    let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let (chunked, others): (Vec<_>, Vec<_>) = list(value).partition(|coding| is_chunked(coding));
    match (chunked.len(), list(value).last().is_some_and(is_chunked)) {
        (_, false) => Refusal::TransferEncodingNotChunked,
        (1, true) if others.is_empty() => Refusal::TransferEncodingNotChunked,
        (1, true) => Refusal::TransferCoding,
        (_, true) => Refusal::TransferEncodingRepeated,
    }
}
