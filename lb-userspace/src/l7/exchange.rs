//! An exchange: from a request that was understood, by a backend's answer, to a connection that is ready for the next.

use super::account::{Account, blame};
use super::answer::Answer;
use super::ask::{Ask, Rendered};
use super::asking::Asking;
use super::attempt::{self, Caller, Ends, Lost, Reached};
use super::buffer::Buffer;
use super::client::{Client, Left};
use super::http1::{Framing, Version};
use super::near;
use super::pace::Wait;
use super::pool::Upstream;
use super::pump::{Broken, Patience, Pump};
use super::reply;
use super::respond::Failure;
use super::transport::Watch;
use super::turn::{Gone, Turn};
use super::wire::Wire;
use super::worker::Worker;
use crate::config::proxy;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

/// A request whose answer has begun.
#[derive(Debug)]
pub(super) enum Begun<W> {
    /// By a backend that speaks HTTP/1.1.
    Own(Answer, Box<Own<W>>),
    /// By one that speaks HTTP/2.
    Shared(Box<near::Begun>),
}

/// A request on a connection that the exchange has to itself. It stays where it is until the answer has ended.
#[derive(Debug)]
pub(super) struct Own<W> {
    asking: Asking,
    upstream: Upstream<W>,
}

impl<W: Watch> Caller<W> for Client<W> {
    type Begun = Begun<W>;

    fn worker(&self) -> &Rc<Worker<W>> {
        &self.worker
    }

    fn account(&mut self) -> &mut Account {
        &mut self.account
    }

    fn is_https(&self) -> bool {
        self.wire.tls().is_some()
    }

    fn ends(&self) -> Ends {
        Ends { client: self.address, here: self.wire.local_addr() }
    }

    fn gone(begun: &Begun<W>) -> Gone {
        match begun {
            Begun::Own(_, own) => own.asking.going().gone(),
            Begun::Shared(begun) => begun.gone(),
        }
    }

    fn own(&mut self, ask: &Ask<W>, turn: &Turn<W>) -> Option<Upstream<W>> {
        let own = self.own.take_if(|own| own.is_of(&turn.pool))?;
        let must_live = !ask.facts.is_repeatable();
        own.is_ready(must_live, ask.upstreams.service.config.pool.lifetime).then_some(*own)
    }

    fn may_ask_another(begun: &Begun<W>, ask: &Ask<W>) -> bool {
        match begun {
            Begun::Own(answer, own) => own.asking.going().may_ask_another(answer.status, &ask.facts),
            Begun::Shared(begun) => begun.may_ask_another(&ask.facts),
        }
    }

    fn let_go(begun: Begun<W>, ask: &mut Ask<W>) {
        let Begun::Own(answer, own) = begun else { return };
        let Own { asking, upstream } = *own;
        let config = &ask.upstreams.service.config;
        let upstream = upstream.private(answer.is_private);
        // Behind a head that has not gone whole the next request would be taken for more of it.
        if asking.was_sent() && answer.keeps_upstream && config.proxy_protocol.is_none() {
            upstream.keep_without(answer.from, &config.pool);
        }
        ask.head = Rendered::Text(asking.into_head());
    }

    async fn ask(&mut self, ask: &mut Ask<W>, reached: Reached<W>) -> Result<(u16, Begun<W>), Lost> {
        match reached {
            Reached::Own(upstream) => {
                let asking = Asking::new(ask, Wait::for_body(&self.listener.config.deadlines));
                let mut own = Box::new(Own { asking, upstream });
                match self.converse(ask, &mut own).await {
                    Ok(answer) => Ok((answer.status, Begun::Own(answer, own))),
                    Err(failure) => Err(own.asking.lost(failure, &own.upstream, ask)),
                }
            }
            Reached::Shared(place) => {
                let begun = Box::pin(near::ask(self, ask, place)).await?;
                Ok((begun.status(), Begun::Shared(Box::new(begun))))
            }
        }
    }
}

impl<W: Watch> Client<W> {
    /// Has a backend answer, or says why none does.
    pub(super) async fn forward(&mut self, mut ask: Box<Ask<W>>) -> Left {
        ask.end = self.end_of(&ask);
        ask.own = self.own.as_ref().and_then(|own| ask.upstreams.backend_of(own));
        if ask.facts.framing == Framing::NONE {
            attempt::send_copy(self, &mut ask, || Some(Vec::new()));
        }
        match attempt::ask_backends(self, &mut ask).await {
            Ok((Begun::Own(answer, own), _turn)) => self.answer(answer, own, &mut ask).await,
            Ok((Begun::Shared(begun), _turn)) => Box::pin(near::answer(self, *begun, &mut ask)).await,
            Err(failure) if failure.is_told() => {
                let is_over = ask.is_over(&self.worker.clock);
                let failure = if is_over { Failure::Deadline } else { failure };
                self.account.failed(failure);
                self.tell(reply::failure(failure, &ask.facts, &self.worker.date())).await
            }
            Err(failure) => {
                self.account.failed(failure);
                Left::Done
            }
        }
    }

