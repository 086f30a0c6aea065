//! Network namespaces that cannot be forgotten.
//!
//! A [`Namespace`] is named and bind-mounted under `/run/netns`, as `ip netns` does, so that whoever debugs a suite can look
//! inside with `ip -n NAME`. Its name carries the pid of its maker: it goes when the value is dropped, panics included, and
//! what a killed process left is swept by the next one.
//!
//! Only the *network* namespace is ever changed. `ip netns exec` also remounts `/sys`, which hides the pins under
//! `/sys/fs/bpf`; a thread or a child that merely called `setns` still sees them.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use anyhow::{Context, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};

use crate::process::{Process, in_child};
use crate::sweep;

/// Where `ip netns` keeps its names.
const DIRECTORY: &str = "/run/netns";

static NEXT: AtomicU32 = AtomicU32::new(0);
static SWEEP: Once = Once::new();

/// A network namespace of our own, with its loopback up.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    file: File,
}

impl Namespace {
    /// Makes a namespace; `role` ends its name and tells a reader what it stands for.
    pub fn new(role: &str) -> Result<Self> {
        SWEEP.call_once(sweep_dead);
        let _making = sweep::making();
        let name = sweep::name(NEXT.fetch_add(1, Ordering::Relaxed), role);
        let path = Path::new(DIRECTORY).join(&name);
        fs::create_dir_all(DIRECTORY).context("making /run/netns")?;
        File::create_new(&path).with_context(|| format!("making {}", path.display()))?;
        let file = hold(&path).inspect_err(|_| remove(&path)).with_context(|| format!("namespace {name}"))?;
        let namespace = Self { name, file };
        namespace.up("lo")?;
        Ok(namespace)
    }

    /// The name `ip -n` takes.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `work` on a thread of its own inside the namespace. Threads that `work` starts stay inside.
    ///
    /// A panic inside goes on in the caller.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let entered = || {
            setns(&self.file, CloneFlags::CLONE_NEWNET).with_context(|| format!("entering {}", self.name))?;
            work()
        };
        thread::scope(|scope| scope.spawn(entered).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Starts `command` inside the namespace. The child is killed when the guard or this process ends.
    pub fn spawn(&self, mut command: Command) -> Result<Process> {
        let namespace = self.raw();
        in_child(&mut command, move || enter(namespace));
        Process::spawn(command)
    }

    /// Writes a sysctl below `/proc/sys`, as this namespace sees it.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        let path = Path::new("/proc/sys").join(key.replace('.', "/"));
        self.run(|| fs::write(&path, value).with_context(|| format!("sysctl {key} = {value}")))
    }

    /// The descriptor for netlink messages that name this namespace.
    pub(crate) fn raw(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        remove(&Path::new(DIRECTORY).join(&self.name));
    }
}

/// Makes a namespace on a thread that ends at once, and binds it to `path`, which keeps it alive.
fn hold(path: &Path) -> Result<File> {
    let make = || -> Result<()> {
        unshare(CloneFlags::CLONE_NEWNET).context("unshare")?;
        let nothing = None::<&str>;
        mount(Some("/proc/thread-self/ns/net"), path, nothing, MsFlags::MS_BIND, nothing)
            .context("bind mount")
    };
    thread::scope(|scope| scope.spawn(make).join())
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    File::open(path).context("opening it again")
}

/// Moves the calling process into the namespace behind `descriptor`; runs between fork and exec.
#[expect(unsafe_code, reason = "a raw descriptor crosses the fork")]
fn enter(descriptor: RawFd) -> io::Result<()> {
    // SAFETY: the namespace lives while its method `spawn` runs, and the child has a copy of every descriptor.
    let namespace = unsafe { BorrowedFd::borrow_raw(descriptor) };
    Ok(setns(namespace, CloneFlags::CLONE_NEWNET)?)
}

fn remove(path: &Path) {
    // What is left after a failure here is swept by the next process.
    let _ = umount2(path, MntFlags::MNT_DETACH);
    let _ = fs::remove_file(path);
}

/// Removes the namespaces of processes that are no more.
fn sweep_dead() {
    sweep::dead(Path::new(DIRECTORY)).iter().map(PathBuf::as_path).for_each(remove);
}

/// Removes every namespace of this process: for the end by a signal, where nothing is dropped.
pub fn sweep_own() {
    sweep::own(Path::new(DIRECTORY)).iter().map(PathBuf::as_path).for_each(remove);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::skip::{Need, missing};

    fn names() -> Vec<PathBuf> {
        sweep::own(Path::new(DIRECTORY))
    }

    #[test]
    fn a_namespace_vanishes_with_its_value_even_in_a_panic() {
        if missing(&[Need::Root]).is_some() {
            return;
        }
        let panicked = thread::spawn(|| {
            let namespace = Namespace::new("panic").unwrap();
            assert!(names().iter().any(|path| path.ends_with(namespace.name())));
            panic!("on purpose");
        });
        assert!(panicked.join().is_err());
        assert!(!names().iter().any(|path| path.to_string_lossy().ends_with("-panic")));
    }
}
