//! Runs one bench of the crate `lb-benches` after a complete build.

use anyhow::Result;

use crate::workspace::Workspace;
use crate::{build, process, profile};

/// Builds everything, then runs the bench with its own arguments.
pub(crate) fn run(workspace: &Workspace, name: &str, arguments: &[String]) -> Result<()> {
    let daemon = build::daemon(workspace)?;
    let mut cargo = profile::release_cargo(workspace);
    cargo.args(["run", "--release", "--locked", "--quiet", "--package", "lb-benches", "--bin", name, "--"]);
    process::run(cargo.args(arguments).env("LB_DAEMON", daemon))
}
