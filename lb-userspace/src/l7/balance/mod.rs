//! Which backend a request goes to: one [`Balancer`] a worker and service.
//!
//! It owns what the worker knows of the backends: who is up, how many exchanges each has, how long it takes of late, who is left out
//! for a while. Workers share nothing, so that no request waits for another core's memory; with random draws they agree well enough.
//!
//! Pure: `now` (since any fixed point) and random bits come in, a [`Choice`] goes out.

mod backend;
mod budget;
mod ewma;
mod hash;
mod outlier;
mod pick;
mod queue;
#[cfg(test)]
mod simulation;
mod sticky;
#[cfg(test)]
mod tests;

pub use backend::{BackendId, Outcome};
pub use budget::RetryBudget;
pub use hash::key_of;
pub use queue::Seat;
pub use sticky::Signer;

use std::net::SocketAddr;
use std::time::Duration;

use backend::Backend;
use hash::Hashed;
use outlier::Cap;
use queue::Queue;

use crate::config::proxy::{self, Balance, Outliers, Service, Sticky};

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// To this backend.
    Backend(BackendId),
    /// All backends that serve have as many exchanges as they may, or others wait for them already: wait, if there is room in the
    /// queue.
    Full,
    /// No backend serves.
    None,
}

/// What a request brings along to be balanced by.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wish<'a> {
    /// A hash of what the service balances by, see [`key_of`]; of no meaning where it does not.
    pub key: u64,
    /// The value of the sticky cookie.
    pub cookie: Option<&'a [u8]>,
    /// The backend that was tried in vain: another is better, if there is one.
    pub not: Option<BackendId>,
    /// The backend with which the client has a connection of its own: it binds like a cookie, and goes before one.
    pub own: Option<BackendId>,
}

/// The backends of a service as one worker sees them.
#[derive(Debug)]
pub struct Balancer {
    backends: Vec<Backend>,
    balance: Balance,
    sticky: Option<Sticky>,
    outliers: Option<Outliers>,
    slow_start: Duration,
    /// Exchanges at a time with one backend, in this worker; 0 is no bound.
    most: u32,
    queue: Queue,
    hashed: Hashed,
    /// What backends take in the middle, for outliers by latency, and when that was found out.
    median: (Duration, Duration),
    /// Room for the shares that a draw is made by.
    shares: Vec<u64>,
}

impl Balancer {
    /// A balancer for one of `workers`. Every backend is taken for up until [`Balancer::set_up`] says otherwise, as one that is not
    /// checked is.
    #[must_use]
    pub fn new(service: &Service, workers: u32, signer: &Signer, seed: u64, now: Duration) -> Self {
        let mut balancer = Self {
            backends: Vec::new(),
            balance: service.balance.clone(),
            sticky: None,
            outliers: None,
            slow_start: Duration::ZERO,
            most: 0,
            queue: Queue::default(),
            hashed: Hashed::default(),
            median: (Duration::ZERO, Duration::ZERO),
            shares: Vec::new(),
        };
        balancer.follow(service, workers, signer, seed, now);
        // Nothing was down before: nobody has to start slowly.
        balancer.backends.iter_mut().for_each(Backend::warm);
        balancer
    }

    /// Takes a new configuration in. A backend that stays (by name and address) keeps what is known of it; one that goes gets no new
    /// requests, and its identifier is given to another only when its exchanges have ended.
    pub fn follow(&mut self, service: &Service, workers: u32, signer: &Signer, seed: u64, now: Duration) {
        self.balance = service.balance.clone();
        self.sticky.clone_from(&service.sticky);
        self.outliers = service.outliers;
        self.slow_start = service.slow_start;
        self.most = service.max_connections.div_ceil(workers.max(1));
        self.queue.length = service.queue.length;
        self.backends.iter_mut().for_each(Backend::leave);
        let tag = |configured: &proxy::Backend| signer.tag(&service.name, &configured.name);
        // Before any is added, which would take the place of one that seems to be gone.
        let added: Vec<_> = service.backends.iter().filter(|one| !self.stays(one, tag(one))).collect();
        for one in added {
            self.add(Backend::new(one, tag(one), now));
        }
        self.hashed = Hashed::build(&self.balance, &self.backends, seed);
    }

    /// Whether the backend is there already; if so it stays.
    fn stays(&mut self, configured: &proxy::Backend, tag: sticky::Tag) -> bool {
        let known = self.backends.iter_mut().find(|backend| backend.is(configured));
        known.map(|backend| backend.stay(configured, tag)).is_some()
    }

    fn add(&mut self, backend: Backend) {
        match self.backends.iter_mut().find(|backend| backend.is_vacant()) {
            Some(place) => *place = backend,
            None => self.backends.push(backend),
        }
    }

    /// Takes the verdicts of health in.
    pub fn judge(&mut self, is_up: impl Fn(SocketAddr) -> bool, now: Duration) {
        self.backends.iter_mut().for_each(|backend| backend.set_up(is_up(backend.addr), now));
    }

