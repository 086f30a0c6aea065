//! Connections to backends: of each worker its own, kept for the next request for as long as the service says.

use super::buffer::Buffer;
use super::deadline::{Clock, TICK};
use super::http1::Framing;
use super::http2::{Place, Shared};
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
    /// Those that speak HTTP/2.
    shared: Shared,
}

/// A connection that waits for a request.
#[derive(Debug)]
struct Idle<W> {
    wire: Box<Wire<W>>,
    since: u32,
    requests: u32,
    age: Age,
}

/// When a connection was made, and which part of its lifetime it gets: connections made at once shall not end at once.
#[derive(Clone, Copy, Debug)]
pub struct Age {
    born: u32,
    part: u32,
}

impl Age {
    /// Parts of a lifetime.
    const WHOLE: u32 = 1 << 10;

    /// Of one that is made now, of nine tenths of a lifetime or more as these bits say.
    #[must_use]
    pub fn new(now: u32, random: u64) -> Self {
        let less = u32::try_from(random % u64::from(Self::WHOLE / 10)).unwrap_or(0);
        Self { born: now, part: Self::WHOLE - less }
    }

    /// Whether it is not to be used again.
    pub(super) fn is_over(self, now: u32, lifetime: Option<Duration>) -> bool {
        lifetime.is_some_and(|lifetime| {
            TICK * now.saturating_sub(self.born) >= lifetime / Self::WHOLE * self.part
        })
    }
}

/// A connection that an exchange has to itself.
#[derive(Debug)]
pub struct Upstream<W> {
    /// The connection. It stays where it is while it goes from one exchange to the next.
    pub wire: Box<Wire<W>>,
    /// What was read from it.
    pub input: Buffer,
    /// Requests it has carried before this one.
    pub requests: u32,
    age: Age,
    /// Whether the backend may know by it who its client is: it is no other client's any more.
    is_private: bool,
    pool: Rc<Pool<W>>,
}

/// How a connection is made.
#[derive(Debug)]
pub struct Way<'a> {
    /// The worker's clock.
    pub clock: &'a Rc<Clock>,
    /// Within which time.
    pub within: Duration,
    /// Its age.
    pub age: Age,
    /// The PROXY header that it begins with.
    pub header: Option<Vec<u8>>,
    /// The TLS that is spoken on it.
    pub tls: Option<&'a ClientTls>,
    /// Whether it is for one client alone.
    pub is_alone: bool,
}

impl<W: Watch> Pool<W> {
    /// No connections yet.
    #[must_use]
    pub fn new(addr: SocketAddr, counts: Arc<BackendCounts>) -> Self {
        Self { addr, idle: RefCell::default(), shared: Shared::default(), counts }
    }

    /// The connection that was used last, for the others may then grow old and close. None that has passed its lifetime, and none
    /// on which the backend has spoken unasked, be it a farewell or the rest of an answer: that would be taken for the next one's
    /// answer. One that must not fail is looked at closely.
    pub fn take(self: &Rc<Self>, must_live: bool, lifetime: Option<Duration>) -> Option<Upstream<W>> {
        loop {
            let Idle { wire, requests, age, .. } = self.idle.borrow_mut().pop()?;
            let is_over = age.is_over(wire.timer.clock().now(), lifetime);
            if !is_over && wire.is_quiet(must_live) {
                self.counts.reuses.add(1);
                let pool = Rc::clone(self);
                let input = Buffer::default();
                return Some(Upstream { wire, input, requests, age, is_private: false, pool });
            }
        }
    }

    /// A new connection, within the deadline.
    pub async fn connect(self: &Rc<Self>, way: &Way<'_>) -> Result<Upstream<W>, Failure> {
        let wire = Box::new(open(self.addr, way).await?);
        self.counts.connects.add(1);
        let (input, pool) = (Buffer::default(), Rc::clone(self));
        Ok(Upstream { wire, input, requests: 0, age: way.age, is_private: false, pool })
    }

    /// A place on a connection by HTTP/2 that others share; on a new one if it is to be `fresh` or is for one client alone.
    pub(super) async fn share(
        self: &Rc<Self>,
        way: &Way<'_>,
        service: &proxy::Service,
        fresh: bool,
    ) -> Result<Place, Failure> {
        let may_share = !way.is_alone;
        let take =
            || (may_share && !fresh).then(|| self.shared.take(&service.pool, way.clock.now())).flatten();
        if let Some(place) = take() {
            return Ok(place);
        }
        let _turn = self.shared.turn_to_connect().await;
        if let Some(place) = take() {
            return Ok(place);
        }
        let wire: Wire<W> = open(self.addr, way).await?;
        self.shared.begin(wire, way.age, service.deadlines.idle, may_share).await
    }

