//! A backend's turn: which one a request goes to, and what the balancer learns of how it went.

use super::ask::Ask;
use super::balance::{BackendId, Choice, Outcome, Seat, Wish};
use super::log::{Field, Note};
use super::pool::Pool;
use super::respond::Failure;
use super::site::Upstreams;
use super::transport::Watch;
use super::worker::Worker;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// How far a request had gone when its answer began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gone {
    /// All of it, as soon as the backend was reached: it is a head alone.
    AtOnce,
    /// All of it, its body since then.
    Since(Instant),
    /// A part of its body was to follow: how long the answer took says as much of the client as of the backend.
    NotYet,
}

/// An exchange with a backend, as the balancer sees it. Its drop ends it.
#[derive(Debug)]
pub(super) struct Turn<W: Watch> {
    pub(super) id: BackendId,
    upstreams: Rc<Upstreams<W>>,
    worker: Rc<Worker<W>>,
    /// When it was picked, or a new connection to it stood.
    began: Duration,
    /// When the answer began.
    answered: Option<Duration>,
    /// The worker's connections to the backend.
    pub(super) pool: Rc<Pool<W>>,
    outcome: Outcome,
}

impl<W: Watch> Turn<W> {
    /// Picks a backend, another than `not` if there is one. Waits where all are full.
    pub(super) async fn take(
        worker: &Rc<Worker<W>>,
        ask: &Ask<W>,
        not: Option<BackendId>,
    ) -> Result<Self, Failure> {
        let now = worker.elapsed();
        let choice = ask.upstreams.balance.borrow_mut().pick(&wish(ask, not), worker.draw_half(), now);
        match choice {
            Choice::Backend(id) => Self::begin(worker, &ask.upstreams, id, now),
            Choice::None => Err(Failure::NoBackend),
            Choice::Full => Box::pin(Self::wait(worker, ask, not)).await,
        }
    }

    /// Waits to be called, behind those who wait already. Nobody calls for a backend that time brings back: it looks when that is due.
    async fn wait(worker: &Rc<Worker<W>>, ask: &Ask<W>, not: Option<BackendId>) -> Result<Self, Failure> {
        let queued = Queued::behind_others(worker, ask, not).ok_or(Failure::Busy)?;
        let deadline =
            worker.elapsed() + ask.within(ask.upstreams.service.config.queue.timeout, &worker.clock);
        loop {
            let now = worker.elapsed();
            let until = queued.next_return(now).map_or(deadline, |at| at.min(deadline));
            match timeout(until.saturating_sub(now), queued.call()).await {
                Ok(Choice::Backend(id)) => return queued.turn(id).ok_or(Failure::NoBackend),
                Ok(Choice::None) => return Err(Failure::NoBackend),
                Ok(Choice::Full) | Err(_) if worker.elapsed() < deadline => {}
                Ok(Choice::Full) | Err(_) => return Err(Failure::QueuedTooLong),
            }
        }
    }

    fn begin(
        worker: &Rc<Worker<W>>,
        upstreams: &Rc<Upstreams<W>>,
        id: BackendId,
        now: Duration,
    ) -> Result<Self, Failure> {
        let addr = upstreams.balance.borrow_mut().begin(id).ok_or(Failure::NoBackend)?;
        Ok(Self::begun(worker, upstreams, (id, addr), now))
    }

    /// One that the balancer has been told of.
    fn begun(
        worker: &Rc<Worker<W>>,
        upstreams: &Rc<Upstreams<W>>,
        (id, addr): (BackendId, SocketAddr),
        now: Duration,
    ) -> Self {
        Self {
            id,
            pool: upstreams.pool(addr),
            upstreams: Rc::clone(upstreams),
            worker: Rc::clone(worker),
            began: now,
            answered: None,
            outcome: Outcome::Abandoned,
        }
    }

    /// It could be asked from now on: what came before does not count as its time.
    pub(super) fn note_reached(&mut self) {
        self.began = self.worker.elapsed();
    }

