//! One HTTP connection: requests one after another until either side has had enough.

use std::io;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

use super::body_chunk;
use super::request::{Framing, MAX_BODY_BYTES, Rejection, Request, parse_request};
use super::route::{Answer, Ends, Identity, route};
use super::throttle::{plan_due, plan_step};

const READ_BYTES: usize = 16 * 1024;
/// How long a refused client may go on sending before it is cut off.
const LINGER: Duration = Duration::from_secs(1);

/// Why a connection ended before the client wanted it to.
#[derive(Debug)]
enum Ended {
    /// The peer went away, or the connection broke; there is nobody to tell.
    Gone,
    /// The peer sent what cannot be answered.
    Rejected(Rejection),
}

impl From<io::Error> for Ended {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

impl From<Rejection> for Ended {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

/// Serves one connection to its end. What a client does wrong is told to the client, and to nobody else.
pub(super) async fn serve_http(stream: TcpStream, identity: Arc<Identity>) {
    let (Ok(peer), Ok(local)) = (stream.peer_addr(), stream.local_addr()) else { return };
    let mut connection = Connection { stream, unread: Vec::new(), identity, ends: Ends { peer, local } };
    if let Err(Ended::Rejected(rejection)) = connection.serve().await {
        // The connection is given up in any case.
        let _ = connection.reject(rejection).await;
    }
}

struct Connection {
    stream: TcpStream,
    /// Received and not yet used.
    unread: Vec<u8>,
    identity: Arc<Identity>,
    ends: Ends,
}

impl Connection {
    async fn serve(&mut self) -> Result<(), Ended> {
        while let Some(request) = self.read_request().await? {
            let body = self.read_body(&request).await?;
            let answer = route(&request, &self.identity, self.ends);
            self.answer(&request, answer, body).await?;
            if !request.keep_alive {
                break;
            }
        }
        self.stream.shutdown().await?;
        Ok(())
    }

    /// The next request; `None` if the client is through.
    async fn read_request(&mut self) -> Result<Option<Request>, Ended> {
        loop {
            if let Some((request, length)) = parse_request(&self.unread)? {
                self.unread.drain(..length);
                return Ok(Some(request));
            }
            let idle = self.unread.is_empty();
            match self.fill().await {
                Err(error) if idle && error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                other => other?,
            }
        }
    }

