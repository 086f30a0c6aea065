//! Version 1: a line of text.

use super::{Proxied, ProxyRefusal};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

pub(super) const SIGNATURE: &[u8] = b"PROXY ";

/// The header that tells of no client.
pub const NOBODY_V1: &[u8] = b"PROXY UNKNOWN\r\n";

/// Bytes of the longest line, its end included.
const LINE: usize = 107;

pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Proxied, usize)>, ProxyRefusal> {
    let Some(end) = bytes.iter().take(LINE).position(|&byte| byte == b'\n') else {
        return if bytes.len() < LINE { Ok(None) } else { Err(ProxyRefusal::LineTooLong) };
    };
    let line = bytes.get(..end).and_then(|line| line.strip_suffix(b"\r"));
    let line = line.and_then(|line| std::str::from_utf8(line).ok()).ok_or(ProxyRefusal::Line)?;
    let proxied = parse_line(line).ok_or(ProxyRefusal::Line)?;
    Ok(Some((proxied, end + 1)))
}

fn parse_line(line: &str) -> Option<Proxied> {
    let mut words = line.split(' ').skip(1);
    match words.next()? {
        "TCP4" => parse_addresses(words, |text| text.parse::<Ipv4Addr>().ok().map(IpAddr::from)),
        "TCP6" => parse_addresses(words, |text| text.parse::<Ipv6Addr>().ok().map(IpAddr::from)),
        // What follows UNKNOWN is to be passed over.
        "UNKNOWN" => Some(Proxied::Nobody),
        _ => None,
    }
}

fn parse_addresses<'a>(
    mut words: impl Iterator<Item = &'a str>,
    address: impl Fn(&str) -> Option<IpAddr>,
) -> Option<Proxied> {
    let (client, server) = (address(words.next()?)?, address(words.next()?)?);
    let (client_port, server_port) = (parse_port(words.next()?)?, parse_port(words.next()?)?);
    words.next().is_none().then(|| Proxied::Client {
        client: SocketAddr::new(client, client_port),
        server: SocketAddr::new(server, server_port),
    })
}

fn parse_port(text: &str) -> Option<u16> {
    let is_plain = text == "0" || !text.starts_with(['0', '+']);
    if is_plain { text.parse().ok() } else { None }
}

/// Appends the header that tells of a client. Addresses of two families cannot be told of together: `UNKNOWN`.
pub fn write_v1(client: SocketAddr, server: SocketAddr, out: &mut Vec<u8>) {
    let family = match (client.ip(), server.ip()) {
        (IpAddr::V4(_), IpAddr::V4(_)) => "TCP4",
        (IpAddr::V6(_), IpAddr::V6(_)) => "TCP6",
        _ => return out.extend_from_slice(NOBODY_V1),
    };
    let (from, to) = (client.ip(), server.ip());
    let line = format!("PROXY {family} {from} {to} {} {}\r\n", client.port(), server.port());
    out.extend_from_slice(line.as_bytes());
}
