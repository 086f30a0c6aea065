//! Turns at what costs this thread time: the steps of TLS handshakes.
//!
//! The thread that probes has more to do: it answers the operator, reloads, and writes slots. A step takes it a fraction of a
//! millisecond, and a thousand backends may have theirs due at once. So one step is taken after the other, in the order they were
//! asked for, and between two of them all else that is ready has its way, and the kernel is asked what else is.
//!
//! What a probe waits for its turn is no fault of its backend: [`Waited`] tells of it, and the probe's time is longer by that.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::{spawn_local, yield_now};

thread_local! {
    /// One turn at a time. Whoever waits is served in order.
    static TURN: Arc<Semaphore> = Arc::new(Semaphore::new(1));
}

/// How long somebody has waited for turns.
#[derive(Debug, Default)]
pub(super) struct Waited {
    before: Cell<Duration>,
    since: Cell<Option<Instant>>,
}

impl Waited {
    /// So far, the wait under way included.
    pub(super) fn so_far(&self) -> Duration {
        self.before.get() + self.since.get().map_or(Duration::ZERO, |since| since.elapsed())
    }

    async fn during<T>(&self, wait: impl Future<Output = T>) -> T {
        self.since.set(Some(Instant::now()));
        let over = wait.await;
        self.before.set(self.so_far());
        self.since.set(None);
        over
    }
}

/// Does this work, each step of it in a turn, which is over when all else has had its way. On a `LocalSet`.
pub(super) async fn by_turns<F: Future>(work: F, waited: &Waited) -> F::Output {
    let mut work = pin!(work);
    loop {
        let turn = waited.during(TURN.with(Arc::clone).acquire_owned()).await;
        let step = poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx))).await;
        spawn_local(async {
            yield_now().await;
            drop(turn);
        });
        match step {
            Poll::Ready(done) => return done,
            Poll::Pending => next_wake().await,
        }
    }
}

/// Waits to be woken by what was polled before.
async fn next_wake() {
    let mut was_polled = false;
    let woken =
        poll_fn(|_| if std::mem::replace(&mut was_polled, true) { Poll::Ready(()) } else { Poll::Pending });
    woken.await;
}

#[cfg(test)]
mod tests {
    use super::super::probe_tests::run_on_epoll;
    use super::*;
    use std::cell::RefCell;
    use std::rc::Rc;
    use tokio::task::JoinHandle;

    const STEP: Duration = Duration::from_millis(2);

    /// Takes two steps that cost time, and notes each.
    fn costly(name: usize, steps: &Rc<RefCell<Vec<usize>>>) -> JoinHandle<Duration> {
        let steps = Rc::clone(steps);
        spawn_local(async move {
            let waited = Waited::default();
            let work = async {
                for _ in 0..2 {
                    std::thread::sleep(STEP);
                    steps.borrow_mut().push(name);
                    yield_now().await;
                }
            };
            by_turns(work, &waited).await;
            waited.so_far()
        })
    }

    #[test]
    fn others_have_their_way_between_two_steps() {
        run_on_epoll(async {
            let steps = Rc::default();
            let works: Vec<_> = (0..50).map(|name| costly(name, &steps)).collect();
            let mut most = 0;
            while steps.borrow().len() < 100 {
                let before = steps.borrow().len();
                yield_now().await;
                most = most.max(steps.borrow().len() - before);
            }
            assert!(most <= 2, "{most} steps at once");
            for work in works {
                work.await.unwrap();
            }
        });
    }

    #[test]
    fn who_asks_first_goes_first_and_is_told_how_long_it_waited() {
        run_on_epoll(async {
            let steps = Rc::default();
            let works: Vec<_> = (0..10).map(|name| costly(name, &steps)).collect();
            let mut waits = Vec::new();
            for work in works {
                waits.push(work.await.unwrap());
            }
            assert_eq!(steps.borrow()[..10], (0..10).collect::<Vec<_>>());
            assert!(waits[9] >= STEP * 9, "{:?}", waits[9]);
        });
    }
}
