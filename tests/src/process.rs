//! Children that cannot outlive the tests that started them.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::LazyLock;
use std::sync::mpsc::{self, Sender, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;

/// How often a waiting guard looks at its child.
const LOOK: Duration = Duration::from_millis(5);

/// A child process: killed and waited for on drop.
#[derive(Debug)]
pub struct Process {
    child: Child,
    program: String,
}

impl Process {
    /// Starts `command`. The kernel kills the child when this process ends without having dropped the guard.
    pub fn spawn(mut command: Command) -> Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        in_child(&mut command, prepare);
        let child = start(command).with_context(|| format!("starting {program}"))?;
        Ok(Self { child, program })
    }

    /// Sends `signal`.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(self.child.id().cast_signed());
        kill(pid, signal).with_context(|| format!("sending {signal} to {}", self.program))
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How the child ended, if it did.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("waiting for {}", self.program))
    }

    /// Waits until the child ends, at most `bound`.
    pub fn wait(&mut self, bound: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + bound;
        while Instant::now() < deadline {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            thread::sleep(LOOK);
        }
        bail!("{} still runs after {bound:?}", self.program)
    }

    /// Kills the child as a crash would, and gives the last moment at which it still lived.
    pub fn kill(mut self) -> Result<Instant> {
        let moment = Instant::now();
        self.child
            .kill()
            .and_then(|()| self.child.wait())
            .with_context(|| format!("killing {}", self.program))?;
        Ok(moment)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only for a child that has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command, and where to tell what came of it.
type Order = (Command, SyncSender<io::Result<Child>>);

/// Takes orders to the thread that starts every child. A child is tied to the thread that started it, and what a case built may be
/// used by others when the thread of that case has ended: this one ends with the process.
static STARTER: LazyLock<Sender<Order>> = LazyLock::new(|| {
    let (orders, received) = mpsc::channel::<Order>();
    thread::spawn(move || {
        for (mut command, done) in received {
            // Who gave the order waits for it.
            let _ = done.send(command.spawn());
        }
    });
    orders
});

fn start(command: Command) -> io::Result<Child> {
    let (done, started) = mpsc::sync_channel(1);
    STARTER.send((command, done)).map_err(io::Error::other)?;
    started.recv().map_err(io::Error::other)?
}

/// Ties the child to the thread that starts it, and gives it back the signals that our own clean-up blocks.
fn prepare() -> io::Result<()> {
    set_pdeathsig(Signal::SIGKILL)?;
    Ok(SigSet::all().thread_unblock()?)
}

/// Has `work` run in the child, between fork and exec. It may only make system calls: no allocation, no locks.
#[expect(unsafe_code, reason = "the hook runs in a forked copy of a threaded process")]
pub(crate) fn in_child(command: &mut Command, work: impl FnMut() -> io::Result<()> + Send + Sync + 'static) {
    // SAFETY: the hooks of this crate (setns, prctl, sigmask) are system calls and allocate nothing.
    unsafe { command.pre_exec(work) };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper() -> Process {
        let mut command = Command::new("sleep");
        command.arg("60");
        Process::spawn(command).unwrap()
    }

    #[test]
    fn a_child_outlives_the_thread_that_asked_for_it() {
        let mut process = thread::spawn(sleeper).join().unwrap();
        thread::sleep(20 * LOOK);
        assert!(process.ended().unwrap().is_none());
    }

    #[test]
    fn a_dropped_guard_leaves_no_child() {
        let process = sleeper();
        let entry = format!("/proc/{}", process.child.id());
        drop(process);
        assert!(!std::path::Path::new(&entry).exists());
    }

    #[test]
    fn a_child_that_hangs_is_named() {
        let refused = sleeper().wait(Duration::from_millis(20)).unwrap_err().to_string();
        assert_eq!(refused, "sleep still runs after 20ms");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let refused = Process::spawn(Command::new("/no/such/program")).unwrap_err().to_string();
        assert_eq!(refused, "starting /no/such/program");
    }
}
