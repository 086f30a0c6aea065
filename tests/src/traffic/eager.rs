//! Clients that ask again as soon as they are answered: the measure of what is left for them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::http::{self, Connection};
use crate::netns::Namespace;

/// On what connections a client asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// On one that it keeps.
    Kept,
    /// On a new one each time.
    Fresh,
}

/// Eager clients, until they are sent away. The first that is not answered gives up.
#[derive(Debug)]
pub struct Eager {
    orders: Arc<Orders>,
    workers: Vec<JoinHandle<Result<()>>>,
}

#[derive(Debug, Default)]
struct Orders {
    answers: AtomicU64,
    stop: AtomicBool,
}

/// What is asked for.
const PATH: &str = "/bytes/1000";

impl Eager {
    /// Starts a client for each of `manners`, and returns when each has connected.
    pub fn start(namespace: &Namespace, server: SocketAddr, manners: &[Manner]) -> Result<Self> {
        let orders = Arc::new(Orders::default());
        let begin = |manner: &Manner| {
            let (manner, orders, first) = (*manner, Arc::clone(&orders), Connection::open(server)?);
            Ok(thread::spawn(move || ask(server, manner, first, &orders)))
        };
        let workers = namespace.run(|| manners.iter().map(begin).collect::<Result<_>>())?;
        Ok(Self { orders, workers })
    }

    /// Answers a second over the next while.
    pub fn rate(&self, lasting: Duration) -> Result<f64> {
        let (began, before) = (Instant::now(), self.answers());
        thread::sleep(lasting);
        let answers = u32::try_from(self.answers() - before).context("so many answers")?;
        ensure!(self.workers.iter().all(|worker| !worker.is_finished()), "a client gave up");
        Ok(f64::from(answers) / began.elapsed().as_secs_f64())
    }

    fn answers(&self) -> u64 {
        self.orders.answers.load(Ordering::Relaxed)
    }

    /// Sends them away; an error if any was not answered.
    pub fn stop(mut self) -> Result<()> {
        self.orders.stop.store(true, Ordering::Relaxed);
        let join = |worker: JoinHandle<Result<()>>| {
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        self.workers.drain(..).try_for_each(join)
    }
}

impl Drop for Eager {
    fn drop(&mut self) {
        self.orders.stop.store(true, Ordering::Relaxed);
    }
}

fn ask(server: SocketAddr, manner: Manner, mut first: Connection, orders: &Orders) -> Result<()> {
    while !orders.stop.load(Ordering::Relaxed) {
        let reply = match manner {
            Manner::Kept => first.get(PATH),
            Manner::Fresh => http::get(server, PATH),
        };
        reply.with_context(|| format!("a client that asks on {manner:?} connections"))?;
        orders.answers.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}
