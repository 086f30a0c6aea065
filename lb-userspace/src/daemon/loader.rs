//! The kernel programs while the daemon runs: a reload may take stages that were not loaded at the start.
//!
//! The verifier takes seconds for some, in which health must be acted upon. So they are loaded in a thread of its own, and
//! the reload is asked for again when they are there.

use super::balancer::chain;
use super::orders::{answer, kept};
use crate::control::Request;
use crate::control::server::{Answer, Asked};
use crate::kernel::{AttachError, Attachment, Link, Mode, Program, Programs};
use lb_common::abi::StageSet;
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

/// The programs, which a thread may be busy with.
#[derive(Clone, Debug)]
pub(super) struct Loader {
    programs: Arc<Mutex<Programs>>,
    /// Where a reload is asked for again.
    queue: UnboundedSender<Asked>,
}

impl Loader {
    pub(super) fn new(programs: Programs, queue: UnboundedSender<Asked>) -> Self {
        Self { programs: Arc::new(Mutex::new(programs)), queue }
    }

    /// Whether packets can go on to all of these stages now.
    pub(super) fn has(&self, stages: StageSet) -> bool {
        match self.programs.try_lock() {
            Ok(programs) => programs.have(stages),
            Err(TryLockError::Poisoned(programs)) => programs.into_inner().have(stages),
            Err(TryLockError::WouldBlock) => false,
        }
    }

    /// Loads these stages, then has the configuration read again for whoever asked. If the kernel refuses one, that is the
    /// answer.
    pub(super) fn load(&self, stages: StageSet, asker: oneshot::Sender<Answer>) {
        tracing::info!("loading the programs that the new configuration takes");
        let Self { programs, queue } = self.clone();
        std::thread::spawn(move || {
            let loaded = programs.lock().unwrap_or_else(PoisonError::into_inner).add(stages);
            // Daemon or asker may have gone meanwhile.
            match loaded {
                Ok(()) => drop(queue.send((Request::Reload, asker))),
                Err(error) => drop(asker.send(answer(Err(kept(&chain(&error)))).into())),
            }
        });
    }

    /// Attaches a program; waits where others are being loaded.
    pub(super) fn attach(
        &self,
        program: Program,
        link: &Link,
        mode: Mode,
    ) -> Result<Attachment, AttachError> {
        self.programs.lock().unwrap_or_else(PoisonError::into_inner).attach(program, link, mode)
    }
}
