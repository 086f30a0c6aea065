//! The daemon where there is no interface to balance on: layer 7 alone, and nothing of the kernel's is touched.

use super::super::balancer::LoadedWith;
use super::super::orders::{Ordered, answer, explained, needs_restart};
use super::super::reloads::Reloads;
use super::super::scraping::Scraping;
use super::super::source::Source;
use super::super::{Options, Signals, Told, needs_no_interface, with_all};
use super::{FIRST_LOOK, Front, Key, Looks};
use crate::config::Config;
use crate::control::server::Socket;
use crate::control::{Explanation, Request, Response, Status, metrics};
use crate::daemon;
use crate::health::{Report, Transport};
use std::time::Instant;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::spawn_local;
use tokio::time::timeout;

/// What it has in hand.
struct Alone {
    source: Source,
    front: Front,
    scraping: Scraping,
    transport: Transport,
    started: Instant,
    /// What a reload cannot change.
    started_with: LoadedWith,
    reloads: Reloads,
}

/// Serves until a signal to stop.
pub(in crate::daemon) async fn serve(options: Options, transport: Transport) -> Result<(), daemon::Error> {
    let mut signals = Signals::listen().map_err(daemon::Error::Signals)?;
    let source = Source::choose(options.config);
    let config = source.load()?;
    needs_no_interface(&config)?;
    if config.proxy.listeners.is_empty() {
        return Err(super::Error::Idle.into());
    }
    let (queue, mut asked) = unbounded_channel();
    let mut scraping = Scraping::new(queue.clone());
    let place = scraping.prepare(config.metrics).await?;
    scraping.take_up(place);
    spawn_local(Socket::bind(&options.control)?.serve(queue));
    let front = Front::new(&config, transport);
    let (front, mut verdicts) = front.map_err(|first| with_all(&config, first.into()))?;
    let started_with = LoadedWith::of(&config);
    let (started, reloads) = (Instant::now(), Reloads::default());
    let mut alone = Alone { source, front, scraping, transport, started, started_with, reloads };
    alone.first_look(&mut verdicts).await;
    alone.front.begin()?;
    tracing::info!(control = %options.control.display(), config = %alone.source, "ready");
    let mut looks = Looks::new();
    loop {
        tokio::select! {
            biased;
            told = signals.next() => match told {
                Told::Stop => break,
                // Both ends are logged where they are made.
                Told::Reload => drop(alone.reload().await),
                Told::Reopen => alone.front.reopen_logs(),
            },
            Some(report) = verdicts.recv() => alone.front.judge(&report, &mut verdicts),
            () = looks.next() => alone.front.look_at_files(),
            Some((request, answer)) = asked.recv() => {
                // Whoever asked may have gone.
                let _ = answer.send(alone.obey(&request).await.into());
            }
        }
    }
    tracing::info!("stopping");
    alone.front.stop(signals.stop()).await;
    Ok(())
}

impl Alone {
    /// Takes in first verdicts until all are known, or long enough.
    async fn first_look(&mut self, verdicts: &mut UnboundedReceiver<Report<Key>>) {
        let all = async {
            while !self.front.knows_all()
                && let Some(report) = verdicts.recv().await
            {
                self.front.judge(&report, verdicts);
            }
        };
        // Who is not known then stays out until it is.
        let _ = timeout(FIRST_LOOK, all).await;
    }

    async fn obey(&mut self, request: &Request) -> Response {
        match request {
            Request::Status => Response::Status(Box::new(self.status().await)),
            Request::Metrics => Response::Metrics { text: metrics::render(&self.status().await) },
            Request::Reload => self.reload().await,
            Request::Explain(order) if !order.is_of_packets() => {
                let told = self.front.explain(order, &[]).await;
                explained(told.map(|told| Explanation::Http(Box::new(told))))
            }
            Request::Drain { service, backend, undo } => {
                answer(self.front.order(service, backend, Ordered::Drain { undo: *undo }))
            }
            Request::Weight { service, backend, weight } => answer(
                Ordered::weight(*weight).and_then(|ordered| self.front.order(service, backend, ordered)),
            ),
            _ => Response::Refused {
                message: "this is about services of layer 4, and the daemon runs without an interface"
                    .to_owned(),
            },
        }
    }

    async fn status(&self) -> Status {
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_seconds: self.started.elapsed().as_secs_f64(),
            config: self.source.to_string(),
            reloads: self.reloads.status(),
            transport: self.transport.as_str().to_owned(),
            front: self.front.status().await,
            ..Status::default()
        }
    }

    /// Reads the configuration again. Whatever is wrong with it, the old one stays in force.
    async fn reload(&mut self) -> Response {
        let source = self.source.again();
        // Without a listener it would not have started.
        let outcome = match source.load_again(true).await {
            Ok(config) => self.take_up(&config).await.map(|()| needs_restart(&self.started_with, &config)),
            Err(error) => Err(error),
        };
        match outcome {
            Ok(waits) => {
                self.source = source;
                self.reloads.note_taken();
                let message = format!("reloaded {}{waits}", self.source);
                tracing::info!("{message}");
                Response::Done { message }
            }
            Err(error) => {
                let message =
                    format!("{}\nnothing changed; the old configuration serves on", daemon::chain(&error));
                self.reloads.note_refused(&message);
                tracing::error!("{message}");
                Response::Refused { message }
            }
        }
    }

    async fn take_up(&mut self, config: &Config) -> Result<(), daemon::Error> {
        needs_no_interface(config)?;
        let prepared = self.front.prepare(config).map_err(|first| with_all(config, first.into()))?;
        let metrics = self.scraping.prepare(config.metrics).await?;
        self.front.take_up(config, prepared)?;
        self.scraping.take_up(metrics);
        Ok(())
    }
}
