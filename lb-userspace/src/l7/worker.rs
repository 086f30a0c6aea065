//! A worker: one thread, one runtime, sockets and pools of its own. It shares nothing that changes with the others.

use super::account::Books;
use super::admission::{Descriptors, admit, turn_away};
use super::census::Permit;
use super::client::{Accepted, Client};
use super::deadline::{Clock, TICK};
use super::http1::DateCache;
use super::log::Desk;
use super::memory::{CONNECTION, Gauge};
use super::settings::{ListenerId, Settings};
use super::site::{Look, Site, Snapshot};
use super::tally::{WorkerCounts, class};
use super::transport::{Acceptor, Watch, bind};
use socket2::Socket;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::task::spawn_local;

/// How long a worker waits when it cannot accept, for a lack of descriptors passes.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Ticks between two looks at the pools.
const POOL_TICKS: u32 = 10;
/// Ticks between two looks at who has to go for want of memory: who was sent away before has gone by then.
const SHED_TICKS: u32 = 5;
/// Of so many connections one is closed a tick for want of descriptors, if it waits for a request.
const PARTS: usize = 16;

/// What all connections of a worker share.
#[derive(Debug)]
pub struct Worker<W> {
    /// Deadlines.
    pub clock: Rc<Clock>,
    /// What it has done.
    pub counters: Arc<Counters>,
    /// Where its exchanges are counted and logged.
    pub books: Rc<Books>,
    /// Tells connections that wait that what is served has changed, or that the worker drains.
    pub changed: Arc<Notify>,
    /// What memory is left.
    pub gauge: Gauge,
    pub(super) descriptors: Descriptors,
    /// Copies of requests under way.
    pub copies: Cell<u32>,
    began: Instant,
    site: RefCell<Rc<Site<W>>>,
    listening: RefCell<HashMap<SocketAddr, Listening>>,
    connections: Cell<usize>,
    draining: Cell<bool>,
    random: Cell<u64>,
    date: RefCell<Rc<str>>,
}

/// What a worker has done, for others to read. Only the worker writes.
#[derive(Debug, Default)]
pub struct Counters {
    /// Answers by the first digit of their status, from 1.
    pub answers: [AtomicU64; 5],
    /// Connections accepted.
    pub accepted: AtomicU64,
    /// Connections open now.
    pub open: AtomicU64,
    /// The worker's number, from 0.
    pub number: usize,
    /// What it counts besides.
    pub tally: WorkerCounts,
    /// Connections not let in for the bounds of their listener.
    pub refused: AtomicU64,
    /// Connections and requests turned away for want of memory, and connections closed for it that waited for a request.
    pub shed: AtomicU64,
    /// Copies that a second service has answered.
    pub copied: AtomicU64,
    /// Copies that were not made, or not answered.
    pub uncopied: AtomicU64,
}

impl Counters {
    /// Of the worker of this number.
    #[must_use]
    pub fn of(number: u32) -> Self {
        Self { number: usize::try_from(number).unwrap_or(usize::MAX), ..Self::default() }
    }

    /// Counts an answer.
    pub fn count(&self, status: u16) {
        if let Some(counter) = self.answers.get(class(status)) {
            add(counter, 1);
        }
    }
}

/// Counts one more.
pub(super) fn count(counter: &AtomicU64) {
    add(counter, 1);
}

/// As only one thread writes, no operation of the memory bus is needed.
fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}

/// A listening socket.
#[derive(Debug)]
struct Listening {
    id: ListenerId,
    socket: Rc<Socket>,
}

/// The backends that are down, by their service's name and their address.
pub type Down = Arc<[(String, SocketAddr)]>;

/// What the daemon tells its workers.
#[derive(Clone, Debug)]
pub enum Order {
    /// Serve this from now on. These of its backends are down, all others up: no request sees one that it adds before it is judged.
    Serve(Snapshot, Down),
    /// These backends are down, all others up.
    Judge(Down),
    /// Tell how the backends look from here.
    Look(UnboundedSender<Vec<Look>>),
    /// Accept nothing more, and end when all connections have, or after this time; at once, if it is said again.
    Drain(Duration),
}

