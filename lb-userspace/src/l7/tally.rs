//! Counts of what workers did, for metrics and status to read.
//!
//! Each worker has cells of its own in every tally, which it alone writes and which no other core's cache line is next to; the
//! daemon reads them all and adds them up. There is no lock and no operation of the memory bus on a request's way. What is
//! counted by name is counted by configured names only, so nobody can make it grow by what they send.

mod names;
mod tallies;

pub use names::{FAILURES, Failures};
pub use tallies::{BackendTally, RouteTally, Tallies};

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A number that one thread adds to and others read.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds. To be called by its owner alone.
    pub fn add(&self, more: u64) {
        self.0.store(self.get().wrapping_add(more), Ordering::Relaxed);
    }

    /// What it has come to.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The class that an answer counts under, from 0. What is above all classes is a server's error (RFC 9110, section 15).
#[must_use]
pub fn class(status: u16) -> usize {
    usize::from(status / 100).min(5).wrapping_sub(1)
}

/// Answers by the first digit of their status, from 1.
#[derive(Debug, Default)]
pub struct Answers([Count; 5]);

impl Answers {
    /// Counts an answer.
    pub fn add(&self, status: u16) {
        if let Some(count) = self.0.get(class(status)) {
            count.add(1);
        }
    }

    /// How many of each class.
    #[must_use]
    pub fn get(&self) -> [u64; 5] {
        std::array::from_fn(|class| self.0.get(class).map_or(0, Count::get))
    }
}

/// Bounds of the classes that times are counted in, in microseconds: half a millisecond is a fast backend, a minute a slow one.
pub const BOUNDS: [u64; 16] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000, 60_000_000,
];

/// How many times were how long.
#[derive(Debug, Default)]
pub struct Times {
    /// Those up to each bound and above the one before; the last are those above all.
    classes: [Count; BOUNDS.len() + 1],
    sum_us: Count,
}

/// [`Times`] read at one moment, and added up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// As in [`Times`], not yet cumulative.
    pub classes: [u64; BOUNDS.len() + 1],
    /// All of them together, in microseconds.
    pub sum_us: u64,
}

impl Times {
    /// Counts a time.
    pub fn add(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let class = BOUNDS.partition_point(|bound| *bound < micros);
        if let Some(count) = self.classes.get(class) {
            count.add(1);
        }
        self.sum_us.add(micros);
    }
}

impl Spread {
    /// Adds what was counted elsewhere.
    pub fn absorb(&mut self, times: &Times) {
        for (sum, count) in self.classes.iter_mut().zip(&times.classes) {
            *sum += count.get();
        }
        self.sum_us += times.sum_us.get();
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.classes.iter().sum()
    }
}

/// What a worker answered by one route.
#[derive(Debug, Default)]
pub struct RouteCounts {
    /// The answers; those that never came, for the client had gone, as 499.
    pub answers: Answers,
    /// From a request's first byte to its answer's last.
    pub times: Times,
    /// Bytes of requests' bodies.
    pub received: Count,
    /// Bytes of answers' bodies.
    pub sent: Count,
    /// Requests that were sent again, to another backend.
    pub retries: Count,
}

/// What a worker had of one backend.
#[derive(Debug, Default)]
pub struct BackendCounts {
    /// Its answers.
    pub answers: Answers,
    /// From a request's first byte to its answer's.
    pub times: Times,
    /// Requests that it did not answer.
    pub failures: Count,
    /// Connections made to it.
    pub connects: Count,
    /// Requests that went by a connection which was kept.
    pub reuses: Count,
    /// How often it was left out as an outlier.
    pub ejections: Count,
}

/// What a worker counts of handshakes, failures and its log.
#[derive(Debug, Default)]
pub struct WorkerCounts {
    /// Handshakes that ended in TLS 1.2, and in TLS 1.3.
    pub handshakes: [Count; 2],
    /// Those of them that resumed a session.
    pub resumed: Count,
    /// Connections that ended before TLS was agreed on.
    pub handshake_failures: Count,
    /// Connections that were to begin with a PROXY header and did not.
    pub proxy_header_failures: Count,
    /// Exchanges that failed, by why.
    pub failures: Failures,
    /// Lines that were to be logged and were not, for the log did not keep up.
    pub lines_lost: Count,
    /// Lines handed to the log.
    pub lines: Count,
}

/// One `T` for each worker, made when it first counts there: a route that nobody asks for costs a few words.
#[derive(Debug)]
pub struct PerWorker<T>(Box<[OnceLock<std::sync::Arc<T>>]>);

impl<T: Default> PerWorker<T> {
    /// Room for so many workers.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self(std::iter::repeat_with(OnceLock::new).take(workers).collect())
    }

    /// The worker's own. One that there is no room for, of which there is none, counts for itself.
    #[must_use]
    pub fn of(&self, worker: usize) -> std::sync::Arc<T> {
        self.0.get(worker).map(|cell| cell.get_or_init(std::sync::Arc::default)).cloned().unwrap_or_default()
    }

    /// Those of all workers that have counted.
    pub fn each(&self) -> impl Iterator<Item = &T> {
        self.0.iter().filter_map(OnceLock::get).map(|cell| &**cell)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_counted_in_the_class_of_the_least_bound_that_it_does_not_pass() {
        let times = Times::default();
        for micros in [0, 250, 251, 60_000_000, 60_000_001] {
            times.add(Duration::from_micros(micros));
        }
        let mut spread = Spread::default();
        spread.absorb(&times);
        assert_eq!((spread.classes[0], spread.classes[1]), (2, 1));
        assert_eq!((spread.classes[15], spread.classes[16]), (1, 1));
        assert_eq!((spread.count(), spread.sum_us), (5, 120_000_502));
    }

    #[test]
    fn answers_are_counted_by_their_first_digit_and_nonsense_not_at_all() {
        let answers = Answers::default();
        for status in [101, 200, 204, 499, 503, 999, 99, 0] {
            answers.add(status);
        }
        assert_eq!(answers.get(), [1, 2, 0, 1, 2]);
    }

    #[test]
    fn workers_count_apart_and_are_read_together() {
        let tally = PerWorker::<Count>::new(3);
        tally.of(0).add(1);
        tally.of(2).add(2);
        tally.of(3).add(4);
        assert_eq!(tally.each().map(Count::get).collect::<Vec<_>>(), [1, 2]);
    }
}
