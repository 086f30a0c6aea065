//! Connections to a backend that many exchanges share: of each worker its own.

use super::io::{Handle, Io};
use super::stock::Stock;
use crate::config::proxy;
use crate::l7::buffer::Buffer;
use crate::l7::deadline::TICK;
use crate::l7::pool::Age;
use crate::l7::respond::Failure;
use crate::l7::transport::Watch;
use crate::l7::wire::Wire;
use bytes::Bytes;
use h2::client::{Builder, Connection, SendRequest};
use h2::{Ping, PingPong};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::spawn_local;
use tokio::time::timeout;

/// Bytes of one answer that are not passed on yet.
const STREAM_WINDOW: u32 = 256 << 10;
/// Bytes of one request's body that the backend has not taken yet.
const SEND_BUFFER: usize = 64 << 10;
/// Exchanges on one connection: more than this is better had by another, even if the backend would take them.
const STREAMS: u32 = 256;
/// Bytes of all answers of a connection: what its streams may hold together, so that answers that are not taken hold up no others.
const WINDOW: u32 = STREAMS * STREAM_WINDOW;

/// The connections of one worker to one backend.
#[derive(Debug, Default)]
pub(in crate::l7) struct Shared {
    lines: RefCell<Vec<Rc<Line>>>,
    /// Held by who connects: those who come meanwhile share the connection.
    connecting: Mutex<()>,
}

/// A connection.
#[derive(Debug)]
struct Line {
    send: SendRequest<Bytes>,
    exchanges: Cell<usize>,
    requests: Cell<u32>,
    age: Age,
    idle_since: Cell<u32>,
    stock: Rc<Stock>,
    /// Bytes that have come by it.
    came: Rc<Cell<u64>>,
    /// Whether it was found silent: it gets no more exchanges.
    is_mute: Cell<bool>,
    pings: Mutex<Option<PingPong>>,
}

/// A place on a connection, for one exchange.
#[derive(Debug)]
pub(in crate::l7) struct Place {
    pub(super) send: SendRequest<Bytes>,
    line: Rc<Line>,
    /// Bytes that had come when the place was taken.
    came: u64,
    now: u32,
}

impl Place {
    fn on(line: &Rc<Line>, send: SendRequest<Bytes>, now: u32) -> Self {
        line.exchanges.set(line.exchanges.get() + 1);
        line.requests.set(line.requests.get() + 1);
        Self { send, line: Rc::clone(line), came: line.came.get(), now }
    }

    /// What the connection holds of bodies.
    pub(super) fn stock(&self) -> &Rc<Stock> {
        &self.line.stock
    }

    /// Whether the backend lets a stream become another protocol's. A fresh one has not said so yet, but has when it answers a
    /// ping: its settings come first.
    pub(in crate::l7) async fn takes_tunnels(&self, within: Duration) -> bool {
        if !self.send.is_extended_connect_protocol_enabled()
            && let Some(pings) = &mut *self.line.pings.lock().await
        {
            // One that does not answer has not said so either.
            let _ = timeout(within, pings.ping(Ping::opaque())).await;
        }
        self.send.is_extended_connect_protocol_enabled()
    }

    /// An answer is late. If nothing at all has come since it was asked for, the connection may be dead without anybody having
    /// been told, as where a firewall has forgotten it: others shall not wait on it as well.
    pub(super) fn note_late(&self) {
        self.line.is_mute.set(self.line.came.get() == self.came);
    }

    /// Whether the connection has carried requests before, so that the backend may have ended it in silence.
    pub(super) fn is_reused(&self) -> bool {
        self.line.requests.get() > 1
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.line.exchanges.set(self.line.exchanges.get().saturating_sub(1));
        self.line.idle_since.set(self.line.idle_since.get().max(self.now));
    }
}

impl Shared {
    /// A place on a connection that has room. Connections that have ended are forgotten on the way.
    pub(in crate::l7) fn take(&self, rules: &proxy::Pool, now: u32) -> Option<Place> {
        let mut found = None;
        self.lines.borrow_mut().retain(|line| {
            let mut send = line.send.clone();
            let ready = send.poll_ready(&mut Context::from_waker(Waker::noop()));
            let is_worn = line.is_mute.get()
                || (rules.requests > 0 && line.requests.get() >= rules.requests)
                || line.age.is_over(now, rules.lifetime);
            if found.is_none() && !is_worn && matches!(ready, Poll::Ready(Ok(()))) && line.has_room() {
                found = Some(Place::on(line, send, now));
            }
            !is_worn && !matches!(ready, Poll::Ready(Err(_)))
        });
        found
    }

    /// Waits for others that connect.
    pub(in crate::l7) async fn turn_to_connect(&self) -> MutexGuard<'_, ()> {
        self.connecting.lock().await
    }

    /// Shares a connection that was made, unless it is for one exchange only.
    pub(in crate::l7) async fn begin<W: Watch>(
        &self,
        wire: Wire<W>,
        age: Age,
        patience: Duration,
        is_shared: bool,
    ) -> Result<Place, Failure> {
        let now = wire.timer.clock().now();
        let io = Rc::new(RefCell::new(Io::new(wire, Buffer::default(), 0, patience)));
        let (send, mut connection) = Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_send_buffer_size(SEND_BUFFER)
            .handshake(Handle(Rc::clone(&io)))
            .await
            .map_err(|_| Failure::Unreachable)?;
        let (stock, pings) = (Rc::new(Stock::new()), Mutex::new(connection.ping_pong()));
        let came = Rc::new(Cell::new(0));
        spawn_local(drive(connection, io, (Rc::clone(&stock), Rc::clone(&came))));
        let (exchanges, requests, idle_since) = (Cell::new(0), Cell::new(0), Cell::new(now));
        let is_mute = Cell::new(false);
        let line = Line { send, exchanges, requests, age, idle_since, stock, came, is_mute, pings };
        let line = Rc::new(line);
        if is_shared {
            self.lines.borrow_mut().push(Rc::clone(&line));
        }
        let send = line.send.clone().ready().await.map_err(|_| Failure::BackendEnded)?;
        Ok(Place::on(&line, send, now))
    }

    /// Closes connections that have been idle for too long.
    pub(in crate::l7) fn expire(&self, now: u32, rules: &proxy::Pool) {
        let longest = u32::try_from(rules.idle_timeout.as_millis() / TICK.as_millis()).unwrap_or(u32::MAX);
        self.lines.borrow_mut().retain(|line| {
            if line.exchanges.get() > 0 {
                line.idle_since.set(now);
            }
            now.saturating_sub(line.idle_since.get()) < longest && !line.age.is_over(now, rules.lifetime)
        });
    }

    /// Takes no more requests on the connections there are; they end with their exchanges.
    pub(in crate::l7) fn close_idle(&self) {
        self.lines.take();
    }
}

impl Line {
    fn has_room(&self) -> bool {
        self.exchanges.get() < self.send.current_max_send_streams().min(STREAMS as usize)
    }
}

/// Drives a connection until it has ended: by the backend, or because nobody has a place on it any more.
async fn drive<W: Watch>(
    mut connection: Connection<Handle<W>, Bytes>,
    io: Rc<RefCell<Io<W>>>,
    (stock, came): (Rc<Stock>, Rc<Cell<u64>>),
) {
    // Those who have places on it learn of a failure themselves.
    let _ = poll_fn(|cx| {
        let ended = Pin::new(&mut connection).poll(cx);
        let mut io = io.borrow_mut();
        let _ = io.poll_send(cx);
        stock.settle(&io);
        came.set(io.meter.came());
        ended
    })
    .await;
}
