//! Finds or installs what compiling BPF programs needs.
//!
//! The order: a nightly with rust-src, a distribution's rustc with a prebuilt BPF core, our own folder from an
//! earlier run, then an installation into that folder: Debian packages, else a nightly from rustup. Whatever is
//! chosen must build a trial program before it counts. The result is a stamp in the toolchain folder, which
//! lets the next run start at once. Nothing of the user's is removed or replaced.

mod compiler;
mod debian;
mod linker;
mod nightly;
mod probe;
mod stamp;
mod trial;

use std::fs::{self, File, TryLockError};
use std::path::Path;

use anyhow::{Context, Result, bail};

pub(crate) use self::compiler::{Compiler, Core};
pub(crate) use self::stamp::Toolchain;
use crate::workspace::Workspace;

/// The minor version of Rust 1 that the BPF crate needs: `rust-version` of this workspace.
const OLDEST_RUST: u32 = 95;

/// One step of set-up, printed once with its reason.
pub(crate) fn say(message: impl std::fmt::Display) {
    println!("setup: {message}");
}

/// `cargo xtask setup`: the toolchain, and a line that says which.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let toolchain = ensure(workspace)?;
    say(format_args!("ready with {toolchain}"));
    Ok(())
}

/// The toolchain of an earlier run if it is still complete, else a new one.
pub(crate) fn ensure(workspace: &Workspace) -> Result<Toolchain> {
    let folder = workspace.toolchain_dir();
    match stamp::read(&folder) {
        Some(toolchain) => Ok(toolchain),
        None => make(&folder),
    }
}

fn make(folder: &Path) -> Result<Toolchain> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let folder = &folder.canonicalize()?;
    let _lock = lock(folder)?;
    // Whoever held the lock may have done the work meanwhile.
    if let Some(toolchain) = stamp::read(folder) {
        return Ok(toolchain);
    }
    let toolchain = first_that_works(folder)?;
    stamp::write(folder, &toolchain)?;
    Ok(toolchain)
}

/// Held until the returned file is dropped, also by a crash: the kernel forgets the lock with the process.
fn lock(folder: &Path) -> Result<File> {
    let file = File::create(folder.join("lock"))?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            say("waiting for another set-up that is under way");
            file.lock()?;
        }
        other => other?,
    }
    Ok(file)
}

/// A place where a compiler may come from: what it offers, or why it offers nothing.
type Source = fn(&Path) -> Vec<Result<Compiler>>;

/// Ordered from "is already there" to "must be downloaded".
const SOURCES: [Source; 5] =
    [probe::nightlies, probe::distribution, debian::unpacked, debian::install, nightly::install];

fn first_that_works(folder: &Path) -> Result<Toolchain> {
    let mut refusals = Vec::new();
    for candidate in SOURCES.iter().flat_map(|source| source(folder)) {
        match candidate.and_then(|compiler| complete(folder, compiler)) {
            Ok(toolchain) => return Ok(toolchain),
            Err(refusal) => {
                say(format_args!("passed over {refusal:#}"));
                refusals.push(format!("{refusal:#}"));
            }
        }
    }
    bail!("{}", unsupported(&refusals))
}

/// Adds the linker to a compiler and proves the pair on a trial program.
fn complete(folder: &Path, compiler: Compiler) -> Result<Toolchain> {
    let name = compiler.name.clone();
    let linker = linker::install(folder, &compiler).with_context(|| name.clone())?;
    let toolchain = Toolchain::new(compiler, linker);
    trial::build(folder, &toolchain).context(name)?;
    Ok(toolchain)
}

fn unsupported(refusals: &[String]) -> String {
    format!(
        "this machine cannot compile BPF programs yet. What was looked at:\n  - {}\nEither of these is enough:\n  \
         - rustup, from which this command takes a nightly of its own, or \
         `rustup toolchain install nightly --profile minimal --component rust-src`\n  \
         - Debian packages: apt-get with a candidate for `rustc-web` of at least 1.{OLDEST_RUST}\n\
         Then run the command again.",
        refusals.join("\n  - ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unsupported_machine_hears_every_reason_and_two_ways_out() {
        let message =
            unsupported(&["nightly-x: no rust-src".to_owned(), "Debian packages: no apt-get".to_owned()]);
        assert!(
            message.contains("  - nightly-x: no rust-src\n  - Debian packages: no apt-get\n"),
            "{message}"
        );
        assert!(message.contains("rustup") && message.contains("rustc-web"), "{message}");
    }

    #[test]
    fn two_set_ups_do_not_hold_the_lock_together() {
        let folder = tempfile::tempdir().unwrap();
        let held = lock(folder.path()).unwrap();
        let other = File::create(folder.path().join("lock")).unwrap();
        assert!(matches!(other.try_lock(), Err(TryLockError::WouldBlock)));
        drop(held);
        other.try_lock().unwrap();
    }
}
