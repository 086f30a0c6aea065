//! Fields of answers in which backends speak of themselves: the URLs that stand in them, and the hosts that cookies are for.

use super::ResponseContext;
use crate::l7::http1::parse_authority;
use std::ops::Range;

/// How URLs stand in the value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The whole value is one, as in `Location`.
    Whole,
    /// Seconds, and one behind `url=`, as in `Refresh`.
    Behind,
    /// Each between angle brackets, as in `Link`, or in an `anchor`.
    Bracketed,
}

impl Form {
    /// Where the next one stands, looked for from here on.
    fn next(self, value: &[u8], from: usize) -> Option<Range<usize>> {
        match self {
            Self::Whole => (from == 0).then_some(0..value.len()),
            Self::Behind => refreshed(value).filter(|_| from == 0),
            Self::Bracketed => linked(value, from),
        }
    }

    /// The value in which URLs of backends lead to where the client asked; `None` if there are none.
    pub(super) fn lead_back(self, value: &[u8], context: &ResponseContext<'_>) -> Option<Vec<u8>> {
        let (mut out, mut copied, mut from) = (Vec::new(), 0, 0);
        while let Some(url) = self.next(value, from) {
            from = url.end + 1;
            if let Some(path) = context.backends.path_behind(value.get(url.clone())?) {
                out.extend_from_slice(value.get(copied..url.start)?);
                push_url(path, context, &mut out);
                copied = url.end;
            }
        }
        if copied == 0 {
            return None;
        }
        out.extend_from_slice(value.get(copied..)?);
        Some(out)
    }
}

/// A path of a backend, where the client finds it.
fn push_url(path: &[u8], context: &ResponseContext<'_>, out: &mut Vec<u8>) {
    if !context.authority.is_empty() {
        out.extend_from_slice(if context.https { b"https://" } else { b"http://" });
        out.extend_from_slice(context.authority.as_bytes());
    }
    if !path.starts_with(b"/") {
        out.push(b'/');
    }
    out.extend_from_slice(path);
}

/// Source: HTML, "shared declarative refresh steps", which browsers read the field by. `url=` and quotes may be missing.
fn refreshed(value: &[u8]) -> Option<Range<usize>> {
    let begin = value.iter().position(|byte| b";,".contains(byte))? + 1;
    let mut rest = value.get(begin..)?.trim_ascii_start();
    if let Some(named) = strip_word(rest, b"url").and_then(|rest| rest.strip_prefix(b"=")) {
        rest = named.trim_ascii_start();
    }
    let quote = rest.first().filter(|byte| b"\"'".contains(byte));
    rest = rest.get(usize::from(quote.is_some())..)?;
    let start = value.len() - rest.len();
    let end = rest.iter().position(|byte| quote == Some(byte)).unwrap_or(rest.len());
    Some(start..start + end)
}

/// What is behind a word in either case and the blanks after it.
fn strip_word<'a>(text: &'a [u8], word: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = text.split_at_checked(word.len())?;
    start.eq_ignore_ascii_case(word).then(|| rest.trim_ascii_start())
}

/// What angle brackets are in a quoted string is no URL, unless the string is an anchor. Source: RFC 8288, section 3.
fn linked(value: &[u8], from: usize) -> Option<Range<usize>> {
    let mut at = from;
    loop {
        let found = value.get(at..)?.iter().position(|byte| b"<\"".contains(byte))?;
        let start = at + found + 1;
        let rest = value.get(start..)?;
        if value.get(at + found) == Some(&b'<') {
            return Some(start..start + rest.iter().position(|byte| *byte == b'>')?);
        }
        let end = start + quoted(rest)?;
        if is_anchor(value.get(..start - 1)?) {
            return Some(start..end);
        }
        at = end + 1;
    }
}

/// Bytes to the quotation mark that ends a string.
fn quoted(rest: &[u8]) -> Option<usize> {
    let mut is_escaped = false;
    rest.iter().position(|byte| match byte {
        _ if std::mem::take(&mut is_escaped) => false,
        b'\\' => {
            is_escaped = true;
            false
        }
        byte => *byte == b'"',
    })
}

/// Whether this is said before the value of an `anchor`.
fn is_anchor(before: &[u8]) -> bool {
    let name = before.trim_ascii_end().strip_suffix(b"=").unwrap_or_default().trim_ascii_end();
    let start = name.len().saturating_sub(b"anchor".len());
    name.get(start..).is_some_and(|name| name.eq_ignore_ascii_case(b"anchor"))
}

/// A cookie that is not bound to its backend's own host, which the client would take for another's and refuse; `None` if it is not
/// bound so. Source: RFC 6265, section 5.3.
pub(super) fn unbind(cookie: &[u8], context: &ResponseContext<'_>) -> Option<Vec<u8>> {
    if !may_have_domain(cookie) {
        return None;
    }
    let is_bound = |part: &&[u8]| domain(part).is_some_and(|domain| is_elsewhere(domain, context));
    let mut parts = cookie.split(|byte| *byte == b';');
    let first = parts.next()?;
    if !parts.clone().any(|part| is_bound(&part)) {
        return None;
    }
    let mut out = first.to_vec();
    for part in parts.filter(|part| !is_bound(part)) {
        out.push(b';');
        out.extend_from_slice(part);
    }
    Some(out)
}

/// Whether anything in it begins as Domain does, behind a semicolon or a blank. Most cookies have nothing such, and need no closer look;
/// without a way out in the middle, the compiler compares many bytes at a time.
fn may_have_domain(cookie: &[u8]) -> bool {
    let is_behind = |before: u8| u8::from(before <= b' ') | u8::from(before == b';');
    let is_first = |before, byte: u8| is_behind(before) & u8::from(byte | 0x20 == b'd');
    let behind = cookie.get(1..).unwrap_or_default();
    cookie.iter().zip(behind).fold(0, |found, (before, byte)| found | is_first(*before, *byte)) != 0
}

/// The host that an attribute of a cookie names, if it is a Domain.
fn domain(attribute: &[u8]) -> Option<&[u8]> {
    let value = strip_word(attribute.trim_ascii(), b"domain")?.strip_prefix(b"=")?.trim_ascii();
    Some(value.strip_prefix(b".").unwrap_or(value))
}

/// Whether a domain is a backend's, and not one that the client asked in.
fn is_elsewhere(domain: &[u8], context: &ResponseContext<'_>) -> bool {
    context.backends.has_host(domain)
        && parse_authority(context.authority.as_bytes()).is_ok_and(|asked| !is_within(asked.host(), domain))
}

fn is_within(host: &str, domain: &[u8]) -> bool {
    let (host, from) = (host.as_bytes(), host.len().saturating_sub(domain.len()));
    let is_end = host.get(from..).is_some_and(|end| end.eq_ignore_ascii_case(domain));
    is_end && (from == 0 || host.get(from - 1) == Some(&b'.'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_domain_is_overlooked(cookie in "[a=;]{0,40}([;= \t]{0,3}(domain|DOMAIN|path)[;= \t]{0,3}[ad.]{0,3}){0,3}") {
            let has_domain = cookie.as_bytes().split(|byte| *byte == b';').skip(1).any(|part| domain(part).is_some());
            prop_assert!(!has_domain || may_have_domain(cookie.as_bytes()), "{cookie:?}");
        }
    }
}
