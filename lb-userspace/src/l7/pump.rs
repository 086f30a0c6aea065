//! One direction of an exchange: a head, then a body, from one connection to the other, as fast as the slower takes it.
//!
//! What was read lies in one buffer until it is written, and no more is read before; so memory does not grow with the
//! body, and a slow reader slows its writer down.

use super::buffer::Buffer;
use super::carry::Passes;
use super::framed::{Framed, Part};
use super::http1::{CHUNK_END, Framing, LAST_CHUNK, MOST_TRAILERS, Refusal, Text, chunk_line, trailers};
use super::message::FieldSink as _;
use super::mirror::Tape;
use super::pace::{Pace, Wait};
use super::transport::Watch;
use super::wire::Wire;
use httparse::EMPTY_HEADER;
use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};

/// A trailer section without fields.
const NO_TRAILERS: &[u8] = b"\r\n";

/// Why a body did not come through.
#[derive(Debug)]
pub enum Broken {
    /// Its sender ended, or failed, before it.
    Sender(Option<io::Error>),
    /// Its sender frames it wrongly.
    Framing(Refusal),
    /// It is longer than allowed.
    TooLong,
    /// Its receiver failed.
    Receiver(io::Error),
}

/// How long each side may let the other wait.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For the next bytes of the body.
    pub read: Wait,
    /// For room to write them.
    pub write: Wait,
}

/// A head and a body under way.
#[derive(Debug)]
pub struct Pump {
    /// Bytes to write before those of the buffer: the head, then the lines of chunks.
    before: Vec<u8>,
    /// Bytes of the buffer to write.
    data: usize,
    /// Bytes to write behind them.
    behind: &'static [u8],
    written: usize,
    source: Framed,
    chunks: bool,
    /// Bytes of body that may still come.
    limit: u64,
    /// Bytes of body that have been written.
    passed: u64,
    reads: Pace,
    writes: Pace,
    tape: Option<Tape>,
}

impl Pump {
    /// A head as it shall be written, and how the body behind it is framed where it comes from and where it goes.
    #[must_use]
    pub fn new(head: Vec<u8>, from: Framing, to: Framing, patience: Patience) -> Self {
        Self {
            before: head,
            data: 0,
            behind: b"",
            written: 0,
            source: Framed::new(from),
            chunks: matches!(to, Framing::Chunked),
            limit: u64::MAX,
            passed: 0,
            reads: Pace::new(patience.read, 0),
            writes: Pace::new(patience.write, 0),
            tape: None,
        }
    }

    /// Lets no more than so many bytes of body through.
    #[must_use]
    pub const fn at_most(mut self, bytes: u64) -> Self {
        self.limit = bytes;
        self
    }

    /// Records the body as it passes.
    #[must_use]
    pub fn recording(mut self) -> Self {
        self.tape = Some(Tape::default());
        self
    }

    /// What was recorded.
    #[must_use]
    pub const fn tape(&self) -> Option<&Tape> {
        self.tape.as_ref()
    }

