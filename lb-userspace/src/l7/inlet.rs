//! Where a body comes from: an HTTP/1.1 connection, what frames the body there, and how long its next bytes may be waited for.

use super::buffer::Buffer;
use super::framed::{Framed, Part};
use super::http1::{Framing, Refusal};
use super::pace::{Pace, Wait};
use super::transport::Watch;
use super::wire::Wire;
use std::io;
use std::task::{Context, Poll};

/// A body that comes from a connection.
#[derive(Debug)]
pub(super) struct Inlet {
    framed: Framed,
    reads: Pace,
    /// Bytes of it that have come.
    came: u64,
}

impl Inlet {
    /// A body that is framed so, from its beginning.
    pub(super) fn new(framing: Framing, wait: Wait) -> Self {
        Self { framed: Framed::new(framing), reads: Pace::new(wait, 0), came: 0 }
    }

    /// Another body comes from now on, framed so.
    pub(super) const fn begin(&mut self, framing: Framing) {
        self.framed = Framed::new(framing);
    }

    /// How long its bytes may be waited for from now on.
    pub(super) fn wait_for(&mut self, wait: Wait) {
        self.reads.change(wait);
    }

    /// What the wait for the next bytes has lasted so far shall not count.
    pub(super) const fn wait_anew(&mut self) {
        self.reads.begin_anew();
    }

    /// Bytes of bodies that have come.
    pub(super) const fn came(&self) -> u64 {
        self.came
    }

    /// Whether all of the body was found.
    pub(super) const fn has_ended(&self) -> bool {
        self.framed.has_ended()
    }

    /// Finds what of the buffer comes next. Takes framing out of it.
    pub(super) fn next(&mut self, input: &mut Buffer) -> Result<Part, Refusal> {
        let part = self.framed.next(input)?;
        if let Part::Data(count) = part {
            self.came += count as u64;
        }
        Ok(part)
    }

    /// Waits for more bytes, or for an end of the connection that ends the body. Else no more comes, for this reason if there
    /// is one.
    #[inline]
    pub(super) fn poll_fill<W: Watch>(
        &mut self,
        cx: &mut Context<'_>,
        wire: &mut Wire<W>,
        input: &mut Buffer,
    ) -> Poll<Result<(), Option<io::Error>>> {
        let Poll::Ready(count) = wire.poll_fill(cx, input) else {
            if let Some(within) = self.reads.begin(wire.timer.mark(self.came)) {
                wire.timer.set_reading(within);
            }
            return Poll::Pending;
        };
        if self.reads.end(|| wire.timer.clock().now()) {
            wire.timer.clear_reading();
        }
        Poll::Ready(match count {
            Ok(1..) => Ok(()),
            Ok(0) if self.is_ended_by(wire) => Ok(()),
            Ok(_) => Err(None),
            Err(error) => Err(Some(error)),
        })
    }

    /// Whether the end of the connection is the body's. A sender that was ended for being late has not said so.
    fn is_ended_by<W: Watch>(&mut self, wire: &Wire<W>) -> bool {
        !wire.timer.has_expired() && wire.has_ended_surely() && self.framed.end_of_connection()
    }
}