/// Runs a worker until it is told to end, or nobody is left to tell it.
pub async fn run<W: Watch>(
    (snapshot, down): (Snapshot, Down),
    mut orders: UnboundedReceiver<Order>,
    (counters, seed): (Arc<Counters>, u64),
) {
    let worker = Rc::new(Worker::<W>::new(snapshot.clone(), counters, seed));
    // The first request may come before the first tick.
    worker.tell_time(&mut DateCache::default());
    worker.serve(snapshot, &down);
    spawn_local(tick(Rc::clone(&worker)));
    let patience = loop {
        match orders.recv().await {
            Some(Order::Serve(snapshot, down)) => worker.serve(snapshot, &down),
            Some(Order::Judge(down)) => worker.judge(&down),
            // Whoever asked may have given up.
            Some(Order::Look(told)) => drop(told.send(worker.look())),
            Some(Order::Drain(patience)) => break patience,
            None => break Duration::ZERO,
        }
    };
    worker.begin_to_drain();
    tokio::select! {
        () = worker.await_last(patience) => {}
        () = order_to_end(&mut orders) => {}
    }
    worker.end().await;
    worker.books.desk.flush(&worker.counters.tally);
}

/// Waits for an order to end that comes when the worker drains already: nobody has the patience any more.
async fn order_to_end(orders: &mut UnboundedReceiver<Order>) {
    while let Some(order) = orders.recv().await {
        if matches!(order, Order::Drain(_)) {
            return;
        }
    }
}

async fn tick<W: Watch>(worker: Rc<Worker<W>>) {
    let mut dates = DateCache::default();
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        worker.clock.tick();
        worker.tell_time(&mut dates);
        worker.books.desk.flush(&worker.counters.tally);
        worker.mind_memory();
        worker.mind_descriptors();
        if worker.clock.now().is_multiple_of(POOL_TICKS) {
            worker.expire_idle();
        }
    }
}

impl<W: Watch> Worker<W> {
    fn new(snapshot: Snapshot, counters: Arc<Counters>, seed: u64) -> Self {
        let settings = &snapshot.settings;
        Self {
            descriptors: Descriptors::looked_at(),
            gauge: Gauge::new(Arc::clone(&settings.ledger), settings.proxy.memory),
            copies: Cell::new(0),
            began: Instant::now(),
            clock: Rc::default(),
            books: Rc::new(Books { counters: Arc::clone(&counters), desk: Desk::new(snapshot.log.clone()) }),
            site: RefCell::new(Rc::new(Site::new(snapshot, None, (counters.number, Duration::ZERO)))),
            counters,
            changed: Arc::default(),
            listening: RefCell::default(),
            connections: Cell::new(0),
            draining: Cell::new(false),
            random: Cell::new(seed | 1),
            date: RefCell::new(Rc::from("")),
        }
    }

    /// Whether connections are to end with the request under way.
    pub const fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Time since it began.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// What it serves now.
    pub fn site(&self) -> Rc<Site<W>> {
        Rc::clone(&self.site.borrow())
    }

    /// What answers of our own have for a date.
    pub fn date(&self) -> Rc<str> {
        Rc::clone(&self.date.borrow())
    }

