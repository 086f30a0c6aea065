//! The kernel programs while the daemon runs: a reload may take stages that were not loaded at the start.
//!
//! The verifier takes seconds for some, in which health must be acted upon. So they are loaded in a thread of its own, and
//! the reload is asked for again when they are there.

use super::balancer::chain;
use super::orders::{answer, kept};
use super::reloads::Reloads;
use crate::control::Request;
use crate::control::server::{Answer, Asked};
use crate::kernel::{AttachError, AttachedMode, Attachment, Link, LoadError, Program, Programs};
use lb_common::abi::StageSet;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::thread;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

/// The programs, which a thread may be busy with.
#[derive(Clone, Debug)]
pub(super) struct Loader {
    programs: Arc<Mutex<Programs>>,
    /// Where a reload is asked for again.
    queue: UnboundedSender<Asked>,
    reloads: Reloads,
    /// Whether the programs for TC were asked for beside native ones, and what came of it.
    is_asked_for_tc: bool,
    at_tc: Arc<OnceLock<Result<(), String>>>,
}

impl Loader {
    pub(super) fn new(programs: Programs, queue: UnboundedSender<Asked>, reloads: Reloads) -> Self {
        let (programs, at_tc) = (Arc::new(Mutex::new(programs)), Arc::default());
        Self { programs, queue, reloads, is_asked_for_tc: false, at_tc }
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
        let Self { programs, queue, reloads, .. } = self.clone();
        let work = move || {
            // Daemon or asker may have gone meanwhile.
            match add(&programs, stages) {
                Ok(()) => drop(queue.send((Request::Reload, asker))),
                Err(error) => {
                    reloads.note_refused(&chain(&error));
                    drop(asker.send(answer(Err(kept(&chain(&error)))).into()));
                }
            }
        };
        if let Err(error) = thread::Builder::new().name("loader".to_owned()).spawn(work) {
            tracing::error!(%error, "no thread to load programs in; the old configuration serves on");
        }
    }

    /// Loads a program for TC, unless that was asked for before.
    pub(super) fn prepare_at_tc(&mut self, program: Program) {
        if self.is_asked_for_tc {
            return;
        }
        self.is_asked_for_tc = true;
        let (programs, at_tc) = (self.programs.clone(), self.at_tc.clone());
        let work = move || {
            let loaded = lock(&programs).prepare_at_tc(program);
            at_tc.set(loaded.map_err(|error| chain(&error)))
        };
        if let Err(error) = thread::Builder::new().name("loader".to_owned()).spawn(work) {
            // It is asked for once, so nobody else has told.
            let _ = self.at_tc.set(Err(chain(&error)));
        }
    }

    /// What came of it; `None` until that is known.
    pub(super) fn prepared_at_tc(&self) -> Option<Result<(), String>> {
        self.at_tc.get().cloned()
    }

    /// Has a program run at TC where it runs natively; waits where others are being loaded.
    pub(super) fn lower(
        &self,
        program: Program,
        attachments: &mut [&mut Attachment],
        reason: &str,
    ) -> Result<(), AttachError> {
        lock(&self.programs).lower(program, attachments, reason)
    }

    /// Attaches a program; waits where others are being loaded.
    pub(super) fn attach(
        &self,
        program: Program,
        link: &Link,
        ladder: &[AttachedMode],
    ) -> Result<Attachment, AttachError> {
        lock(&self.programs).attach(program, link, ladder)
    }
}

/// Loads these stages, unless who was waited for has loaded them.
fn add(programs: &Mutex<Programs>, stages: StageSet) -> Result<(), LoadError> {
    let mut programs = lock(programs);
    if programs.have(stages) {
        return Ok(());
    }
    tracing::info!("loading the programs that the new configuration takes");
    programs.add(stages)
}

/// A panic leaves programs out, and nothing half done.
fn lock(programs: &Mutex<Programs>) -> MutexGuard<'_, Programs> {
    programs.lock().unwrap_or_else(PoisonError::into_inner)
}
