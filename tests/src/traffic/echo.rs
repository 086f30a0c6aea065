//! Clients of the TCP and UDP echoes.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpStream, UdpSocket};

use anyhow::{Context, Result};

use super::TIMEOUT;

/// Sends `payload` on a new TCP connection, ends the sending side and gives all that comes back.
pub fn tcp(server: SocketAddrV4, payload: &[u8]) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&server.into(), TIMEOUT)
        .with_context(|| format!("connect to {server}"))?;
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
pub fn udp(server: SocketAddrV4, payload: &[u8]) -> io::Result<Vec<u8>> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    socket.connect(server)?;
    socket.send(payload)?;
    let mut buffer = [0; 2048];
    let length = socket.recv(&mut buffer)?;
    Ok(buffer[..length].to_vec())
}
