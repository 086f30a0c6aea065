//! A worker: one thread, one runtime, sockets and pools of its own. It shares nothing that changes with the others.

use super::deadline::{Clock, TICK};
use super::exchange::Client;
use super::site::{Place, Site};
use super::transport::{Acceptor, Watch, bind};
use crate::config::proxy::Proxy;
use socket2::Socket;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::spawn_local;

/// How long a worker waits when it cannot accept, for a lack of descriptors passes.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Ticks between two looks at the pools.
const POOL_TICKS: u32 = 10;

/// What all connections of a worker share.
#[derive(Debug)]
pub struct Worker<W> {
    /// Deadlines.
    pub clock: Rc<Clock>,
    /// What it has done.
    pub counters: Arc<Counters>,
    site: RefCell<Option<Rc<Site<W>>>>,
    listening: RefCell<HashMap<SocketAddr, Listening<W>>>,
    connections: Cell<usize>,
    draining: Cell<bool>,
    random: Cell<u64>,
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
}

impl Counters {
    /// Counts an answer.
    pub fn count(&self, status: u16) {
        if let Some(counter) = self.answers.get(usize::from(status / 100).wrapping_sub(1)) {
            add(counter, 1);
        }
    }
}

/// As only one thread writes, no operation of the memory bus is needed.
fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}

/// A listening socket.
#[derive(Debug)]
struct Listening<W> {
    name: String,
    socket: Rc<Socket>,
    place: Rc<Place<W>>,
}

/// What the daemon tells its workers.
#[derive(Clone, Debug)]
pub enum Order {
    /// Serve this from now on.
    Serve(Arc<Proxy>),
    /// These backends are down, all others up.
    Down(Arc<Vec<(String, SocketAddr)>>),
    /// Accept nothing more, and end when all connections have, or after this time.
    Drain(Duration),
}

/// Runs a worker until it is told to end, or nobody is left to tell it.
pub async fn run<W: Watch>(mut orders: UnboundedReceiver<Order>, counters: Arc<Counters>, seed: u64) {
    let worker = Rc::new(Worker::<W>::new(counters, seed));
    spawn_local(tick(Rc::clone(&worker)));
    let patience = loop {
        match orders.recv().await {
            Some(Order::Serve(proxy)) => worker.serve(&proxy),
            Some(Order::Down(down)) => worker.judge(&down),
            Some(Order::Drain(patience)) => break patience,
            None => break Duration::ZERO,
        }
    };
    worker.drain(patience).await;
}

async fn tick<W: Watch>(worker: Rc<Worker<W>>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        worker.clock.tick();
        if worker.clock.now() % POOL_TICKS == 0 {
            worker.expire_idle();
        }
    }
}

impl<W: Watch> Worker<W> {
    fn new(counters: Arc<Counters>, seed: u64) -> Self {
        Self {
            clock: Rc::default(),
            counters,
            site: RefCell::new(None),
            listening: RefCell::default(),
            connections: Cell::new(0),
            draining: Cell::new(false),
            random: Cell::new(seed | 1),
        }
    }

    /// Whether connections are to end with the request under way.
    pub const fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// A number that is good enough to spread load by. Source: Marsaglia, "Xorshift RNGs", 2003, section 3.1.
    pub fn draw(&self) -> u32 {
        let mut state = self.random.get();
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        self.random.set(state);
        u32::try_from(state >> 32).unwrap_or_default()
    }

    /// Takes a configuration up. Sockets and connections of what did not change live on.
    fn serve(self: &Rc<Self>, proxy: &Arc<Proxy>) {
        let former = self.site.borrow().clone();
        let site = match Site::new(proxy, former.as_deref()) {
            Ok(site) => Rc::new(site),
            Err(error) => return tracing::error!(%error, "a worker cannot take up the configuration"),
        };
        let mut wanted = HashMap::new();
        for door in site.doors() {
            let addresses = door.listener.addresses.iter();
            wanted.extend(addresses.map(|&address| (address, Rc::clone(door))));
        }
        self.listening.borrow_mut().retain(|address, listening| {
            let stays = wanted.contains_key(address);
            if !stays {
                listening.close();
            }
            stays
        });
        let mut places: HashMap<String, Rc<Place<W>>> = HashMap::new();
        for listening in self.listening.borrow().values() {
            places.insert(listening.name.clone(), Rc::clone(&listening.place));
        }
        for (address, door) in wanted {
            let name = door.listener.name.clone();
            let place = places.entry(name).or_insert_with(|| Rc::new(Place::new(Rc::clone(&door))));
            place.refit(Rc::clone(&door));
            self.listen(address, &door.listener.name, place);
        }
        self.site.replace(Some(site));
    }

    fn listen(self: &Rc<Self>, address: SocketAddr, name: &str, place: &Rc<Place<W>>) {
        if self.listening.borrow().contains_key(&address) {
            return;
        }
        let opened = bind(address).map(Rc::new).and_then(|socket| Ok((Acceptor::new(Rc::clone(&socket))?, socket)));
        match opened {
            Ok((acceptor, socket)) => {
                spawn_local(accept(acceptor, Rc::clone(place), Rc::clone(self)));
                let listening = Listening { name: name.to_owned(), socket, place: Rc::clone(place) };
                self.listening.borrow_mut().insert(address, listening);
            }
            Err(error) => tracing::error!(%address, listener = name, %error, "cannot listen"),
        }
    }

    fn judge(&self, down: &[(String, SocketAddr)]) {
        let site = self.site.borrow();
        for service in site.iter().flat_map(|site| site.services()) {
            for backend in &service.backends {
                let is_down = down.iter().any(|(name, addr)| *name == service.config.name && *addr == backend.addr);
                backend.is_up.set(!is_down);
                if is_down {
                    backend.close_idle();
                }
            }
        }
    }

    fn expire_idle(&self) {
        for service in self.site.borrow().iter().flat_map(|site| site.services()) {
            service.backends.iter().for_each(|backend| backend.expire(self.clock.now(), &service.config.pool));
        }
    }

    async fn drain(&self, patience: Duration) {
        self.draining.set(true);
        self.listening.take().values().for_each(Listening::close);
        let end = tokio::time::Instant::now() + patience;
        while self.connections.get() > 0 && tokio::time::Instant::now() < end {
            tokio::time::sleep(TICK).await;
        }
        self.clock.expire_all();
        // The tick that ends them, and a moment for each to notice.
        tokio::time::sleep(TICK * 2).await;
    }
}

impl<W> Listening<W> {
    /// Ends the task that accepts; the socket closes with it.
    fn close(&self) {
        // A listening socket can always be shut down.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

async fn accept<W: Watch>(mut acceptor: Acceptor<W>, place: Rc<Place<W>>, worker: Rc<Worker<W>>) {
    loop {
        match acceptor.accept().await {
            Ok((socket, peer)) => {
                if let Ok(client) = Client::new(socket, peer, &place, &worker) {
                    spawn_local(attend(client, Rc::clone(&worker)));
                }
            }
            // Of a socket that was shut down.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return,
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// Serves a client and counts it meanwhile.
async fn attend<W: Watch>(client: Client<W>, worker: Rc<Worker<W>>) {
    worker.connections.set(worker.connections.get() + 1);
    add(&worker.counters.accepted, 1);
    worker.counters.open.store(worker.connections.get() as u64, Ordering::Relaxed);
    client.serve().await;
    worker.connections.set(worker.connections.get().saturating_sub(1));
    worker.counters.open.store(worker.connections.get() as u64, Ordering::Relaxed);
}
