//! A connection as the exchange sees it: plain bytes in and out, whether TLS lies beneath or not.

use super::buffer::Buffer;
use super::deadline::Timer;
use super::http1::Framing;
use super::memory::{CONNECTION, Held, TLS};
use super::transport::{Stream, Watch};
use rustls::Connection;
use std::future::poll_fn;
use std::io::{self, IoSlice, Read as _, Write as _};
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// A connection to a client or to a backend, and its deadline.
#[derive(Debug)]
pub struct Wire<W> {
    stream: Stream<W>,
    tls: Option<Box<Tls>>,
    /// Ends the connection when it is late.
    pub timer: Timer,
    /// Whether its end is a reset.
    is_broken_off: bool,
    _held: Held,
}

/// What TLS adds. Records are made and read by rustls; the bytes move when the stream lets them.
#[derive(Debug)]
struct Tls {
    connection: Connection,
    /// Decrypted bytes that nobody has taken yet.
    readable: usize,
    /// Whether the peer said that nothing more follows.
    has_closed: bool,
    end: End,
    _held: Held,
}

/// What our end of a TLS connection says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// That all has been sent, by an alert.
    Whole,
    /// Nothing: it is not to be taken for the end of what was to be sent.
    Cut,
    /// What is wrong with what the peer sent, by an alert and nothing behind it (RFC 8446, section 6.2).
    Refused,
}

impl<W: Watch> Wire<W> {
    /// A connection without TLS, so far.
    pub fn plain(stream: Stream<W>, timer: Timer) -> Self {
        Self { stream, tls: None, timer, is_broken_off: false, _held: Held::new(CONNECTION) }
    }

    /// Speaks TLS from now on, and shakes hands. `early` has been read from the stream already.
    pub async fn start_tls(&mut self, connection: Connection, early: &mut Buffer) -> io::Result<()> {
        let tls = Tls { connection, readable: 0, has_closed: false, end: End::Whole, _held: Held::new(TLS) };
        let (tls, stream) = (self.tls.insert(Box::new(tls)), &mut self.stream);
        while !early.is_empty() {
            let taken = tls.connection.read_tls(&mut early.bytes())?;
            early.consume(taken);
            tls.take_records()?;
        }
        poll_fn(|cx| tls.poll_handshake(cx, stream)).await
    }

    /// The TLS connection, if it is one.
    #[must_use]
    pub fn tls(&self) -> Option<&Connection> {
        self.tls.as_ref().map(|tls| &tls.connection)
    }

    /// The connection beneath.
    pub const fn stream(&mut self) -> &mut Stream<W> {
        &mut self.stream
    }

    /// The address that the peer connected to, or was connected from.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.stream.socket().local_addr().ok()?.as_socket()
    }

    /// Whether the peer has said nothing that nobody has read yet, not even that it ends.
    /// `surely`: the system is asked, whatever is known.
    pub fn is_quiet(&self, surely: bool) -> bool {
        self.tls.as_ref().is_none_or(|tls| tls.readable == 0) && self.stream.is_quiet(surely)
    }

    /// Waits for bytes and appends them to the buffer. 0 is the end.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>, buffer: &mut Buffer) -> Poll<io::Result<usize>> {
        match &mut self.tls {
            None => self.stream.poll_fill(cx, buffer),
            Some(tls) => tls.poll_fill(cx, &mut self.stream, buffer),
        }
    }

    /// Waits for bytes and appends them to the buffer. 0 is the end.
    pub async fn fill(&mut self, buffer: &mut Buffer) -> io::Result<usize> {
        poll_fn(|cx| self.poll_fill(cx, buffer)).await
    }

    /// Whether the end that the peer's bytes have come to is one that it has made: by TLS anybody on the way could cut them off, but
    /// for the alert that says so (RFC 9112, section 9.8).
    pub fn has_ended_surely(&self) -> bool {
        self.tls.as_ref().is_none_or(|tls| tls.has_closed)
    }

    /// Takes as many of the bytes as there is room for. They may have to be [flushed](Self::poll_flush) yet.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match &mut self.tls {
            None => self.stream.poll_write(cx, parts),
            Some(tls) => tls.poll_write(cx, &mut self.stream, parts),
        }
    }

    /// Waits until all bytes that were taken are with the kernel.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tls.as_mut().map_or(Poll::Ready(Ok(())), |tls| tls.poll_flush(cx, &mut self.stream))
    }

    /// Writes all of the bytes.
    pub async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let taken = poll_fn(|cx| self.poll_write(cx, &[IoSlice::new(bytes)])).await?;
            bytes = bytes.get(taken..).unwrap_or_default();
        }
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// What was to be sent is not whole. By TLS the peer is not told that it is: an answer that only the end of the connection
    /// ends is complete with a closure alert alone (RFC 9112, section 9.8).
    pub fn cut_short(&mut self) {
        self.tls.iter_mut().for_each(|tls| tls.end = End::Cut);
    }

    /// The same of an answer with this framing. Where only the end of the connection ends it, and there is no TLS, the peer is told by
    /// a reset: any other end would be taken for the whole (RFC 9112, section 8).
    pub fn end_within(&mut self, framing: Framing) {
        self.cut_short();
        if framing == Framing::UntilClose && self.tls.is_none() {
            // It fails where the connection has ended already.
            self.is_broken_off = self.stream.socket().set_linger(Some(Duration::ZERO)).is_ok();
        }
    }

    /// Whether the peer broke TLS's rules. What it sends from then on cannot be read, but [passed over](Self::pass_over).
    pub fn is_refused(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.end == End::Refused)
    }

    /// Waits for bytes that nobody wants, as they come from the peer, and tells how many there were. 0 is the end.
    pub async fn pass_over(&mut self, buffer: &mut Buffer) -> io::Result<usize> {
        buffer.consume(buffer.len());
        poll_fn(|cx| self.stream.poll_fill(cx, buffer)).await
    }

    /// Tells the peer that nothing more follows; it may still send. What was broken off is ended by the drop alone.
    pub fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_broken_off {
            return Poll::Ready(Ok(()));
        }
        if let Some(tls) = &mut self.tls {
            if tls.end == End::Whole {
                tls.connection.send_close_notify();
            }
            ready!(tls.poll_flush(cx, &mut self.stream))?;
        }
        self.stream.finish();
        Poll::Ready(Ok(()))
    }
}