    /// Receives some more bytes; the peer's end is an error here.
    async fn fill(&mut self) -> io::Result<()> {
        self.unread.reserve(READ_BYTES);
        match self.stream.read_buf(&mut self.unread).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    async fn read_body(&mut self, request: &Request) -> Result<Vec<u8>, Ended> {
        if request.expects_continue && self.unread.is_empty() && request.framing != Framing::Length(0) {
            self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        let mut body = Vec::new();
        match request.framing {
            Framing::Length(length) => self.take(length, &mut body).await?,
            Framing::Chunked => self.read_chunks(&mut body).await?,
        }
        Ok(body)
    }

    /// Moves exactly `length` bytes over to `body`.
    async fn take(&mut self, length: usize, body: &mut Vec<u8>) -> io::Result<()> {
        let mut left = length;
        loop {
            let ready = left.min(self.unread.len());
            body.extend(self.unread.drain(..ready));
            left -= ready;
            if left == 0 {
                return Ok(());
            }
            self.fill().await?;
        }
    }

    /// Source: RFC 9112, 7.1. Trailers are read and forgotten.
    async fn read_chunks(&mut self, body: &mut Vec<u8>) -> Result<(), Ended> {
        loop {
            let size = self.read_chunk_size().await?;
            if size == 0 {
                return self.skip_trailers().await;
            }
            if size > MAX_BODY_BYTES - body.len() {
                return Err(Rejection::BODY_TOO_LONG.into());
            }
            self.take(size, body).await?;
            self.expect_line_end().await?;
        }
    }

    async fn read_chunk_size(&mut self) -> Result<usize, Ended> {
        loop {
            match httparse::parse_chunk_size(&self.unread) {
                Ok(httparse::Status::Complete((length, size))) => {
                    self.unread.drain(..length);
                    return Ok(usize::try_from(size).unwrap_or(usize::MAX));
                }
                Ok(httparse::Status::Partial) if self.unread.len() < READ_BYTES => self.fill().await?,
                _ => return Err(Rejection::BAD_CHUNK.into()),
            }
        }
    }

    async fn expect_line_end(&mut self) -> Result<(), Ended> {
        let mut end = Vec::with_capacity(2);
        self.take(2, &mut end).await?;
        if end == b"\r\n" { Ok(()) } else { Err(Rejection::BAD_CHUNK.into()) }
    }

    async fn skip_trailers(&mut self) -> Result<(), Ended> {
        loop {
            let mut headers = [httparse::EMPTY_HEADER; 16];
            match httparse::parse_headers(&self.unread, &mut headers) {
                Ok(httparse::Status::Complete((length, _))) => {
                    self.unread.drain(..length);
                    return Ok(());
                }
                Ok(httparse::Status::Partial) if self.unread.len() < READ_BYTES => self.fill().await?,
                _ => return Err(Rejection::BAD_CHUNK.into()),
            }
        }
    }

    async fn answer(&mut self, request: &Request, answer: Answer, body: Vec<u8>) -> io::Result<()> {
        let bodyless = request.method == "HEAD";
        match answer {
            Answer::Text(status, text) => {
                self.send(status, request.keep_alive, text.as_bytes(), bodyless).await
            }
            Answer::Echo => self.send(200, request.keep_alive, &body, bodyless).await,
            Answer::Bytes { length, rate } => {
                let head = self.build_head(200, request.keep_alive, length);
                self.stream.write_all(head.as_bytes()).await?;
                self.send_stream(if bodyless { 0 } else { length }, rate).await
            }
        }
    }

    /// Head and body in one write, for they mostly fit into one packet.
    async fn send(&mut self, status: u16, keep_alive: bool, body: &[u8], bodyless: bool) -> io::Result<()> {
        let mut bytes = self.build_head(status, keep_alive, body.len() as u64).into_bytes();
        if !bodyless {
            bytes.extend_from_slice(body);
        }
        self.stream.write_all(&bytes).await
    }

    fn build_head(&self, status: u16, keep_alive: bool, length: u64) -> String {
        let phrase = reason_phrase(status);
        let name = &self.identity.name;
        let connection = if keep_alive { "keep-alive" } else { "close" };
        format!(
            "HTTP/1.1 {status} {phrase}\r\nx-backend: {name}\r\ncontent-type: text/plain\r\n\
             content-length: {length}\r\nconnection: {connection}\r\n\r\n"
        )
    }

    async fn send_stream(&mut self, length: u64, rate: Option<NonZeroU64>) -> io::Result<()> {
        let start = Instant::now();
        let step = plan_step(rate);
        let mut chunk = vec![0; usize::try_from(step.min(length)).unwrap_or(READ_BYTES)];
        let mut sent = 0;
        while sent < length {
            let part = usize::try_from(length - sent).unwrap_or(usize::MAX).min(chunk.len());
            let part = chunk.get_mut(..part).unwrap_or_default();
            body_chunk(sent, part);
            self.stream.write_all(part).await?;
            sent += part.len() as u64;
            wait_until_due(start, plan_due(sent, rate)).await;
        }
        Ok(())
    }

    /// Says what was wrong, and reads on for a moment: closing with unread bytes sends a reset, which can overtake
    /// the answer.
    async fn reject(&mut self, Rejection { status, why }: Rejection) -> io::Result<()> {
        self.send(status, false, format!("{why}\n").as_bytes(), false).await?;
        self.stream.shutdown().await?;
        let _ = timeout(LINGER, tokio::io::copy(&mut self.stream, &mut tokio::io::sink())).await;
        Ok(())
    }
}

/// A time beyond what the clock can name is never due.
async fn wait_until_due(start: Instant, due: Duration) {
    match start.checked_add(due) {
        _ if due.is_zero() => {}
        Some(when) => sleep_until(when).await,
        None => std::future::pending::<()>().await,
    }
}

fn reason_phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        413 => "Content Too Large",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        _ => "Unknown",
    }
}
