//! The sockets that wait for clients in this network namespace, as the kernel lists them, and which of them an address
//! means.

use crate::config::Protocol;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A listening TCP socket, or a UDP socket without a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// What it is bound to; an IPv4 address that an IPv6 socket is bound to is an IPv4 address.
    pub bound: SocketAddr,
    /// Its number, never given twice while the host is up.
    pub inode: u64,
}

/// Of this thread's namespace: `/proc/net` is that of the process's first thread.
const FOLDER: &str = "/proc/thread-self/net";

/// The sockets that wait at one of these ports. TCP's list has the listening ones first, and no more of it is read.
pub fn list(protocol: Protocol, ports: &BTreeSet<u16>) -> io::Result<Vec<Waiting>> {
    let (files, state) = match protocol {
        Protocol::Tcp => (["tcp", "tcp6"], LISTENING),
        Protocol::Udp => (["udp", "udp6"], UNCONNECTED),
    };
    let mut found = Vec::new();
    for file in files {
        let rows = read(file)?.map_while(Result::ok).filter_map(|line| Row::parse(&line));
        let rows = rows.take_while(|row| row.state == state || protocol == Protocol::Udp);
        let waiting = rows.filter(|row| row.state == state && ports.contains(&row.waiting.bound.port()));
        found.extend(waiting.map(|row| row.waiting));
    }
    Ok(found)
}

/// The lines of a list behind its heading; none where the kernel does without the family.
fn read(file: &str) -> io::Result<impl Iterator<Item = io::Result<String>>> {
    let list = match File::open(format!("{FOLDER}/{file}")) {
        Ok(list) => Some(BufReader::new(list)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    Ok(list.into_iter().flat_map(|list| list.lines().skip(1)))
}

/// The socket a client of `listener` would reach, the one that is in use already before its equals (`SO_REUSEPORT` lets
/// several share an address).
#[must_use]
pub fn choose(sockets: &[Waiting], listener: SocketAddr, in_use: Option<u64>) -> Option<u64> {
    let ranked = sockets.iter().filter_map(|socket| Some((rank(socket.bound, listener)?, socket.inode)));
    ranked.min_by_key(|(rank, inode)| (*rank, Some(*inode) != in_use)).map(|(_, inode)| inode)
}

/// How well a bound address fits: itself, every address of its family, every address of both. Whether the last takes
/// IPv4 at all only the socket tells.
fn rank(bound: SocketAddr, listener: SocketAddr) -> Option<u8> {
    let family_fits = bound.is_ipv4() == listener.is_ipv4();
    match () {
        () if bound.port() != listener.port() => None,
        () if bound.ip() == listener.ip() => Some(0),
        () if bound.ip().is_unspecified() && family_fits => Some(1),
        () if bound.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Some(2),
        () => None,
    }
}

/// `TCP_LISTEN` and `TCP_CLOSE` (`include/net/tcp_states.h`).
const LISTENING: u8 = 0x0a;
const UNCONNECTED: u8 = 0x07;

/// A line of the list.
struct Row {
    state: u8,
    waiting: Waiting,
}

impl Row {
    /// Source: Linux, `Documentation/networking/proc_net_tcp.rst`.
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let bound = parse_address(fields.next()?)?;
        let state = u8::from_str_radix(fields.nth(1)?, 16).ok()?;
        let inode = fields.nth(5)?.parse().ok()?;
        Some(Self { state, waiting: Waiting { bound, inode } })
    }
}

/// Words of the address as this machine reads them, and the port as people do.
fn parse_address(field: &str) -> Option<SocketAddr> {
    let (address, port) = field.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let address: IpAddr = match address.len() {
        8 => Ipv4Addr::from(parse_word(address)?).into(),
        32 => parse_v6(address)?.to_canonical(),
        _ => return None,
    };
    Some(SocketAddr::new(address, port))
}

fn parse_v6(digits: &str) -> Option<Ipv6Addr> {
    let mut octets = [0; 16];
    for (place, word) in octets.chunks_exact_mut(4).enumerate() {
        word.copy_from_slice(&parse_word(digits.get(place * 8..place * 8 + 8)?)?);
    }
    Some(octets.into())
}

fn parse_word(digits: &str) -> Option<[u8; 4]> {
    u32::from_str_radix(digits, 16).ok().map(u32::to_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Option<(String, u8, u64)> {
        Row::parse(line).map(|row| (row.waiting.bound.to_string(), row.state, row.waiting.inode))
    }

    #[test]
    fn a_line_tells_address_state_and_inode() {
        let line = "   1: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 8720979 1 0 100";
        assert_eq!(parse(line), Some(("127.0.0.1:8080".into(), LISTENING, 8_720_979)));
        let line = "  0: B80D0120000000000000000001000000:0035 00000000000000000000000000000000:0000 07 00000000:00000000 \
                    00:00000000 00000000   101        0 77 2 0 0";
        assert_eq!(parse(line), Some(("[2001:db8::1]:53".into(), UNCONNECTED, 77)));
    }

    #[test]
    fn an_ipv6_socket_at_an_ipv4_address_counts_as_that() {
        let address = parse_address("0000000000000000FFFF00000100007F:1F90");
        assert_eq!(address, Some("127.0.0.1:8080".parse().unwrap()));
    }

    #[test]
    fn what_is_no_row_is_left_out() {
        for line in ["", "  sl  local_address rem_address   st", "0: 7F:1 0:0 0A 0 0 0 0 0 1", "0: x:y"] {
            assert_eq!(parse(line), None, "{line}");
        }
    }

    #[test]
    fn the_socket_that_a_client_would_reach_is_chosen() {
        let socket = |bound: &str, inode| Waiting { bound: bound.parse().unwrap(), inode };
        let listener: SocketAddr = "127.0.0.1:80".parse().unwrap();
        let mut sockets = vec![socket("[::1]:80", 1), socket("127.0.0.1:81", 2)];
        assert_eq!(choose(&sockets, listener, None), None);
        for (bound, inode) in [("[::]:80", 3), ("0.0.0.0:80", 4), ("127.0.0.1:80", 5)] {
            sockets.push(socket(bound, inode));
            assert_eq!(choose(&sockets, listener, Some(3)), Some(inode));
        }
        sockets.push(socket("127.0.0.1:80", 6));
        assert_eq!(choose(&sockets, listener, Some(6)), Some(6));
    }

    #[test]
    fn this_hosts_own_sockets_are_listed() {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = std::net::UdpSocket::bind("[::1]:0").unwrap();
        for (protocol, bound) in
            [(Protocol::Tcp, tcp.local_addr().unwrap()), (Protocol::Udp, udp.local_addr().unwrap())]
        {
            let listed = list(protocol, &BTreeSet::from([bound.port()])).unwrap();
            assert!(listed.iter().any(|socket| socket.bound == bound), "{listed:?}");
        }
    }
}
