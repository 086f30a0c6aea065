//! What a worker serves: the settings that all workers share, and its own connections to the backends they name.
//!
//! A site is made whole for one snapshot. What did not change is taken over from the one before, so that its connections
//! live on; a client's connection asks for its listener's current settings at each request.

use super::balance::{BackendId, Balancer, RetryBudget, Signer};
use super::log::Queue;
use super::pool::{Pool, Upstream};
use super::settings::{ByNumber, Listener, ListenerId, Service, ServiceId, Settings};
use super::tls::{ClientTls, Store};
use super::transport::Watch;
use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// What all workers serve: the daemon makes it, and it never changes.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The settings.
    pub settings: Arc<Settings>,
    /// What TLS is spoken where.
    pub tls: Arc<Store>,
    /// Signs sticky cookies.
    pub signer: Signer,
    /// How many workers serve it.
    pub workers: u32,
    /// Where lines of the log go.
    pub log: Queue,
}

/// Everything that one worker serves.
#[derive(Debug)]
pub struct Site<W> {
    /// What all workers serve.
    pub snapshot: Snapshot,
    upstreams: ByNumber<Service, Rc<Upstreams<W>>>,
}

/// A service as one worker knows it.
#[derive(Debug)]
pub struct Upstreams<W> {
    /// Its settings.
    pub service: Arc<Service>,
    /// How connections to its backends begin, if by TLS. It is read anew when its files change.
    tls: RefCell<Option<ClientTls>>,
    /// The worker's number.
    worker: usize,
    /// What decides between its backends. It outlives the settings, as the connections do.
    pub balance: Rc<RefCell<Balancer>>,
    /// What retries are paid from.
    pub budget: Rc<RefCell<RetryBudget>>,
    pools: Rc<RefCell<Pools<W>>>,
}

/// By backend. The addresses come from the configuration alone, so nobody can choose ones that collide.
type Pools<W> = HashMap<SocketAddr, Rc<Pool<W>>, foldhash::fast::FixedState>;

/// How a backend looks to one worker.
#[derive(Clone, Debug)]
pub struct Look {
    /// The name of its service.
    pub service: String,
    /// Where it listens.
    pub addr: SocketAddr,
    /// Whether it is left out for a while as an outlier.
    pub left_out: bool,
    /// Its exchanges at the moment.
    pub active: u32,
    /// Connections that wait for a request.
    pub idle: usize,
    /// What it takes to answer, of late.
    pub latency: Option<Duration>,
    /// What one more request would cost there.
    pub cost: f64,
}

/// Seed of the hash that backends are chosen by: the same in all workers, so that they agree.
pub const HASH_SEED: u64 = 0;

impl<W: Watch> Site<W> {
    /// A worker's site of this snapshot, which takes over what it shares with the former.
    #[must_use]
    pub fn new(snapshot: Snapshot, former: Option<&Self>, (worker, now): (usize, Duration)) -> Self {
        let settings = &snapshot.settings;
        let mut upstreams = ByNumber::default();
        for (id, service) in settings.services.iter() {
            let before = former.and_then(|former| former.upstreams(id));
            let followed = Upstreams::follow(service, before, &snapshot, (worker, now));
            followed.tls.replace(snapshot.tls.client(id).cloned());
            upstreams.put(id, followed);
        }
        Self { snapshot, upstreams }
    }

    /// Has nobody wait for what the next site has not.
    pub fn give_way_to(&self, next: &Self) {
        let gone = self.upstreams.iter().filter(|(id, _)| next.upstreams(*id).is_none());
        gone.for_each(|(_, upstreams)| upstreams.balance.borrow_mut().close());
    }

    /// A listener's settings, if there still is such a listener.
    #[must_use]
    pub fn listener(&self, id: ListenerId) -> Option<&Arc<Listener>> {
        self.snapshot.settings.listeners.get(id)
    }

