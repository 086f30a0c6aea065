//! Lets a backend's machine and prober turn round each other until the owner has had enough.

use std::time::Instant;

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::sleep_until;

use super::{Evidence, Machine, Next, Params, Prober, Transition, Transport};

/// A changed verdict on the backend that `key` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report<K> {
    /// The owner's name for the backend.
    pub key: K,
    /// What changed.
    pub transition: Transition,
}

/// A running health check. Dropping it, or [`Handle::stop`], ends the check after the probe under way; no report
/// comes after that.
#[derive(Debug)]
pub struct Handle {
    /// Never sent: its end is the signal.
    stop: oneshot::Sender<()>,
    evidence: watch::Receiver<Evidence>,
    task: JoinHandle<()>,
}

impl Handle {
    /// The facts as of the last probe.
    #[must_use]
    pub fn evidence(&self) -> Evidence {
        self.evidence.borrow().clone()
    }

    /// Ends the check and waits until its last probe has closed its socket: a time-out at most.
    pub async fn stop(self) {
        drop(self.stop);
        // The task gives nothing back; if it panicked, it has ended too.
        let _ = self.task.await;
    }
}

/// Starts checking a backend's health. Must be called on a `LocalSet` of the transport's runtime.
///
/// Changed verdicts go to `reports`; the first follows the first probe, at once. `seed` must differ from backend to
/// backend, for the jitter to spread them.
pub fn spawn<K: Clone + 'static>(
    key: K,
    params: Params,
    seed: u64,
    transport: Transport,
    reports: UnboundedSender<Report<K>>,
) -> Handle {
    let params = params.bounded();
    let machine = Machine::new(params.clone(), Instant::now(), seed);
    let (publish, evidence) = watch::channel(machine.evidence().clone());
    let (stop, stopped) = oneshot::channel();
    let prober = Prober::new(params, transport, seed);
    let check = Check { key, machine, prober, reports, publish };
    Handle { stop, evidence, task: spawn_local(check.run(stopped)) }
}

struct Check<K> {
    key: K,
    machine: Machine,
    prober: Prober,
    reports: UnboundedSender<Report<K>>,
    publish: watch::Sender<Evidence>,
}

impl<K: Clone> Check<K> {
    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        loop {
            match self.machine.poll(Instant::now()) {
                Next::Sleep(until) => tokio::select! {
                    () = sleep_until(until.into()) => {}
                    _ = &mut stopped => return,
                },
                Next::Probe | Next::Await => {
                    let outcome = self.prober.probe().await;
                    let transition = self.machine.step(Instant::now(), &outcome);
                    if is_over(&mut stopped) || self.tell(transition).is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Publishes the evidence first, so that whoever acts on the report finds what it rests on.
    fn tell(&self, transition: Option<Transition>) -> Result<(), OwnerGone> {
        self.publish.send_replace(self.machine.evidence().clone());
        let Some(transition) = transition else { return Ok(()) };
        self.reports.send(Report { key: self.key.clone(), transition }).map_err(|_| OwnerGone)
    }
}

/// Nobody listens to reports any more.
struct OwnerGone;

fn is_over(stopped: &mut oneshot::Receiver<()>) -> bool {
    !matches!(stopped.try_recv(), Err(oneshot::error::TryRecvError::Empty))
}
