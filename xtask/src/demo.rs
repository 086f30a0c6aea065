//! Shows lb to a newcomer, after a complete build.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Error, Result};
use nix::unistd::geteuid;

use crate::workspace::Workspace;
use crate::{build, setup};

/// Sets up, builds, and becomes the demo: so that Ctrl-C, `kill` and the exit code are the demo's own, and nobody
/// returns to a prompt while it still cleans up.
pub(crate) fn run(workspace: &Workspace, keep: bool) -> Result<()> {
    if !geteuid().is_root() {
        println!("demo: this builds everything as you; the demo itself needs root, and says how to start it");
    }
    setup::run(workspace)?;
    let daemon = build::daemon(workspace)?;
    let demo = build::of_suites(workspace, "demo")?;
    let mut command = Command::new(&demo);
    command.args(keep.then_some("--keep")).env("LB_DAEMON", daemon);
    Err(Error::from(command.exec()).context(format!("cannot start {}", demo.display())))
}
