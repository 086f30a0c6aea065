//! The daemon: start, reload and stop order, in one place. It alone knows everybody.
//!
//! Start: read the configuration, load the programs, ask the backends and the network once, write the tables, and only
//! then attach, so that no packet meets an empty table. Stop: detach first, then end the probes.
//!
//! While it runs, one task owns all state ([`Balancer`]) and one loop feeds it: verdicts, ways to backends, the
//! operator's requests, signals, and the time for the next look at the flow table.

mod balancer;
mod capture;
mod checks;
pub mod decap;
mod error;
mod explain;
mod flood;
mod flows;
mod guard;
mod interfaces;
mod level;
pub mod listeners;
mod loader;
mod orders;
mod overrides;
mod ports;
mod proxy;
mod reloads;
mod report;
mod routed;
mod scraping;
mod source;
mod tables;
mod ways;

pub use error::Error;

use crate::config::Config;
use crate::control::Request;
use crate::control::server::{Asked, Socket};
use crate::health::{Report, Transport, ring_builder};
use crate::kernel::{self, Attachment, Link, Mode};
use crate::plan::BackendKey;
use balancer::{Balancer, chain};
use scraping::Scraping;
use source::Source;
use std::future::Future;
use std::path::PathBuf;
use std::time::{Duration, Instant};
pub use tables::write as write_tables;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::sync::oneshot;
use tokio::task::LocalSet;

/// What the operator asked for on the command line.
#[derive(Clone, Debug)]
pub struct Options {
    /// Interfaces to balance on; none for layer 7 alone.
    pub interfaces: Vec<String>,
    /// The configuration file, if one was named.
    pub config: Option<PathBuf>,
    /// Where the program runs.
    pub mode: Mode,
    /// The control socket.
    pub control: PathBuf,
}

/// What of the files that a configuration names cannot be used: a start would end with the first.
#[must_use]
pub fn mistakes(config: &Config) -> Vec<String> {
    let of_proxy = proxy::mistakes(&config.proxy);
    let of_lists = guard::mistakes(config);
    let told = of_proxy.iter().map(|mistake| chain(mistake));
    told.chain(of_lists.iter().map(|mistake| chain(mistake))).collect()
}

/// What is wrong with a configuration of which one file could not be used: that, or all such files if they are several.
fn with_all(config: &Config, first: Error) -> Error {
    let all = mistakes(config);
    if all.len() > 1 { Error::Files(all) } else { first }
}

/// How long the start waits for every backend's first verdict and way. What is not known then stays out until it is.
const FIRST_LOOK: Duration = Duration::from_secs(2);

/// Runs the balancer until SIGTERM or SIGINT.
pub fn run(options: Options) -> Result<(), Error> {
    raise_descriptor_limit();
    if !options.interfaces.is_empty() {
        kernel::probe_features();
    }
    let (transport, why_not) = Transport::detect();
    if let Some(reason) = why_not {
        tracing::warn!(
            %reason,
            "io_uring cannot be used here (it takes Linux 5.19, and containers often forbid it); the daemon's own I/O goes \
             by epoll instead"
        );
    }
    if options.interfaces.is_empty() {
        return block_on(transport, proxy::serve_alone(options, transport))?;
    }
    block_on(transport, serve(options, transport))?
}

/// Every probe under way has a socket, and the usual limit of 1,024 descriptors is fewer than there may be backends.
fn raise_descriptor_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "cannot raise the limit on open files; with many backends, probes may fail for it");
    }
}

/// Runs a future on the transport's runtime, with tasks of its own on the same thread.
fn block_on<T>(transport: Transport, future: impl Future<Output = T>) -> Result<T, Error> {
    match transport {
        Transport::Ring => Ok(ring_builder().start(future)),
        Transport::Epoll => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            Ok(LocalSet::new().block_on(&runtime.map_err(Error::Runtime)?, future))
        }
    }
}

