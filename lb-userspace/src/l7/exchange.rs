//! An exchange: from a request that was understood, by a backend's answer, to a connection that is ready for the next.

use super::account::blame;
use super::answer::Answer;
use super::ask::Ask;
use super::asking::{Asking, Lost};
use super::buffer::Buffer;
use super::client::{Client, Left};
use super::http1::{Framing, Version};
use super::mirror;
use super::pool::{Age, Upstream, Way};
use super::proxy_protocol::{write_v1, write_v2};
use super::pump::{Broken, Patience, Pump};
use super::reply;
use super::respond::Failure;
use super::site::Upstreams;
use super::transport::Watch;
use super::turn::Turn;
use super::wire::Wire;
use crate::config::proxy::ProxyHeader;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

/// A request whose answer has begun.
#[derive(Debug)]
struct Begun<W: Watch> {
    answer: Answer,
    asking: Asking,
    upstream: Upstream<W>,
    /// Held until the answer has ended.
    _turn: Turn<W>,
}

impl<W: Watch> Client<W> {
    /// Has a backend answer, or says why none does.
    pub(super) async fn forward(&mut self, mut ask: Ask<W>) -> Left {
        ask.end = self.end_of(&ask);
        if ask.facts.framing == Framing::NONE {
            self.send_copy(&mut ask, || Some(Vec::new()));
        }
        match self.ask_backends(&mut ask).await {
            Ok(begun) => self.answer(begun, &mut ask).await,
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

    /// Sends the copy for a second service, if there is to be one. The second service is not waited for.
    fn send_copy(&self, ask: &mut Ask<W>, body: impl FnOnce() -> Option<Vec<u8>>) {
        if let Some(copy) = ask.mirror.take() {
            let version = copy.upstreams.service.config.proxy_protocol;
            let header = version.map(|version| self.proxy_header(version));
            mirror::send(&self.worker, copy, body(), header);
        }
    }

    /// Asks a backend, and another if the first did not even get the request, or says that it cannot answer it.
    async fn ask_backends(&mut self, ask: &mut Ask<W>) -> Result<Begun<W>, Failure> {
        let upstreams = Rc::clone(&ask.upstreams);
        let rules = &upstreams.service.config.retries;
        upstreams.budget.borrow_mut().deposit(rules, self.worker.elapsed());
        let (mut retries, mut not, mut fresh) = (rules.count, None, false);
        loop {
            let mut turn = Turn::take(&self.worker, ask, not).await?;
            self.account.turned(&upstreams.service.config.name, |note| turn.sign(note));
            let lost = match self.ask_one(ask, &mut turn, fresh).await {
                Ok((answer, asking, upstream)) => {
                    let may =
                        rules.on_status && retries > 0 && asking.may_ask_another(answer.status, &ask.facts);
                    if !may || !turn.has_other() || !self.may_retry(&upstreams) {
                        return Ok(Begun { answer, asking, upstream, _turn: turn });
                    }
                    let config = &upstreams.service.config;
                    if answer.keeps_upstream && config.proxy_protocol.is_none() {
                        upstream.keep_without(answer.from, &config.pool);
                    }
                    ask.head = asking.into_head();
                    (retries, not) = (retries - 1, Some(turn.id));
                    self.account.retried();
                    continue;
                }
                Err(lost) => lost,
            };
            let Some(head) = lost.head else {
                turn.note_failure(lost.failure);
                return Err(lost.failure);
            };
            ask.head = head;
            if lost.failure == Failure::BackendEnded && lost.was_kept && !fresh {
                // An old connection has ended, which says nothing of the backend.
                fresh = true;
                continue;
            }
            turn.note_failure(lost.failure);
            not = Some(turn.id);
            if retries == 0 || ask.is_over(&self.worker.clock) || !self.may_retry(&upstreams) {
                return Err(lost.failure);
            }
            retries -= 1;
            self.account.retried();
        }
    }

    /// Whether the service's budget has a retry left, which is then spent.
    fn may_retry(&self, upstreams: &Upstreams<W>) -> bool {
        let rules = &upstreams.service.config.retries;
        upstreams.budget.borrow_mut().withdraw(rules, self.worker.elapsed())
    }

    /// Asks the backend whose turn it is, by a connection that was kept or, if it is to be `fresh`, by a new one.
    async fn ask_one(
        &mut self,
        ask: &mut Ask<W>,
        turn: &mut Turn<W>,
        fresh: bool,
    ) -> Result<(Answer, Asking, Upstream<W>), Lost> {
        let mut upstream = match self.reach(ask, turn, fresh).await {
            Ok(upstream) => upstream,
            Err(failure) => {
                return Err(Lost { failure, was_kept: false, head: Some(std::mem::take(&mut ask.head)) });
            }
        };
        if ask.end.is_some() {
            upstream.wire.timer.end_at(ask.end);
        }
        ask.set_cookie = turn.set_cookie(ask, self.wire.tls().is_some());
        let (answer, asking) = self.ask(ask, &mut upstream).await?;
        self.account.answered(turn.note_answer(answer.status));
        Ok((answer, asking, upstream))
    }

    /// A connection to a backend.
    async fn reach(&self, ask: &Ask<W>, turn: &Turn<W>, fresh: bool) -> Result<Upstream<W>, Failure> {
        let pool = &turn.pool;
        let config = &ask.upstreams.service.config;
        // With a PROXY header a connection belongs to one client.
        let must_live = !ask.facts.is_repeatable();
        if !fresh
            && config.proxy_protocol.is_none()
            && let Some(upstream) = pool.take(must_live, config.pool.lifetime)
        {
            return Ok(upstream);
        }
        let site = self.worker.site();
        let way = Way {
            clock: &self.worker.clock,
            within: ask.within(config.deadlines.connect, &self.worker.clock),
            age: Age::new(self.worker.clock.now(), self.worker.draw_half()),
            header: config.proxy_protocol.map(|version| self.proxy_header(version)),
            tls: site.snapshot.tls.client(ask.upstreams.id),
        };
        pool.connect(&way).await
    }

    fn proxy_header(&self, version: ProxyHeader) -> Vec<u8> {
        let mut header = Vec::new();
        let here = self.wire.local_addr().unwrap_or(self.address);
        match version {
            ProxyHeader::V1 => write_v1(self.address, here, &mut header),
            ProxyHeader::V2 => write_v2(self.address, here, &mut header),
        }
        header
    }

    /// Sends the request, and waits for the answer's head while the body may still be on its way.
    async fn ask(&mut self, ask: &mut Ask<W>, upstream: &mut Upstream<W>) -> Result<(Answer, Asking), Lost> {
        let mut asking = Asking::new(ask, self.listener.config.deadlines.body);
        loop {
            match poll_fn(|cx| asking.poll_answer(cx, self, upstream, ask)).await {
                Ok(answer) if !answer.is_interim() => return Ok((answer, asking)),
                Ok(interim) if ask.facts.version == Version::V11 => {
                    asking.has_told = true;
                    // If the client is gone, its answer will find out.
                    let _ = self.wire.write_all(&interim.head).await;
                }
                Ok(_) => {}
                Err(failure) => return Err(asking.lost(failure, upstream, ask)),
            }
        }
    }

    /// Sends the answer on, and the rest of the request meanwhile.
    async fn answer(&mut self, begun: Begun<W>, ask: &mut Ask<W>) -> Left {
        let Begun { answer, mut asking, mut upstream, _turn } = begun;
        self.worker.counters.count(answer.status);
        self.account.told(answer.status);
        let service = &ask.upstreams.service.config;
        let idle = ask.route.deadlines.idle.unwrap_or(service.deadlines.idle);
        let patience = Patience { read: idle, write: self.listener.config.deadlines.send };
        if answer.status == 101 {
            upstream.wire.timer.end_at(None);
            return self.tunnel(answer.head, upstream, patience).await;
        }
        if ask.end.is_some() {
            self.wire.timer.end_at(ask.end);
        }
        let mut pump = Pump::new(answer.head, answer.from, answer.to, patience);
        let answered = poll_fn(|cx| {
            // What becomes of the request does not matter to a client that has its answer.
            let _ = asking.poll_send(cx, self, &mut upstream);
            pump.poll(cx, (&mut upstream.wire, &mut upstream.input), &mut self.wire)
        })
        .await;
        self.account.carried(asking.passed(), pump.passed());
        if let Err(broken) = &answered {
            let late = (self.wire.timer.has_expired(), upstream.wire.timer.has_expired());
            self.account.failed(if ask.is_over(&self.worker.clock) {
                Failure::Deadline
            } else {
                blame(broken, late)
            });
        }
        let (was_sent, framing) = (asking.was_sent(), ask.facts.framing);
        if answered.is_ok() && was_sent && answer.keeps_upstream && service.proxy_protocol.is_none() {
            upstream.keep(&service.pool);
        }
        if ask.end.is_some() {
            self.wire.timer.end_at(None);
        }
        self.send_copy(ask, || asking.recorded(framing));
        match answered {
            Err(_) => Left::Done,
            Ok(()) if was_sent && answer.keeps_client => Left::Open,
            Ok(()) => Left::Talking,
        }
    }

    /// Passes on what both sides say, whatever it is, until both have ended.
    async fn tunnel(&mut self, head: Vec<u8>, mut upstream: Upstream<W>, patience: Patience) -> Left {
        let patience = Patience { write: patience.read, ..patience };
        let mut down = Pump::new(head, Framing::UntilClose, Framing::UntilClose, patience);
        let mut up = Pump::new(Vec::new(), Framing::UntilClose, Framing::UntilClose, patience);
        let mut open = (true, true);
        let passed = poll_fn(|cx| {
            let Upstream { wire, input, .. } = &mut upstream;
            if open.0 && poll_half(cx, &mut down, (wire, input), &mut self.wire)?.is_ready() {
                open.0 = false;
            }
            if open.1 && poll_half(cx, &mut up, (&mut self.wire, &mut self.input), wire)?.is_ready() {
                open.1 = false;
            }
            if open == (false, false) { Poll::Ready(Ok::<(), Broken>(())) } else { Poll::Pending }
        });
        // However it ended, both sides are told by the end of their connections.
        let _ = passed.await;
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
    ready!(pump.poll(cx, from, to))?;
    to.poll_finish(cx).map_err(Broken::Receiver)
}
