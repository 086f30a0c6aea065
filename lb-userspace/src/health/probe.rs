//! One probe: open, connect, ask, judge, close. It owns its socket from beginning to end.
//!
//! The exchange runs as a task of its own. When time is up the socket is shut down through a second handle, so that
//! whatever operation is pending completes and the exchange ends by itself; it is never dropped half-way.

use std::cell::Cell;
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use socket2::Socket;
use tokio::io::AsyncWriteExt as _;
use tokio::task::{JoinError, JoinHandle, spawn_local};
use tokio::time::{timeout, timeout_at};

use super::http::Question;
use super::random::SplitMix;
use super::sessions::Sessions;
use super::socket::{bind_source_port, is_self_connected, open};
use super::stream::{Stream, Transport};
use super::turns::Waited;
use super::{Kind, Layers, Params, ProbeError, Stage, http2};

/// How long a probe that was shut down may take to notice. It takes microseconds; should a kernel not wake the
/// pending operation, the verdict does not wait for it, and the task keeps the operation until it ends.
const GRACE: Duration = Duration::from_millis(20);

type Outcome = Result<Duration, ProbeError>;

/// Asks one backend, again and again.
#[derive(Debug)]
pub struct Prober {
    params: Params,
    question: Option<Question>,
    transport: Transport,
    random: SplitMix,
    /// Where TLS is spoken.
    sessions: Option<Sessions>,
}

/// How far a probe has come.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) stage: Cell<Stage>,
    /// How long this host had it wait: no time of the backend's.
    pub(super) waited: Waited,
}

impl Prober {
    /// The seed chooses source ports, where a range of them is given.
    #[must_use]
    pub fn new(params: Params, transport: Transport, seed: u64) -> Self {
        let transport = if params.layers.is_empty() { transport } else { Transport::Epoll };
        let question = match &params.kind {
            Kind::Tcp => None,
            Kind::Http { path, status, host } => {
                Some(Question::new(path, *status, host.as_deref(), params.target))
            }
        };
        let mut random = SplitMix::new(seed);
        let tls = params.layers.tls.clone();
        let sessions = tls.map(|tls| Sessions::new(tls, Instant::now(), &mut random));
        Self { params, question, transport, random, sessions }
    }

    /// Makes one probe and gives its latency, or what it met. Takes the time-out at most, a few milliseconds, and what it has to wait
    /// for other probes' handshakes.
    pub async fn probe(&mut self) -> Outcome {
        let outcome = self.try_probe().await;
        if let (Err(_), Some(sessions)) = (&outcome, &mut self.sessions) {
            sessions.give_up(Instant::now(), &mut self.random);
        }
        outcome
    }

    async fn try_probe(&mut self) -> Outcome {
        let socket = self.open().map_err(|error| ProbeError::ours(&error))?;
        let alarm = socket.try_clone().map_err(|error| ProbeError::ours(&error))?;
        let progress = Rc::new(Progress { stage: Cell::new(Stage::Connecting), waited: Waited::default() });
        let target = self.params.target;
        let session = self.sessions.as_mut().map(|sessions| sessions.next(Instant::now(), &mut self.random));
        let way = Way { transport: self.transport, layers: self.params.layers.clone(), session };
        let exchange = exchange(way, socket, target, self.question.clone(), Rc::clone(&progress));
        let latency = await_outcome(spawn_local(exchange), &alarm, self.params.timeout, &progress).await?;
        if is_self_connected(&alarm, target) { Err(ProbeError::Refused) } else { Ok(latency) }
    }

    fn open(&mut self) -> std::io::Result<Socket> {
        let socket = open(self.params.target, self.transport.wants_nonblocking())?;
        if let Some(ports) = &self.params.source_ports {
            bind_source_port(&socket, self.params.target, ports, &mut self.random)?;
        }
        Ok(socket)
    }
}

/// How a probe's bytes go.
struct Way {
    transport: Transport,
    layers: Layers,
    session: Option<Arc<ClientConfig>>,
}

async fn exchange(
    Way { transport, layers, session }: Way,
    socket: Socket,
    target: SocketAddr,
    question: Option<Question>,
    progress: Rc<Progress>,
) -> Outcome {
    let start = Instant::now();
    let stream = if layers.is_empty() {
        Stream::connect(transport, socket, target).await?
    } else {
        Stream::Polled(layers.connect(socket, target, session, &progress).await?)
    };
    progress.stage.set(Stage::Answering);
    match (question, stream) {
        (Some(question), Stream::Polled(stream)) if layers.http2 => {
            http2::ask(&question, layers.scheme(), stream).await?;
        }
        (Some(question), mut stream) => question.ask(&mut stream).await?,
        // A backend should not have to log that TLS was cut off; how it takes the goodbye is no matter.
        (None, Stream::Polled(mut stream)) => drop(stream.shutdown().await),
        (None, Stream::Ring(_)) => {}
    }
    Ok(start.elapsed().saturating_sub(progress.waited.so_far()))
}

/// Waits for the exchange until time is up, then ends it.
///
/// If it turns out to have passed all the same, its answer had come in time and only this thread was late to read it:
/// a stalled daemon must not fail its backends.
async fn await_outcome(
    mut exchange: JoinHandle<Outcome>,
    alarm: &Socket,
    after: Duration,
    progress: &Progress,
) -> Outcome {
    if let Some(ended) = in_time(&mut exchange, after, &progress.waited).await {
        return ended.unwrap_or_else(|error| Err(ProbeError::Ours(error.to_string())));
    }
    let timed_out = ProbeError::TimedOut { after, stage: progress.stage.get() };
    // It fails on a socket that is closed already, which is what it is for.
    let _ = alarm.shutdown(Shutdown::Both);
    match timeout(GRACE, exchange).await {
        Ok(Ok(Ok(latency))) => Ok(latency),
        _ => Err(timed_out),
    }
}

/// How the exchange ended, if it did before the time was up that it has not spent waiting for its turn.
async fn in_time(
    exchange: &mut JoinHandle<Outcome>,
    after: Duration,
    waited: &Waited,
) -> Option<Result<Outcome, JoinError>> {
    let start = tokio::time::Instant::now();
    loop {
        let until = start + after + waited.so_far();
        match timeout_at(until, &mut *exchange).await {
            Ok(ended) => return Some(ended),
            Err(_) if until >= start + after + waited.so_far() => return None,
            Err(_) => {}
        }
    }
}
