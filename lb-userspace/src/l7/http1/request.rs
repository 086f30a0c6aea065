//! The head of a request.

use super::body::{has_token, length};
use super::{Framing, Refusal};
use crate::config::proxy::ClientLimits;
use httparse::{Header, Status};
use std::borrow::Cow;

/// Most fields that are parsed, whatever the limit.
pub(super) const MOST_FIELDS: usize = 128;

/// What a head may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the whole head.
    pub head: usize,
    /// Bytes of the request line.
    pub line: usize,
    /// Fields.
    pub fields: usize,
}

impl From<&ClientLimits> for Limits {
    fn from(limits: &ClientLimits) -> Self {
        let size = |value: u32| usize::try_from(value).unwrap_or(usize::MAX);
        Self { head: size(limits.head), line: size(limits.line), fields: limits.fields.into() }
    }
}

/// A version that we speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0
    V10,
    /// HTTP/1.1
    V11,
}

/// A request's head. It borrows from the bytes it was read from.
#[derive(Debug)]
pub struct Head<'b, 'f> {
    /// Bytes of the head, the empty line included.
    pub len: usize,
    /// The method.
    pub method: &'b str,
    /// The path as it was sent, or `*`.
    pub path: &'b str,
    /// What stands behind `?`.
    pub query: Option<&'b str>,
    /// The version.
    pub version: Version,
    /// All fields, in order.
    pub fields: &'f [Header<'b>],
    /// The host asked for, in lower case and without port; empty if none is named.
    pub host: Cow<'b, str>,
    /// The port asked for.
    pub port: Option<u16>,
    /// Where the body ends.
    pub framing: Framing,
    /// Whether the client wants to send another request on the connection.
    pub keep_alive: bool,
    /// Whether it waits for 100 (Continue).
    pub expects_continue: bool,
    /// Whether it wants to speak another protocol.
    pub upgrade: bool,
}

/// Fields that the framing of messages hangs on.
#[derive(Default)]
struct Noted<'b> {
    host: Option<&'b [u8]>,
    length: Option<u64>,
    is_chunked: bool,
    close: bool,
    keep_alive: bool,
    upgrade_option: bool,
    upgrade: bool,
    expects_continue: bool,
}

impl<'b, 'f> Head<'b, 'f> {
    /// Reads a head. `None`: the bytes do not reach to its end.
    pub fn parse(
        bytes: &'b [u8],
        room: &'f mut [Header<'b>; MOST_FIELDS],
        limits: &Limits,
    ) -> Result<Option<Self>, Refusal> {
        let blank = blank_lines(bytes);
        let text = bytes.get(blank..).unwrap_or_default();
        let room = room.get_mut(..limits.fields.min(MOST_FIELDS)).unwrap_or_default();
        let mut request = httparse::Request::new(room);
        let len = match request.parse(text).map_err(|error| refusal(error, text, limits))? {
            Status::Partial => return too_large(text, limits).map_or(Ok(None), Err),
            Status::Complete(len) => len,
        };
        let head = text.get(..len).unwrap_or_default();
        if let Some(refusal) = too_large(head, limits) {
            return Err(refusal);
        }
        check_line_ends(head)?;
        let (method, target) = request.method.zip(request.path).ok_or(Refusal::RequestLine)?;
        let version = if request.version == Some(1) { Version::V11 } else { Version::V10 };
        let fields: &'f [Header<'b>] = request.headers;
        let noted = note(fields, version)?;
        let (authority, path, query) = split_target(method, target)?;
        let (host, port) = host(version, authority, noted.host)?;
        Ok(Some(Self {
            len: len + blank,
            method,
            path,
            query,
            version,
            fields,
            host,
            port,
            framing: if noted.is_chunked { Framing::Chunked } else { Framing::Length(noted.length.unwrap_or(0)) },
            keep_alive: !noted.close && (version == Version::V11 || noted.keep_alive),
            expects_continue: noted.expects_continue && version == Version::V11,
            upgrade: noted.upgrade && noted.upgrade_option && version == Version::V11,
        }))
    }
}

/// Empty lines before a request are skipped (RFC 9112 section 2.2), a few.
fn blank_lines(bytes: &[u8]) -> usize {
    bytes.chunks_exact(2).take(4).take_while(|pair| *pair == b"\r\n").count() * 2
}

fn too_large(head: &[u8], limits: &Limits) -> Option<Refusal> {
    if head.len() <= limits.line.min(limits.head) {
        return None;
    }
    let line = head.iter().position(|&byte| byte == b'\n').unwrap_or(head.len());
    if line > limits.line {
        Some(Refusal::LineTooLong)
    } else {
        (head.len() > limits.head).then_some(Refusal::FieldsTooLarge)
    }
}

