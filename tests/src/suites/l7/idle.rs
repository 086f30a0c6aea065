//! A hundred thousand connections that wait for their next request, or as many as this machine has descriptors for: they cost
//! memory, and nothing else. Needs no command, so it can be tried in a virtual machine, whose descriptors suffice:
//! `cargo xtask vm --kernel 6.12 l7::idle`.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::scene::Io;
use crate::daemon::{Daemon, Mode, binary};
use crate::netns::Namespace;
use crate::patience;
use crate::process::Process;
use crate::runner::Case;
use crate::skip::Need;

const WANTED: u64 = 100_000;
/// Descriptors that are for something else, at the daemon and here.
const OTHERS: u64 = 2_500;
/// Fewer would show nothing.
const FEWEST: u64 = 5_000;
/// Connections that are opened at once.
const BATCH: u64 = 200;
/// Addresses of the listener that clients connect to in turn, as each has so many ports for one.
const ADDRESSES: u8 = 8;
const PORT: u16 = 8080;
const BACKEND: &str = "127.0.0.1:9001";
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
/// Requests by which the cost of one is told.
const REQUESTS: u32 = 3_000;
/// Time in which a daemon that nobody asks is watched.
const WATCHED: Duration = Duration::from_secs(3);
/// An answer, and all connections' end, take less.
const SLOWEST: Duration = Duration::from_secs(1);
const GONE: Duration = Duration::from_secs(10);
/// What an idle connection may take of the daemon's memory, in bytes.
const MEMORY: u64 = 2_048;

pub(super) fn cases() -> Vec<Case> {
    let case = |io: Io| {
        let name = format!("l7::idle::{}::connections_without_end_do_not_harm_the_active_one", io.word());
        let case = Case::new(name, move || run(io)).needs(&[Need::Root]);
        if io == Io::Uring { case.needs(&[Need::IoUring]) } else { case }
    };
    Io::BOTH.map(case).into()
}

/// The daemon with one worker, and a backend.
struct House {
    daemon: Daemon,
    namespace: Namespace,
    _backend: Process,
}

fn run(io: Io) -> Result<()> {
    let count = WANTED.min(descriptors()?.saturating_sub(OTHERS));
    ensure!(count >= FEWEST, "descriptors for {count} connections are too few to tell");
    let house = House::build(io)?;
    let alone = house.costs()?;
    let memory = house.daemon.resident()?;
    let idle = house.open(count)?;
    let each = house.daemon.resident()?.saturating_sub(memory) / count;
    let beside = house.costs()?;
    println!(
        "{}, {count} idle connections: {each} bytes each; a request takes {:?} of CPU (alone {:?}), a second without any {:?} ({:?})",
        io.word(),
        beside.request,
        alone.request,
        beside.second,
        alone.second
    );
    ensure!(each <= MEMORY, "an idle connection takes {each} bytes, more than {MEMORY}");
    ensure!(beside.request < alone.request * 3, "a request's cost grows: {beside:?}, alone {alone:?}");
    ensure!(
        beside.second < alone.second * 2 + patience::of(Duration::from_millis(2)),
        "waiting costs: {beside:?}, alone {alone:?}"
    );
    house.are_all_served(&idle)?;
    house.is_served_while_all_go(idle)
}

