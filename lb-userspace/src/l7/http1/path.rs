//! Paths, made such that routing and backends see the same.

use super::Refusal;
use std::borrow::Cow;

/// Brings a path, which begins with `/`, into the one form. It copies only what changes.
///
/// What is routed is what is forwarded: a path is either brought into one form, and goes on in that form, or refused.
///
/// | in the path | becomes |
/// |---|---|
/// | `%41`, `%7e`: encoded unreserved | decoded (RFC 3986, section 6.2.2.2) |
/// | `%c3`: other encoded bytes | the same with capital digits (section 6.2.2.1) |
/// | `/a/./b`, `/a/x/../b` | `/a/b` (section 5.2.4) |
/// | `/../a` | refused: no client that means well writes it |
/// | `/a//b` | stays: an empty segment is one (section 3.3), and stores of objects have such names. Routes read it as `/a/b`, as many backends do: [`merged`] |
/// | `%2F` | stays: it is data of its segment, as package registries use it |
/// | `%2F..`, `..;x`: dot segments to readers who decode slashes or cut parameters | refused |
/// | `\`, `%5C` | refused: some backends take it for a slash |
/// | `%00`–`%1F`, `%7F` | refused: the end of a line, or of a string, to those who decode |
///
/// A rule on `/admin` does not match `/admin%2Fx`. Where a backend decodes such slashes, its route should name the segment by
/// an expression, or refuse `%2F` by one.
pub fn normalise(path: &str) -> Result<Cow<'_, str>, Refusal> {
    if is_plain(path.as_bytes()) {
        return Ok(Cow::Borrowed(path));
    }
    let decoded = decode(path.as_bytes())?;
    let resolved = resolve(&decoded)?;
    Ok(if resolved == path { Cow::Borrowed(path) } else { Cow::Owned(resolved) })
}

/// Which bytes mean the same to all readers, wherever they stand but for `.` and `/`.
const PLAIN: [bool; 256] = {
    let (mut plain, mut byte) = ([false; 256], b'!');
    while byte <= b'~' {
        plain[byte as usize] = !matches!(byte, b'%' | b'\\' | b';');
        byte += 1;
    }
    plain
};

/// Whether nothing in it could need a change: one look at each byte.
fn is_plain(path: &[u8]) -> bool {
    let mut previous = 0;
    for &byte in path {
        let is_odd = previous == b'/' && byte == b'.';
        if is_odd || !PLAIN[usize::from(byte)] {
            return false;
        }
        previous = byte;
    }
    path.first() == Some(&b'/')
}

/// Decodes what need not be encoded and writes the rest in capitals.
fn decode(path: &[u8]) -> Result<String, Refusal> {
    let mut text = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        match byte {
            b'%' => {
                let (&escaped, behind) = rest.split_first_chunk().ok_or(Refusal::PathEscape)?;
                push_escaped(unescape(escaped)?, &mut text)?;
                rest = behind;
            }
            b'\\' => return Err(Refusal::PathBackslash),
            _ if byte.is_ascii_graphic() => text.push(byte.into()),
            _ => return Err(Refusal::Target),
        }
    }
    Ok(text)
}

fn unescape(digits: [u8; 2]) -> Result<u8, Refusal> {
    let [high, low] = digits.map(|digit| char::from(digit).to_digit(16));
    let value = high.zip(low).map(|(high, low)| high << 4 | low);
    value.and_then(|value| u8::try_from(value).ok()).ok_or(Refusal::PathEscape)
}

fn push_escaped(byte: u8, text: &mut String) -> Result<(), Refusal> {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    match byte {
        b'\\' => return Err(Refusal::PathBackslash),
        _ if byte.is_ascii_control() => return Err(Refusal::PathControl),
        b'-' | b'.' | b'_' | b'~' => text.push(byte.into()),
        _ if byte.is_ascii_alphanumeric() => text.push(byte.into()),
        _ => text.extend(['%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 0xf)]]),
    }
    Ok(())
}

/// Takes dot segments out.
fn resolve(path: &str) -> Result<String, Refusal> {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    let mut ends_open = false;
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        ends_open = is_last && matches!(segment, "" | "." | "..");
        match segment {
            "" if is_last => {}
            "." => {}
            ".." => {
                kept.pop().ok_or(Refusal::PathAboveRoot)?;
            }
            _ if is_ambiguous(segment) => return Err(Refusal::PathAmbiguous),
            _ => kept.push(segment),
        }
    }
    let mut text = String::with_capacity(path.len());
    for segment in &kept {
        text.extend(["/", segment]);
    }
    if ends_open {
        text.push('/');
    }
    Ok(text)
}

/// A path in the one form as routes read it: without empty segments, for a rule on `/admin` is meant for `//admin` as well. It copies
/// only what changes.
#[must_use]
pub fn merged(path: &str) -> Cow<'_, str> {
    let mut previous = 0;
    let has_empty = path.bytes().any(|byte| std::mem::replace(&mut previous, byte) == b'/' && byte == b'/');
    if !has_empty {
        return Cow::Borrowed(path);
    }
    let mut text = String::with_capacity(path.len());
    for each in path.chars() {
        if each != '/' || !text.ends_with('/') {
            text.push(each);
        }
    }
    Cow::Owned(text)
}

/// What is behind the first so many bytes of a path, counted as routes [read](merged) it.
#[must_use]
pub fn behind_merged(path: &str, length: usize) -> &str {
    let (mut counted, mut previous) = (0, 0);
    for (at, byte) in path.bytes().enumerate() {
        if counted == length {
            return path.get(at..).unwrap_or_default();
        }
        let is_more = byte == b'/' && previous == b'/';
        counted += usize::from(!is_more);
        previous = byte;
    }
    ""
}

/// Whether some readers find a dot segment here: those who decode slashes, or who cut parameters off.
fn is_ambiguous(segment: &str) -> bool {
    let is_dots = |part: &str| matches!(part.split(';').next(), Some("." | ".."));
    if segment.contains("%2F") { segment.split("%2F").any(is_dots) } else { is_dots(segment) }
}