    /// Closes connections that have waited for too long, or live too long.
    pub fn expire(&self, now: u32, rules: &proxy::Pool) {
        self.shared.expire(now, rules);
        let longest = u32::try_from(rules.idle_timeout.as_millis() / TICK.as_millis()).unwrap_or(u32::MAX);
        self.idle.borrow_mut().retain(|idle| {
            now.saturating_sub(idle.since) < longest && !idle.age.is_over(now, rules.lifetime)
        });
    }

    /// How many connections wait.
    #[must_use]
    pub fn idle(&self) -> usize {
        self.idle.borrow().len()
    }

    /// Closes all connections that wait.
    pub fn close_idle(&self) {
        self.shared.close_idle();
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
    /// Gives the connection back for the next request, if the service keeps so many. One that is a client's own ends.
    pub fn keep(mut self, rules: &proxy::Pool) {
        let may_stay = self.rest(rules) && !self.is_private;
        let Self { wire, requests, age, pool, .. } = self;
        let mut idle = pool.idle.borrow_mut();
        if may_stay && idle.len() < usize::try_from(rules.idle).unwrap_or(usize::MAX) {
            let since = wire.timer.clock().now();
            idle.push(Idle { wire, since, requests, age });
        }
    }

    /// The request that it carried is over. Whether it may carry another.
    pub(super) fn rest(&mut self, rules: &proxy::Pool) -> bool {
        self.wire.timer.end_at(None);
        self.requests += 1;
        let is_fresh = rules.requests == 0 || self.requests < rules.requests;
        is_fresh && self.input.is_empty() && !self.age.is_over(self.wire.timer.clock().now(), rules.lifetime)
    }

    /// The same connection, its client's alone from now on if `is_private`.
    #[must_use]
    pub const fn private(mut self, is_private: bool) -> Self {
        self.is_private |= is_private;
        self
    }

    /// Whether it is one client's alone.
    pub(super) const fn is_private(&self) -> bool {
        self.is_private
    }

    /// Whether it can carry another request of its client's, as [`Pool::take`] would have it.
    pub(super) fn is_ready(&self, must_live: bool, lifetime: Option<Duration>) -> bool {
        !self.age.is_over(self.wire.timer.clock().now(), lifetime) && self.wire.is_quiet(must_live)
    }

    /// Whether it is to the backend of this pool.
    pub(super) fn is_of(&self, pool: &Rc<Pool<W>>) -> bool {
        Rc::ptr_eq(&self.pool, pool)
    }

    /// Where its backend listens.
    pub(super) fn addr(&self) -> SocketAddr {
        self.pool.addr
    }

    /// The same after an answer whose body nobody wants, if all of that is there already.
    pub fn keep_without(mut self, body: Framing, rules: &proxy::Pool) {
        if let Framing::Length(length) = body
            && self.input.len() as u64 == length
        {
            self.input.consume(self.input.len());
            self.keep(rules);
        }
    }

    /// Whether it has carried requests before, so that the backend may have ended it in silence.
    #[must_use]
    pub const fn is_reused(&self) -> bool {
        self.requests > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Option<Duration> = Some(Duration::from_mins(1));
    const MINUTE_TICKS: u32 = 600;

    #[test]
    fn no_connection_grows_older_than_its_lifetime_and_none_loses_more_than_a_tenth_of_it() {
        for random in 0..5000 {
            let age = Age::new(7, random);
            assert!(age.is_over(7 + MINUTE_TICKS, MINUTE));
            assert!(!age.is_over(7 + MINUTE_TICKS * 9 / 10 - 1, MINUTE));
        }
    }

    #[test]
    fn connections_made_at_once_do_not_end_at_once() {
        let over = |now| (0..1000).filter(|random| Age::new(0, *random).is_over(now, MINUTE)).count();
        assert!((300..700).contains(&over(MINUTE_TICKS * 95 / 100)), "{}", over(MINUTE_TICKS * 95 / 100));
    }

    #[test]
    fn without_a_lifetime_a_connection_is_used_as_long_as_it_lasts() {
        assert!(!Age::new(0, 0).is_over(u32::MAX, None));
    }
}
