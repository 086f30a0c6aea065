//! Which rule a head breaks that the parser refused. Slow and exact: it runs once a refused head.

use super::Refusal;

/// Names what is wrong with a request's head.
pub(super) fn diagnose_request(text: &[u8], error: httparse::Error) -> Refusal {
    let mut lines = text.split(|&byte| byte == b'\n');
    let line = lines.next().unwrap_or_default();
    diagnose_bytes(line, text.contains(&b'\n'))
        .or_else(|| diagnose_request_line(line.strip_suffix(b"\r").unwrap_or(line)))
        .or_else(|| diagnose_fields(text))
        .unwrap_or_else(|| by_parser(error, Refusal::RequestLine))
}

/// Names what is wrong with a response's head, whose lines may end by LF alone.
pub(super) fn diagnose_response(text: &[u8], error: httparse::Error) -> Refusal {
    match error {
        httparse::Error::Status | httparse::Error::Version => by_parser(error, Refusal::StatusLine),
        _ => diagnose_fields(&with_cr(text)).unwrap_or_else(|| by_parser(error, Refusal::StatusLine)),
    }
}

/// The same lines, none of which ends by LF alone.
fn with_cr(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(line) => out.extend([line.strip_suffix(b"\r").unwrap_or(line), b"\r\n"].concat()),
            None => out.extend(line),
        }
    }
    out
}

/// Names what is wrong with the lines behind the first one.
fn diagnose_fields(text: &[u8]) -> Option<Refusal> {
    let start = text.iter().position(|&byte| byte == b'\n')? + 1;
    diagnose_section(text.get(start..)?, Refusal::SpaceBeforeFields)
}

/// Names what is wrong with field lines. White space before the first of them is one thing, before others another.
pub(super) fn diagnose_section(text: &[u8], space_before_first: Refusal) -> Option<Refusal> {
    let mut at_space = space_before_first;
    let mut lines = text.split(|&byte| byte == b'\n').peekable();
    while let Some(line) = lines.next() {
        if line == b"\r" {
            return None;
        }
        let is_whole = lines.peek().is_some();
        let found = diagnose_bytes(line, is_whole).or_else(|| diagnose_field(line, is_whole, at_space));
        if found.is_some() {
            return found;
        }
        at_space = Refusal::ObsFold;
    }
    None
}

/// Bytes that may stand nowhere in a head, and how a line ends.
fn diagnose_bytes(line: &[u8], is_whole: bool) -> Option<Refusal> {
    let (last, before) = line.split_last()?;
    if line.contains(&0) {
        Some(Refusal::Nul)
    } else if before.contains(&b'\r') {
        Some(Refusal::BareCr)
    } else {
        (is_whole && *last != b'\r').then_some(Refusal::BareLf)
    }
}

fn diagnose_request_line(line: &[u8]) -> Option<Refusal> {
    let parts: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
    match parts.as_slice() {
        [[], ..] => Some(Refusal::RequestLine),
        [method, ..] if !is_token(method) => Some(Refusal::Method),
        [_, target, ..] if target.iter().any(|byte| !byte.is_ascii_graphic()) => Some(Refusal::Target),
        [_, _, version] => diagnose_version(version),
        _ => Some(Refusal::RequestLine),
    }
}

fn diagnose_version(version: &[u8]) -> Option<Refusal> {
    match version {
        b"HTTP/1.0" | b"HTTP/1.1" => None,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Some(Refusal::VersionUnsupported)
        }
        _ => Some(Refusal::Version),
    }
}

fn diagnose_field(line: &[u8], is_whole: bool, at_space: Refusal) -> Option<Refusal> {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Some(at_space);
    }
    let Some(colon) = line.iter().position(|&byte| byte == b':') else {
        // What follows the CR cannot bring a colon any more.
        return (is_whole || line.ends_with(b"\r")).then_some(Refusal::FieldColon);
    };
    let (name, value) = line.split_at(colon);
    let is_control = |byte: &u8| byte.is_ascii_control() && !matches!(byte, b'\t' | b'\r');
    if matches!(name.last(), Some(b' ' | b'\t')) && is_token(name.trim_ascii_end()) {
        Some(Refusal::SpaceBeforeColon)
    } else if !is_token(name) {
        Some(Refusal::FieldName)
    } else {
        value.iter().any(is_control).then_some(Refusal::FieldValue)
    }
}

/// Source: RFC 9110, section 5.6.2.
pub(super) fn is_token(text: &[u8]) -> bool {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(fits)
}

/// What the parser says, where nothing better is known.
fn by_parser(error: httparse::Error, otherwise: Refusal) -> Refusal {
    match error {
        httparse::Error::HeaderName => Refusal::FieldName,
        httparse::Error::HeaderValue => Refusal::FieldValue,
        httparse::Error::TooManyHeaders => Refusal::TooManyFields,
        httparse::Error::NewLine => Refusal::BareCr,
        _ => otherwise,
    }
}
