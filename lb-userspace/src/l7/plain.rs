//! The far end that is a backend's own connection by HTTP/1.1, asked for a client that speaks another protocol.

use super::answer;
use super::ask::{Ask, Facts};
use super::attempt::Lost;
use super::carry::{Piece, Sink, Source};
use super::converse::{Begin, Far, Near};
use super::http1::Framing;
use super::pool::Upstream;
use super::pump::Patience;
use super::respond::Failure;
use super::textual::{Blame, Bodies};
use super::transport::Watch;
use bytes::Bytes;
use http::HeaderMap;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// A backend's connection that an exchange has to itself.
#[derive(Debug)]
pub(super) struct Plain<W> {
    upstream: Upstream<W>,
    bodies: Bodies,
    /// Whether both sides of it are to be ended by the ends of bodies.
    is_tunnel: bool,
    keeps: bool,
}

impl<W: Watch> Plain<W> {
    /// Takes the connection for a request, whose head is put to be sent.
    pub(super) fn new(upstream: Upstream<W>, ask: &Ask<W>) -> Self {
        let deadlines = &ask.upstreams.service.config.deadlines;
        let idle = ask.route.deadlines.idle.unwrap_or(deadlines.idle);
        let patience = Patience { read: idle.into(), write: deadlines.idle.into() };
        let mut bodies = Bodies::new(Framing::NONE, ask.facts.framing, patience, Blame::BACKEND);
        bodies.put_head(ask.head.text());
        Self { upstream, bodies, is_tunnel: false, keeps: false }
    }

    /// A request may be sent again if its connection ended without a word, and it does no harm twice.
    pub(super) fn lost(&self, failure: Failure, facts: &Facts) -> Lost {
        let may_repeat =
            failure == Failure::BackendEnded && self.upstream.input.is_empty() && facts.is_repeatable();
        Lost { failure, may_repeat, was_kept: self.upstream.is_reused() }
    }

    /// From now on bytes pass both ways until each side ends.
    pub(super) fn become_tunnel(&mut self) {
        self.bodies.receive_as(Framing::UntilClose);
        self.bodies.send_as(Framing::UntilClose);
        self.is_tunnel = true;
        self.upstream.wire.timer.end_at(None);
    }

    /// The exchange has ended well: the connection may carry another.
    pub(super) fn keep(self, ask: &Ask<W>) {
        let service = &ask.upstreams.service.config;
        if self.keeps && service.proxy_protocol.is_none() {
            self.upstream.keep(&service.pool);
        }
    }
}

impl<W: Watch> Far<W> for Plain<W> {
    fn await_head(&mut self, within: Duration) {
        self.upstream.wire.timer.set(within);
    }

    fn poll_head<N: Near<W>>(
        &mut self,
        cx: &mut Context<'_>,
        near: &N,
        ask: &Ask<W>,
    ) -> Poll<Result<Begin<N::Head>, Failure>> {
        let Upstream { wire, input, .. } = &mut self.upstream;
        loop {
            let read = answer::parse(input.bytes(), &ask.facts, |told, keeps| {
                let is_whole = told.framing == Framing::NONE;
                let begin = Begin { status: told.status, is_whole, head: near.render(told, ask) };
                // Streams of a client's connection may be anybody's: nobody holds it for them.
                (begin, told.framing, keeps && !told.is_private())
            });
            if let Some((len, (begin, framing, keeps))) = read? {
                input.consume(len);
                wire.timer.clear();
                self.keeps = keeps;
                self.bodies.receive_as(framing);
                return Poll::Ready(Ok(begin));
            }
            if !matches!(ready!(wire.poll_fill(cx, input)), Ok(1..)) {
                let is_late = wire.timer.has_expired();
                return Poll::Ready(Err(if is_late { Failure::SlowBackend } else { Failure::BackendEnded }));
            }
        }
    }
}

impl<W: Watch> Source for Plain<W> {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, Failure>> {
        self.bodies.poll_piece(cx, &mut self.upstream.wire, &mut self.upstream.input)
    }

    fn has_ended(&self) -> bool {
        self.bodies.has_ended()
    }

    /// TCP does that by itself, as what was read is passed on.
    fn release(&mut self, _bytes: usize) {}

    fn wait_anew(&mut self) {
        self.bodies.wait_anew();
    }
}

impl<W: Watch> Sink for Plain<W> {
    fn poll_room(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<Result<usize, Failure>> {
        self.bodies.poll_room(cx, &mut self.upstream.wire).map_ok(|()| wanted)
    }

    fn put(&mut self, data: Bytes, is_last: bool) -> Result<(), Failure> {
        self.bodies.put(data, is_last)
    }

    fn end(&mut self, trailers: Option<HeaderMap>) -> Result<(), Failure> {
        self.bodies.end(trailers)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let wire = &mut self.upstream.wire;
        ready!(self.bodies.poll_flush(cx, wire))?;
        if self.is_tunnel && self.bodies.is_over() {
            return wire.poll_finish(cx).map_err(|_| Failure::BackendBroke);
        }
        Poll::Ready(Ok(()))
    }
}
