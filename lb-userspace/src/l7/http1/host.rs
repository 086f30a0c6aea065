//! Hosts and ports, as Host fields and absolute targets have them.

use super::Refusal;
use std::borrow::Cow;
use std::net::Ipv6Addr;

/// Bytes of a name that DNS could hold.
const LONGEST_NAME: usize = 255;

/// A host and its port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority<'b> {
    /// The host in lower case, without port, brackets and the dot of the root.
    pub host: Cow<'b, str>,
    /// The port, if one is named.
    pub port: Option<u16>,
}

/// Reads `example.org`, `192.0.2.1:8080` or `[2001:db8::1]:443`. It copies only what is not in lower case.
pub fn parse_authority(text: &[u8]) -> Result<Authority<'_>, Refusal> {
    if text.contains(&b'@') {
        return Err(Refusal::Userinfo);
    }
    let text = std::str::from_utf8(text).map_err(|_| Refusal::HostInvalid)?;
    let parsed = if text.starts_with('[') { parse_bracketed(text) } else { parse_named(text) };
    parsed.ok_or(Refusal::HostInvalid)
}

fn parse_bracketed(text: &str) -> Option<Authority<'_>> {
    let (host, rest) = text.strip_prefix('[')?.split_once(']')?;
    host.parse::<Ipv6Addr>().ok()?;
    let port = if rest.is_empty() { None } else { parse_port(rest.strip_prefix(':')?)? };
    Some(Authority { host: lower(host), port })
}

fn parse_named(text: &str) -> Option<Authority<'_>> {
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, parse_port(port)?),
        None => (text, None),
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    is_name(host).then(|| Authority { host: lower(host), port })
}

/// Letters, digits, `-`, `_` and single dots between them. RFC 3986 would let more pass, which no name in DNS has.
fn is_name(host: &str) -> bool {
    let mut previous = b'.';
    for &byte in host.as_bytes() {
        let fits =
            byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') || (byte == b'.' && previous != b'.');
        if !fits {
            return false;
        }
        previous = byte;
    }
    previous != b'.' && host.len() <= LONGEST_NAME
}

/// The outer option is whether it can be one, the inner whether it is there: `example.org:` has none.
#[expect(clippy::option_option, reason = "two questions, and the answer lives for one line")]
fn parse_port(text: &str) -> Option<Option<u16>> {
    if text.is_empty() {
        return Some(None);
    }
    let is_number = text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.parse().ok().map(Some) } else { None }
}

fn lower(host: &str) -> Cow<'_, str> {
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}
