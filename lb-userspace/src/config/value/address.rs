//! Values that are addresses, with ports or without: what stands there is nearly always nearly right, so most of this is
//! about saying what to write instead.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::super::finding::Finding;
use super::super::keys::{Form, Key, Value};
use super::super::model::{Protocol, Vip, first_of, whole};
use super::super::proxy::Network;
use super::{Written, digits, parse_range, text, unfit};

/// What a port may be where it stands alone.
const ONE_PORT: &str = "expected a port from 1 to 65535";
/// What may stand in place of a VIP's port.
const PORTS: &str = "expected a port from 1 to 65535, a range, or `*`";

/// An address that packets can be sent to, with a port or 0 for none.
pub(in super::super) fn server(key: &Key, value: &Written<'_>) -> Result<SocketAddr, Finding> {
    let server = match text(key, value)?.parse::<IpAddr>() {
        Ok(addr) => SocketAddr::new(addr, 0),
        Err(_) => endpoint(key, value)?,
    };
    unicast(key, value, server.ip()).map(|_| server)
}

/// A socket of this host. It may wait on any of its addresses.
pub(in super::super) fn listener(key: &Key, value: &Written<'_>) -> Result<SocketAddr, Finding> {
    endpoint(key, value)
}

/// An address and a port.
pub(in super::super) fn endpoint(key: &Key, value: &Written<'_>) -> Result<SocketAddr, Finding> {
    let text = text(key, value)?;
    let endpoint: SocketAddr = text.parse().map_err(|_| nearly(key, value, text))?;
    if endpoint.port() == 0 { Err(unfit(key, value).label(ONE_PORT)) } else { Ok(endpoint) }
}

/// What clients connect to; the protocol stands elsewhere.
pub(in super::super) fn vip(key: &Key, value: &Written<'_>) -> Result<Vip, Finding> {
    let text = text(key, value)?;
    let (addresses, ports) = text.rsplit_once(':').ok_or_else(|| nearly(key, value, text))?;
    let bare = addresses.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let (addr, bits) = parse_prefix(bare.unwrap_or(addresses)).ok_or_else(|| nearly(key, value, text))?;
    if bare.is_some() != addr.is_ipv6() {
        return Err(nearly(key, value, text));
    }
    let (port, last_port) = parse_ports(ports).ok_or_else(|| no_ports(key, value, ports))?;
    let addr = prefix_start(key, value, (unicast(key, value, addr)?, bits))?;
    Ok(Vip { addr, bits, port, last_port, protocol: Protocol::Tcp })
}

/// `80`, `8000-8099` or `*`.
fn parse_ports(text: &str) -> Option<(u16, u16)> {
    let (first, last) = match text.split_once('-') {
        _ if text == "*" => (1, u16::MAX),
        Some(_) => parse_range(text)?.into_inner(),
        None => digits(text).map(|port| (port, port))?,
    };
    (first > 0).then_some((first, last))
}

/// The mistake of text that is no port and no range, with what was probably meant.
fn no_ports(key: &Key, value: &Written<'_>, ports: &str) -> Finding {
    let finding = unfit(key, value).label(PORTS);
    match (ports.split_once('-'), ports.rsplit_once('/')) {
        _ if ports.contains(',') => {
            finding.help("write a service for each of them, or one with a range or `*`")
        }
        (Some((last, first)), _) if parse_ports(&format!("{first}-{last}")).is_some() => {
            finding.help(format!("write the lower port first: `{first}-{last}`"))
        }
        (None, Some((_, protocol @ ("udp" | "tcp")))) => {
            finding.help(format!("the protocol is a key of its own: `protocol = \"{protocol}\"`"))
        }
        _ => finding,
    }
}

/// A prefix of IPv4 addresses.
pub(in super::super) fn prefix_v4(key: &Key, value: &Written<'_>) -> Result<(Ipv4Addr, u8), Finding> {
    match prefix(key, value)? {
        (IpAddr::V4(addr), bits) => Ok((addr, bits)),
        (IpAddr::V6(_), _) => Err(unfit(key, value).label("expected an IPv4 prefix")),
    }
}

/// A prefix of IPv6 addresses.
pub(in super::super) fn prefix_v6(key: &Key, value: &Written<'_>) -> Result<(Ipv6Addr, u8), Finding> {
    match prefix(key, value)? {
        (IpAddr::V6(addr), bits) => Ok((addr, bits)),
        (IpAddr::V4(_), _) => Err(unfit(key, value).label("expected an IPv6 prefix")),
    }
}

