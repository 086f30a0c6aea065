//! One backend after the other, until one answers: which is asked, by which connection, and when another may be.

use super::account::Account;
use super::ask::Ask;
use super::http2::Place;
use super::mirror;
use super::pool::{Age, Upstream, Way};
use super::proxy_protocol::{write_v1, write_v2};
use super::respond::Failure;
use super::site::Upstreams;
use super::transport::Watch;
use super::turn::{Gone, Turn};
use super::worker::Worker;
use crate::config::proxy::ProxyHeader;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

/// Who asks: a client's connection, or a stream of one.
pub(super) trait Caller<W: Watch> {
    /// An exchange whose answer has begun.
    type Begun;

    /// The worker that serves it.
    fn worker(&self) -> &Rc<Worker<W>>;

    /// Where it is noted what becomes of the request.
    fn account(&mut self) -> &mut Account;

    /// Whether the client came by TLS.
    fn is_https(&self) -> bool;

    /// Between whom its connection is. Asks the system.
    fn ends(&self) -> Ends;

    /// Ready when nobody waits for an answer any more, where that shows.
    fn poll_gone(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    /// How far the request had gone when this answer began.
    fn gone(begun: &Self::Begun) -> Gone;

    /// The connection to this backend that is the client's own, if it has one that can carry a request.
    fn own(&mut self, _ask: &Ask<W>, _turn: &Turn<W>) -> Option<Upstream<W>> {
        None
    }

    /// Whether another backend may be asked in place of this answer: it says that it may help, and the client need not know.
    fn may_ask_another(begun: &Self::Begun, ask: &Ask<W>) -> bool;

    /// Makes the request ready to be sent again, and lets this answer go.
    fn let_go(begun: Self::Begun, ask: &mut Ask<W>);

    /// Sends the request to a backend, and waits for the head of its answer: the status, and what is needed to go on.
    async fn ask(&mut self, ask: &mut Ask<W>, reached: Reached<W>) -> Result<(u16, Self::Begun), Lost>;
}

/// A backend that was reached.
#[derive(Debug)]
pub(super) enum Reached<W> {
    /// By a connection that the exchange has to itself.
    Own(Upstream<W>),
    /// By a place on one that others share.
    Shared(Place),
}

/// The ends of a client's connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    /// Who it is: the socket's other end, or whom a PROXY header names.
    pub(super) client: SocketAddr,
    /// Where it connected to.
    pub(super) here: Option<SocketAddr>,
}

/// A request that got no answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lost {
    pub(super) failure: Failure,
    /// Whether it can safely be sent again.
    pub(super) may_repeat: bool,
    /// Whether it went by a connection that was kept, and may have ended before.
    pub(super) was_kept: bool,
}

impl Lost {
    /// Whether it was sent by an old connection that had ended by then, which says nothing of the backend.
    fn is_stale(self) -> bool {
        self.may_repeat && self.was_kept && self.failure == Failure::BackendEnded
    }
}

/// Asks a backend, and another if the first did not even get the request, or says that it cannot answer it. The turn is to
/// be held until the answer has ended.
pub(super) async fn ask_backends<W: Watch, C: Caller<W>>(
    caller: &mut C,
    ask: &mut Ask<W>,
) -> Result<(C::Begun, Turn<W>), Failure> {
    let worker = Rc::clone(caller.worker());
    let upstreams = Rc::clone(&ask.upstreams);
    let rules = &upstreams.service.config.retries;
    upstreams.budget.borrow_mut().deposit(rules, worker.clock.elapsed());
    let (mut retries, mut not) = (rules.count, None);
    loop {
        let mut turn = while_there(caller, pin!(Turn::take(&worker, ask, not))).await?;
        caller.account().turned(&upstreams.service.config.name, |note| turn.sign(note));
        let may_retry = |is_better| is_better && retries > 0 && withdraw(&worker, &upstreams);
        match ask_in_turn(caller, ask, &mut turn).await {
            Ok(begun) => {
                let helps = rules.on_status && C::may_ask_another(&begun, ask) && turn.has_other();
                if !may_retry(helps) {
                    return Ok((begun, turn));
                }
                C::let_go(begun, ask);
            }
            Err(lost) => {
                turn.note_failure(lost.failure);
                if !may_retry(lost.may_repeat && !ask.is_over(&worker.clock)) {
                    return Err(lost.failure);
                }
            }
        }
        (retries, not) = (retries - 1, Some(turn.id));
        caller.account().retried();
    }
}

/// What comes of a wait, unless the one who asks goes meanwhile, whose place is another's then.
async fn while_there<W: Watch, C: Caller<W>, T>(
    caller: &mut C,
    mut wait: Pin<&mut impl Future<Output = Result<T, Failure>>>,
) -> Result<T, Failure> {
    poll_fn(|cx| match wait.as_mut().poll(cx) {
        Poll::Pending => caller.poll_gone(cx).map(|()| Err(Failure::ClientEnded)),
        done @ Poll::Ready(_) => done,
    })
    .await
}

