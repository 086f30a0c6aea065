//! A connection as `h2` wants it, over a [`Wire`].
//!
//! What `h2` writes is gathered until whoever drives the connection sends it: `h2` flushes after each larger DATA frame, and each
//! flush would be a record of TLS and a system call of its own.

use super::meter::Meter;
use crate::l7::buffer::Buffer;
use crate::l7::transport::Watch;
use crate::l7::wire::Wire;
use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that are gathered: two records of TLS.
const MOST: usize = 32 << 10;

/// A connection, what was read from it and what is to be written.
#[derive(Debug)]
pub(super) struct Io<W> {
    pub(super) wire: Wire<W>,
    pub(super) input: Buffer,
    output: Buffer,
    pub(super) meter: Meter,
    /// How long the peer may take to make room.
    patience: Duration,
    waits: bool,
    is_idle: bool,
    is_shed: bool,
}

/// What `h2` holds of it.
#[derive(Debug)]
pub(super) struct Handle<W>(pub(super) Rc<RefCell<Io<W>>>);

impl<W: Watch> Io<W> {
    /// `input` was read already; `preface` bytes of what comes are no frames.
    pub(super) fn new(wire: Wire<W>, input: Buffer, preface: usize, patience: Duration) -> Self {
        let meter = Meter::new(preface, wire.timer.clock().now());
        Self {
            wire,
            input,
            output: Buffer::default(),
            meter,
            patience,
            waits: false,
            is_idle: false,
            is_shed: false,
        }
    }

    /// Writes what was gathered. A peer that makes no room in time is left.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let sent = self.poll_write_out(cx);
        if sent.is_pending() != self.waits {
            self.waits = sent.is_pending();
            if self.waits {
                self.wire.timer.set_sending(self.patience);
            } else {
                self.wire.timer.clear_sending();
            }
        }
        sent
    }

    /// Whether the socket takes nothing at the moment.
    pub(super) const fn waits(&self) -> bool {
        self.waits
    }

    /// Notes that nothing is under way, by this patience, or that something is: who has waited longest for a request goes first
    /// where memory is short.
    pub(super) fn wait_idly(&mut self, patience: Option<Duration>) {
        // One that was late while it waited stays so, for nothing more can be read: a request that came at the same moment is the last.
        let is_late = self.is_idle && self.wire.timer.has_expired();
        if is_late || patience.is_some() == self.is_idle {
            return;
        }
        self.is_idle = patience.is_some();
        match patience {
            Some(patience) => self.wire.timer.set_idle(patience),
            None => self.wire.timer.clear_reading(),
        }
    }

    /// Whether the connection was to be ended while it waited for a request.
    pub(super) const fn is_shed(&self) -> bool {
        self.is_shed
    }

    fn poll_write_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            let count = ready!(self.wire.poll_write(cx, &[self.output.slice(self.output.len())]))?;
            self.output.consume(count);
        }
        self.wire.poll_flush(cx)
    }

    fn poll_take(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.output.len() >= MOST {
            ready!(self.poll_send(cx))?;
        }
        let count = bytes.len().min(MOST - self.output.len());
        self.output.extend(bytes.get(..count).unwrap_or_default());
        self.meter.earn(count);
        Poll::Ready(Ok(count))
    }

    fn poll_give(&mut self, cx: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.is_shed {
            return Poll::Pending;
        }
        // Who asked for too much of nothing is not listened to any more; the driver ends it. Others are when it comes by again.
        if self.meter.is_spent() || self.meter.is_crowded() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.input.is_empty() {
            let count = ready!(self.wire.poll_fill(cx, &mut self.input))?;
            if count == 0 && self.is_idle && self.wire.timer.has_expired() {
                // The client has not ended; the driver tells it that we do.
                self.is_shed = true;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        let count = self.input.len().min(room.remaining());
        let bytes = self.input.bytes().get(..count).unwrap_or_default();
        self.meter.observe(bytes, self.wire.timer.clock().now());
        room.put_slice(bytes);
        self.input.consume(count);
        Poll::Ready(Ok(()))
    }
}

impl<W: Watch> AsyncRead for Handle<W> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.0.borrow_mut().poll_give(cx, room)
    }
}

impl<W: Watch> AsyncWrite for Handle<W> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().poll_take(cx, bytes)
    }

    /// The driver sends, see the module.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut io = self.0.borrow_mut();
        ready!(io.poll_send(cx))?;
        io.wire.poll_finish(cx)
    }
}
