//! The soak: mixed load for minutes, while backends are killed, the configuration is reloaded and certificates are renewed.
//!
//! Not in the default run: `LB_SOAK_MINUTES=10 lb-tests l7::soak`. Nothing may fail but what was under way at a backend
//! when that was killed, and the daemon's memory must not grow.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::life::Kept;
use super::scene::{BACKENDS, Io, PLAIN, SECURE, Scene, certify};
use crate::runner::Case;
use crate::skip::Need;

/// How many minutes, and that it is asked for.
const MINUTES: &str = "LB_SOAK_MINUTES";
const RELOAD: Duration = Duration::from_secs(5);
const KILL: Duration = Duration::from_secs(7);
const RENEW: Duration = Duration::from_secs(11);
/// How long after a kill a failure is that kill's.
const AFTERMATH: Duration = Duration::from_millis(500);
/// What memory may grow by between the first and the last third, beyond a tenth: pages that the allocator keeps.
const SLACK: u64 = 3 << 20;

pub(super) fn cases() -> Vec<Case> {
    let case = |io: Io| {
        let name = format!("l7::soak::{}::nothing_fails_and_memory_stays_flat", io.word());
        let case = Case::new(name, move || run(&mut Scene::build(io)?));
        let needs = [Need::Asked(MINUTES), Need::Root, Need::Command("curl"), Need::Command("openssl")];
        let case = case.needs(&needs);
        if io == Io::Uring { case.needs(&[Need::IoUring]) } else { case }
    };
    Io::BOTH.map(case).into()
}

/// What the load has seen.
#[derive(Default)]
struct Seen {
    is_over: AtomicBool,
    answers: AtomicU64,
    excused: AtomicU64,
    killed: Mutex<Option<Instant>>,
    unexpected: Mutex<Vec<String>>,
}

impl Seen {
    fn note(&self, kind: &str, outcome: &Result<()>) {
        match outcome {
            Ok(()) => self.answers.fetch_add(1, Ordering::Relaxed),
            Err(_) if self.is_excused() => self.excused.fetch_add(1, Ordering::Relaxed),
            Err(error) => {
                let mut unexpected = self.unexpected.lock().unwrap_or_else(PoisonError::into_inner);
                unexpected.push(format!("{kind}: {error:#}"));
                0
            }
        };
    }

    fn is_excused(&self) -> bool {
        let killed = self.killed.lock().unwrap_or_else(PoisonError::into_inner);
        killed.is_some_and(|at| at.elapsed() < AFTERMATH)
    }