    /// Whether the end of the body was read, if not yet written.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        self.source.has_ended()
    }

    /// Bytes of body that have been written, those of a piece under way included.
    #[must_use]
    pub fn passed(&self) -> u64 {
        let under_way = self.written.saturating_sub(self.before.len()).min(self.data);
        self.passed + under_way as u64
    }

    /// What the wait for the next bytes has lasted so far shall not count.
    pub fn wait_anew(&mut self) {
        self.reads.begin_anew();
    }

    /// The head again, to send it elsewhere, if there was no body behind it.
    #[must_use]
    pub fn into_head(self) -> Vec<u8> {
        self.before
    }

    /// Moves bytes until all have gone, or one side has to be waited for.
    pub fn poll<W: Watch>(
        &mut self,
        cx: &mut Context<'_>,
        (from, input): (&mut Wire<W>, &mut Buffer),
        to: &mut Wire<W>,
        passes: Passes<'_>,
    ) -> Poll<Result<(), Broken>> {
        loop {
            if self.data == 0 && self.behind.is_empty() && !self.has_ended() {
                self.stage(input, passes)?;
                if let Some(tape) = &mut self.tape {
                    tape.record(input.bytes().get(..self.data).unwrap_or_default());
                }
            }
            if self.written < self.staged() {
                ready!(self.poll_write(cx, input, to)).map_err(Broken::Receiver)?;
            } else if self.has_ended() {
                return self.poll_flush(cx, to).map_err(Broken::Receiver);
            } else {
                ready!(self.poll_read(cx, from, input, to))?;
            }
        }
    }

    /// Bytes that wait to be written.
    fn staged(&self) -> usize {
        self.before.len() + self.data + self.behind.len()
    }

    fn poll_write<W: Watch>(
        &mut self,
        cx: &mut Context<'_>,
        input: &mut Buffer,
        to: &mut Wire<W>,
    ) -> Poll<io::Result<()>> {
        while self.written < self.staged() {
            let mut parts = [IoSlice::new(&self.before), input.slice(self.data), IoSlice::new(self.behind)];
            let Poll::Ready(count) = to.poll_write(cx, unwritten(&mut parts, self.written)) else {
                self.await_room(to);
                return Poll::Pending;
            };
            self.written += count?;
            self.note_room(to);
        }
        input.consume(self.data);
        self.passed += self.data as u64;
        (self.data, self.behind) = (0, b"");
        if !self.has_ended() {
            self.before.clear();
        }
        self.written = self.before.len();
        Poll::Ready(Ok(()))
    }

    /// Waits until the kernel has what TLS took last.
    fn poll_flush<W: Watch>(&mut self, cx: &mut Context<'_>, to: &mut Wire<W>) -> Poll<io::Result<()>> {
        let Poll::Ready(flushed) = to.poll_flush(cx) else {
            self.await_room(to);
            return Poll::Pending;
        };
        self.note_room(to);
        Poll::Ready(flushed)
    }

    fn await_room<W: Watch>(&mut self, to: &Wire<W>) {
        if let Some(within) = self.writes.begin(to.timer.mark(self.passed())) {
            to.timer.set_sending(within);
        }
    }

    fn note_room<W: Watch>(&mut self, to: &Wire<W>) {
        if self.writes.end(|| to.timer.clock().now()) {
            to.timer.clear_sending();
        }
    }

    fn poll_read<W: Watch>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Wire<W>,
        input: &mut Buffer,
        to: &mut Wire<W>,
    ) -> Poll<Result<(), Broken>> {
        let Poll::Ready(count) = from.poll_fill(cx, input) else {
            if let Some(within) = self.reads.begin(from.timer.mark(self.passed())) {
                from.timer.set_reading(within);
            }
            // What TLS has not got rid of must not wait for the next bytes.
            let _ = to.poll_flush(cx).map_err(Broken::Receiver)?;
            return Poll::Pending;
        };
        if self.reads.end(|| from.timer.clock().now()) {
            from.timer.clear_reading();
        }
        match count {
            // A sender that was ended for being late has not said that this was all.
            Ok(0)
                if !from.timer.has_expired()
                    && from.has_ended_surely()
                    && self.source.end_of_connection() =>
            {
                self.end();
            }
            Ok(0) => return Poll::Ready(Err(Broken::Sender(None))),
            Err(error) => return Poll::Ready(Err(Broken::Sender(Some(error)))),
            Ok(_) => {}
        }
        Poll::Ready(Ok(()))
    }

    /// Finds what of the buffer can be written next.
    fn stage(&mut self, input: &mut Buffer, passes: Passes<'_>) -> Result<(), Broken> {
        match self.source.next(input).map_err(Broken::Framing)? {
            Part::More => Ok(()),
            Part::Data(count) => self.put(count),
            Part::End(section) => {
                if section == NO_TRAILERS {
                    self.end();
                } else {
                    self.end_with(&section, passes);
                }
                Ok(())
            }
        }
    }

    /// The body has ended; a chunked one tells so.
    fn end(&mut self) {
        if self.chunks {
            self.before.extend_from_slice(LAST_CHUNK);
        }
    }

    /// The same, with the fields of this section that may stand there. It was read before, or it would not be known to have ended.
    #[cold]
    fn end_with(&mut self, section: &[u8], passes: Passes<'_>) {
        if self.chunks {
            let mut room = [EMPTY_HEADER; MOST_TRAILERS];
            let fields = trailers(section, &mut room).unwrap_or_default();
            self.before.extend_from_slice(b"0\r\n");
            let mut text = Text(&mut self.before);
            let passing = fields.iter().filter(|field| passes(field.name));
            passing.for_each(|field| text.put(field.name, field.value));
            text.end();
        }
    }

    /// Has bytes of the buffer written next.
    fn put(&mut self, count: usize) -> Result<(), Broken> {
        self.limit = self.limit.checked_sub(count as u64).ok_or(Broken::TooLong)?;
        self.data = count;
        if self.chunks && count > 0 {
            chunk_line(&mut self.before, count);
            self.behind = CHUNK_END;
        }
        Ok(())
    }
}

/// What of the parts is still to be written, without the empty ones at both ends.
pub(super) fn unwritten<'a, 'b>(parts: &'a mut [IoSlice<'b>], written: usize) -> &'a [IoSlice<'b>] {
    let mut parts = parts;
    if written > 0 || parts.first().is_some_and(|first| first.is_empty()) {
        IoSlice::advance_slices(&mut parts, written);
    }
    let used = parts.iter().rposition(|part| !part.is_empty()).map_or(0, |last| last + 1);
    parts.get(..used).unwrap_or_default()
}
