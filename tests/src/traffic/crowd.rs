//! Thousands of connections that all stay open, with a request on each every second or so, on one thread.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::http;
use crate::netns::Namespace;

/// Between two requests of a member: often enough to meet every change, and seldom enough for two cores.
const PAUSE: Duration = Duration::from_millis(900);
/// How long an answer may take: several retransmissions.
const PATIENCE: Duration = Duration::from_secs(6);
/// Members that are let in at once, and the time until the next are: fewer than a veth's queue holds.
const ADMITTED: usize = 40;
const TICK: Duration = Duration::from_millis(10);

/// One connection, at its end.
#[derive(Debug, Default, Clone)]
pub struct Member {
    /// Who answered.
    pub backend: String,
    /// How often.
    pub answers: u32,
    /// How it broke, if it did.
    pub broken: Option<String>,
}

/// The connections.
#[derive(Debug)]
pub struct Crowd {
    orders: Arc<Orders>,
    worker: JoinHandle<Result<Vec<Member>>>,
}

#[derive(Debug, Default)]
struct Orders {
    wanted: AtomicUsize,
    answered: AtomicUsize,
    stop: AtomicBool,
}

/// Lets this process, and the backends that it starts from now on, hold as many connections as root may.
pub fn make_room() -> Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).context("room for descriptors")
}

impl Crowd {
    /// Opens `connections` from `namespace`, and waits until each has been answered once.
    pub fn gather(namespace: &Namespace, server: SocketAddr, connections: usize) -> Result<Self> {
        let orders = Arc::new(Orders::default());
        let shared = Arc::clone(&orders);
        let worker = namespace.run(|| Ok(thread::spawn(move || serve(server, &shared))))?;
        let crowd = Self { orders, worker };
        crowd.grow(connections);
        let deadline = Instant::now() + PATIENCE;
        while crowd.orders.answered.load(Ordering::Relaxed) < connections {
            ensure!(Instant::now() < deadline, "{connections} connections are not open after {PATIENCE:?}");
            thread::sleep(TICK);
        }
        Ok(crowd)
    }

    /// Opens some more, and does not wait.
    pub fn grow(&self, connections: usize) {
        self.orders.wanted.fetch_add(connections, Ordering::Relaxed);
    }

    /// Has each member ask once more, and gives them all.
    pub fn disperse(self) -> Result<Vec<Member>> {
        self.orders.stop.store(true, Ordering::Relaxed);
        self.worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn serve(server: SocketAddr, orders: &Arc<Orders>) -> Result<Vec<Member>> {
    let runtime = Builder::new_current_thread().enable_all().build().context("a runtime for the crowd")?;
    Ok(runtime.block_on(async {
        let mut members = JoinSet::new();
        while !orders.stop.load(Ordering::Relaxed) {
            let missing = orders.wanted.load(Ordering::Relaxed).saturating_sub(members.len());
            for _ in 0..missing.min(ADMITTED) {
                members.spawn(attend(server, Arc::clone(orders)));
            }
            sleep(TICK).await;
        }
        members.join_all().await
    }))
}

async fn attend(server: SocketAddr, orders: Arc<Orders>) -> Member {
    let mut member = Member::default();
    if let Err(error) = member.stay(server, &orders).await {
        member.broken = Some(format!("{error:#}"));
    }
    member
}

impl Member {
    async fn stay(&mut self, server: SocketAddr, orders: &Orders) -> Result<()> {
        let mut stream = timeout(PATIENCE, TcpStream::connect(server)).await.context("connecting")??;
        loop {
            let last = orders.stop.load(Ordering::Relaxed);
            let backend = timeout(PATIENCE, ask(&mut stream)).await.context("an answer")??;
            ensure!(self.answers == 0 || backend == self.backend, "{backend} answered for {}", self.backend);
            if self.answers == 0 {
                orders.answered.fetch_add(1, Ordering::Relaxed);
            }
            self.backend = backend;
            self.answers += 1;
            if last {
                return Ok(());
            }
            sleep(PAUSE).await;
        }
    }
}

/// One request on a connection that is kept; who answered.
async fn ask(stream: &mut TcpStream) -> Result<String> {
    stream.write_all(b"GET /bytes/2000 HTTP/1.1\r\nhost: crowd\r\n\r\n").await.context("sending")?;
    let mut received = Vec::with_capacity(4096);
    loop {
        let bytes = stream.read_buf(&mut received).await.context("receiving")?;
        ensure!(bytes > 0, "it ended after {} bytes", received.len());
        if let Some((head, body)) = http::parse_head(&received)?
            && body.len() >= head.length
        {
            return Ok(head.backend);
        }
    }
}
