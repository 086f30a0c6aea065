//! An HTTP/1.1 client for backends that give a `Content-Length` and say their name in `x-backend`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};

use anyhow::{Context, Result, ensure};
use socket2::{Domain, Protocol, Socket, Type};

use super::TIMEOUT;

/// The head of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The status code.
    pub status: u16,
    /// Who replied.
    pub backend: String,
    /// How many bytes follow.
    pub length: usize,
}

/// A whole reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Its head.
    pub head: Head,
    /// Its body.
    pub body: Vec<u8>,
}

/// A connection that is kept between requests.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<TcpStream>,
    server: SocketAddr,
}

impl Connection {
    /// Connects; nothing on this connection then waits longer than [`TIMEOUT`].
    pub fn open(server: SocketAddr) -> Result<Self> {
        let stream =
            TcpStream::connect_timeout(&server, TIMEOUT).with_context(|| format!("connect to {server}"))?;
        Self::over(stream, server)
    }

    /// Connects from an address of the caller's choice.
    pub fn open_from(source: IpAddr, server: SocketAddr) -> Result<Self> {
        let socket = Socket::new(Domain::for_address(server), Type::STREAM, Some(Protocol::TCP))?;
        socket.bind(&SocketAddr::new(source, 0).into()).with_context(|| format!("bind to {source}"))?;
        socket
            .connect_timeout(&server.into(), TIMEOUT)
            .with_context(|| format!("connect from {source} to {server}"))?;
        Self::over(socket.into(), server)
    }

    /// Takes a connection that is open already.
    pub fn over(stream: TcpStream, server: SocketAddr) -> Result<Self> {
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream), server })
    }

    /// One request and its whole reply; the connection stays open.
    pub fn get(&mut self, path: &str) -> Result<Reply> {
        self.exchange(path, "keep-alive")
    }

    /// Asks for `path` and reads the head of the reply only.
    pub fn ask(&mut self, path: &str, connection: &str) -> Result<Head> {
        let host = self.server;
        let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: {connection}\r\n\r\n");
        self.stream.get_mut().write_all(request.as_bytes()).context("sending the request")?;
        read_head(&mut self.stream).with_context(|| format!("GET {path} from {host}"))
    }

    /// Reads some of the body; 0 bytes are its end.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        self.stream.read(buffer).context("reading the body")
    }

    fn exchange(&mut self, path: &str, connection: &str) -> Result<Reply> {
        let head = self.ask(path, connection)?;
        let mut body = vec![0; head.length];
        self.stream.read_exact(&mut body).context("reading the body")?;
        Ok(Reply { head, body })
    }
}

/// One request on a connection of its own.
pub fn get(server: SocketAddr, path: &str) -> Result<Reply> {
    Connection::open(server)?.exchange(path, "close")
}

/// The backend that a new connection reaches.
pub fn who(server: SocketAddr) -> Result<String> {
    Ok(get(server, "/")?.head.backend)
}

/// The same, asked from `source`.
pub fn who_from(source: IpAddr, server: SocketAddr) -> Result<String> {
    Ok(Connection::open_from(source, server)?.exchange("/", "close")?.head.backend)
}

/// The head at the beginning of `received`, and what follows it; nothing while the head is not whole.
pub(super) fn parse_head(received: &[u8]) -> Result<Option<(Head, &[u8])>> {
    if !received.windows(END.len()).any(|window| window == END) {
        return Ok(None);
    }
    let mut rest = received;
    let head = read_head(&mut rest)?;
    Ok(Some((head, rest)))
}

/// What ends a head.
const END: &[u8] = b"\r\n\r\n";

fn read_head(stream: &mut impl BufRead) -> Result<Head> {
    let first = read_line(stream)?;
    let status = first.split(' ').nth(1).with_context(|| format!("status line {first:?}"))?;
    let status = status.parse().with_context(|| format!("status line {first:?}"))?;
    let mut head = Head { status, backend: String::new(), length: 0 };
    loop {
        let line = read_line(stream)?;
        let Some((name, value)) = line.split_once(':') else { return Ok(head) };
        match name.to_ascii_lowercase().as_str() {
            "x-backend" => value.trim().clone_into(&mut head.backend),
            "content-length" => head.length = value.trim().parse().context("content-length")?,
            _ => {}
        }
    }
}

fn read_line(stream: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    let bytes = stream.read_line(&mut line).context("reading the head")?;
    ensure!(bytes > 0, "the connection ended within the head");
    Ok(line.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_gives_status_backend_and_length() {
        let mut text: &[u8] = b"HTTP/1.1 200 OK\r\nX-Backend: web2\r\ncontent-length: 5\r\n\r\nhello";
        let head = read_head(&mut text).unwrap();
        assert_eq!(head, Head { status: 200, backend: "web2".to_owned(), length: 5 });
        assert_eq!(text, b"hello");
    }

    #[test]
    fn a_head_cut_short_is_an_error() {
        assert!(read_head(&mut &b"HTTP/1.1 200 OK\r\nx-backend: web2\r\n"[..]).is_err());
        assert!(read_head(&mut &b""[..]).is_err());
    }
}
