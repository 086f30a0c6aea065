//! One end of an exchange that speaks HTTP/1.1 where the other does not: bodies between its connection and
//! [`carry`](super::carry).

use super::buffer::Buffer;
use super::carry::Piece;
use super::framed::{Framed, Part};
use super::http1::{CHUNK_END, Framing, LAST_CHUNK, MOST_TRAILERS, Refusal, Text, chunk_line, trailers};
use super::http2::check_names;
use super::message::FieldSink as _;
use super::pace::{Pace, Wait};
use super::pump::{Patience, unwritten};
use super::respond::Failure;
use super::transport::Watch;
use super::wire::Wire;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use httparse::EMPTY_HEADER;
use std::io::IoSlice;
use std::task::{Context, Poll, ready};

/// How what this end does wrong is called.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blame {
    /// It ended its connection.
    pub(super) ended: Failure,
    /// It did not send in time.
    pub(super) slow_sender: Failure,
    /// It did not take in time.
    pub(super) slow_reader: Failure,
    /// It frames its body wrongly.
    pub(super) malformed: fn(Refusal) -> Failure,
}

impl Blame {
    /// Of a backend.
    pub(super) const BACKEND: Self = Self {
        ended: Failure::BackendBroke,
        slow_sender: Failure::SlowBackend,
        slow_reader: Failure::SlowBackend,
        malformed: Failure::BadAnswer,
    };

    /// Of a client.
    pub(super) const CLIENT: Self = Self {
        ended: Failure::ClientEnded,
        slow_sender: Failure::SlowBody,
        slow_reader: Failure::SlowReader,
        malformed: Failure::Refused,
    };
}

/// The body that comes from this end, and the one that goes there.
#[derive(Debug)]
pub(super) struct Bodies {
    incoming: Framed,
    outgoing: Framing,
    /// Bytes of a body whose length was told that have not been put yet.
    left: u64,
    before: Vec<u8>,
    data: Bytes,
    behind: &'static [u8],
    /// The end of the body, behind all its pieces.
    tail: Vec<u8>,
    written: usize,
    reads: Pace,
    writes: Pace,
    is_over: bool,
    blame: Blame,
    /// Bytes of bodies that came and were put.
    passed: (u64, u64),
}

impl Bodies {
    /// Bodies that are framed so. A head may be put before the outgoing one.
    pub(super) fn new(incoming: Framing, outgoing: Framing, patience: Patience, blame: Blame) -> Self {
        let mut bodies = Self {
            incoming: Framed::new(incoming),
            outgoing,
            left: 0,
            before: Vec::new(),
            data: Bytes::new(),
            behind: b"",
            tail: Vec::new(),
            written: 0,
            reads: Pace::new(patience.read, 0),
            writes: Pace::new(patience.write, 0),
            is_over: false,
            blame,
            passed: (0, 0),
        };
        bodies.send_as(outgoing);
        bodies
    }

    /// A head is to be written before the body.
    pub(super) fn put_head(&mut self, head: &[u8]) {
        self.before.extend_from_slice(head);
    }

    /// How long both bodies may be waited for.
    pub(super) fn wait_for(&mut self, wait: Wait) {
        self.reads.change(wait);
        self.writes.change(wait);
    }

    /// What the wait for the body that comes has lasted so far shall not count.
    pub(super) fn wait_anew(&mut self) {
        self.reads.begin_anew();
    }

    /// How the body is framed that comes.
    pub(super) const fn receive_as(&mut self, framing: Framing) {
        self.incoming = Framed::new(framing);
    }

    /// How the body is framed that goes.
    pub(super) const fn send_as(&mut self, framing: Framing) {
        self.outgoing = framing;
        self.left = if let Framing::Length(length) = framing { length } else { 0 };
        self.is_over = false;
    }

    /// Bytes of bodies that have come from this end and gone to it.
    pub(super) const fn passed(&self) -> (u64, u64) {
        self.passed
    }

    /// Whether all of the incoming body was read.
    pub(super) const fn has_ended(&self) -> bool {
        self.incoming.has_ended()
    }

    /// Whether all of the outgoing body was put.
    pub(super) const fn is_over(&self) -> bool {
        self.is_over
    }

    /// Waits for a piece of the incoming body.
    pub(super) fn poll_piece<W: Watch>(
        &mut self,
        cx: &mut Context<'_>,
        wire: &mut Wire<W>,
        input: &mut Buffer,
    ) -> Poll<Result<Piece, Failure>> {
        loop {
            match self.incoming.next(input).map_err(self.blame.malformed)? {
                Part::Data(count) => {
                    let data = Bytes::copy_from_slice(input.bytes().get(..count).unwrap_or_default());
                    input.consume(count);
                    self.passed.0 += count as u64;
                    return Poll::Ready(Ok(Piece::Data(data)));
                }
                Part::End(section) => return Poll::Ready(self.read_trailers(&section)),
                Part::More if self.incoming.has_ended() => return Poll::Ready(Ok(Piece::End)),
                Part::More => ready!(self.poll_fill(cx, wire, input))?,
            }
        }
    }

    fn read_trailers(&self, section: &[u8]) -> Result<Piece, Failure> {
        let mut room = [EMPTY_HEADER; MOST_TRAILERS];
        let fields = trailers(section, &mut room).map_err(self.blame.malformed)?;
        let named = fields.iter().filter_map(|field| {
            let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
            Some((name, HeaderValue::from_bytes(field.value).ok()?))
        });
        let mut map = HeaderMap::new();
        named.for_each(|(name, value)| {
            map.append(name, value);
        });
        Ok(if map.is_empty() { Piece::End } else { Piece::Trailers(map) })
    }

