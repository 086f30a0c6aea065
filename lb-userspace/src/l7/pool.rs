//! Connections to backends: of each worker its own, kept for the next request for as long as the service says.

use super::buffer::Buffer;
use super::deadline::{Clock, TICK};
use super::respond::Failure;
use super::tally::BackendCounts;
use super::tls::ClientTls;
use super::transport::{Stream, Watch};
use super::wire::Wire;
use crate::config::proxy;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// The connections of one worker to one backend.
#[derive(Debug)]
pub struct Pool<W> {
    addr: SocketAddr,
    idle: RefCell<Vec<Idle<W>>>,
    /// What this worker had of the backend.
    pub counts: Arc<BackendCounts>,
}

/// A connection that waits for a request.
#[derive(Debug)]
struct Idle<W> {
    wire: Wire<W>,
    since: u32,
    requests: u32,
}

/// A connection that an exchange has to itself.
#[derive(Debug)]
pub struct Upstream<W> {
    /// The connection.
    pub wire: Wire<W>,
    /// What was read from it.
    pub input: Buffer,
    /// Requests it has carried before this one.
    pub requests: u32,
    pool: Rc<Pool<W>>,
}

/// How a connection is made.
#[derive(Debug)]
pub struct Way<'a> {
    /// The worker's clock.
    pub clock: &'a Rc<Clock>,
    /// Within which time.
    pub within: Duration,
    /// The PROXY header that it begins with.
    pub header: Option<Vec<u8>>,
    /// The TLS that is spoken on it.
    pub tls: Option<&'a ClientTls>,
}

impl<W: Watch> Pool<W> {
    /// No connections yet.
    #[must_use]
    pub const fn new(addr: SocketAddr, counts: Arc<BackendCounts>) -> Self {
        Self { addr, idle: RefCell::new(Vec::new()), counts }
    }

    /// The connection that was used last, for the others may then grow old and close. One that must not fail is looked at
    /// first: a backend may have ended it meanwhile.
    pub fn take(self: &Rc<Self>, must_live: bool) -> Option<Upstream<W>> {
        loop {
            let Idle { wire, requests, .. } = self.idle.borrow_mut().pop()?;
            if !must_live || wire.is_quiet() {
                self.counts.reuses.add(1);
                return Some(Upstream { wire, input: Buffer::default(), requests, pool: Rc::clone(self) });
            }
        }
    }

    /// A new connection, within the deadline.
    pub async fn connect(self: &Rc<Self>, way: &Way<'_>) -> Result<Upstream<W>, Failure> {
        let wire = open(self.addr, way).await?;
        self.counts.connects.add(1);
        Ok(Upstream { wire, input: Buffer::default(), requests: 0, pool: Rc::clone(self) })
    }

    /// Closes connections that have waited for too long.
    pub fn expire(&self, now: u32, rules: &proxy::Pool) {
        let longest = u32::try_from(rules.idle_timeout.as_millis() / TICK.as_millis()).unwrap_or(u32::MAX);
        self.idle.borrow_mut().retain(|idle| now.saturating_sub(idle.since) < longest);
    }

    /// How many connections wait.
    #[must_use]
    pub fn idle(&self) -> usize {
        self.idle.borrow().len()
    }

    /// Closes all connections that wait.
    pub fn close_idle(&self) {
        self.idle.take();
    }
}

async fn open<W: Watch>(addr: SocketAddr, way: &Way<'_>) -> Result<Wire<W>, Failure> {
    let stream = Stream::open(addr).map_err(|_| Failure::Unreachable)?;
    let timer = way.clock.watch(Rc::clone(stream.socket()));
    timer.set(way.within);
    let mut wire = Wire::plain(stream, timer);
    let outcome = greet(&mut wire, addr, way).await;
    if wire.timer.has_expired() {
        return Err(Failure::SlowConnect);
    }
    wire.timer.clear();
    outcome.map(|()| wire)
}

/// Connects, and says what comes before the first request.
async fn greet<W: Watch>(wire: &mut Wire<W>, addr: SocketAddr, way: &Way<'_>) -> Result<(), Failure> {
    wire.stream().connect().await.map_err(|_| Failure::Unreachable)?;
    if let Some(header) = &way.header {
        wire.write_all(header).await.map_err(|_| Failure::Unreachable)?;
    }
    if let Some(tls) = way.tls {
        let connection = tls.connect(addr.ip()).map_err(|_| Failure::BackendTls)?;
        wire.start_tls(connection, &mut Buffer::default()).await.map_err(|_| Failure::BackendTls)?;
    }
    Ok(())
}

impl<W: Watch> Upstream<W> {
    /// Gives the connection back for the next request, if the service keeps so many.
    pub fn keep(self, rules: &proxy::Pool) {
        let Self { wire, input, requests, pool } = self;
        let requests = requests + 1;
        let mut idle = pool.idle.borrow_mut();
        let has_room = idle.len() < usize::try_from(rules.idle).unwrap_or(usize::MAX);
        let is_fresh = rules.requests == 0 || requests < rules.requests;
        if has_room && is_fresh && input.is_empty() {
            let since = wire.timer.clock().now();
            idle.push(Idle { wire, since, requests });
        }
    }

    /// Whether it has carried requests before, so that the backend may have ended it in silence.
    #[must_use]
    pub const fn is_reused(&self) -> bool {
        self.requests > 0
    }
}