    /// Where the backend listens.
    #[must_use]
    pub fn addr(&self, id: BackendId) -> Option<SocketAddr> {
        self.backends.get(id.index()).map(|backend| backend.addr)
    }

    /// The backend that listens there.
    #[must_use]
    pub fn find(&self, addr: SocketAddr) -> Option<BackendId> {
        let at = self.backends.iter().position(|backend| backend.addr == addr && !backend.is_gone())?;
        u32::try_from(at).ok().map(BackendId)
    }

    /// The backend's name.
    #[must_use]
    pub fn name(&self, id: BackendId) -> Option<&str> {
        self.backends.get(id.index()).map(|backend| &*backend.name)
    }

    /// The value of the sticky cookie that leads to this backend, if the service has one.
    #[must_use]
    pub fn cookie(&self, id: BackendId) -> Option<sticky::SetCookie<'_>> {
        let tag = &self.backends.get(id.index())?.tag;
        self.sticky.as_ref().map(|sticky| sticky::SetCookie { sticky, tag })
    }

    /// Notes that an exchange with this backend begins, and tells where it listens. Each has to be ended by [`Balancer::end`].
    pub fn begin(&mut self, id: BackendId) -> Option<SocketAddr> {
        let backend = self.backends.get_mut(id.index())?;
        backend.active += 1;
        Some(backend.addr)
    }

    /// Notes how an exchange ended. Whether the backend is left out for it.
    pub fn end(&mut self, id: BackendId, outcome: Outcome, now: Duration) -> bool {
        self.renew_median(now);
        let Some(backend) = self.backends.get_mut(id.index()) else { return false };
        backend.end(outcome, now);
        let Some(rules) = self.outliers else { return false };
        match outcome {
            Outcome::Abandoned => false,
            Outcome::Answered { latency }
                if !latency.is_some_and(|latency| is_slow(latency, self.median.0, &rules)) =>
            {
                backend.outlier.forgive(&rules, now);
                false
            }
            Outcome::Answered { .. } | Outcome::Failed => self.blame(id, &rules, now),
        }
    }

    /// Holds a failure against a backend. Whether it is left out for it.
    fn blame(&mut self, id: BackendId, rules: &Outliers, now: Duration) -> bool {
        let cap = self.cap(now);
        let backend = self.backends.get_mut(id.index());
        let is_out = backend.is_some_and(|backend| backend.outlier.blame(rules, cap, now));
        if is_out {
            self.queue.rouse();
        }
        is_out
    }

    /// How many are left out, and how many may be. Looks at all backends, so that only a failure asks.
    fn cap(&self, now: Duration) -> Cap {
        let serving = self.backends.iter().filter(|backend| backend.is_up());
        let (all, out) = serving
            .fold((0, 0), |(all, out), backend| (all + 1, out + u32::from(backend.outlier.is_out(now))));
        Cap { all, out }
    }

    /// Finds the median of latencies anew, once a second.
    fn renew_median(&mut self, now: Duration) {
        const OFTEN: Duration = Duration::from_secs(1);
        if self.outliers.is_some_and(|rules| rules.latency.is_some()) && now >= self.median.1 + OFTEN {
            let mut all: Vec<Duration> =
                self.backends.iter().filter_map(|backend| backend.latency.mean()).collect();
            all.sort_unstable();
            self.median = (all.get(all.len().saturating_sub(1) / 2).copied().unwrap_or_default(), now);
        }
    }

    /// What can be told of each backend, for `status` and metrics.
    pub fn views(&self, now: Duration) -> impl Iterator<Item = View<'_>> {
        self.backends.iter().filter(|backend| !backend.is_gone()).map(move |backend| View {
            name: &backend.name,
            addr: backend.addr,
            up: backend.is_up(),
            left_out: backend.outlier.is_out(now),
            active: backend.active,
            latency: backend.latency.mean(),
            cost: backend.latency.cost(f64::from(backend.active) / f64::from(backend.whole_weight()), now),
        })
    }
}

/// Whether an answer took so much longer than those of other backends that it counts as a failure.
fn is_slow(latency: Duration, median: Duration, rules: &Outliers) -> bool {
    rules.latency.is_some_and(|times| !median.is_zero() && latency > median * u32::from(times))
}

/// What can be told of a backend.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct View<'a> {
    /// Its name.
    pub name: &'a str,
    /// Where it listens.
    pub addr: SocketAddr,
    /// Whether its checks say that it serves.
    pub up: bool,
    /// Whether it is left out for a while as an outlier.
    pub left_out: bool,
    /// Its exchanges at the moment.
    pub active: u32,
    /// What it takes to answer, of late.
    pub latency: Option<Duration>,
    /// What one more request would cost there, by which [`Balance::P2c`] compares.
    pub cost: f64,
}
