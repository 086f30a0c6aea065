//! The balancer's state, how it begins and ends, and how it takes in what its surroundings tell.
//!
//! What changes it otherwise stands beside it: [`super::orders`], [`super::tables`], [`super::flows`].

use super::Error;
use super::capture::Captures;
use super::checks::{Checks, keys};
use super::flood::Flood;
use super::flows::Look;
use super::guard::Guard;
use super::interfaces::Interfaces;
use super::listeners::{ListenRule, Listeners};
use super::loader::Loader;
use super::overrides::Overrides;
use super::ports::{self, Ports};
use super::proxy::Front;
use super::reloads::Reloads;
use super::routed::Routed;
use super::scraping::Scraping;
use super::source::Source;
use super::tables::Cause;
use super::ways::Ways;
use crate::config::proxy::Io;
use crate::config::{self, Config, Encap, Forward, Service, Vip};
use crate::control::server::Asked;
use crate::guard::rules;
use crate::health::{Report, Transport};
use crate::kernel::guard::Guarding;
use crate::kernel::{
    CaptureSettings, Datapath, Link, Links, Mode, NextHops, Prefix, Program, Resolver, Settings, Tables,
};
use crate::plan::{BackendKey, Planner, stages};
use std::collections::BTreeSet;
use std::num::NonZeroU16;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::watch;

/// Everything the daemon has in hand.
pub(super) struct Balancer {
    pub(super) source: Source,
    pub(super) config: Config,
    pub(super) loaded_with: LoadedWith,
    pub(super) started: Instant,
    pub(super) transport: Transport,
    pub(super) tables: Tables,
    pub(super) loader: Loader,
    pub(super) interfaces: Interfaces,
    pub(super) checks: Checks,
    pub(super) planner: Planner,
    pub(super) resolver: Resolver,
    pub(super) ways: Ways,
    pub(super) look: Look,
    pub(super) overrides: Overrides,
    /// Set when the kernel refused a write, so that tables and plan may differ until everything is written anew.
    pub(super) broken: bool,
    pub(super) listeners: Listeners,
    pub(super) flood: Flood,
    pub(super) guard: Guard,
    pub(super) routed: Routed,
    /// What captures need, if the programs were loaded for them.
    pub(super) captures: Option<Captures>,
    pub(super) front: Front,
    pub(super) scraping: Scraping,
    pub(super) reloads: Reloads,
}

/// What the programs were loaded with, which a reload cannot change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LoadedWith {
    pub(super) seed: u64,
    pub(super) nat: config::Nat,
    pub(super) limits: config::Limits,
    pub(super) log_packets: bool,
    pub(super) encap: Encap,
    /// Prefixes that the guard has room for, if it was loaded, and whether it sends SYN cookies.
    pub(super) guard: Option<(u32, bool)>,
    pub(super) capture: config::Capture,
    pub(super) workers: Option<NonZeroU16>,
    pub(super) io: Io,
}

impl LoadedWith {
    pub(super) fn of(config: &Config) -> Self {
        Self {
            seed: config.seed,
            nat: config.nat.clone(),
            limits: config.limits.clone(),
            log_packets: config.log_packets,
            encap: config.encap,
            guard: guarding(config),
            capture: config.capture.clone(),
            workers: config.proxy.workers,
            io: config.proxy.io,
        }
    }
}

