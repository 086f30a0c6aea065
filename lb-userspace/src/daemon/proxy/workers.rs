//! The worker threads.

use super::Error;
use crate::config::proxy::Io;
use crate::l7::site::{Look, Snapshot};
use crate::l7::transport::{Epoll, Kind, Ring, Watch};
use crate::l7::worker::{Counters, Down, Order, run};
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// How long workers are waited for that are asked how things look.
const LOOK: Duration = Duration::from_millis(500);

/// All workers.
#[derive(Debug)]
pub(super) struct Workers {
    pub(super) kind: Kind,
    workers: Vec<Worker>,
}

#[derive(Debug)]
struct Worker {
    orders: UnboundedSender<Order>,
    counters: Arc<Counters>,
    thread: JoinHandle<io::Result<()>>,
}

impl Workers {
    /// Starts as many as the settings say, which serve this.
    pub(super) fn start(snapshot: &Snapshot, down: &Down) -> Result<Self, Error> {
        let proxy = &snapshot.settings.proxy;
        let kind = choose(proxy.io)?;
        let workers = (0..snapshot.workers)
            .map(|number| Worker::start(number, kind, (snapshot.clone(), Down::clone(down))));
        let workers = workers.collect::<io::Result<Vec<_>>>().map_err(Error::Worker)?;
        tracing::info!(workers = workers.len(), io = kind.as_str(), "serving");
        Ok(Self { kind, workers })
    }

    fn tell(&self, order: &Order) {
        for worker in &self.workers {
            // One that has ended said so when it did.
            let _ = worker.orders.send(order.clone());
        }
    }

    /// Has all serve a snapshot, of which these backends are down.
    pub(super) fn serve(&self, snapshot: &Snapshot, down: Down) {
        self.tell(&Order::Serve(snapshot.clone(), down));
    }

    /// Tells all which backends are down.
    pub(super) fn judge(&self, down: Down) {
        self.tell(&Order::Judge(down));
    }

    /// How the backends look to each. One that does not answer at once is left out.
    pub(super) async fn look(&self) -> Vec<Look> {
        let (told, mut looks) = unbounded_channel();
        self.tell(&Order::Look(told));
        let mut all = Vec::new();
        let collect = async {
            while let Some(more) = looks.recv().await {
                all.extend(more);
            }
        };
        let _ = tokio::time::timeout(LOOK, collect).await;
        all
    }

    /// What each has done.
    pub(super) fn counters(&self) -> impl Iterator<Item = &Counters> {
        self.workers.iter().map(|worker| &*worker.counters)
    }

    /// Has all end when their connections have, or after this time, or when somebody is in a hurry, and waits for it.
    pub(super) async fn drain(self, patience: Duration, hurry: impl Future<Output = ()>) {
        self.tell(&Order::Drain(patience));
        let orders: Vec<_> = self.workers.iter().map(|worker| worker.orders.clone()).collect();
        let join = move || self.workers.into_iter().for_each(Worker::join);
        // The threads are waited for on another thread, for this one has probes to run meanwhile.
        let mut joined = tokio::task::spawn_blocking(join);
        tokio::select! {
            _ = &mut joined => return,
            () = hurry => tracing::info!("stopping at once"),
        }
        for orders in &orders {
            // One that has ended by now needs no order.
            let _ = orders.send(Order::Drain(Duration::ZERO));
        }
        let _ = joined.await;
    }
}

impl Worker {
    fn start(number: u32, kind: Kind, served: (Snapshot, Down)) -> io::Result<Self> {
        let (orders, received) = unbounded_channel();
        let counters = Arc::new(Counters::of(number));
        let own = (Arc::clone(&counters), RandomState::new().hash_one(number));
        let work = move || match kind {
            Kind::Ring => Ring::run(run::<Ring>(served, received, own)),
            Kind::Epoll => Epoll::run(run::<Epoll>(served, received, own)),
        };
        let thread = std::thread::Builder::new().name(format!("worker-{number}")).spawn(work)?;
        Ok(Self { orders, counters, thread })
    }

    fn join(self) {
        match self.thread.join() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "a worker ended"),
            Err(_) => tracing::error!("a worker ended by a bug"),
        }
    }
}

/// What is asked for; of what may be either, what works.
fn choose(io: Io) -> Result<Kind, Error> {
    if io == Io::Epoll {
        return Ok(Kind::Epoll);
    }
    // The kernel is asked on a thread of its own, for this one has a runtime.
    let detected = std::thread::spawn(Kind::detect).join();
    let (kind, why_not) = detected.unwrap_or((Kind::Epoll, None));
    settle(io, kind, why_not)
}

fn settle(io: Io, kind: Kind, why_not: Option<io::Error>) -> Result<Kind, Error> {
    match why_not {
        Some(reason) if io == Io::Uring => return Err(Error::NoRing(reason)),
        Some(reason) => tracing::warn!(%reason, "io_uring cannot be used here; workers go by epoll"),
        None => {}
    }
    Ok(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_that_cannot_be_had_is_done_without_unless_it_is_asked_for() {
        let refused = || Some(io::Error::from_raw_os_error(libc::EPERM));
        assert!(matches!(settle(Io::Auto, Kind::Epoll, refused()), Ok(Kind::Epoll)));
        assert!(matches!(settle(Io::Uring, Kind::Ring, None), Ok(Kind::Ring)));
        let told = settle(Io::Uring, Kind::Epoll, refused()).unwrap_err().to_string();
        assert!(told.contains("`io = \"auto\"`"), "{told}");
    }
}