async fn serve(options: Options, transport: Transport) -> Result<(), Error> {
    let mut signals = Signals::listen().map_err(Error::Signals)?;
    let source = Source::choose(options.config);
    let config = source.load()?;
    let links = find_links(&options.interfaces)?;
    let socket = Socket::bind(&options.control)?;
    let metrics = config.metrics;
    let (queue, asked) = mpsc::unbounded_channel();
    let scraping = Scraping::new(queue.clone());
    let (reports, verdicts) = mpsc::unbounded_channel();
    let front = proxy::Front::new(&config, transport);
    let (front, front_verdicts) = front.map_err(|first| with_all(&config, first.into()))?;
    let mut balancer = tokio::select! {
        biased;
        () = signals.stop() => {
            tracing::info!("stopping");
            return Ok(());
        }
        loaded = Balancer::load(source, config, (&links, options.mode), (transport, reports), (front, scraping), queue.clone()) => loaded?,
    };
    let place = balancer.scraping.prepare(metrics).await?;
    balancer.scraping.take_up(place);
    tokio::task::spawn_local(socket.serve(queue));
    let mut inputs = Inputs { verdicts, front: front_verdicts, asked };
    let stopped = tokio::select! {
        biased;
        () = signals.stop() => true,
        () = first_look(&mut balancer, &mut inputs) => false,
    };
    if !stopped {
        balancer.begin()?;
        balancer.attach()?;
        balancer.front.begin()?;
        balancer.tell_ready(&options.control);
        turn(&mut balancer, &mut inputs, &mut signals).await;
    }
    tracing::info!("stopping");
    balancer.stop(signals.stop()).await
}

/// Services that packets are balanced for need an interface where they arrive.
fn needs_no_interface(config: &Config) -> Result<(), Error> {
    config
        .services
        .first()
        .map_or(Ok(()), |service| Err(proxy::Error::NoInterface(service.name.clone()).into()))
}

/// The interfaces of these names, each once.
fn find_links(names: &[String]) -> Result<Vec<Link>, Error> {
    let mut links: Vec<Link> = Vec::new();
    for name in names {
        let link = Link::find(name)?;
        link.require_frames()?;
        if !links.contains(&link) {
            links.push(link);
        }
    }
    Ok(links)
}

/// The queues that feed the balancer, besides its own watch on the network.
struct Inputs {
    verdicts: UnboundedReceiver<Report<BackendKey>>,
    front: UnboundedReceiver<Report<proxy::Key>>,
    asked: UnboundedReceiver<Asked>,
}

/// Takes in first verdicts and ways until all are known or the time is over.
async fn first_look(balancer: &mut Balancer, inputs: &mut Inputs) {
    let deadline = tokio::time::Instant::now() + FIRST_LOOK;
    while !balancer.knows_all() {
        tokio::select! {
            Some(report) = inputs.verdicts.recv() => { balancer.note(&report); }
            Some(report) = inputs.front.recv() => balancer.front.judge(&report, &mut inputs.front),
            Ok(()) = balancer.next_hops().changed() => {}
            () = tokio::time::sleep_until(deadline) => break,
        }
    }
    balancer.tell_missing_ways();
}

/// The life of the daemon: one thing after the other, until a signal ends it.
async fn turn(balancer: &mut Balancer, inputs: &mut Inputs, signals: &mut Signals) {
    let (mut next_look, mut files) = (Instant::now(), proxy::Looks::new());
    let mut moving = Moving::begin();
    loop {
        tokio::select! {
            biased;
            told = signals.next() => match told {
                Told::Stop => return,
                Told::Reload => {
                    balancer.obey(asked_by_signal()).await;
                    moving = Moving::begin();
                }
                Told::Reopen => balancer.front.reopen_logs(),
            },
            Some(report) = inputs.verdicts.recv() => balancer.judge(&report, &mut inputs.verdicts),
            Some(report) = inputs.front.recv() => balancer.front.judge(&report, &mut inputs.front),
            () = files.next() => balancer.front.look_at_files(),
            changed = network_change(balancer) => match changed {
                Changed::Ways => balancer.follow_ways(),
                Changed::Links => balancer.follow_links(),
            },
            Some(asked) = inputs.asked.recv() => {
                let is_reload = asked.0 == Request::Reload;
                balancer.obey(asked).await;
                if is_reload {
                    moving = Moving::begin();
                }
            }
            () = moving.next_look() => balancer.follow_listeners(),
            () = tokio::time::sleep_until(next_look.into()) => next_look = balancer.look_at_flows(),
        }
    }
}