impl Balancer {
    /// Loads the programs and begins to ask the backends and the network. Nothing is attached.
    pub(super) async fn load(
        source: Source,
        config: Config,
        (links, mode): (&[Link], Mode),
        (transport, reports): (Transport, UnboundedSender<Report<BackendKey>>),
        (front, scraping): (Front, Scraping),
        queue: UnboundedSender<Asked>,
    ) -> Result<Self, Error> {
        let started = Instant::now();
        let ports = ports::divide(&config.nat.ports, &ports::ephemeral());
        if let Some(warning) = &ports.warning {
            tracing::warn!("{warning}");
        }
        let settings = settings(&config, (links, mode), &ports);
        let datapath = Datapath::load_aside(settings, stages(&config.services)).await?;
        let Datapath { programs, tables, log, capture } = datapath;
        let reloads = Reloads::default();
        let loader = Loader::new(programs, queue, reloads.clone());
        if let Some(log) = log {
            tokio::task::spawn_local(log.run());
        }
        let program = if config.is_guarded() { Program::Guard } else { Program::Balance };
        let mut balancer = Self {
            loaded_with: LoadedWith::of(&config),
            source,
            config,
            started,
            transport,
            tables,
            interfaces: Interfaces::new(loader.clone(), (program, mode), links),
            loader,
            checks: Checks::new(transport, ports.probes, reports),
            planner: Planner::new(),
            resolver: Resolver::start()?,
            ways: Ways::default(),
            look: Look::new(ports.nat)?,
            overrides: Overrides::default(),
            broken: false,
            listeners: Listeners::inherit(),
            flood: Flood::default(),
            guard: Guard::default(),
            routed: Routed::default(),
            captures: capture.map(|capture| Captures::new(capture.into())),
            front,
            scraping,
            reloads,
        };
        balancer.follow_config();
        balancer.follow_mtus(links);
        Ok(balancer)
    }

    /// The ways to the backends, to wait for changes.
    pub(super) const fn next_hops(&mut self) -> &mut watch::Receiver<Arc<NextHops>> {
        &mut self.resolver.next_hops
    }

    /// The ways to the backends and the host's interfaces, to wait for changes of either.
    pub(super) const fn network(
        &mut self,
    ) -> (&mut watch::Receiver<Arc<NextHops>>, &mut watch::Receiver<Arc<Links>>) {
        (&mut self.resolver.next_hops, &mut self.resolver.links)
    }

    /// Whether every backend has its first verdict and its way.
    pub(super) fn knows_all(&self) -> bool {
        let hops = self.resolver.next_hops.borrow();
        let mut addresses = self.config.services.iter().flat_map(|service| &service.backends);
        self.checks.are_all_known()
            && self.front.knows_all()
            && addresses.all(|backend| matches!(hops.get(&backend.addr.ip()), Some(Ok(_))))
    }

    /// Attaches the balancer to every interface.
    pub(super) fn attach(&mut self) -> Result<(), Error> {
        self.interfaces.attach()?;
        self.follow_reach();
        Ok(())
    }

    /// Says that traffic is being balanced, or what to do so that it will be.
    pub(super) fn tell_ready(&self, control: &Path) {
        let services = self.config.services.len() + self.config.proxy.services.len();
        tracing::info!(services, control = %control.display(), config = %self.source, "ready");
        if services == 0 {
            tracing::info!(
                "no services yet: describe one in {0} (lb-userspace/CONFIG.md tells how), try it with \
                 `lb-userspace check {0}`, then `lb-userspace reload`",
                self.source.path().display()
            );
        }
    }

    /// Takes a verdict in, before the tables are written for the first time.
    pub(super) fn note(&mut self, report: &Report<BackendKey>) -> bool {
        let changed = self.checks.note(report);
        if changed {
            let transition = &report.transition;
            let cause = transition.cause.as_ref().map(ToString::to_string).unwrap_or_default();
            let (service, backend) = self.names(&report.key);
            tracing::info!(
                service, backend, from = %transition.from, to = %transition.to, cause, "health"
            );
        }
        changed
    }

    /// What the operator calls a backend.
    pub(super) fn names(&self, key: &BackendKey) -> (String, String) {
        let service = self.config.services.iter().find(|service| service.vip == key.service);
        let backends = service.map_or(&[][..], |service| &service.backends);
        let backend = backends.iter().find(|backend| backend.addr == key.addr);
        (
            service.map_or_else(|| key.service.to_string(), |service| service.name.clone()),
            backend.map_or_else(|| key.addr.to_string(), |backend| backend.name.clone()),
        )
    }

    /// Acts on a verdict, and on all that wait behind it, with one plan.
    pub(super) fn judge(
        &mut self,
        report: &Report<BackendKey>,
        waiting: &mut UnboundedReceiver<Report<BackendKey>>,
    ) {
        let mut changed = self.note(report);
        while let Ok(report) = waiting.try_recv() {
            changed |= self.note(&report);
        }
        if changed {
            self.replan(Cause::Health);
        }
    }

    /// Acts on a change of the ways to the backends.
    pub(super) fn follow_ways(&mut self) {
        self.tell_changed_ways();
        self.replan(Cause::Network);
    }

