//! The far end of an exchange, whichever protocol the backend speaks.

use super::ask::Ask;
use super::attempt::{Lost, Reached};
use super::carry::{Piece, Sink, Source};
use super::converse::{Begin, Far, Near};
use super::http2::Remote;
use super::plain::Plain;
use super::respond::Failure;
use super::transport::Watch;
use bytes::Bytes;
use http::HeaderMap;
use std::task::{Context, Poll};
use std::time::Duration;

/// A backend that is asked.
#[derive(Debug)]
pub(super) enum Backend<W> {
    /// By HTTP/1.1.
    Plain(Box<Plain<W>>),
    /// By HTTP/2.
    Remote(Box<Remote>),
}

/// The same for both.
macro_rules! both {
    ($backend:expr, $end:ident => $done:expr) => {
        match $backend {
            Backend::Plain($end) => $done,
            Backend::Remote($end) => $done,
        }
    };
}

impl<W: Watch> Backend<W> {
    /// Begins to ask.
    pub(super) fn new(reached: Reached<W>, ask: &Ask<W>) -> Result<Self, Lost> {
        Ok(match reached {
            Reached::Own(upstream) => Self::Plain(Box::new(Plain::new(upstream, ask))),
            Reached::Shared(place) => Self::Remote(Box::new(Remote::new(place, ask)?)),
        })
    }

    /// Whether a request that got no answer may be sent again.
    pub(super) fn lost(&self, failure: Failure, ask: &Ask<W>) -> Lost {
        both!(self, end => end.lost(failure, &ask.facts))
    }

    /// From now on bytes pass both ways until each side ends.
    pub(super) fn become_tunnel(&mut self) {
        if let Self::Plain(plain) = self {
            plain.become_tunnel();
        }
    }

    /// The exchange has ended well: the connection may carry another.
    pub(super) fn keep(self, ask: &Ask<W>) {
        if let Self::Plain(plain) = self {
            plain.keep(ask);
        }
    }
}

impl<W: Watch> Far<W> for Backend<W> {
    fn await_head(&mut self, within: Duration) {
        both!(self, end => Far::<W>::await_head(&mut **end, within));
    }

    fn poll_head<N: Near<W>>(
        &mut self,
        cx: &mut Context<'_>,
        near: &N,
        ask: &Ask<W>,
    ) -> Poll<Result<Begin<N::Head>, Failure>> {
        both!(self, end => end.poll_head(cx, near, ask))
    }
}

impl<W: Watch> Source for Backend<W> {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, Failure>> {
        both!(self, end => end.poll_piece(cx))
    }

    fn has_ended(&self) -> bool {
        both!(self, end => end.has_ended())
    }

    fn release(&mut self, bytes: usize) {
        both!(self, end => end.release(bytes));
    }

    fn gather(&mut self, cx: &mut Context<'_>) {
        both!(self, end => end.gather(cx));
    }

    fn wait_anew(&mut self) {
        both!(self, end => end.wait_anew());
    }
}

impl<W: Watch> Sink for Backend<W> {
    fn poll_room(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<Result<usize, Failure>> {
        both!(self, end => end.poll_room(cx, wanted))
    }

    fn put(&mut self, data: Bytes, is_last: bool) -> Result<(), Failure> {
        both!(self, end => end.put(data, is_last))
    }

    fn end(&mut self, trailers: Option<HeaderMap>) -> Result<(), Failure> {
        both!(self, end => end.end(trailers))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        both!(self, end => end.poll_flush(cx))
    }
}
