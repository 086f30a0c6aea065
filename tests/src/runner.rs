//! Turns cases into trials of libtest-mimic, so that the output, the filter and the exit code are those of `cargo test`.

use std::sync::{PoisonError, RwLock};

use anyhow::Result;
use libtest_mimic::{Completion, Failed, Trial};

use crate::skip::{Need, Skipped, missing};

/// One claim about the product, and how it is tried.
pub struct Case {
    name: String,
    needs: Vec<Need>,
    is_alone: bool,
    run: Box<dyn FnOnce() -> Result<()> + Send>,
}

impl Case {
    /// `name` is a path ending in a sentence: `nat::native::connections_spread_by_weight`.
    pub fn new(name: impl Into<String>, run: impl FnOnce() -> Result<()> + Send + 'static) -> Self {
        Self { name: name.into(), needs: Vec::new(), is_alone: true, run: Box::new(run) }
    }

    /// Its whole name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// It measures no times and counts no packets that a busy machine could lose: others that say so may run meanwhile.
    #[must_use]
    pub fn beside_others(mut self) -> Self {
        self.is_alone = false;
        self
    }

    /// What the machine must offer; else the case is skipped with the reason.
    #[must_use]
    pub fn needs(mut self, needs: &[Need]) -> Self {
        self.needs.extend_from_slice(needs);
        self
    }
}

/// Held by a case that runs: by one that has the machine for itself, for writing.
static MACHINE: RwLock<()> = RwLock::new(());

/// The trials of `cases`.
pub fn trials(cases: impl IntoIterator<Item = Case>) -> Vec<Trial> {
    cases.into_iter().map(|case| Trial::ignorable_test(case.name.clone(), || attempt(case))).collect()
}

fn attempt(case: Case) -> Result<Completion, Failed> {
    if let Some(reason) = missing(&case.needs) {
        return Ok(Completion::ignored_with(reason));
    }
    match run(case) {
        Ok(()) => Ok(Completion::Completed),
        Err(error) => judge(&error),
    }
}

fn run(case: Case) -> Result<()> {
    // A case that panicked has left nothing in the lock that could be wrong.
    if case.is_alone {
        let _machine = MACHINE.write().unwrap_or_else(PoisonError::into_inner);
        (case.run)()
    } else {
        let _machine = MACHINE.read().unwrap_or_else(PoisonError::into_inner);
        (case.run)()
    }
}

/// A [`Skipped`] anywhere in the chain is no failure.
fn judge(error: &anyhow::Error) -> Result<Completion, Failed> {
    match error.downcast_ref::<Skipped>() {
        Some(Skipped(reason)) => Ok(Completion::ignored_with(reason)),
        None => Err(Failed::from(format!("{error:#}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Context, anyhow};

    fn reason(case: Case) -> Option<String> {
        match attempt(case) {
            Ok(Completion::Ignored { reason }) => reason,
            _ => None,
        }
    }

    #[test]
    fn an_unmet_need_is_a_skip_with_its_reason() {
        let needy = Case::new("needy", || Ok(())).needs(&[Need::Command("no-such-command")]);
        assert_eq!(reason(needy).as_deref(), Some("command no-such-command is missing"));
    }

    #[test]
    fn a_case_may_find_out_late_that_it_cannot_run() {
        let late = Case::new("late", || Err(Skipped("found out late".to_owned())).context("deep inside"));
        assert_eq!(reason(late).as_deref(), Some("found out late"));
    }

    #[test]
    fn a_failure_tells_the_whole_chain() {
        let failed = attempt(Case::new("bad", || Err(anyhow!("inner").context("outer"))));
        assert_eq!(
            failed.err().and_then(|failed| failed.message().map(str::to_owned)).unwrap(),
            "outer: inner"
        );
    }
}