    /// Acts on a change of the host's interfaces.
    pub(super) fn follow_links(&mut self) {
        let links: Vec<Link> = self.resolver.links.borrow().values().cloned().collect();
        let bare = self.interfaces.bare();
        self.interfaces.follow(&links);
        self.follow_reach();
        if self.interfaces.bare() != bare {
            self.replan(Cause::Network);
        }
        let served: Vec<_> = links.into_iter().filter(|link| self.interfaces.has(&link.name)).collect();
        self.follow_mtus(&served);
    }

    /// Tells the programs which interfaces they can send to, if they are native. If they cannot be told, they go on by what was right
    /// before.
    fn follow_reach(&mut self) {
        if let Err(error) = self.tables.write_reachable(&self.interfaces.native()) {
            tracing::error!("cannot tell the programs which interfaces they reach: {}", chain(&error));
        }
    }

    /// Tells the programs what all of our interfaces take. If they cannot be told, they go on asking for each long packet, or by what
    /// was right before.
    fn follow_mtus(&mut self, links: &[Link]) {
        let Some(least) = links.iter().map(Link::common_mtu).min() else { return };
        if let Err(error) = self.tables.write_common_mtu(least) {
            tracing::error!("cannot tell the programs of the interfaces' MTU: {}", chain(&error));
        }
    }

    /// Lets checks and the watch on the network follow the configuration.
    pub(super) fn follow_config(&mut self) {
        self.checks.follow(&self.config);
        let configured = self.config.services.iter().flat_map(|service| &service.backends);
        let leaving = self.planner.addresses();
        let addresses = configured.map(|backend| backend.addr.ip()).chain(leaving);
        self.resolver.watch(addresses.collect());
        let keys: BTreeSet<_> = keys(&self.config).collect();
        self.overrides.retain(&keys);
        self.follow_listeners();
    }

    /// Looks for the sockets that services end at.
    pub(super) fn follow_listeners(&mut self) {
        let local = self.config.services.iter().filter(|service| service.forward == Forward::Local);
        let rules: Vec<_> = local.map(listen_rule).collect();
        self.listeners.follow(&rules);
    }

    /// Detaches, then ends the probes.
    pub(super) async fn stop(self, hurry: impl Future<Output = ()>) -> Result<(), Error> {
        let detached = self.interfaces.detach();
        self.front.stop(hurry).await;
        self.checks.stop().await;
        detached
    }
}

/// Where packets of a local service land.
pub(super) fn listen_rule(service: &Service) -> ListenRule {
    let Vip { addr, bits, port, last_port, protocol } = service.vip;
    ListenRule {
        prefix: Prefix::new(addr, bits),
        ports: port..=last_port,
        protocol,
        listener: service.listener,
    }
}

fn settings(config: &Config, (links, mode): (&[Link], Mode), ports: &Ports) -> Settings {
    Settings {
        seed: config.seed,
        ports: ports.nat,
        tx_by_redirect: links.iter().any(|link| link.is_veth),
        log_packets: config.log_packets,
        flows: config.limits.flows,
        fragments: config.limits.fragments,
        new_flows: share_of_a_cpu(config.limits.new_flows),
        spread: config.encap.drawn(),
        gue_port: 0,
        at_tc: mode.is_tc(),
        guard: guarding(config).map(|(prefixes, cookies)| Guarding {
            nodes: rules::nodes(prefixes),
            keys: rules::draw_keys(),
            cookies,
        }),
        capture: config.capture.enabled.then(|| CaptureSettings {
            rate: share_of_a_cpu(config.capture.rate),
            ring: config.capture.ring,
        }),
    }
}

/// Prefixes that the guard is to have room for, if there is to be one, and whether it sends SYN cookies.
fn guarding(config: &Config) -> Option<(u32, bool)> {
    let cookies = config.services.iter().any(|service| service.guard.syn_cookies);
    config.is_guarded().then(|| (config.guard.clone().unwrap_or_default().prefixes, cookies))
}

/// What each CPU may do of what all may do together; 0 stays none.
fn share_of_a_cpu(all: u32) -> u32 {
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    all.div_ceil(u32::try_from(cpus).unwrap_or(u32::MAX))
}

/// An error and its causes in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
