//! Clients of the TCP and UDP echoes.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};

use anyhow::{Context, Result};

use super::TIMEOUT;
use crate::family::Family;

/// The longest datagram there is.
const MAX_DATAGRAM_BYTES: usize = 65_535;

/// Sends `payload` on a new TCP connection, ends the sending side and gives all that comes back.
pub fn tcp(server: SocketAddr, payload: &[u8]) -> Result<Vec<u8>> {
    let mut stream =
        TcpStream::connect_timeout(&server, TIMEOUT).with_context(|| format!("connect to {server}"))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.write_all(payload).context("sending")?;
    stream.shutdown(Shutdown::Write).context("ending the sending side")?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).context("receiving")?;
    Ok(reply)
}

/// Sends `payload` from a new UDP socket and gives the datagram that comes back.
///
/// The socket is connected, so an ICMP error from the way shows as the error it stands for.
pub fn udp(server: SocketAddr, payload: &[u8]) -> io::Result<Vec<u8>> {
    let socket = udp_socket(server)?;
    socket.send(payload)?;
    receive(&socket)
}

/// A new UDP socket to `server`, on which nothing waits longer than [`TIMEOUT`].
pub fn udp_socket(server: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Family::of(server.ip()).any(), 0))?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    socket.connect(server)?;
    Ok(socket)
}

/// The next datagram.
pub fn receive(socket: &UdpSocket) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; MAX_DATAGRAM_BYTES];
    let length = socket.recv(&mut buffer)?;
    buffer.truncate(length);
    Ok(buffer)
}