/// Addresses with the same first bits, which may be any but none at all.
pub(in super::super) fn network(key: &Key, value: &Written<'_>) -> Result<Network, Finding> {
    let (addr, bits) = parse_prefix(text(key, value)?).ok_or_else(|| unfit(key, value))?;
    let addr = prefix_start(key, value, (addr, bits))?;
    Ok(Network { addr, bits })
}

fn prefix(key: &Key, value: &Written<'_>) -> Result<(IpAddr, u8), Finding> {
    let (addr, bits) = parse_prefix(text(key, value)?).ok_or_else(|| unfit(key, value))?;
    let addr = prefix_start(key, value, (unicast(key, value, addr)?, bits))?;
    Ok((addr, bits))
}

/// `ADDRESS` or `ADDRESS/LENGTH`; whether the length is one of the address's family is not asked yet.
fn parse_prefix(text: &str) -> Option<(IpAddr, u8)> {
    let (addr, bits) = text.split_once('/').map_or((text, None), |(addr, bits)| (addr, Some(bits)));
    let addr: IpAddr = addr.parse().ok()?;
    let bits = match bits {
        Some(bits) => u8::try_from(digits(bits)?).unwrap_or(u8::MAX),
        None => whole(addr),
    };
    Some((addr, bits))
}

/// The address of a prefix, none of whose other bits may be set: the operator may have meant the address alone.
fn prefix_start(key: &Key, value: &Written<'_>, (addr, bits): (IpAddr, u8)) -> Result<IpAddr, Finding> {
    match first_of(addr, bits) {
        Some(first) if first == addr => Ok(addr),
        Some(first) => Err(unfit(key, value)
            .label(format!("expected the first address of a prefix of {bits} bits"))
            .help(format!("write `{first}/{bits}`, or `{addr}` without a length for one address"))),
        None => Err(unfit(key, value).label(format!("expected a length of at most {} bits", whole(addr)))),
    }
}

fn unicast(key: &Key, value: &Written<'_>, addr: IpAddr) -> Result<IpAddr, Finding> {
    match not_unicast(addr) {
        Some(what) => Err(unfit(key, value)
            .label(format!("expected a unicast address, {addr} is {what}"))
            .help("name one address that packets can be sent to over the network")),
        None => Ok(addr),
    }
}

fn not_unicast(addr: IpAddr) -> Option<&'static str> {
    match addr {
        _ if addr.is_unspecified() => Some("the unspecified address"),
        _ if addr.is_loopback() => Some("a loopback address"),
        _ if addr.is_multicast() => Some("a multicast address"),
        IpAddr::V4(Ipv4Addr::BROADCAST) => Some("the broadcast address"),
        _ => None,
    }
}

/// The mistake of text that is no address with a port, with what was probably meant if that can be told.
fn nearly(key: &Key, value: &Written<'_>, text: &str) -> Finding {
    let finding = unfit(key, value);
    if text.contains('/') && !matches!(key.value, Value::Text(Form::Vip)) {
        return finding;
    }
    match (without_port(text).or_else(|| host_name(text)), respelt(text)) {
        (Some(help), _) => finding.help(help),
        (None, Some(same)) if same == text => finding.label(ONE_PORT),
        (None, Some(other)) => finding.help(format!("write \"{other}\"")),
        (None, None) => finding,
    }
}

/// An address or a prefix and nothing else.
fn without_port(text: &str) -> Option<String> {
    let (addr, bits) = parse_prefix(text)?;
    let prefix = if text.contains('/') { format!("/{bits}") } else { String::new() };
    Some(format!("add the port, as in \"{}\"", bracketed(addr, &prefix, "80")))
}

/// The text with its brackets where they belong.
fn respelt(text: &str) -> Option<String> {
    let (addresses, ports) = text.rsplit_once(':')?;
    let bare: String = addresses.chars().filter(|c| !matches!(c, '[' | ']')).collect();
    let (addr, bits) = parse_prefix(&bare)?;
    let prefix = if bare.contains('/') { format!("/{bits}") } else { String::new() };
    Some(bracketed(addr, &prefix, ports))
}

fn bracketed(addr: IpAddr, prefix: &str, ports: &str) -> String {
    match addr {
        IpAddr::V4(addr) => format!("{addr}{prefix}:{ports}"),
        IpAddr::V6(addr) => format!("[{addr}{prefix}]:{ports}"),
    }
}

fn host_name(text: &str) -> Option<String> {
    let (host, port) = text.rsplit_once(':')?;
    let is_name = host.contains(|c: char| c.is_ascii_alphabetic()) && !host.contains([':', '/']);
    (digits(port).is_some() && is_name)
        .then(|| "host names are not looked up: write the IP address".to_owned())
}