    /// The backend has begun its answer to a request that had gone so far. How long that took.
    pub(super) fn note_answer(&mut self, status: u16, gone: Gone) -> Duration {
        let now = self.worker.elapsed();
        let since_asked = now.saturating_sub(self.began);
        let (told, latency) = match gone {
            Gone::AtOnce => (since_asked, Some(since_asked)),
            Gone::Since(end) => (end.elapsed(), Some(end.elapsed())),
            Gone::NotYet => (since_asked, None),
        };
        self.answered = Some(now);
        self.pool.counts.answers.add(status);
        self.pool.counts.times.add(told);
        self.outcome = if status < 500 { Outcome::Answered { latency } } else { Outcome::Failed };
        told
    }

    /// Writes the backend down in a log's note.
    pub(super) fn sign(&self, note: &mut Note) {
        note.put(
            Field::Backend,
            self.upstreams.balance.borrow().name(self.id).unwrap_or_default().as_bytes(),
        );
    }

    /// The exchange failed; if by the backend's fault, it counts against it.
    pub(super) fn note_failure(&mut self, failure: Failure) {
        self.outcome = match failure {
            Failure::ClientEnded
            | Failure::SlowBody
            | Failure::Refused(_)
            | Failure::BodyTooLong
            | Failure::NoTunnel
            | Failure::NeedsHttp1
            | Failure::Deadline => Outcome::Abandoned,
            _ => Outcome::Failed,
        };
        self.pool.counts.failures.add(u64::from(self.outcome == Outcome::Failed));
    }

    /// Whether there is another backend to ask.
    pub(super) fn has_other(&self) -> bool {
        self.upstreams.balance.borrow().has_other(self.id, self.worker.elapsed())
    }

    /// The field that binds the client to this backend, if the service has a cookie and the client has it not.
    pub(super) fn set_cookie(&self, ask: &Ask<W>, https: bool) -> Option<String> {
        let balance = self.upstreams.balance.borrow();
        let cookie = balance.cookie(self.id).filter(|cookie| !cookie.is(ask.cookie.as_deref()))?;
        let mut text = String::new();
        cookie.push(https, &mut text);
        Some(text)
    }
}

/// Whoever waits gets the room.
impl<W: Watch> Drop for Turn<W> {
    fn drop(&mut self) {
        let known_at = self.answered.unwrap_or_else(|| self.worker.elapsed());
        let mut balance = self.upstreams.balance.borrow_mut();
        let ejected = balance.end(self.id, self.outcome, known_at);
        if balance.is_awaited() {
            balance.admit(|| self.worker.draw_half(), self.worker.elapsed());
        }
        self.pool.counts.ejections.add(ejected.into());
    }
}

/// A request that waits for a backend. Its drop leaves the queue.
struct Queued<'a, W: Watch> {
    worker: &'a Rc<Worker<W>>,
    upstreams: &'a Rc<Upstreams<W>>,
    seat: Rc<Seat>,
}

impl<'a, W: Watch> Queued<'a, W> {
    /// None where as many wait already as may.
    fn behind_others(worker: &'a Rc<Worker<W>>, ask: &'a Ask<W>, not: Option<BackendId>) -> Option<Self> {
        let seat = ask.upstreams.balance.borrow_mut().wait(&wish(ask, not))?;
        Some(Self { worker, upstreams: &ask.upstreams, seat })
    }

    /// Has all be called for whom there is room, and tells when there may be more without being called.
    fn next_return(&self, now: Duration) -> Option<Duration> {
        let mut balance = self.upstreams.balance.borrow_mut();
        balance.admit(|| self.worker.draw_half(), now);
        balance.next_return(now)
    }

    /// Waits to be called.
    async fn call(&self) -> Choice {
        poll_fn(|cx| self.seat.poll_call(cx)).await
    }

    /// The turn that it was called to.
    fn turn(&self, id: BackendId) -> Option<Turn<W>> {
        let addr = self.upstreams.balance.borrow().addr(id)?;
        Some(Turn::begun(self.worker, self.upstreams, (id, addr), self.worker.elapsed()))
    }
}

/// Who is called and does not come any more passes its turn on.
impl<W: Watch> Drop for Queued<'_, W> {
    fn drop(&mut self) {
        match self.seat.take_call() {
            Some(Choice::Backend(id)) => drop(self.turn(id)),
            _ => self.upstreams.balance.borrow_mut().leave(&self.seat),
        }
    }
}

fn wish<W>(ask: &Ask<W>, not: Option<BackendId>) -> Wish<'_> {
    Wish { key: ask.key, cookie: ask.cookie.as_deref(), not, own: ask.own }
}