    fn kill(&self) {
        *self.killed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

fn run(scene: &mut Scene) -> Result<()> {
    let minutes: u64 = std::env::var(MINUTES)?.parse().context(MINUTES)?;
    let end = Instant::now() + Duration::from_secs(minutes * 60);
    let (seen, mut memory) = (Seen::default(), Vec::new());
    let mut killed = Vec::new();
    let mut backends = std::mem::take(&mut scene.backends);
    let scene = &*scene;
    thread::scope(|scope| -> Result<()> {
        let loads: [fn(&Scene, &Seen); 5] = [kept, kept, fresh, secure, large];
        for load in loads {
            let seen = &seen;
            scope.spawn(move || load(scene, seen));
        }
        let stirred = stir(scene, &seen, end, &mut backends, &mut memory);
        seen.is_over.store(true, Ordering::Relaxed);
        killed.push(stirred?);
        Ok(())
    })?;
    tell(scene, &seen, &memory, killed.first().copied().unwrap_or(0));
    let unexpected = seen.unexpected.lock().unwrap_or_else(PoisonError::into_inner);
    ensure!(
        unexpected.is_empty(),
        "{} unexpected: {:#?}",
        unexpected.len(),
        unexpected.iter().take(10).collect::<Vec<_>>()
    );
    is_flat(&memory)
}

/// Kills, reloads and renews until the end. How often a backend was killed.
fn stir(
    scene: &Scene,
    seen: &Seen,
    end: Instant,
    backends: &mut Vec<crate::process::Process>,
    memory: &mut Vec<u64>,
) -> Result<u64> {
    let (mut reload, mut kill, mut renew, mut kills) =
        (Instant::now(), Instant::now() + KILL, Instant::now(), 0);
    while Instant::now() < end {
        if Instant::now() >= kill {
            kill += KILL;
            kills += 1;
            let number = u8::try_from(kills % 2)?;
            seen.kill();
            backends.remove(0).kill()?;
            seen.kill();
            backends.push(scene.start_backend(2 - number, BACKENDS[usize::from(1 - number)])?);
        }
        if Instant::now() >= renew {
            renew += RENEW;
            certify(scene.files.path(), "one.example.org", "ec", "renewed")?;
        }
        if Instant::now() >= reload {
            reload += RELOAD;
            memory.push(scene.daemon.resident()?);
            let more = format!(
                "[[route]]\nname = \"r{}\"\npath = \"/r\"\nrespond = {{ body = \"r\" }}\n",
                memory.len() % 3
            );
            // A pair that is just being renewed is refused, and the next reload takes it.
            if let Err(error) = scene.daemon.reload_text(&scene.config(&more)) {
                ensure!(format!("{error:#}").contains("is not that of the certificate"), "{error:#}");
            }
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(kills)
}

fn is_flat(memory: &[u64]) -> Result<()> {
    let median = |part: &[u64]| {
        let mut part = part.to_vec();
        part.sort_unstable();
        part.get(part.len() / 2).copied().unwrap_or_default()
    };
    let third = memory.len() / 3;
    let (first, last) =
        (median(&memory[third / 2..third + third / 2]), median(&memory[memory.len() - third..]));
    ensure!(last <= first + first / 10 + SLACK, "memory grew from {first} to {last} bytes: {memory:?}");
    Ok(())
}

fn tell(scene: &Scene, seen: &Seen, memory: &[u64], kills: u64) {
    eprintln!(
        "soak by {}: {} answers, {kills} kills, {} failures at a kill, memory {} to {} KiB, most {} KiB",
        scene.io.word(),
        seen.answers.load(Ordering::Relaxed),
        seen.excused.load(Ordering::Relaxed),
        memory.first().copied().unwrap_or_default() >> 10,
        memory.last().copied().unwrap_or_default() >> 10,
        memory.iter().max().copied().unwrap_or_default() >> 10,
    );
}

/// Requests on connections that are kept for a few hundred.
fn kept(scene: &Scene, seen: &Seen) {
    while !seen.is_over.load(Ordering::Relaxed) {
        let Ok(mut client) = Kept::connect(scene) else { continue };
        for _ in 0..300 {
            let outcome = client.get("/bytes/1000").and_then(|answer| is_fine(&answer));
            seen.note("kept", &outcome);
            if outcome.is_err() {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// A connection for each request.
fn fresh(scene: &Scene, seen: &Seen) {
    while !seen.is_over.load(Ordering::Relaxed) {
        let answer = Kept::connect(scene).and_then(|mut client| client.get("/"));
        seen.note("new", &answer.and_then(|answer| is_fine(&answer)));
        thread::sleep(Duration::from_millis(2));
    }
}

fn is_fine(answer: &str) -> Result<()> {
    ensure!(answer.starts_with("HTTP/1.1 200 "), "{}", answer.lines().next().unwrap_or_default());
    Ok(())
}

/// Handshakes, and some requests and an upload behind each.
fn secure(scene: &Scene, seen: &Seen) {
    let urls: Vec<String> = (0..5).map(|_| format!("https://{SECURE}/bytes/3000")).collect();
    let mut arguments = vec!["-k", "-f", "-o", "/dev/null"];
    arguments.extend(urls.iter().flat_map(|url| [url.as_str(), "-o", "/dev/null"]));
    while !seen.is_over.load(Ordering::Relaxed) {
        seen.note("tls", &scene.curl(&arguments).map(drop));
    }
}

/// Downloads that take a while.
fn large(scene: &Scene, seen: &Seen) {
    let url = format!("http://{PLAIN}/bytes/3000000");
    while !seen.is_over.load(Ordering::Relaxed) {
        let size = scene.curl(&["-f", "-o", "/dev/null", "-w", "%{size_download}", &url]);
        let whole = size.and_then(|size| {
            ensure!(size == "3000000", "{size} bytes");
            Ok(())
        });
        seen.note("large", &whole);
        thread::sleep(Duration::from_millis(20));
    }
}
