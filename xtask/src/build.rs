//! Builds the BPF programs, then the daemon that embeds them.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::workspace::Workspace;
use crate::{bpf, fingerprint, process, profile, setup};

/// The whole build, as `cargo xtask build` does it.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    daemon(workspace).map(|path| println!("built {}", path.display()))
}

/// Builds everything and returns the path of the daemon.
pub(crate) fn daemon(workspace: &Workspace) -> Result<PathBuf> {
    profile::tell(workspace);
    daemon_by(workspace, profile::release_cargo(workspace))
}

/// The same by a cargo that has flags of its own.
pub(crate) fn daemon_by(workspace: &Workspace, mut cargo: Command) -> Result<PathBuf> {
    programs(workspace)?;
    cargo.args(["build", "--release", "--locked", "--package", "lb-userspace"]);
    cargo.args(["--message-format", "json-render-diagnostics"]);
    let messages = process::output_with_progress(&mut cargo).context("the daemon does not build")?;
    let mut binaries = bpf::executables(&messages).into_iter();
    binaries.find(|path| path.ends_with("lb-userspace")).context("cargo built no binary `lb-userspace`")
}

fn programs(workspace: &Workspace) -> Result<()> {
    let toolchain = setup::ensure(workspace)?;
    let sources =
        fingerprint::of_sources(workspace.root()).context("cannot read the BPF programs' sources")?;
    let objects = bpf::compile(&toolchain, &workspace.bpf_manifest(), &workspace.bpf_target_dir())
        .context("the BPF programs do not build")?;
    bpf::publish(&objects, &workspace.object_dir())?;
    bpf::publish_text("sources", &sources, &workspace.object_dir())
}

/// Has cargo build the daemon for something that loads no BPF program, such as a lint: where there is no object yet, its build
/// script is given an empty one. A real one is left alone, as another path would make cargo build the daemon twice.
pub(crate) fn with_any_programs(workspace: &Workspace, cargo: &mut Command) {
    if !workspace.object_dir().join("lb-ebpf").exists() {
        cargo.env("LB_EBPF_OBJECT", "/dev/null");
    }
}