    fn poll_fill<W: Watch>(
        &mut self,
        cx: &mut Context<'_>,
        wire: &mut Wire<W>,
        input: &mut Buffer,
    ) -> Poll<Result<(), Failure>> {
        let Poll::Ready(count) = wire.poll_fill(cx, input) else {
            if let Some(within) = self.reads.begin(wire.timer.mark(self.passed.0)) {
                wire.timer.set_reading(within);
            }
            return Poll::Pending;
        };
        if self.reads.end(|| wire.timer.clock().now()) {
            wire.timer.clear_reading();
        }
        match count {
            Ok(1..) => Poll::Ready(Ok(())),
            _ if wire.timer.has_expired() => Poll::Ready(Err(self.blame.slow_sender)),
            Ok(_) if wire.has_ended_surely() && self.incoming.end_of_connection() => Poll::Ready(Ok(())),
            _ => Poll::Ready(Err(self.blame.ended)),
        }
    }

    /// Waits until what was put before is written.
    pub(super) fn poll_room<W: Watch>(
        &mut self,
        cx: &mut Context<'_>,
        wire: &mut Wire<W>,
    ) -> Poll<Result<(), Failure>> {
        while self.written < self.before.len() + self.data.len() + self.behind.len() + self.tail.len() {
            let mut parts = [&*self.before, &self.data, self.behind, &self.tail].map(IoSlice::new);
            let Poll::Ready(count) = wire.poll_write(cx, unwritten(&mut parts, self.written)) else {
                self.await_room(wire);
                return Poll::Pending;
            };
            self.written += count.map_err(|_| self.broken(wire))?;
            self.note_room(wire);
        }
        self.clear();
        Poll::Ready(Ok(()))
    }

    /// What was put before, in place of writing it.
    pub(super) fn take(&mut self) -> Vec<u8> {
        let text = [&*self.before, &self.data, self.behind, &self.tail].concat();
        self.clear();
        text
    }

    fn clear(&mut self) {
        self.before.clear();
        self.tail.clear();
        (self.data, self.behind, self.written) = (Bytes::new(), b"", 0);
    }

    fn await_room<W: Watch>(&mut self, wire: &Wire<W>) {
        // What is under way has not passed before it is written.
        let written = self.written.saturating_sub(self.before.len()).min(self.data.len());
        let passed = self.passed.1 - self.data.len() as u64 + written as u64;
        if let Some(within) = self.writes.begin(wire.timer.mark(passed)) {
            wire.timer.set_sending(within);
        }
    }

    fn note_room<W: Watch>(&mut self, wire: &Wire<W>) {
        if self.writes.end(|| wire.timer.clock().now()) {
            wire.timer.clear_sending();
        }
    }

    fn broken<W: Watch>(&self, wire: &Wire<W>) -> Failure {
        if wire.timer.has_expired() { self.blame.slow_reader } else { self.blame.ended }
    }

    /// Waits until all that was put is with the kernel.
    pub(super) fn poll_flush<W: Watch>(
        &mut self,
        cx: &mut Context<'_>,
        wire: &mut Wire<W>,
    ) -> Poll<Result<(), Failure>> {
        ready!(self.poll_room(cx, wire))?;
        let Poll::Ready(flushed) = wire.poll_flush(cx) else {
            self.await_room(wire);
            return Poll::Pending;
        };
        self.note_room(wire);
        Poll::Ready(flushed.map_err(|_| self.broken(wire)))
    }

    /// Takes a piece of the outgoing body. A length that was told is kept to: what comes behind would be a message of its own.
    pub(super) fn put(&mut self, data: Bytes, is_last: bool) -> Result<(), Failure> {
        self.passed.1 += data.len() as u64;
        match self.outgoing {
            Framing::Length(_) => {
                let left = self.left.checked_sub(data.len() as u64).filter(|&left| !is_last || left == 0);
                self.left = left.ok_or(Failure::Refused(Refusal::LengthDisagrees))?;
            }
            Framing::Chunked if data.is_empty() => {}
            Framing::Chunked => {
                chunk_line(&mut self.before, data.len());
                self.behind = if is_last { b"\r\n0\r\n\r\n" } else { CHUNK_END };
            }
            Framing::UntilClose => {}
        }
        (self.data, self.is_over) = (data, is_last);
        Ok(())
    }

    /// Ends the outgoing body. Trailers go where there is a place for them.
    pub(super) fn end(&mut self, trailers: Option<HeaderMap>) -> Result<(), Failure> {
        match (self.outgoing, trailers) {
            (Framing::Length(_), _) if self.left > 0 => {
                return Err(Failure::Refused(Refusal::LengthDisagrees));
            }
            (Framing::Chunked, None) => self.tail.extend_from_slice(LAST_CHUNK),
            (Framing::Chunked, Some(trailers)) => self.put_trailers(&trailers)?,
            (Framing::Length(_) | Framing::UntilClose, _) => {}
        }
        self.is_over = true;
        Ok(())
    }

    fn put_trailers(&mut self, trailers: &HeaderMap) -> Result<(), Failure> {
        check_names(trailers)?;
        self.tail.extend_from_slice(b"0\r\n");
        let mut text = Text(&mut self.tail);
        trailers.iter().for_each(|(name, value)| text.put(name.as_str(), value.as_bytes()));
        text.end();
        Ok(())
    }
}
