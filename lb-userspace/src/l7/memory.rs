//! What connections and exchanges hold, against the budget of `[proxy] memory`.
//!
//! Each worker counts for itself what it holds, and ten times a second settles with a ledger that all share; between
//! two settlements it adds its own. So no request touches what others write, and a single worker's count is exact.
//!
//! What is counted: the rooms of buffers to the byte, what HTTP/2 keeps of bodies (see `http2::stock`), and for a connection, its
//! TLS, its HTTP/2 and an exchange what they were measured to take. What is shed, in this order: at [`TIGHT`] of the budget the
//! connections are closed that have waited longest for a request; at [`SHORT`] new connections are turned away; at all of it, new
//! requests. Exchanges under way go on.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A connection, to a client or to a backend: its task, its entries in the tables of the reactor and of deadlines.
pub const CONNECTION: usize = 2 << 10;
/// TLS on a connection, once its handshake is over.
pub const TLS: usize = 8 << 10;
/// HTTP/2 on a connection: the tables of its header compression, and the rooms of its frames.
pub const SESSION: usize = 32 << 10;
/// An exchange besides its buffers: heads, and the state of the way there and back.
pub const EXCHANGE: usize = 6 << 10;

/// Percent of the budget above which connections are closed that wait for a request.
pub const TIGHT: u64 = 80;
/// Percent of the budget above which no connection is let in.
pub const SHORT: u64 = 90;

thread_local! {
    static HELD: Cell<u64> = const { Cell::new(0) };
}

/// Notes that the worker of this thread holds so much more.
pub fn take(bytes: usize) {
    // At the end of a thread nobody counts any more.
    let _ = HELD.try_with(|held| held.set(held.get() + bytes as u64));
}

/// Notes that it holds so much less.
pub fn give_back(bytes: usize) {
    let _ = HELD.try_with(|held| held.set(held.get().saturating_sub(bytes as u64)));
}

fn held() -> u64 {
    HELD.get()
}

/// Something of a known size that is counted as long as it lives.
#[derive(Debug)]
pub struct Held(usize);

impl Held {
    /// Counts it in.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        take(bytes);
        Self(bytes)
    }

    /// It has this size from now on.
    pub fn resize(&mut self, bytes: usize) {
        take(bytes.saturating_sub(self.0));
        give_back(self.0.saturating_sub(bytes));
        self.0 = bytes;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        give_back(self.0);
    }
}

/// What all workers hold together, as of their last settlements.
#[derive(Debug, Default)]
pub struct Ledger(AtomicU64);

impl Ledger {
    /// Bytes.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A worker's view of the budget. Its drop takes what the worker held out of the ledger.
#[derive(Debug)]
pub struct Gauge {
    ledger: Arc<Ledger>,
    budget: Cell<u64>,
    /// What of the ledger is this worker's.
    settled: Cell<u64>,
    others: Cell<u64>,
}

impl Gauge {
    /// A view of a ledger, in which nothing of this worker stands so far.
    #[must_use]
    pub const fn new(ledger: Arc<Ledger>, budget: u64) -> Self {
        let (budget, settled, others) = (Cell::new(budget), Cell::new(0), Cell::new(0));
        Self { ledger, budget, settled, others }
    }

    /// Writes into the ledger what the worker holds, and learns what the others do.
    pub fn settle(&self, budget: u64) {
        self.budget.set(budget);
        let now = held();
        let change = now.wrapping_sub(self.settled.replace(now));
        let total = self.ledger.0.fetch_add(change, Ordering::Relaxed).wrapping_add(change);
        self.others.set(total.saturating_sub(now));
    }

    /// Bytes above the share of the budget up to which nobody has to go, if there are any.
    #[must_use]
    pub fn excess(&self) -> Option<u64> {
        self.used().checked_sub(self.percent(TIGHT)).filter(|excess| *excess > 0)
    }

    /// Whether no connection is let in.
    #[must_use]
    pub fn is_short(&self) -> bool {
        self.used() > self.percent(SHORT)
    }

    /// Whether no request is taken.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.used() > self.budget.get()
    }

    fn used(&self) -> u64 {
        self.others.get() + held()
    }

    const fn percent(&self, share: u64) -> u64 {
        self.budget.get() / 100 * share
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        self.ledger.0.fetch_sub(self.settled.get(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gauge(ledger: &Arc<Ledger>) -> Gauge {
        Gauge::new(Arc::clone(ledger), 1000)
    }

    #[test]
    fn load_is_shed_in_the_order_that_is_told() {
        let gauge = gauge(&Arc::default());
        let shed = |bytes: usize| {
            let _held = Held::new(bytes);
            (gauge.excess().is_some(), gauge.is_short(), gauge.is_spent())
        };
        assert_eq!(shed(800), (false, false, false));
        assert_eq!(shed(801), (true, false, false));
        assert_eq!(shed(901), (true, true, false));
        assert_eq!(shed(1001), (true, true, true));
        assert_eq!(shed(0), (false, false, false), "what is given back counts no more");
    }

    #[test]
    fn what_grows_and_shrinks_is_counted_as_it_is() {
        let gauge = gauge(&Arc::default());
        let mut held = Held::new(700);
        held.resize(901);
        assert!(gauge.is_short());
        held.resize(0);
        assert!(!gauge.is_short());
        drop(held);
        assert_eq!(super::held(), 0);
    }

    #[test]
    fn what_other_workers_hold_counts_after_they_have_settled() {
        let ledger = Arc::default();
        let here = gauge(&ledger);
        let theirs = Arc::clone(&ledger);
        let other = std::thread::spawn(move || {
            let there = gauge(&theirs);
            let _held = Held::new(950);
            there.settle(1000);
            std::mem::forget(there);
        });
        other.join().unwrap();
        assert!(!here.is_short());
        here.settle(1000);
        assert!(here.is_short() && !here.is_spent());
        let _held = Held::new(51);
        assert!(here.is_spent(), "its own counts at once");
    }

    #[test]
    fn a_worker_that_ends_leaves_nothing_in_the_ledger() {
        let ledger = Arc::default();
        let held = Held::new(700);
        let gauge = gauge(&ledger);
        gauge.settle(1000);
        assert_eq!(ledger.total(), 700);
        drop(gauge);
        assert_eq!(ledger.total(), 0);
        drop(held);
    }
}
