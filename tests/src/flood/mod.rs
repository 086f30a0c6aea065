//! A flood: frames that the kernel itself sends from a CPU of its own, as many as that CPU can, until it is stopped.
//!
//! A program writes another source into each frame, and the kernel's live test run sends it out of a link, past the stack:
//! what is slow about sending packets from userspace is not there. Frames and time are bounded, whatever becomes of its
//! owner.

mod frame;
mod live;
mod program;

pub use frame::{Carries, Shape, Sources, Way};

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::netns::Namespace;
use crate::skip::Skipped;
use live::Generator;

/// Frames between two looks whether to stop: some ten milliseconds' worth. What the kernel prepares for them takes as long on a
/// busy machine, so they are no fewer.
const BURST: u32 = 1 << 16;
/// When a flood ends by itself.
const LONGEST: Duration = Duration::from_secs(10);
/// The priority of what sends, as `nice` counts.
const PRIORITY: i32 = -10;
/// Frames after which it does.
const MOST: u64 = 500_000_000;

/// A flood that goes on.
#[derive(Debug)]
pub struct Flood {
    stop: Arc<AtomicBool>,
    worker: Option<JoinHandle<Result<Sent>>>,
}

/// What a flood was.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Frames of each shape.
    pub frames: Vec<u64>,
    /// How long it took to make and send them, and to receive them on the same CPU, without what the kernel prepares.
    pub took: Duration,
}

impl Sent {
    /// Frames of all shapes.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.frames.iter().sum()
    }
}

impl Flood {
    /// Sends frames of these shapes in turn out of a link, which must have a program on it and be wired to one that has.
    pub fn start(namespace: &Namespace, link: &str, shapes: &[Shape], cpu: usize) -> Result<Self> {
        let generators = namespace.generators(link, shapes)?;
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let send = move || {
            stay_on(&[cpu])?;
            come_first()?;
            send(&generators, &seen)
        };
        let worker = namespace.run(|| Ok(thread::spawn(send)))?;
        Ok(Self { stop, worker: Some(worker) })
    }

    /// Ends it and says what it was.
    pub fn stop(mut self) -> Result<Sent> {
        self.stop.store(true, Ordering::Relaxed);
        let worker = self.worker.take().context("a flood that was stopped already")?;
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(worker) = self.worker.take() {
            // Whoever drops a flood has another error to tell of.
            let _ = worker.join();
        }
    }
}

fn send(generators: &[Generator], stop: &AtomicBool) -> Result<Sent> {
    let began = Instant::now();
    let (mut frames, mut took) = (vec![0; generators.len()], Duration::ZERO);
    let is_over = |frames: &[u64]| {
        stop.load(Ordering::Relaxed) || began.elapsed() > LONGEST || frames.iter().sum::<u64>() > MOST
    };
    while !is_over(&frames) {
        for (generator, sent) in generators.iter().zip(&mut frames) {
            took += generator.send(BURST).context("sending live frames")?;
            *sent += u64::from(BURST);
        }
    }
    Ok(Sent { frames, took })
}

/// A CPU for a flood, and the others for everything else.
#[derive(Debug)]
pub struct Cpus {
    /// The flood's.
    pub flood: usize,
    /// All others that this thread may use.
    pub others: Vec<usize>,
}

impl Cpus {
    /// The CPUs of this thread, the last of them for a flood; a named skip where there is only one.
    pub fn part() -> Result<Self> {
        let allowed = sched_getaffinity(Pid::from_raw(0)).context("asking for the CPUs")?;
        let mut others: Vec<usize> =
            (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap_or(false)).collect();
        match others.pop() {
            Some(flood) if !others.is_empty() => Ok(Self { flood, others }),
            _ => Err(Skipped("a flood needs a CPU beside that of its victims".to_owned()).into()),
        }
    }

    /// Runs `work` on a thread that stays on the others, as do the threads and processes that it starts.
    pub fn beside<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let kept = || stay_on(&self.others).and_then(|()| work());
        thread::scope(|scope| scope.spawn(kept).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn stay_on(cpus: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    cpus.iter().try_for_each(|cpu| set.set(*cpu))?;
    sched_setaffinity(Pid::from_raw(0), &set).context("staying on a CPU")
}

/// Lets this thread run before others: a flood that waits for its CPU is none.
#[expect(unsafe_code, reason = "no dependency of ours changes priorities")]
fn come_first() -> Result<()> {
    // SAFETY: a system call on integers.
    let answer = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, PRIORITY) };
    if answer < 0 { Err(io::Error::last_os_error()).context("coming first on a CPU") } else { Ok(()) }
}