/// Whether the service's budget has a retry left, which is then spent.
fn withdraw<W: Watch>(worker: &Worker<W>, upstreams: &Upstreams<W>) -> bool {
    let rules = &upstreams.service.config.retries;
    upstreams.budget.borrow_mut().withdraw(rules, worker.clock.elapsed())
}

/// Asks the backend whose turn it is, a second time if it was by a connection that had ended before.
async fn ask_in_turn<W: Watch, C: Caller<W>>(
    caller: &mut C,
    ask: &mut Ask<W>,
    turn: &mut Turn<W>,
) -> Result<C::Begun, Lost> {
    let (mut fresh, may_repeat) = (false, ask.upstreams.service.config.retries.count > 0);
    loop {
        match ask_one(caller, ask, turn, fresh).await {
            Err(lost) if lost.is_stale() && !fresh && may_repeat => fresh = true,
            asked => return asked,
        }
    }
}

/// Asks the backend whose turn it is, by a connection that was kept or, if it is to be `fresh`, by a new one.
async fn ask_one<W: Watch, C: Caller<W>>(
    caller: &mut C,
    ask: &mut Ask<W>,
    turn: &mut Turn<W>,
    fresh: bool,
) -> Result<C::Begun, Lost> {
    let reached = match kept(caller, ask, turn, fresh) {
        Some(upstream) => Ok(Reached::Own(upstream.private(ask.is_private))),
        None => Box::pin(connect(caller, ask, turn, fresh)).await.inspect(|_| turn.note_reached()),
    };
    let reached = reached.map_err(|failure| Lost { failure, may_repeat: true, was_kept: false })?;
    if let (Reached::Own(upstream), Some(_)) = (&reached, ask.end) {
        upstream.wire.timer.end_at(ask.end);
    }
    if let (Reached::Shared(place), true) = (&reached, ask.is_tunnel())
        && !Box::pin(place.takes_tunnels(ask.upstreams.service.config.deadlines.connect)).await
    {
        return Err(Lost { failure: Failure::NoTunnel, may_repeat: false, was_kept: false });
    }
    ask.set_cookie = turn.set_cookie(ask, caller.is_https());
    let (status, begun) = caller.ask(ask, reached).await?;
    caller.account().answered(turn.note_answer(status, C::gone(&begun)));
    Ok(begun)
}

/// A connection that was kept and that no other exchange has: the client's own, if there is one. With a PROXY header a connection
/// belongs to one client.
fn kept<W: Watch, C: Caller<W>>(
    caller: &mut C,
    ask: &Ask<W>,
    turn: &Turn<W>,
    fresh: bool,
) -> Option<Upstream<W>> {
    let config = &ask.upstreams.service.config;
    if fresh || config.http2 || config.proxy_protocol.is_some() {
        return None;
    }
    if let Some(own) = caller.own(ask, turn) {
        return Some(own);
    }
    let must_live = !ask.facts.is_repeatable();
    turn.pool.take(must_live, config.pool.lifetime)
}

/// A new connection to a backend, or a place on one.
async fn connect<W: Watch, C: Caller<W>>(
    caller: &C,
    ask: &Ask<W>,
    turn: &Turn<W>,
    fresh: bool,
) -> Result<Reached<W>, Failure> {
    let (pool, config) = (&turn.pool, &ask.upstreams.service.config);
    let worker = caller.worker();
    let tls = ask.upstreams.tls();
    let way = Way {
        clock: &worker.clock,
        within: ask.within(config.deadlines.connect, &worker.clock),
        age: Age::new(worker.clock.now(), worker.draw_half()),
        header: config.proxy_protocol.map(|version| proxy_header(version, caller.ends())),
        tls: tls.as_ref(),
        is_alone: config.proxy_protocol.is_some() || ask.is_private,
    };
    if config.http2 {
        return pool.share(&way, config, fresh).await.map(Reached::Shared);
    }
    pool.connect(&way).await.map(|upstream| Reached::Own(upstream.private(ask.is_private)))
}

/// Sends the copy for a second service, if there is to be one. The second service is not waited for.
pub(super) fn send_copy<W: Watch, C: Caller<W>>(
    caller: &C,
    ask: &mut Ask<W>,
    body: impl FnOnce() -> Option<Vec<u8>>,
) {
    if let Some(copy) = ask.mirror.take() {
        let version = copy.upstreams.service.config.proxy_protocol;
        let header = version.map(|version| proxy_header(version, caller.ends()));
        mirror::send(caller.worker(), copy, body(), header);
    }
}

fn proxy_header(version: ProxyHeader, ends: Ends) -> Vec<u8> {
    let mut header = Vec::new();
    let here = ends.here.unwrap_or(ends.client);
    match version {
        ProxyHeader::V1 => write_v1(ends.client, here, &mut header),
        ProxyHeader::V2 => write_v2(ends.client, here, &mut header),
    }
    header
}
