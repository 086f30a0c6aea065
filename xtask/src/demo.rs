//! Shows lb to a newcomer, after a complete build.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Error, Result};
use nix::unistd::geteuid;

use crate::workspace::Workspace;
use crate::{bpf, build, process, profile, setup};

/// Sets up, builds, and becomes the demo: so that Ctrl-C, `kill` and the exit code are the demo's own, and nobody
/// returns to a prompt while it still cleans up.
pub(crate) fn run(workspace: &Workspace, keep: bool) -> Result<()> {
    if !geteuid().is_root() {
        println!("demo: this builds everything as you; the demo itself needs root, and says how to start it");
    }
    setup::run(workspace)?;
    let (daemon, demo) = (build::daemon(workspace)?, build_demo(workspace)?);
    let mut command = Command::new(&demo);
    command.args(keep.then_some("--keep")).env("LB_DAEMON", daemon);
    Err(Error::from(command.exec()).context(format!("cannot start {}", demo.display())))
}

fn build_demo(workspace: &Workspace) -> Result<PathBuf> {
    let mut cargo = profile::release_cargo(workspace);
    cargo.args(["build", "--release", "--locked", "--package", "lb-tests", "--bin", "demo"]);
    cargo.args(["--message-format", "json-render-diagnostics"]);
    let messages = process::output_with_progress(&mut cargo).context("the demo does not build")?;
    let mut binaries = bpf::executables(&messages).into_iter();
    binaries.find(|path| path.ends_with("demo")).context("cargo built no binary `demo`")
}
