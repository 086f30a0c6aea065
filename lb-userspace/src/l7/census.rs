//! Who is connected: connections by listener and by address, counted over all workers.
//!
//! A listener has one tally, which outlives its settings as its connections do. It is touched when a connection begins and
//! when it ends, never on a request's way, so workers may share it. The bound is looked at when a connection begins: one
//! that was let in stays, whatever a reload says.

use std::cell::Cell;
use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Locks that addresses are spread over, so that workers that accept at once seldom meet.
const SHARDS: usize = 16;
/// The bits of an IPv6 address that count: a client has a whole /64 to take addresses from (RFC 6177).
const BLOCK: u128 = !(u64::MAX as u128);

/// The connections of one listener.
#[derive(Debug, Default)]
pub struct Tally {
    open: AtomicU32,
    addresses: [Mutex<HashMap<IpAddr, u32>>; SHARDS],
    spread: RandomState,
}

/// A connection that is counted. Its drop counts it out.
#[derive(Debug)]
pub struct Permit {
    tally: Arc<Tally>,
    address: Cell<Option<IpAddr>>,
}

impl Tally {
    /// Counts a connection in, if fewer than `most` are open; 0 is no bound.
    pub fn enter(self: &Arc<Self>, most: u32) -> Option<Permit> {
        let one_more = |open: u32| (most == 0 || open < most).then_some(open.saturating_add(1));
        self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(Permit { tally: Arc::clone(self), address: Cell::new(None) })
    }

    /// Connections open now.
    #[must_use]
    pub fn open(&self) -> u32 {
        self.open.load(Ordering::Relaxed)
    }

    fn shard(&self, address: IpAddr) -> MutexGuard<'_, HashMap<IpAddr, u32>> {
        let place = usize::try_from(self.spread.hash_one(address) % SHARDS as u64).unwrap_or(0);
        // A count is whole at any time, so one that a panic left behind is as good.
        self.addresses[place].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// Counts the connection under who opened it. Whether there may be one more of that; 0 is no bound, and then nothing
    /// is counted.
    pub fn bear(&self, client: IpAddr, most: u32) -> bool {
        if most == 0 || self.address.get().is_some() {
            return true;
        }
        let address = block(client);
        let mut shard = self.tally.shard(address);
        let count = shard.entry(address).or_insert(0);
        let may = *count < most;
        if may {
            *count += 1;
            self.address.set(Some(address));
        }
        may
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.tally.open.fetch_sub(1, Ordering::Relaxed);
        let Some(address) = self.address.take() else { return };
        let mut shard = self.tally.shard(address);
        if let Some(count) = shard.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                shard.remove(&address);
            }
        }
    }
}

/// What of an address counts as one client.
fn block(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & BLOCK).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(tally: &Tally) -> usize {
        tally.addresses.iter().map(|shard| shard.lock().unwrap().len()).sum()
    }

    #[test]
    fn one_too_many_is_refused_until_another_ends() {
        let tally = Arc::new(Tally::default());
        let (first, second) = (tally.enter(2), tally.enter(2));
        assert!(first.is_some() && second.is_some() && tally.enter(2).is_none());
        drop(first);
        assert!(tally.enter(2).is_some());
    }

    #[test]
    fn one_that_was_refused_is_not_counted() {
        let tally = Arc::new(Tally::default());
        let _kept = tally.enter(0);
        assert!(tally.enter(1).is_none());
        assert_eq!(tally.open(), 1);
    }

    #[test]
    fn addresses_are_counted_apart_and_forgotten_with_their_last_connection() {
        let tally = Arc::new(Tally::default());
        let [one, two, other] = [(); 3].map(|()| tally.enter(0).unwrap());
        let address = |text: &str| text.parse().unwrap();
        assert!(one.bear(address("192.0.2.1"), 1));
        assert!(!two.bear(address("::ffff:192.0.2.1"), 1), "the same in other clothes");
        assert!(other.bear(address("192.0.2.2"), 1));
        assert_eq!(held(&tally), 2);
        drop(one);
        assert!(two.bear(address("192.0.2.1"), 1));
        drop((two, other));
        assert_eq!((held(&tally), tally.open()), (0, 0));
    }

    #[test]
    fn a_64_of_ipv6_is_one_client() {
        let tally = Arc::new(Tally::default());
        let [one, two, other] = [(); 3].map(|()| tally.enter(0).unwrap());
        assert!(one.bear("2001:db8:0:1::1".parse().unwrap(), 1));
        assert!(!two.bear("2001:db8:0:1:ffff::2".parse().unwrap(), 1));
        assert!(other.bear("2001:db8:0:2::1".parse().unwrap(), 1));
    }

    #[test]
    fn workers_that_count_at_once_let_in_exactly_as_many_as_may_be() {
        let tally = Arc::new(Tally::default());
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let tally = Arc::clone(&tally);
                std::thread::spawn(move || {
                    let let_in = |permit: &Permit| permit.bear("192.0.2.1".parse().unwrap(), 100);
                    (0..100).filter_map(|_| tally.enter(0)).filter(let_in).collect::<Vec<_>>()
                })
            })
            .collect();
        let let_in: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(let_in.len(), 100);
    }
}
