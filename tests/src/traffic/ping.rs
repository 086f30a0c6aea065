//! ICMP echo requests, by the sockets that do not need to be raw. Source: icmp(7), `ping_group_range`.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};

use anyhow::Result;
use socket2::{Domain, Protocol, Socket, Type};

use super::TIMEOUT;
use crate::netns::Namespace;

/// Type, code, checksum, identifier and sequence number. The kernel sees to the checksum and the identifier.
const HEADER_BYTES: usize = 8;

/// Lets root ping from `namespace`: a new namespace lets nobody.
pub fn allow(namespace: &Namespace) -> Result<()> {
    namespace.sysctl("net.ipv4.ping_group_range", "0 0")
}

/// Sends an echo request with `payload` and gives the payload of the reply.
pub fn ask(target: IpAddr, payload: &[u8]) -> io::Result<Vec<u8>> {
    let (domain, protocol, request) = match target {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4, 8),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6, 128),
    };
    let mut socket = Socket::new(domain, Type::DGRAM, Some(protocol))?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    socket.connect(&SocketAddr::new(target, 0).into())?;
    socket.write_all(&[&[request, 0, 0, 0, 0, 0, 0, 1], payload].concat())?;
    let mut reply = vec![0; HEADER_BYTES + payload.len() + 1];
    let length = socket.read(&mut reply)?;
    reply.truncate(length);
    Ok(reply.split_off(HEADER_BYTES.min(length)))
}