/// As many descriptors as this process may have, made available to it and whom it starts.
fn descriptors() -> Result<u64> {
    let most: u64 = fs::read_to_string("/proc/sys/fs/nr_open")?.trim().parse()?;
    // Only who may raise it can; others have what they have.
    if setrlimit(Resource::RLIMIT_NOFILE, most, most).is_err() {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(getrlimit(Resource::RLIMIT_NOFILE)?.0)
}

/// CPU time of the daemon.
#[derive(Debug)]
struct Costs {
    /// For one request of a kept connection.
    request: Duration,
    /// For a second in which nobody asks.
    second: Duration,
}

impl House {
    fn build(io: Io) -> Result<Self> {
        let namespace = Namespace::new("idle")?;
        namespace.sysctl("net.ipv4.ip_local_port_range", "10000 64999")?;
        let config = format!(
            "[proxy]\nio = \"{}\"\nworkers = 1\n\
             [[listener]]\nname = \"plain\"\naddresses = [\"0.0.0.0:{PORT}\"]\nservice = \"web\"\n\
             deadlines = {{ idle = \"1h\" }}\n\
             [[service]]\nname = \"web\"\nkind = \"http\"\nhealth = \"none\"\n\
             [[service.backend]]\nname = \"web1\"\naddr = \"{BACKEND}\"\n",
            io.word()
        );
        let mut command = Command::new(binary());
        command.args(["backend", "--name", "web1", "--http", BACKEND]).stdout(Stdio::null());
        let backend = namespace.spawn(command)?;
        let mut daemon = Daemon::launch(&namespace, &[], Mode::Auto, &config)?;
        daemon.wait_until_ready()?;
        let house = Self { daemon, namespace, _backend: backend };
        let deadline = Instant::now() + patience::of(Duration::from_secs(5));
        while house.connect(0).and_then(|mut stream| ask(&mut stream)).is_err() {
            ensure!(Instant::now() < deadline, "it does not serve: {}", house.daemon.log());
            thread::sleep(Duration::from_millis(20));
        }
        Ok(house)
    }

    fn connect(&self, number: u64) -> Result<TcpStream> {
        self.namespace.run(|| connect(number))
    }

    /// That many connections, each answered once.
    fn open(&self, count: u64) -> Result<Vec<TcpStream>> {
        self.namespace.run(|| {
            let mut open = Vec::new();
            for first in (0..count).step_by(usize::try_from(BATCH)?) {
                let batch: Result<Vec<_>> = (first..count.min(first + BATCH)).map(connect).collect();
                let mut batch = batch?;
                batch.iter_mut().try_for_each(|stream| stream.write_all(REQUEST))?;
                batch
                    .iter_mut()
                    .try_for_each(receive)
                    .with_context(|| format!("after {first} of {count}"))?;
                open.append(&mut batch);
            }
            Ok(open)
        })
    }

    fn costs(&self) -> Result<Costs> {
        let before = self.cpu()?;
        thread::sleep(WATCHED);
        let watched = self.cpu()?.saturating_sub(before);
        let mut stream = self.connect(0)?;
        (0..REQUESTS).try_for_each(|_| ask(&mut stream))?;
        let before = self.cpu()?;
        (0..REQUESTS).try_for_each(|_| ask(&mut stream))?;
        let asked = self.cpu()?.saturating_sub(before);
        Ok(Costs { request: asked / REQUESTS, second: watched.div_f64(WATCHED.as_secs_f64()) })
    }

    /// Time that the daemon's threads have had. Source: the kernel's `sched-stats`, first field, nanoseconds.
    fn cpu(&self) -> Result<Duration> {
        let threads = fs::read_dir(self.daemon.facts().join("task"))?;
        threads.flatten().try_fold(Duration::ZERO, |sum, thread| {
            let text = fs::read_to_string(thread.path().join("schedstat"))?;
            let nanoseconds = text.split_whitespace().next().context("schedstat is empty")?.parse()?;
            Ok(sum + Duration::from_nanos(nanoseconds))
        })
    }

    /// One in twenty is asked again, and all stand.
    fn are_all_served(&self, idle: &[TcpStream]) -> Result<()> {
        for (number, stream) in idle.iter().enumerate().step_by(20) {
            ask(&mut &*stream)
                .with_context(|| format!("asking connection {number} again: {}", self.daemon.log()))?;
        }
        let room = &mut [0];
        for (number, stream) in idle.iter().enumerate() {
            stream.set_nonblocking(true)?;
            let quiet = stream.peek(room).is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
            ensure!(quiet, "connection {number} of {} was ended", idle.len());
        }
        Ok(())
    }

    /// All end at once: the active one is answered meanwhile, so is a new one, and the daemon closes its ends, but for what it keeps to the backend.
    fn is_served_while_all_go(&self, idle: Vec<TcpStream>) -> Result<()> {
        let (mut stream, count) = (self.connect(0)?, idle.len());
        let deadline = Instant::now() + patience::of(GONE);
        thread::scope(|scope| {
            scope.spawn(|| drop(idle));
            while self.daemon.descriptors()? > count / 20 {
                ensure!(
                    Instant::now() < deadline,
                    "{} descriptors of the daemon are left",
                    self.daemon.descriptors()?
                );
                let asked = Instant::now();
                ask(&mut stream)?;
                ask(&mut self.connect(1)?)?;
                ensure!(asked.elapsed() < patience::of(SLOWEST), "two answers took {:?}", asked.elapsed());
            }
            Ok(())
        })
    }
}

/// A connection of the namespace that the thread is in.
fn connect(number: u64) -> Result<TcpStream> {
    let address = Ipv4Addr::new(127, 0, 0, 1 + u8::try_from(number % u64::from(ADDRESSES))?);
    let stream = TcpStream::connect(SocketAddr::from((address, PORT)))?;
    stream.set_read_timeout(Some(patience::of(SLOWEST)))?;
    Ok(stream)
}

fn ask(stream: &mut (impl Read + Write)) -> Result<()> {
    stream.write_all(REQUEST)?;
    receive(stream)
}

/// An answer with 200, to its last byte.
fn receive(stream: &mut impl Read) -> Result<()> {
    let (mut read, mut room) = (Vec::new(), [0; 2048]);
    loop {
        let more = stream.read(&mut room)?;
        ensure!(more > 0, "it ended after {:?}", String::from_utf8_lossy(&read));
        read.extend_from_slice(&room[..more]);
        let text = String::from_utf8_lossy(&read);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        ensure!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let length =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")).context("no length")?;
        if body.len() >= length.parse()? {
            return Ok(());
        }
    }
}
