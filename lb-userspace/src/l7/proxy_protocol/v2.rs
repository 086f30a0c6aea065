//! Version 2: binary, with values behind the addresses.

use super::{Proxied, ProxyRefusal};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The header that tells of no client: the connection is the proxy's own, as of its health checks (command LOCAL).
pub const NOBODY_V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// Bytes before the addresses: signature, version and command, family and transport, length.
const FIXED: usize = 16;
/// Bytes of addresses and values that are read: clients' certificates stay below, floods do not.
const LONGEST: usize = 4096;

/// Families and transports.
const UNSPEC: u8 = 0x00;
const TCP4: u8 = 0x11;
const UDP4: u8 = 0x12;
const TCP6: u8 = 0x21;
const UDP6: u8 = 0x22;
const UNIX_STREAM: u8 = 0x31;
const UNIX_DATAGRAM: u8 = 0x32;

/// Bytes of the addresses of each family.
const V4_BYTES: usize = 12;
const V6_BYTES: usize = 36;
const UNIX_BYTES: usize = 216;

/// A value's type and length stand before it.
const VALUE_HEAD: usize = 3;
/// The value that is a checksum of the whole header.
const CRC32C: u8 = 0x03;

pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Proxied, usize)>, ProxyRefusal> {
    let is_proxy = match bytes.get(12) {
        None => return Ok(None),
        Some(0x20) => false,
        Some(0x21) => true,
        Some(other) if other >> 4 != 2 => return Err(ProxyRefusal::Version),
        Some(_) => return Err(ProxyRefusal::Command),
    };
    let Some(&[family, high, low]) = bytes.get(13..FIXED).and_then(<[u8]>::first_chunk) else {
        return Ok(None);
    };
    let len = usize::from(u16::from_be_bytes([high, low]));
    if len > LONGEST {
        return Err(ProxyRefusal::TooLong);
    }
    let Some(header) = bytes.get(..FIXED + len) else {
        return Ok(None);
    };
    let body = header.get(FIXED..).unwrap_or_default();
    let proxied = if is_proxy { parse_proxied(header, family, body)? } else { Proxied::Nobody };
    Ok(Some((proxied, header.len())))
}

fn parse_proxied(header: &[u8], family: u8, body: &[u8]) -> Result<Proxied, ProxyRefusal> {
    let (addresses, values) = match family {
        UNSPEC => return Ok(Proxied::Nobody),
        TCP4 | UDP4 => body.split_at_checked(V4_BYTES),
        TCP6 | UDP6 => body.split_at_checked(V6_BYTES),
        UNIX_STREAM | UNIX_DATAGRAM => body.split_at_checked(UNIX_BYTES),
        _ => return Err(ProxyRefusal::Family),
    }
    .ok_or(ProxyRefusal::TooShort)?;
    check_values(header, values)?;
    Ok(addresses_of(addresses).unwrap_or(Proxied::Nobody))
}

/// Both addresses, then both ports. `None` of what has none of IP.
fn addresses_of(bytes: &[u8]) -> Option<Proxied> {
    let ip_bytes = match bytes.len() {
        V4_BYTES => 4,
        V6_BYTES => 16,
        _ => return None,
    };
    let (client, rest) = bytes.split_at_checked(ip_bytes)?;
    let (server, ports) = rest.split_at_checked(ip_bytes)?;
    let (client_port, server_port) = ports.split_at_checked(2)?;
    Some(Proxied::Client {
        client: SocketAddr::new(address(client)?, port(client_port)?),
        server: SocketAddr::new(address(server)?, port(server_port)?),
    })
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).ok().map(|octets| Ipv4Addr::from(octets).into());
    v4.or_else(|| <[u8; 16]>::try_from(bytes).ok().map(|octets| Ipv6Addr::from(octets).into()))
}

fn port(bytes: &[u8]) -> Option<u16> {
    bytes.try_into().ok().map(u16::from_be_bytes)
}

/// Values mean nothing to us but for the checksum; they must end where the header does.
fn check_values(header: &[u8], values: &[u8]) -> Result<(), ProxyRefusal> {
    let mut rest = values;
    while !rest.is_empty() {
        let (&[kind, high, low], behind) = rest.split_first_chunk().ok_or(ProxyRefusal::Value)?;
        let len = usize::from(u16::from_be_bytes([high, low]));
        let (value, behind) = behind.split_at_checked(len).ok_or(ProxyRefusal::Value)?;
        if kind == CRC32C {
            let at = header.len() - rest.len() + VALUE_HEAD;
            check_sum(header, at, value)?;
        }
        rest = behind;
    }
    Ok(())
}

/// The checksum is over the header with zeros in its own place.
fn check_sum(header: &[u8], at: usize, value: &[u8]) -> Result<(), ProxyRefusal> {
    let expected = value.try_into().map(u32::from_be_bytes).map_err(|_| ProxyRefusal::Value)?;
    let own = at..at + value.len();
    let bytes = header.iter().enumerate().map(|(at, &byte)| if own.contains(&at) { 0 } else { byte });
    if crc32c(bytes) == expected { Ok(()) } else { Err(ProxyRefusal::Checksum) }
}

/// Bit by bit: headers that carry one are short and rare. Source: RFC 9260, appendix A.
pub(super) fn crc32c(bytes: impl Iterator<Item = u8>) -> u32 {
    /// Castagnoli's polynomial, reflected.
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    !bytes.fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| sum >> 1 ^ (POLYNOMIAL & (sum & 1).wrapping_neg()))
    })
}

/// Appends the header that tells of a client. Addresses of two families cannot be told of together: the connection's own count.
pub fn write_v2(client: SocketAddr, server: SocketAddr, out: &mut Vec<u8>) {
    out.extend_from_slice(SIGNATURE);
    match (client.ip(), server.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            write_addresses(TCP4, &from.octets(), &to.octets(), [client.port(), server.port()], out);
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            write_addresses(TCP6, &from.octets(), &to.octets(), [client.port(), server.port()], out);
        }
        _ => write_addresses(UNSPEC, &[], &[], [0; 0], out),
    }
}

fn write_addresses<const PORTS: usize>(
    family: u8,
    from: &[u8],
    to: &[u8],
    ports: [u16; PORTS],
    out: &mut Vec<u8>,
) {
    let len = u8::try_from(from.len() + to.len() + 2 * PORTS).unwrap_or(u8::MAX);
    out.extend_from_slice(&[0x21, family, 0, len]);
    out.extend_from_slice(from);
    out.extend_from_slice(to);
    out.extend(ports.into_iter().flat_map(u16::to_be_bytes));
}
