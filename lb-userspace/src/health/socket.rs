//! The socket a probe uses: made, set up and bound before it connects, the same for both transports.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::random::SplitMix;

/// How many source ports a probe tries. Probes end within their time-out, so that a range in which so many in a row
/// are taken is too small, and another try would not help.
const PORT_TRIES: u32 = 16;

/// A TCP socket for one probe of `target`.
///
/// Closing it sends a reset (`SO_LINGER` 0): a probe a second would otherwise leave sixty sockets in `TIME_WAIT` for
/// every backend, here or on the backend, each holding a port.
pub(super) fn open(target: SocketAddr, nonblocking: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(target), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_linger(Some(Duration::ZERO))?;
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(nonblocking)?;
    Ok(socket)
}

/// Binds the socket to a free port of the range, starting at a random one.
pub(super) fn bind_source_port(
    socket: &Socket,
    target: SocketAddr,
    ports: &RangeInclusive<u16>,
    random: &mut SplitMix,
) -> io::Result<()> {
    let span = u32::from(ports.end().saturating_sub(*ports.start())) + 1;
    let first = random.below(span);
    let mut outcome = Err(io::ErrorKind::AddrInUse.into());
    for attempt in 0..span.min(PORT_TRIES) {
        // The remainder is below 2^16 and the sum within the range.
        let offset = u16::try_from((first + attempt) % span).unwrap_or_default();
        let local = SocketAddr::new(any_address(target), ports.start().saturating_add(offset));
        outcome = socket.bind(&local.into());
        if !matches!(&outcome, Err(error) if error.kind() == io::ErrorKind::AddrInUse) {
            break;
        }
    }
    outcome
}

fn any_address(target: SocketAddr) -> IpAddr {
    if target.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() }
}

/// Whether the socket met itself. A port in the ephemeral range on which nobody listens can be chosen as the source
/// port too; TCP then connects a socket to itself (RFC 9293, 3.5, simultaneous open), and the dead would pass.
pub(super) fn is_self_connected(socket: &Socket, target: SocketAddr) -> bool {
    socket.local_addr().is_ok_and(|local| local.as_socket() == Some(target))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const TARGET: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9);

    /// A port that was free a moment ago.
    fn free_port() -> u16 {
        TcpListener::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port()
    }

    #[test]
    fn the_source_port_comes_from_the_range() {
        let port = free_port();
        let socket = open(TARGET, false).unwrap();
        bind_source_port(&socket, TARGET, &(port..=port), &mut SplitMix::new(1)).unwrap();
        assert_eq!(socket.local_addr().unwrap().as_socket().unwrap().port(), port);
    }

    #[test]
    fn a_taken_source_port_is_passed_over() {
        let taken = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        for seed in 0..8 {
            let socket = open(TARGET, false).unwrap();
            bind_source_port(&socket, TARGET, &(port..=port.saturating_add(8)), &mut SplitMix::new(seed))
                .unwrap();
            assert_ne!(socket.local_addr().unwrap().as_socket().unwrap().port(), port);
        }
    }

    #[test]
    fn a_range_with_no_free_port_is_an_error() {
        let taken = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let socket = open(TARGET, false).unwrap();
        let error = bind_source_port(&socket, TARGET, &(port..=port), &mut SplitMix::new(1)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn a_socket_connected_to_itself_is_found_out() {
        let local = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let socket = open(local, false).unwrap();
        socket.bind(&local.into()).unwrap();
        socket.connect(&local.into()).unwrap();
        assert!(is_self_connected(&socket, local));
    }
}