fn refusal(error: httparse::Error, text: &[u8], limits: &Limits) -> Refusal {
    match error {
        httparse::Error::TooManyHeaders => Refusal::FieldsTooLarge,
        httparse::Error::Version => Refusal::Version,
        httparse::Error::HeaderName | httparse::Error::HeaderValue => Refusal::Field,
        httparse::Error::NewLine => Refusal::LineEnd,
        _ => too_large(text, limits).unwrap_or(Refusal::RequestLine),
    }
}

/// The parser takes a lone LF for the end of a line; others do not, or take a lone CR.
pub(super) fn check_line_ends(head: &[u8]) -> Result<(), Refusal> {
    let feeds = head.iter().filter(|&&byte| byte == b'\n').count();
    let pairs = head.windows(2).filter(|pair| *pair == b"\r\n").count();
    if feeds == pairs { Ok(()) } else { Err(Refusal::LineEnd) }
}

fn note<'b>(fields: &[Header<'b>], version: Version) -> Result<Noted<'b>, Refusal> {
    let mut noted = Noted::default();
    for field in fields {
        let value = field.value;
        match field.name.len() {
            4 if field.name.eq_ignore_ascii_case("host") => {
                if noted.host.replace(value).is_some() {
                    return Err(Refusal::Host);
                }
            }
            6 if field.name.eq_ignore_ascii_case("expect") => {
                noted.expects_continue = value.eq_ignore_ascii_case(b"100-continue");
            }
            7 if field.name.eq_ignore_ascii_case("upgrade") => noted.upgrade = true,
            10 if field.name.eq_ignore_ascii_case("connection") => {
                noted.close |= has_token(value, "close");
                noted.keep_alive |= has_token(value, "keep-alive");
                noted.upgrade_option |= has_token(value, "upgrade");
            }
            14 if field.name.eq_ignore_ascii_case("content-length") => {
                let length = length(value).ok_or(Refusal::ContentLength)?;
                if noted.length.replace(length).is_some() {
                    return Err(Refusal::ContentLength);
                }
            }
            17 if field.name.eq_ignore_ascii_case("transfer-encoding") => {
                if noted.is_chunked || version == Version::V10 || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Refusal::TransferCoding);
                }
                noted.is_chunked = true;
            }
            _ => {}
        }
    }
    if noted.is_chunked && noted.length.is_some() { Err(Refusal::TwoLengths) } else { Ok(noted) }
}

/// Authority, path and query of a target in the forms that a reverse proxy is asked in.
fn split_target<'b>(
    method: &str,
    target: &'b str,
) -> Result<(Option<&'b str>, &'b str, Option<&'b str>), Refusal> {
    if method == "CONNECT" {
        return Err(Refusal::Connect);
    }
    if target.contains(['#', '\\']) || !target.is_ascii() {
        return Err(Refusal::Target);
    }
    if target == "*" {
        return if method == "OPTIONS" { Ok((None, "*", None)) } else { Err(Refusal::Target) };
    }
    let (authority, rest) = if target.starts_with('/') {
        (None, target)
    } else {
        let rest = strip_scheme(target).ok_or(Refusal::Target)?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        (Some(authority), rest)
    };
    let (path, query) = rest.split_once('?').map_or((rest, None), |(path, query)| (path, Some(query)));
    Ok((authority, if path.is_empty() { "/" } else { path }, query))
}

fn strip_scheme(target: &str) -> Option<&str> {
    ["http://", "https://"].into_iter().find_map(|scheme| {
        let (start, rest) = target.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    })
}

fn host<'b>(
    version: Version,
    authority: Option<&'b str>,
    field: Option<&'b [u8]>,
) -> Result<(Cow<'b, str>, Option<u16>), Refusal> {
    let field = match field {
        Some(field) => Some(std::str::from_utf8(field).map_err(|_| Refusal::Host)?),
        None if version == Version::V11 => return Err(Refusal::Host),
        None => None,
    };
    if let (Some(authority), Some(field)) = (authority, field)
        && !authority.eq_ignore_ascii_case(field)
    {
        return Err(Refusal::HostDisagrees);
    }
    split_host(authority.or(field).unwrap_or_default()).ok_or(Refusal::Host)
}

/// Host and port of what a Host field may be: a name, an IPv4 address or an IPv6 address in brackets.
fn split_host(text: &str) -> Option<(Cow<'_, str>, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':' | b'~');
    if !host.as_bytes().iter().all(fits) {
        return None;
    }
    let port = match port {
        None | Some("") => None,
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => Some(port.parse().ok()?),
        Some(_) => return None,
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    let lower = !host.bytes().any(|byte| byte.is_ascii_uppercase());
    Some((if lower { Cow::Borrowed(host) } else { Cow::Owned(host.to_ascii_lowercase()) }, port))
}
