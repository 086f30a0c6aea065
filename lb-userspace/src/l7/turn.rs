//! A backend's turn: which one a request goes to, and what the balancer learns of how it went.

use super::ask::Ask;
use super::balance::{BackendId, Choice, Outcome, Wish};
use super::log::{Field, Note};
use super::pool::Pool;
use super::respond::Failure;
use super::site::Upstreams;
use super::transport::Watch;
use super::worker::Worker;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How often a request that waits for a backend looks whether there is room.
const LOOK: Duration = Duration::from_millis(5);

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
        match pick(worker, ask, not, now) {
            Choice::Backend(id) => Self::begin(worker, &ask.upstreams, id, now),
            Choice::None => Err(Failure::NoBackend),
            Choice::Full => {
                let _queued = Queued::behind_others(&ask.upstreams).ok_or(Failure::Busy)?;
                Box::pin(Self::wait(worker, ask, not)).await
            }
        }
    }

    async fn wait(worker: &Rc<Worker<W>>, ask: &Ask<W>, not: Option<BackendId>) -> Result<Self, Failure> {
        let patience = ask.within(ask.upstreams.service.config.queue.timeout, &worker.clock);
        let mut now = worker.elapsed();
        let deadline = now + patience;
        while now < deadline {
            tokio::time::sleep(LOOK).await;
            now = worker.elapsed();
            match pick(worker, ask, not, now) {
                Choice::Backend(id) => return Self::begin(worker, &ask.upstreams, id, now),
                Choice::None => return Err(Failure::NoBackend),
                Choice::Full => {}
            }
        }
        Err(Failure::QueuedTooLong)
    }

    fn begin(
        worker: &Rc<Worker<W>>,
        upstreams: &Rc<Upstreams<W>>,
        id: BackendId,
        now: Duration,
    ) -> Result<Self, Failure> {
        let addr = upstreams.balance.borrow_mut().begin(id).ok_or(Failure::NoBackend)?;
        Ok(Self {
            id,
            pool: upstreams.pool(addr),
            upstreams: Rc::clone(upstreams),
            worker: Rc::clone(worker),
            began: now,
            answered: None,
            outcome: Outcome::Abandoned,
        })
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

impl<W: Watch> Drop for Turn<W> {
    fn drop(&mut self) {
        let known_at = self.answered.unwrap_or_else(|| self.worker.elapsed());
        let ejected = self.upstreams.balance.borrow_mut().end(self.id, self.outcome, known_at);
        self.pool.counts.ejections.add(ejected.into());
    }
}

/// A request that waits for a backend. Its drop leaves the queue.
struct Queued<'a, W>(&'a Upstreams<W>);

impl<'a, W> Queued<'a, W> {
    /// None where as many wait already as may.
    fn behind_others(upstreams: &'a Upstreams<W>) -> Option<Self> {
        upstreams.balance.borrow_mut().enter_queue().then(|| Self(upstreams))
    }
}

impl<W> Drop for Queued<'_, W> {
    fn drop(&mut self) {
        self.0.balance.borrow_mut().leave_queue();
    }
}

fn pick<W: Watch>(worker: &Worker<W>, ask: &Ask<W>, not: Option<BackendId>, now: Duration) -> Choice {
    let wish = Wish { key: ask.key, cookie: ask.cookie.as_deref(), not };
    ask.upstreams.balance.borrow_mut().pick(&wish, worker.draw_half(), now)
}
