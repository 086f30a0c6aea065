//! Requests without a pause, each on a new connection, with a record of how each went: the measure of an outage.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::http;
use crate::netns::Namespace;

/// Between two requests of a worker, so that two cores still have time for the rest of the house.
const REST: Duration = Duration::from_millis(2);

/// One request.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// When it began.
    pub start: Instant,
    /// When it ended.
    pub end: Instant,
    /// The backend, or how it failed.
    pub outcome: Result<String, String>,
}

/// Workers that send requests until they are stopped.
#[derive(Debug)]
pub struct Hammer {
    stop: Arc<AtomicBool>,
    workers: Vec<JoinHandle<Vec<Attempt>>>,
}

/// All that a hammer did, in the order of the starts.
#[derive(Debug)]
pub struct Record(Vec<Attempt>);

impl Hammer {
    /// Starts `workers` in `namespace`.
    pub fn start(namespace: &Namespace, server: SocketAddr, workers: usize) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let begin = || {
            let stop = Arc::clone(&stop);
            thread::spawn(move || hammer(server, &stop))
        };
        let workers = namespace.run(|| Ok((0..workers).map(|_| begin()).collect()))?;
        Ok(Self { stop, workers })
    }

    /// Stops and gives the record.
    #[must_use]
    pub fn stop(mut self) -> Record {
        self.stop.store(true, Ordering::Relaxed);
        let workers = self.workers.drain(..);
        let joined =
            workers.map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        let mut attempts: Vec<Attempt> = joined.flatten().collect();
        attempts.sort_by_key(|attempt| attempt.start);
        Record(attempts)
    }
}

impl Drop for Hammer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Record {
    /// How many requests there were.
    #[must_use]
    pub fn total(&self) -> usize {
        self.0.len()
    }

    /// Those that failed.
    pub fn failures(&self) -> impl Iterator<Item = &Attempt> {
        self.0.iter().filter(|attempt| attempt.outcome.is_err())
    }

    /// How long after `moment` requests still *began* that failed; nothing if none did.
    #[must_use]
    pub fn outage_since(&self, moment: Instant) -> Option<Duration> {
        let last = self.failures().map(|attempt| attempt.start).filter(|start| *start > moment).max()?;
        Some(last - moment)
    }

    /// Those that began within `span` after `moment`.
    pub fn within(&self, moment: Instant, span: Range<Duration>) -> impl Iterator<Item = &Attempt> {
        let (from, to) = (moment + span.start, moment + span.end);
        self.0.iter().filter(move |attempt| (from..to).contains(&attempt.start))
    }

    /// How long after `moment` the first answer of `backend` came.
    #[must_use]
    pub fn first_answer_since(&self, moment: Instant, backend: &str) -> Option<Duration> {
        let answered = self.0.iter().filter(|attempt| attempt.outcome.as_deref() == Ok(backend));
        let first = answered.map(|attempt| attempt.end).filter(|end| *end > moment).min()?;
        Some(first - moment)
    }

    /// Who answered requests that began after `moment`.
    pub fn answers_since(&self, moment: Instant) -> impl Iterator<Item = &str> {
        let later = self.0.iter().filter(move |attempt| attempt.start > moment);
        later.filter_map(|attempt| attempt.outcome.as_deref().ok())
    }
}

fn hammer(server: SocketAddr, stop: &AtomicBool) -> Vec<Attempt> {
    let mut attempts = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        attempts.push(attempt(server));
        thread::sleep(REST);
    }
    attempts
}

fn attempt(server: SocketAddr) -> Attempt {
    let start = Instant::now();
    let outcome = http::who(server).map_err(|error| format!("{error:#}"));
    Attempt { start, end: Instant::now(), outcome }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_lasts_until_the_last_failing_request_began() {
        let zero = Instant::now();
        let at = |milliseconds, outcome: Result<&str, &str>| {
            let start = zero + Duration::from_millis(milliseconds);
            let outcome = outcome.map(str::to_owned).map_err(str::to_owned);
            Attempt { start, end: start + Duration::from_millis(500), outcome }
        };
        let record = Record(vec![at(1, Err("early")), at(20, Err("refused")), at(30, Ok("web1"))]);
        assert_eq!(record.outage_since(zero + Duration::from_millis(10)), Some(Duration::from_millis(10)));
        assert_eq!(record.outage_since(zero + Duration::from_millis(25)), None);
        assert_eq!(record.answers_since(zero).collect::<Vec<_>>(), ["web1"]);
        let first = record.first_answer_since(zero, "web1");
        assert_eq!(first, Some(Duration::from_millis(530)), "an answer counts from when it came");
        let early = record.within(zero, Duration::ZERO..Duration::from_millis(20));
        assert_eq!(early.count(), 1, "the end of a span belongs to the next");
    }
}
