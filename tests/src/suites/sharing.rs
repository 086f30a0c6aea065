//! Cases that share a stage: most of what a case takes is the building of one.

use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;

use super::NEEDS;
use crate::runner::Case;
use crate::stage::Stage;

/// A claim that leaves its stage as it found it, when it holds: its suite, its sentence, and how it is tried.
pub(super) type Claim = (&'static str, &'static str, fn(&mut Stage) -> Result<()>);

/// What the cases of one group share. It goes with the last of them.
struct Shared {
    build: Box<dyn Fn() -> Result<Stage> + Send>,
    stage: Option<Stage>,
}

impl Shared {
    /// A stage on which a claim failed is in no state for the next.
    fn attempt(&mut self, claim: fn(&mut Stage) -> Result<()>) -> Result<()> {
        let mut stage = self.stage.take().map_or_else(&self.build, Ok)?;
        claim(&mut stage)?;
        self.stage = Some(stage);
        Ok(())
    }
}

/// The cases of `claims`, one after the other on the stage that `build` gives, which is called `what`.
pub(super) fn cases(
    what: impl Display,
    build: impl Fn() -> Result<Stage> + Send + 'static,
    claims: &[Claim],
) -> Vec<Case> {
    let shared = Arc::new(Mutex::new(Shared { build: Box::new(build), stage: None }));
    let case = |&(suite, sentence, claim): &Claim| {
        let shared = Arc::clone(&shared);
        let run = move || shared.lock().unwrap_or_else(PoisonError::into_inner).attempt(claim);
        Case::new(format!("{suite}::{what}::{sentence}"), run).needs(&NEEDS)
    };
    claims.iter().map(case).collect()
}
