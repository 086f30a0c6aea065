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
pub(super) struct Shared<T> {
    build: Box<dyn Fn() -> Result<T> + Send>,
    stage: Option<T>,
}

/// Something that is built when it is first wanted.
pub(super) fn shared<T>(build: impl Fn() -> Result<T> + Send + 'static) -> Arc<Mutex<Shared<T>>> {
    Arc::new(Mutex::new(Shared { build: Box::new(build), stage: None }))
}

/// Tries a claim. A stage on which one failed is in no state for the next.
pub(super) fn attempt<T>(shared: &Mutex<Shared<T>>, claim: impl FnOnce(&mut T) -> Result<()>) -> Result<()> {
    let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
    let mut stage = shared.stage.take().map_or_else(&shared.build, Ok)?;
    claim(&mut stage)?;
    shared.stage = Some(stage);
    Ok(())
}

/// The cases of `claims`, one after the other on the stage that `build` gives, which is called `what`.
pub(super) fn cases(
    what: impl Display,
    build: impl Fn() -> Result<Stage> + Send + 'static,
    claims: &[Claim],
) -> Vec<Case> {
    let shared = shared(build);
    let case = |&(suite, sentence, claim): &Claim| {
        let shared = Arc::clone(&shared);
        let run = move || attempt(&shared, claim);
        Case::new(format!("{suite}::{what}::{sentence}"), run).needs(&NEEDS)
    };
    claims.iter().map(case).collect()
}
