//! Where a body goes: an HTTP/1.1 connection, what is to be written there next, and how long room for it may be waited for.
//!
//! That is one piece of a body at a time, wherever it lies, with text before it (a head, then lines of chunks) and behind it.

use super::http1::{CHUNK_END, LAST_CHUNK, Text, chunk_line};
use super::message::FieldSink as _;
use super::pace::{Pace, Wait};
use super::transport::Watch;
use super::wire::Wire;
use std::io::{self, IoSlice};
use std::task::{Context, Poll};

/// What goes to a connection.
#[derive(Debug)]
pub(super) struct Outlet {
    before: Vec<u8>,
    behind: Vec<u8>,
    /// How much is written of the text before the piece, the piece, and the text behind it.
    written: usize,
    /// Bytes of the pieces that were written whole.
    passed: u64,
    writes: Pace,
}

impl Outlet {
    /// Begins with this head.
    pub(super) fn new(head: Vec<u8>, wait: Wait) -> Self {
        Self { before: head, behind: Vec::new(), written: 0, passed: 0, writes: Pace::new(wait, 0) }
    }

    /// How long room may be waited for from now on.
    pub(super) fn wait_for(&mut self, wait: Wait) {
        self.writes.change(wait);
    }

    /// Where text is put that is to be written before the next piece, which is none yet.
    pub(super) fn text(&mut self) -> &mut Vec<u8> {
        if self.written >= self.before.len() {
            self.before.clear();
            self.written = 0;
        }
        &mut self.before
    }

    /// The next piece is a chunk of so many bytes.
    pub(super) fn begin_chunk(&mut self, bytes: usize) {
        chunk_line(self.text(), bytes);
        self.behind.extend_from_slice(CHUNK_END);
    }

    /// All chunks have come.
    pub(super) fn end_chunks(&mut self) {
        self.behind.extend_from_slice(LAST_CHUNK);
    }

    /// The same, with fields behind the last one.
    #[cold]
    pub(super) fn end_chunks_with<'f>(&mut self, fields: impl Iterator<Item = (&'f str, &'f [u8])>) {
        self.behind.extend_from_slice(b"0\r\n");
        let mut text = Text(&mut self.behind);
        fields.for_each(|(name, value)| text.put(name, value));
        text.end();
    }

    /// Bytes of body that were written, those of this piece included.
    pub(super) fn passed(&self, piece: usize) -> u64 {
        self.passed + self.written.saturating_sub(self.before.len()).min(piece) as u64
    }

    /// Whether all text is written, and so many bytes of a piece.
    pub(super) const fn is_empty(&self, piece: usize) -> bool {
        self.written >= self.before.len() + piece + self.behind.len()
    }

    /// The head, if there was nothing behind it.
    pub(super) fn into_head(self) -> Vec<u8> {
        self.before
    }

    /// All text and this piece, in place of writing them.
    pub(super) fn take(&mut self, piece: &[u8]) -> Vec<u8> {
        let text = [&*self.before, piece, &self.behind].concat();
        self.before.clear();
        self.behind.clear();
        self.written = 0;
        text
    }

    /// Writes all text and this piece, which is then to be let go.
    #[inline]
    pub(super) fn poll_write<W: Watch>(
        &mut self,
        cx: &mut Context<'_>,
        piece: IoSlice<'_>,
        wire: &mut Wire<W>,
    ) -> Poll<io::Result<()>> {
        while !self.is_empty(piece.len()) {
            let mut parts = [IoSlice::new(&self.before), piece, IoSlice::new(&self.behind)];
            let Poll::Ready(count) = wire.poll_write(cx, unwritten(&mut parts, self.written)) else {
                self.await_room(wire, piece.len());
                return Poll::Pending;
            };
            self.written += count?;
            self.note_room(wire);
        }
        self.passed += piece.len() as u64;
        self.behind.clear();
        // What was before stays until there is other text: a head may have to go elsewhere again.
        self.written = self.before.len();
        Poll::Ready(Ok(()))
    }

    /// Waits until the kernel has what TLS took last.
    #[inline]
    pub(super) fn poll_flush<W: Watch>(
        &mut self,
        cx: &mut Context<'_>,
        wire: &mut Wire<W>,
    ) -> Poll<io::Result<()>> {
        let Poll::Ready(flushed) = wire.poll_flush(cx) else {
            self.await_room(wire, 0);
            return Poll::Pending;
        };
        self.note_room(wire);
        Poll::Ready(flushed)
    }

    fn await_room<W: Watch>(&mut self, wire: &Wire<W>, piece: usize) {
        if let Some(within) = self.writes.begin(wire.timer.mark(self.passed(piece))) {
            wire.timer.set_sending(within);
        }
    }

    fn note_room<W: Watch>(&mut self, wire: &Wire<W>) {
        if self.writes.end(|| wire.timer.clock().now()) {
            wire.timer.clear_sending();
        }
    }
}

/// What of the parts is still to be written, without the empty ones at both ends.
#[inline]
fn unwritten<'a, 'b>(parts: &'a mut [IoSlice<'b>], written: usize) -> &'a [IoSlice<'b>] {
    let mut parts = parts;
    if written > 0 || parts.first().is_some_and(|first| first.is_empty()) {
        IoSlice::advance_slices(&mut parts, written);
    }
    let used = parts.iter().rposition(|part| !part.is_empty()).map_or(0, |last| last + 1);
    parts.get(..used).unwrap_or_default()
}