/// The time after a start or a reload in which workers listen anew, while services of layer 4 may lead to their sockets.
struct Moving {
    next: tokio::time::Instant,
    end: tokio::time::Instant,
}

impl Moving {
    /// How often their sockets are looked for, beside the looks that there always are.
    const OFTEN: Duration = Duration::from_millis(20);
    /// How long it may take them.
    const LONGEST: Duration = Duration::from_millis(500);

    fn begin() -> Self {
        let now = tokio::time::Instant::now();
        Self { next: now, end: now + Self::LONGEST }
    }

    /// Waits until it is time; for ever when it is over.
    async fn next_look(&mut self) {
        if self.next > self.end {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep_until(self.next).await;
        self.next = tokio::time::Instant::now() + Self::OFTEN;
    }
}

/// A reload whose only answer is the log.
fn asked_by_signal() -> Asked {
    (Request::Reload, oneshot::channel().0)
}

/// What changed in the surroundings.
enum Changed {
    Ways,
    Links,
}

/// Waits for a change of the network. Interfaces come first, for a way by one that is back needs its program there.
async fn network_change(balancer: &mut Balancer) -> Changed {
    let (next_hops, links) = balancer.network();
    tokio::select! {
        biased;
        Ok(()) = links.changed() => Changed::Links,
        Ok(()) = next_hops.changed() => Changed::Ways,
        else => std::future::pending().await,
    }
}

/// The signals that mean something.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    reopen: Signal,
}

/// What a signal tells the daemon to do.
enum Told {
    Stop,
    Reload,
    /// Open the files of logs anew.
    Reopen,
}

impl Signals {
    /// Whoever started the daemon may have left these signals blocked, and it would be deaf to them.
    fn listen() -> std::io::Result<Self> {
        use nix::sys::signal::{
            SigSet,
            Signal::{SIGHUP, SIGINT, SIGTERM, SIGUSR1},
        };
        [SIGTERM, SIGINT, SIGHUP, SIGUSR1].into_iter().collect::<SigSet>().thread_unblock()?;
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            reopen: signal(SignalKind::user_defined1())?,
        })
    }

    /// Waits for a signal to stop; one to reload is kept for later.
    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.terminate.recv() => Told::Stop,
            _ = self.interrupt.recv() => Told::Stop,
            _ = self.hangup.recv() => Told::Reload,
            _ = self.reopen.recv() => Told::Reopen,
        }
    }
}

/// Says where a program was attached, and what the operator should know about it.
fn announce(attachment: &Attachment) {
    let (interface, mode) = (&attachment.interface.name, attachment.mode);
    tracing::info!(%interface, %mode, "attached");
    for step in &attachment.steps {
        tracing::info!(%interface, "{} mode is not used: {}", step.mode, step.reason);
    }
    if let Some(warning) = attachment.warning {
        tracing::warn!(%interface, "{warning}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::{SigSet, Signal::SIGHUP};

    #[tokio::test]
    async fn sockets_that_move_are_looked_for_at_once_and_often_and_not_for_ever() {
        let mut moving = Moving::begin();
        let mut looks = 0;
        while tokio::time::timeout(Moving::LONGEST, moving.next_look()).await.is_ok() {
            looks += 1;
        }
        let most = Moving::LONGEST.as_millis() / Moving::OFTEN.as_millis() + 1;
        assert!((2..=most).contains(&looks), "{looks}");
    }

    #[test]
    fn signals_that_a_parent_left_blocked_are_heard() {
        let listens = || {
            SigSet::from_iter([SIGHUP]).thread_block().unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let _inside = runtime.enter();
            let _signals = Signals::listen().unwrap();
            !SigSet::thread_get_mask().unwrap().contains(SIGHUP)
        };
        assert!(std::thread::spawn(listens).join().unwrap());
    }

    #[test]
    fn an_interface_named_twice_is_one() {
        let names = ["lo".to_owned(), "lo".to_owned()];
        assert_eq!(find_links(&names).unwrap().len(), 1);
    }
}