    /// Sends the request, and waits for the answer's head while the body may still be on its way.
    async fn converse(&mut self, ask: &Ask<W>, own: &mut Own<W>) -> Result<Answer, Failure> {
        let Own { asking, upstream } = own;
        loop {
            let answer = poll_fn(|cx| asking.poll_answer(cx, self, upstream, ask)).await?;
            if !answer.is_interim() {
                return Ok(answer);
            }
            if ask.facts.version == Version::V11 {
                Box::pin(self.tell_interim(&answer.head)).await?;
            }
        }
    }

    /// Sends the answer on, and the rest of the request meanwhile.
    async fn answer(&mut self, answer: Answer, mut own: Box<Own<W>>, ask: &mut Ask<W>) -> Left {
        self.worker.counters.count(answer.status);
        self.account.told(answer.status);
        let service = &ask.upstreams.service.config;
        let idle = ask.route.deadlines.idle.unwrap_or(service.deadlines.idle);
        let patience =
            Patience { read: idle.into(), write: Wait::for_reader(&self.listener.config.deadlines) };
        if answer.status == 101 {
            own.upstream.wire.timer.end_at(None);
            return Box::pin(self.tunnel(answer.head, own.upstream, patience)).await;
        }
        if ask.end.is_some() {
            self.wire.timer.end_at(ask.end);
        }
        let mut pump = Pump::new(answer.head, answer.from, answer.to, patience);
        let answered = poll_fn(|cx| {
            let Own { asking, upstream } = &mut *own;
            // What becomes of the request does not matter to a client that has its answer.
            let _ = asking.send(cx, self, upstream, &ask.route);
            let passes = |name: &str| ask.route.response.passes_behind(name);
            pump.poll(cx, (&mut upstream.wire, &mut upstream.input), &mut self.wire, &passes)
        })
        .await;
        self.account.carried(own.asking.passed(), pump.passed());
        if let Err(broken) = &answered {
            self.wire.end_within(answer.to);
            let late = (self.wire.timer.has_expired(), own.upstream.wire.timer.has_expired());
            self.account.failed(if ask.is_over(&self.worker.clock) {
                Failure::Deadline
            } else {
                blame(broken, late)
            });
        }
        let (was_sent, framing) = (own.asking.was_sent(), ask.facts.framing);
        if answered.is_ok() && was_sent && answer.keeps_upstream && service.proxy_protocol.is_none() {
            self.keep(own.upstream.private(answer.is_private), &service.pool);
        }
        if ask.end.is_some() {
            self.wire.timer.end_at(None);
        }
        attempt::send_copy(self, ask, || own.asking.recorded(framing));
        match answered {
            Err(_) => Left::Done,
            Ok(()) if was_sent && answer.keeps_client => Left::Open,
            Ok(()) => Left::Talking,
        }
    }

    /// Gives a backend's connection back, or holds it where it is this client's alone.
    fn keep(&mut self, mut upstream: Upstream<W>, rules: &proxy::Pool) {
        if !upstream.is_private() {
            upstream.keep(rules);
        } else if upstream.rest(rules) {
            self.own = Some(Box::new(upstream));
        }
    }

    /// Passes on what both sides say, whatever it is, until both have ended.
    async fn tunnel(&mut self, head: Vec<u8>, mut upstream: Upstream<W>, patience: Patience) -> Left {
        let patience = Patience { write: patience.read, ..patience };
        let mut down = Pump::new(head, Framing::UntilClose, Framing::UntilClose, patience);
        let mut up = Pump::new(Vec::new(), Framing::UntilClose, Framing::UntilClose, patience);
        let mut open = (true, true);
        let ended = poll_fn(|cx| {
            // Twice at most, for others wait as well.
            for is_anew in [false, true] {
                let before = (down.passed(), up.passed());
                let Upstream { wire, input, .. } = &mut upstream;
                if open.0 && poll_half(cx, &mut down, (wire, input), &mut self.wire)?.is_ready() {
                    open.0 = false;
                }
                if open.1 && poll_half(cx, &mut up, (&mut self.wire, &mut self.input), wire)?.is_ready() {
                    open.1 = false;
                }
                if open == (false, false) {
                    return Poll::Ready(Ok::<(), Broken>(()));
                }
                if is_anew || before == (down.passed(), up.passed()) {
                    break;
                }
                // A side that only listens is not silent.
                down.wait_anew();
                up.wait_anew();
            }
            Poll::Pending
        });
        // However it ended, both sides are told by the end of their connections.
        if ended.await.is_err() {
            self.wire.cut_short();
        }
        self.account.carried(up.passed(), down.passed());
        Left::Done
    }
}

/// One half of a tunnel, and its end.
fn poll_half<W: Watch>(
    cx: &mut Context<'_>,
    pump: &mut Pump,
    from: (&mut Wire<W>, &mut Buffer),
    to: &mut Wire<W>,
) -> Poll<Result<(), Broken>> {
    ready!(pump.poll(cx, from, to, &|_| true))?;
    to.poll_finish(cx).map_err(Broken::Receiver)
}