    /// The backends of a service.
    #[must_use]
    pub fn upstreams(&self, id: ServiceId) -> Option<&Rc<Upstreams<W>>> {
        self.upstreams.get(id)
    }

    /// The backends of all services.
    pub fn all_upstreams(&self) -> impl Iterator<Item = &Rc<Upstreams<W>>> {
        self.upstreams.iter().map(|(_, upstreams)| upstreams)
    }
}

impl<W: Watch> Upstreams<W> {
    fn follow(
        service: &Arc<Service>,
        before: Option<&Rc<Self>>,
        snapshot: &Snapshot,
        (worker, now): (usize, Duration),
    ) -> Rc<Self> {
        if let Some(same) = before.filter(|before| Arc::ptr_eq(&before.service, service)) {
            return Rc::clone(same);
        }
        let (config, Snapshot { signer, workers, .. }) = (&service.config, snapshot);
        let service = Arc::clone(service);
        let Some(before) = before else {
            let balance = Balancer::new(config, *workers, signer, HASH_SEED, now);
            let (balance, budget, pools) = (Rc::new(balance.into()), Rc::default(), Rc::default());
            return Rc::new(Self { worker, service, tls: RefCell::default(), balance, budget, pools });
        };
        before.balance.borrow_mut().follow(config, *workers, signer, HASH_SEED, now);
        let stays = |addr: &SocketAddr| config.backends.iter().any(|backend| backend.addr == *addr);
        before.pools.borrow_mut().retain(|addr, _| stays(addr));
        let (balance, budget) = (Rc::clone(&before.balance), Rc::clone(&before.budget));
        Rc::new(Self {
            worker,
            balance,
            budget,
            pools: Rc::clone(&before.pools),
            tls: RefCell::default(),
            service,
        })
    }

    /// How connections to the backends begin, if by TLS.
    #[must_use]
    pub fn tls(&self) -> Option<ClientTls> {
        self.tls.borrow().clone()
    }

    /// The connections to a backend.
    #[must_use]
    pub fn pool(&self, addr: SocketAddr) -> Rc<Pool<W>> {
        let mut pools = self.pools.borrow_mut();
        let counts = || self.service.tally(addr).map(|tally| tally.of(self.worker)).unwrap_or_default();
        Rc::clone(pools.entry(addr).or_insert_with(|| Rc::new(Pool::new(addr, counts()))))
    }

    /// The backend that a client's own connection is to, if it is one of these.
    pub(super) fn backend_of(&self, upstream: &Upstream<W>) -> Option<BackendId> {
        let addr = upstream.addr();
        let is_ours = self.pools.borrow().get(&addr).is_some_and(|pool| upstream.is_of(pool));
        is_ours.then(|| self.balance.borrow().find(addr)).flatten()
    }

    /// Takes the verdicts of health in: these addresses are down, all others up.
    pub fn judge(&self, is_down: impl Fn(SocketAddr) -> bool, now: Duration) {
        self.balance.borrow_mut().judge(|addr| !is_down(addr), now);
        let pools = self.pools.borrow();
        pools.iter().filter(|(addr, _)| is_down(**addr)).for_each(|(_, pool)| pool.close_idle());
    }

    /// How the backends look to this worker.
    #[must_use]
    pub fn look(&self, now: Duration) -> Vec<Look> {
        let balance = self.balance.borrow();
        let looks = balance.views(now).map(|view| Look {
            service: self.service.config.name.clone(),
            addr: view.addr,
            left_out: view.left_out,
            active: view.active,
            idle: self.pools.borrow().get(&view.addr).map_or(0, |pool| pool.idle()),
            latency: view.latency,
            cost: view.cost,
        });
        looks.collect()
    }

    /// Closes connections that have waited for too long.
    pub fn expire(&self, now: u32) {
        let rules = &self.service.config.pool;
        self.pools.borrow().values().for_each(|pool| pool.expire(now, rules));
    }
}
