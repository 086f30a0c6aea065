//! One end of an exchange that speaks HTTP/1.1 where the other does not: bodies between its connection and
//! [`carry`](super::carry).

use super::buffer::Buffer;
use super::carry::Piece;
use super::framed::Part;
use super::http1::{Framing, MOST_TRAILERS, Refusal, trailers};
use super::http2::check_names;
use super::inlet::Inlet;
use super::outlet::Outlet;
use super::pace::Wait;
use super::pump::Patience;
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
    inlet: Inlet,
    outlet: Outlet,
    outgoing: Framing,
    /// Bytes of a body whose length was told that have not been put yet.
    left: u64,
    /// The piece to write next.
    data: Bytes,
    is_over: bool,
    blame: Blame,
}

impl Bodies {
    /// Bodies that are framed so. A head may be put before the outgoing one.
    pub(super) fn new(incoming: Framing, outgoing: Framing, patience: Patience, blame: Blame) -> Self {
        let mut bodies = Self {
            inlet: Inlet::new(incoming, patience.read),
            outlet: Outlet::new(Vec::new(), patience.write),
            outgoing,
            left: 0,
            data: Bytes::new(),
            is_over: false,
            blame,
        };
        bodies.send_as(outgoing);
        bodies
    }

    /// A head is to be written before the body.
    pub(super) fn put_head(&mut self, head: &[u8]) {
        self.outlet.text().extend_from_slice(head);
    }

    /// How long both bodies may be waited for.
    pub(super) fn wait_for(&mut self, wait: Wait) {
        self.inlet.wait_for(wait);
        self.outlet.wait_for(wait);
    }

    /// What the wait for the body that comes has lasted so far shall not count.
    pub(super) const fn wait_anew(&mut self) {
        self.inlet.wait_anew();
    }

    /// How the body is framed that comes.
    pub(super) const fn receive_as(&mut self, framing: Framing) {
        self.inlet.begin(framing);
    }

    /// How the body is framed that goes.
    pub(super) const fn send_as(&mut self, framing: Framing) {
        self.outgoing = framing;
        self.left = if let Framing::Length(length) = framing { length } else { 0 };
        self.is_over = false;
    }

    /// Bytes of bodies that have come from this end and gone to it.
    pub(super) fn passed(&self) -> (u64, u64) {
        (self.inlet.came(), self.outlet.passed(self.data.len()))
    }

    /// Whether all of the incoming body was read.
    pub(super) const fn has_ended(&self) -> bool {
        self.inlet.has_ended()
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
            match self.inlet.next(input).map_err(self.blame.malformed)? {
                Part::Data(count) => {
                    let data = Bytes::copy_from_slice(input.bytes().get(..count).unwrap_or_default());
                    input.consume(count);
                    return Poll::Ready(Ok(Piece::Data(data)));
                }
                Part::End(section) => return Poll::Ready(self.read_trailers(&section)),
                Part::More if self.inlet.has_ended() => return Poll::Ready(Ok(Piece::End)),
                Part::More => {
                    let filled = ready!(self.inlet.poll_fill(cx, wire, input));
                    filled.map_err(|_| self.lacking(wire))?;
                }
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

    /// Why no more of the body comes.
    fn lacking<W: Watch>(&self, wire: &Wire<W>) -> Failure {
        if wire.timer.has_expired() { self.blame.slow_sender } else { self.blame.ended }
    }

    /// Why no more of the body is taken.
    fn broken<W: Watch>(&self, wire: &Wire<W>) -> Failure {
        if wire.timer.has_expired() { self.blame.slow_reader } else { self.blame.ended }
    }

    /// Waits until what was put before is written.
    pub(super) fn poll_room<W: Watch>(
        &mut self,
        cx: &mut Context<'_>,
        wire: &mut Wire<W>,
    ) -> Poll<Result<(), Failure>> {
        let written = ready!(self.outlet.poll_write(cx, IoSlice::new(&self.data), wire));
        self.data = Bytes::new();
        Poll::Ready(written.map_err(|_| self.broken(wire)))
    }

    /// What was put before, in place of writing it.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.outlet.take(&std::mem::take(&mut self.data))
    }

    /// Waits until all that was put is with the kernel.
    pub(super) fn poll_flush<W: Watch>(
        &mut self,
        cx: &mut Context<'_>,
        wire: &mut Wire<W>,
    ) -> Poll<Result<(), Failure>> {
        ready!(self.poll_room(cx, wire))?;
        self.outlet.poll_flush(cx, wire).map_err(|_| self.broken(wire))
    }

    /// Takes a piece of the outgoing body. A length that was told is kept to: what comes behind would be a message of its own.
    pub(super) fn put(&mut self, data: Bytes, is_last: bool) -> Result<(), Failure> {
        match self.outgoing {
            Framing::Length(_) => {
                let left = self.left.checked_sub(data.len() as u64).filter(|&left| !is_last || left == 0);
                self.left = left.ok_or(Failure::Refused(Refusal::LengthDisagrees))?;
            }
            Framing::Chunked if data.is_empty() => {}
            Framing::Chunked => {
                self.outlet.begin_chunk(data.len());
                if is_last {
                    self.outlet.end_chunks();
                }
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
            (Framing::Chunked, None) => self.outlet.end_chunks(),
            (Framing::Chunked, Some(trailers)) => {
                check_names(&trailers)?;
                let fields = trailers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
                self.outlet.end_chunks_with(fields);
            }
            (Framing::Length(_) | Framing::UntilClose, _) => {}
        }
        self.is_over = true;
        Ok(())
    }
}
