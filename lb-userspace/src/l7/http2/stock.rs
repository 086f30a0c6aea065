//! What a connection holds of bodies, as the budget of memory counts it: pieces that came and were not passed on, which fill the
//! windows that the peer was given, and pieces that go out while the socket takes nothing.
//!
//! `h2` keeps both. It tells of each stream what has come, and that costs a look at each; so they are counted when some more has
//! come or time has passed, not with every frame.

use super::io::Io;
use crate::l7::memory::{Held, SESSION};
use crate::l7::transport::Watch;
use h2::{FlowControl, RecvStream};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// Bytes that come between two counts, at most.
const STEP: u64 = 16 << 10;

/// The stock of one connection.
#[derive(Debug)]
pub(super) struct Stock {
    bodies: RefCell<Vec<FlowControl>>,
    /// Bytes that were given to `h2` to send since the socket took all.
    queued: Cell<usize>,
    /// Bytes that had come, and the tick, when the bodies were counted.
    counted: Cell<(u64, u32)>,
    /// Whether less is held than was counted.
    is_stale: Cell<bool>,
    /// Bytes of bodies that lay here when they were counted.
    waiting: Cell<usize>,
    held: RefCell<Held>,
}

/// A body that comes. Its drop takes it out of the stock, before `h2` forgets it.
#[derive(Debug)]
pub(super) struct Entry {
    stock: Rc<Stock>,
    flow: FlowControl,
}

impl Stock {
    /// Of a new connection.
    pub(super) fn new() -> Self {
        Self {
            bodies: RefCell::default(),
            queued: Cell::new(0),
            counted: Cell::new((0, 0)),
            is_stale: Cell::new(false),
            waiting: Cell::new(0),
            held: RefCell::new(Held::new(SESSION)),
        }
    }

    /// Counts a body in, unless it has ended already.
    pub(super) fn enter(self: &Rc<Self>, body: &mut RecvStream) -> Option<Entry> {
        if body.is_end_stream() {
            return None;
        }
        let flow = body.flow_control().clone();
        self.bodies.borrow_mut().push(flow.clone());
        Some(Entry { stock: Rc::clone(self), flow })
    }

    /// So many bytes are to be sent.
    pub(super) fn queue(&self, bytes: usize) {
        self.queued.set(self.queued.get() + bytes);
    }

    /// Bytes of bodies that came and were not passed on, as they were counted last.
    pub(super) const fn waiting(&self) -> usize {
        self.waiting.get()
    }

    /// Counts what is held now.
    pub(super) fn settle<W: Watch>(&self, io: &Io<W>) {
        if !io.waits() {
            self.queued.set(0);
        }
        let (came, now) = (io.meter.came(), io.wire.timer.clock().now());
        let (before, then) = self.counted.get();
        if came - before >= STEP || now != then || self.is_stale.get() {
            self.counted.set((came, now));
            self.is_stale.set(self.queued.get() > 0);
            let waiting: usize = self.bodies.borrow().iter().map(FlowControl::used_capacity).sum();
            self.waiting.set(waiting);
            self.held.borrow_mut().resize(SESSION + waiting + self.queued.get());
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut bodies = self.stock.bodies.borrow_mut();
        let id = self.flow.stream_id();
        if let Some(at) = bodies.iter().position(|flow| flow.stream_id() == id) {
            bodies.swap_remove(at);
        }
        self.stock.is_stale.set(true);
    }
}
