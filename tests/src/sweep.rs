//! The names of things outside this process that must not outlive it: `lb-test-PID-NUMBER-ROLE`.
//!
//! Drop removes them. A process that was killed cannot, so the next one looks for names whose pid is no more.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use tempfile::TempDir;

const PREFIX: &str = "lb-test-";

static MAKING: Mutex<()> = Mutex::new(());

/// Held by whoever makes a thing with a name of ours, and for ever by whoever removes all of them for the end of the
/// process: so nothing is made behind the sweeper's back.
pub fn making() -> MutexGuard<'static, ()> {
    MAKING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A name of this process; `number` keeps its names apart.
#[must_use]
pub fn name(number: u32, role: &str) -> String {
    format!("{PREFIX}{}-{number}-{role}", process::id())
}

/// Entries of `directory` that a process left which runs no more.
#[must_use]
pub fn dead(directory: &Path) -> Vec<PathBuf> {
    owned_by(directory, |pid| !Path::new("/proc").join(pid.to_string()).exists())
}

/// Entries of `directory` of this process.
#[must_use]
pub fn own(directory: &Path) -> Vec<PathBuf> {
    owned_by(directory, |pid| pid == process::id())
}

/// A directory for one daemon's config, socket and log; it goes with the value.
pub fn scratch_directory() -> Result<TempDir> {
    let _making = making();
    let temporary = env::temp_dir();
    dead(&temporary).iter().map(PathBuf::as_path).for_each(remove);
    tempfile::Builder::new().prefix(&name(0, "")).tempdir().context("making a scratch directory")
}

/// Removes this process's scratch directories: for the end by a signal, where nothing is dropped.
pub fn scratch() {
    own(&env::temp_dir()).iter().map(PathBuf::as_path).for_each(remove);
}

fn remove(path: &Path) {
    // What is left after a failure here is swept by the next process.
    let _ = fs::remove_dir_all(path);
}

fn owned_by(directory: &Path, wanted: impl Fn(u32) -> bool) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| maker(path).is_some_and(&wanted)).collect()
}

/// The pid in a name of ours; nothing for a name of somebody else's.
fn maker(path: &Path) -> Option<u32> {
    path.file_name()?.to_str()?.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_ours_have_a_maker() {
        assert_eq!(maker(Path::new("/run/netns/lb-test-41-0-client")), Some(41));
        assert_eq!(maker(Path::new("/run/netns/lb-demo-41-client")), None);
        assert_eq!(maker(Path::new("/run/netns/lb-test-")), None);
    }

    #[test]
    fn the_living_are_not_swept() {
        let directory = tempfile::tempdir().unwrap();
        let mine = directory.path().join(name(0, "mine"));
        // Pids end at 2^22 on Linux, so nobody ever has this one.
        let theirs = directory.path().join(format!("{PREFIX}4194305-0-theirs"));
        fs::write(&mine, "").unwrap();
        fs::write(&theirs, "").unwrap();
        assert_eq!(dead(directory.path()), [theirs]);
        assert_eq!(own(directory.path()), [mine]);
    }
}