    fn tell_time(&self, dates: &mut DateCache) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let date = dates.at(now.as_secs());
        if *date != **self.date.borrow() {
            self.date.replace(date.into());
        }
    }

    /// Bits that are good enough to spread load by and to tell requests apart.
    pub fn draw(&self) -> u128 {
        u128::from(self.draw_half()) << 64 | u128::from(self.draw_half())
    }

    /// The same, half as many. Source: Marsaglia, "Xorshift RNGs", 2003, section 3.1.
    pub fn draw_half(&self) -> u64 {
        let mut state = self.random.get();
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        self.random.set(state);
        state
    }

    /// Takes settings up. Sockets and connections of what did not change live on.
    fn serve(self: &Rc<Self>, snapshot: Snapshot, down: &[(String, SocketAddr)]) {
        let former = self.site();
        let site = Site::new(snapshot, Some(&former), (self.counters.number, self.elapsed()));
        former.give_way_to(&site);
        let wanted = addresses(&site.snapshot.settings);
        self.site.replace(Rc::new(site));
        self.judge(down);
        self.changed.notify_waiters();
        self.listening.borrow_mut().retain(|address, listening| {
            let stays = wanted.get(address) == Some(&listening.id);
            if !stays {
                listening.close();
            }
            stays
        });
        for (address, id) in wanted {
            if !self.listening.borrow().contains_key(&address)
                && let Err(error) = self.listen(address, id)
            {
                tracing::error!(%address, %error, "cannot listen");
            }
        }
    }

    fn listen(self: &Rc<Self>, address: SocketAddr, id: ListenerId) -> io::Result<()> {
        let socket = Rc::new(bind(address)?);
        let acceptor = Acceptor::new(Rc::clone(&socket))?;
        spawn_local(accept(acceptor, (id, address.port()), Rc::clone(self)));
        self.listening.borrow_mut().insert(address, Listening { id, socket });
        Ok(())
    }

    fn look(&self) -> Vec<Look> {
        self.site().all_upstreams().flat_map(|upstreams| upstreams.look(self.elapsed())).collect()
    }

    fn judge(&self, down: &[(String, SocketAddr)]) {
        let down: HashSet<(&str, SocketAddr)> = down.iter().map(|(name, addr)| (&**name, *addr)).collect();
        for upstreams in self.site().all_upstreams() {
            let service = &*upstreams.service.config.name;
            upstreams.judge(|addr| down.contains(&(service, addr)), self.elapsed());
        }
        self.admit_waiting();
    }

    /// Calls requests that wait for a backend, for there may be more room than there was, or no hope of any.
    fn admit_waiting(&self) {
        let (site, now) = (self.site(), self.elapsed());
        for upstreams in site.all_upstreams() {
            upstreams.balance.borrow_mut().admit(|| self.draw_half(), now);
        }
    }

    fn expire_idle(&self) {
        self.site().all_upstreams().for_each(|upstreams| upstreams.expire(self.clock.now()));
    }

    fn note_open(&self, connections: usize) {
        self.connections.set(connections);
        self.counters.open.store(connections as u64, Ordering::Relaxed);
    }

    /// Settles with the other workers, and closes connections that wait for a request where memory is tight.
    fn mind_memory(&self) {
        let site = self.site();
        self.gauge.settle(site.snapshot.settings.proxy.memory);
        let Some(excess) = self.gauge.excess().filter(|_| self.clock.now().is_multiple_of(SHED_TICKS)) else {
            return;
        };
        let share = excess / u64::from(site.snapshot.workers.max(1)) / CONNECTION as u64;
        let closed = self.clock.expire_longest_idle(usize::try_from(share).unwrap_or(usize::MAX) + 1);
        add(&self.counters.shed, closed as u64);
    }

    /// Closes some of the connections that wait for a request where others have no descriptor.
    fn mind_descriptors(&self) {
        self.descriptors.look();
        if self.descriptors.was_short() {
            let closed = self.clock.expire_longest_idle(self.connections.get() / PARTS + 1);
            add(&self.counters.shed, closed as u64);
        }
    }

    fn begin_to_drain(&self) {
        self.draining.set(true);
        self.changed.notify_waiters();
        self.listening.take().values().for_each(Listening::close);
    }

    async fn await_last(&self, patience: Duration) {
        let end = tokio::time::Instant::now() + patience;
        while self.connections.get() > 0 && tokio::time::Instant::now() < end {
            // Also those whose last exchange has just ended.
            self.clock.expire_idle();
            tokio::time::sleep(TICK).await;
        }
    }

    /// Ends what is under way.
    async fn end(&self) {
        self.clock.expire_all();
        // The tick that ends them, and a moment for each to notice.
        tokio::time::sleep(TICK * 2).await;
    }
}

impl Listening {
    /// Ends the task that accepts; the socket closes with it.
    fn close(&self) {
        // A listening socket can always be shut down.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

/// The addresses to listen on, each with its listener.
fn addresses(settings: &Settings) -> HashMap<SocketAddr, ListenerId> {
    let listeners = settings.listeners.iter();
    listeners
        .flat_map(|(id, listener)| listener.config.addresses.iter().map(move |&address| (address, id)))
        .collect()
}

async fn accept<W: Watch>(mut acceptor: Acceptor<W>, (id, to): (ListenerId, u16), worker: Rc<Worker<W>>) {
    loop {
        match acceptor.accept().await {
            Ok((socket, from)) => {
                let Some(listener) = worker.site().listener(id).cloned() else { return };
                match admit(&worker, &listener, (&*socket, from.ip())) {
                    Ok(permit) => {
                        let permit = Rc::new(permit);
                        worker.note_open(worker.connections.get() + 1);
                        let accepted =
                            Accepted { socket, from, to, id, listener, permit: Rc::clone(&permit) };
                        spawn_local(attend(accepted, permit, Rc::clone(&worker)));
                    }
                    Err(why) => turn_away(&worker, &listener, socket, why),
                }
                add(&worker.counters.accepted, 1);
            }
            // Of a socket that was shut down.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return,
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// Serves a client that is counted, and counts it out.
async fn attend<W: Watch>(accepted: Accepted, permit: Rc<Permit>, worker: Rc<Worker<W>>) {
    Client::serve(accepted, Rc::clone(&worker)).await;
    drop(permit);
    worker.note_open(worker.connections.get().saturating_sub(1));
}
