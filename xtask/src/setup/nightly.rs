//! Installs a nightly with rust-src from rustup, into a rustup home of our own.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::compiler::Compiler;
use super::{probe, say};
use crate::process;

/// The nightly to install: the first of Rust 1.97, with LLVM 22, which the pinned bpf-linker and aya-ebpf take.
/// Dated, because next month's nightly may take neither.
const TOOLCHAIN: &str = "nightly-2026-05-20";

/// Installs the nightly. The user's own toolchains and default stay as they are: rustup is given another home.
pub(super) fn install(folder: &Path) -> Vec<Result<Compiler>> {
    vec![run(&folder.join("rustup")).context(format!("rustup's {TOOLCHAIN}"))]
}

fn run(home: &Path) -> Result<Compiler> {
    ensure!(process::find_program("rustup").is_some(), "rustup is not installed");
    say(format_args!(
        "installing {TOOLCHAIN} with rust-src into {}, as no other compiler for BPF is here",
        home.display()
    ));
    let mut rustup = rustup(home);
    rustup.args(["toolchain", "install", TOOLCHAIN, "--no-self-update"]);
    process::output(rustup.args(["--profile", "minimal", "--component", "rust-src"]))?;
    let sysroot = process::output(rustup_rustc(home).args(["--print", "sysroot"]))?;
    probe::nightly_at(Path::new(sysroot.trim()), TOOLCHAIN)
}

fn rustup(home: &Path) -> Command {
    let mut command = Command::new("rustup");
    command.env("RUSTUP_HOME", home).env_remove("RUSTUP_TOOLCHAIN");
    command
}

fn rustup_rustc(home: &Path) -> Command {
    let mut command = rustup(home);
    command.args(["run", TOOLCHAIN, "rustc"]);
    command
}
