//! A request on its way to a backend, and the wait for the head of its answer.

use super::answer::{self, Answer, Towards};
use super::ask::{Ask, Rendered};
use super::attempt::Lost;
use super::client::Client;
use super::going::Going;
use super::http1::Framing;
use super::memory::{EXCHANGE, Held};
use super::pace::Wait;
use super::pool::Upstream;
use super::pump::{Broken, Patience, Pump};
use super::respond::Failure;
use super::settings::Route;
use super::transport::Watch;
use std::task::{Context, Poll, ready};

/// A request on its way.
#[derive(Debug)]
pub(super) struct Asking {
    pump: Pump,
    going: Going,
    _held: Held,
}

impl Asking {
    /// Takes the head out of `ask`. The client may let its body wait for so long.
    pub(super) fn new<W>(ask: &mut Ask<W>, body: Wait) -> Self {
        let deadlines = &ask.upstreams.service.config.deadlines;
        let patience = Patience { read: body, write: deadlines.idle.into() };
        let framing = ask.facts.framing;
        let pump = Pump::new(ask.head.take_text(), framing, framing, patience);
        let pump = if ask.mirror.is_some() { pump.recording() } else { pump };
        Self {
            pump: pump.at_most(ask.route.body_limit.unwrap_or(u64::MAX)),
            going: Going::new(ask),
            _held: Held::new(EXCHANGE),
        }
    }

    /// Whether all of it went. What a backend did not take any more is still in the client's buffer.
    pub(super) const fn was_sent(&self) -> bool {
        self.going.is_over() && self.pump.is_through()
    }

    /// How far it has gone.
    pub(super) const fn going(&self) -> &Going {
        &self.going
    }

    /// Bytes of the body that have gone.
    pub(super) fn passed(&self) -> u64 {
        self.pump.passed()
    }

    /// Sends what can be sent, and reads the answer's head.
    pub(super) fn poll_answer<W: Watch>(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Client<W>,
        upstream: &mut Upstream<W>,
        ask: &Ask<W>,
    ) -> Poll<Result<Answer, Failure>> {
        if self.send(cx, client, upstream, &ask.route)? {
            self.await_answer(upstream);
        }
        let (https, hsts) = (client.wire.tls().is_some(), client.listener.hsts.as_deref());
        let towards = Towards { https, hsts, date: &client.worker.date() };
        loop {
            if !upstream.input.is_empty()
                && let Some((len, answer)) = answer::read(upstream.input.bytes(), ask, towards)?
            {
                upstream.input.consume(len);
                upstream.wire.timer.clear();
                return Poll::Ready(if answer.is_interim() {
                    self.promised(upstream).map(|()| answer)
                } else {
                    Ok(answer)
                });
            }
            if !matches!(ready!(upstream.wire.poll_fill(cx, &mut upstream.input)), Ok(1..)) {
                let is_late = upstream.wire.timer.has_expired();
                return Poll::Ready(Err(match is_late {
                    // It is not the backend that was waited for.
                    true if !self.going.is_over() && upstream.wire.timer.is_over() => Failure::Deadline,
                    true => Failure::SlowBackend,
                    false => Failure::BackendEnded,
                }));
            }
        }
    }

    /// Another answer is waited for.
    fn promised<W: Watch>(&mut self, upstream: &Upstream<W>) -> Result<(), Failure> {
        self.await_answer(upstream);
        self.going.promise()
    }

    fn await_answer<W: Watch>(&self, upstream: &Upstream<W>) {
        if let Some(within) = self.going.answer_due() {
            upstream.wire.timer.set(within);
        }
    }

    /// Sends as much as can be sent. Whether the last of it has gone just now. A backend that takes no more may have answered already.
    pub(super) fn send<W: Watch>(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Client<W>,
        upstream: &mut Upstream<W>,
        route: &Route,
    ) -> Result<bool, Failure> {
        if self.going.is_over() {
            return Ok(false);
        }
        let from = (&mut client.wire, &mut client.input);
        let passes = |name: &str| route.request.passes_behind(name);
        let Poll::Ready(sent) = self.pump.poll(cx, from, &mut upstream.wire, &passes) else {
            return Ok(false);
        };
        self.going.end();
        match sent {
            Ok(()) | Err(Broken::Receiver(_)) => Ok(true),
            Err(Broken::Sender(_)) if client.wire.timer.has_expired() => Err(Failure::SlowBody),
            Err(Broken::Sender(_)) => Err(Failure::ClientEnded),
            Err(Broken::Framing(refusal)) => Err(Failure::Refused(refusal)),
            Err(Broken::TooLong) => Err(Failure::BodyTooLong),
        }
    }

    /// The head again.
    pub(super) fn into_head(self) -> Vec<u8> {
        self.pump.into_head()
    }

    /// The body of a request that went whole, if it was recorded.
    pub(super) fn recorded(&self, framing: Framing) -> Option<Vec<u8>> {
        self.pump.tape().filter(|_| self.was_sent()).and_then(|tape| tape.framed(framing))
    }

    /// A request may be sent again if its connection ended without a word, and it does no harm twice. Gives its head back then.
    pub(super) fn lost<W: Watch>(self, failure: Failure, upstream: &Upstream<W>, ask: &mut Ask<W>) -> Lost {
        let may_repeat = failure == Failure::BackendEnded
            && upstream.input.is_empty()
            && !self.going.was_promised()
            && ask.facts.is_repeatable();
        if may_repeat {
            ask.head = Rendered::Text(self.pump.into_head());
        }
        Lost { failure, may_repeat, was_kept: upstream.is_reused() }
    }
}