impl Tls {
    fn poll_handshake<W: Watch>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream<W>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_flush(cx, stream))?;
            if !self.connection.is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            let taken = ready!(self.poll_records(cx, stream));
            if taken.as_ref().map_or(true, |&count| count == 0) {
                // The alert that says why, as far as it goes.
                let _ = self.poll_flush(cx, stream);
                return Poll::Ready(taken.and(Err(io::ErrorKind::UnexpectedEof.into())));
            }
        }
    }

    fn poll_fill<W: Watch>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream<W>,
        buffer: &mut Buffer,
    ) -> Poll<io::Result<usize>> {
        while self.readable == 0 {
            if ready!(self.poll_records(cx, stream))? == 0 {
                return Poll::Ready(Ok(0));
            }
            if self.connection.wants_write() {
                // An answer to a key update; if there is no room now, it goes with the next bytes.
                let _ = self.poll_flush(cx, stream)?;
            }
        }
        let count = self.connection.reader().read(buffer.room())?;
        buffer.commit(count);
        self.readable = self.readable.saturating_sub(count);
        Poll::Ready(Ok(count))
    }

    /// Reads records and decrypts them. 0 is the end, be it said by an alert or not: HTTP frames its messages itself, but for one
    /// that ends with the connection, of which [`Wire::has_ended_surely`] tells.
    fn poll_records<W: Watch>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream<W>,
    ) -> Poll<io::Result<usize>> {
        let count = match self.connection.read_tls(&mut Pull { stream, cx }) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
            read => read?,
        };
        self.take_records()?;
        Poll::Ready(Ok(if self.has_closed && self.readable == 0 { 0 } else { count }))
    }

    /// Decrypts what was read.
    fn take_records(&mut self) -> io::Result<()> {
        let state = self.connection.process_new_packets().map_err(|error| {
            self.end = End::Refused;
            io::Error::new(io::ErrorKind::InvalidData, error)
        })?;
        (self.readable, self.has_closed) = (state.plaintext_bytes_to_read(), state.peer_has_closed());
        Ok(())
    }

    fn poll_write<W: Watch>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream<W>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_flush(cx, stream))?;
        let taken = self.connection.writer().write_vectored(parts)?;
        // What there is no room for now goes with the next bytes, or with the flush that ends a message.
        let _ = self.poll_flush(cx, stream)?;
        Poll::Ready(Ok(taken))
    }

    fn poll_flush<W: Watch>(&mut self, cx: &mut Context<'_>, stream: &mut Stream<W>) -> Poll<io::Result<()>> {
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut Push { stream, cx }) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                written => written?,
            };
        }
        Poll::Ready(Ok(()))
    }
}

/// Lets rustls read from a stream; what has to wait would block.
struct Pull<'a, 'c, W> {
    stream: &'a mut Stream<W>,
    cx: &'a mut Context<'c>,
}

impl<W: Watch> io::Read for Pull<'_, '_, W> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        blocking(self.stream.poll_read(self.cx, room))
    }
}

/// Lets rustls write to a stream; what has to wait would block.
struct Push<'a, 'c, W> {
    stream: &'a mut Stream<W>,
    cx: &'a mut Context<'c>,
}

impl<W: Watch> io::Write for Push<'_, '_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        blocking(self.stream.poll_write(self.cx, parts))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn blocking<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
    match poll {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}
