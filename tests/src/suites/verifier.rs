//! The running kernel's verifier takes every program. The loads are made before there are cases, so that each program is a
//! case with a name of its own, however many there are.

use anyhow::Error;
use lb_userspace::kernel::census::Verified;

use crate::runner::Case;

/// A case for each program that was tried.
pub(super) fn cases(verified: Vec<Verified>) -> Vec<Case> {
    verified.into_iter().map(case).collect()
}

fn case(Verified { name, verdict, .. }: Verified) -> Case {
    Case::new(format!("verifier::{name}_is_accepted"), || verdict.map(drop).map_err(Error::from))
}
