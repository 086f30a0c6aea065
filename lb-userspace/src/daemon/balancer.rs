//! The balancer's state and everything that changes it.

use super::checks::Checks;
use super::ports::{self, Ports};
use super::source::Source;
use super::{Error, announce};
use crate::config::{self, Config};
use crate::control::{Request, Response};
use crate::health::{Report, Transport};
use crate::kernel::expire::{self, Rules, Sweep};
use crate::kernel::{
    Attachment, Datapath, Link, Mode, NextHop, NextHops, Program, Programs, Resolver, Settings, TableError,
    Tables, maps,
};
use crate::plan::{self, BackendKey, Plan, PlanError, Planner, Write};
use lb_common::abi::{BackendId, Slot, Ticks};
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::watch;

/// Between the end of one walk through the flow table and the beginning of the next.
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);
/// Between two batches of a walk: long enough for everything else to have its turn.
const BETWEEN_BATCHES: Duration = Duration::from_millis(5);

/// What a plan is made for; said in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    Start,
    Health,
    Network,
    Reload,
    Drain,
    Settling,
}

impl Cause {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Health => "health",
            Self::Network => "network",
            Self::Reload => "reload",
            Self::Drain => "drain",
            Self::Settling => "settling",
        }
    }
}

/// Everything the daemon has in hand.
pub(super) struct Balancer {
    pub(super) source: Source,
    pub(super) config: Config,
    pub(super) started: Instant,
    pub(super) transport: Transport,
    pub(super) tables: Tables,
    pub(super) attached: Vec<Attachment>,
    pub(super) checks: Checks,
    pub(super) planner: Planner,
    pub(super) flows: u64,
    pub(super) resolver: Resolver,
    programs: Programs,
    links: Vec<Link>,
    /// The seed the programs were loaded with; a reload cannot change it.
    seed: u64,
    drained: BTreeSet<BackendKey>,
    sweep: Sweep,
    sweep_began: Instant,
    tick: Duration,
    /// Set when the kernel refused a write, so that tables and plan may differ until everything is written anew.
    broken: bool,
    /// Identifiers given to new backends whose counters are not cleared yet.
    uncleared: Vec<BackendId>,
}

impl Balancer {
    /// Loads the programs and begins to ask the backends and the network. Nothing is attached.
    pub(super) fn load(
        source: Source,
        config: Config,
        links: Vec<Link>,
        (transport, reports): (Transport, UnboundedSender<Report<BackendKey>>),
    ) -> Result<Self, Error> {
        let ports = ports::divide(&config.nat.ports, &ports::ephemeral());
        if let Some(warning) = &ports.warning {
            tracing::warn!("{warning}");
        }
        let Datapath { programs, tables, log } = Datapath::load(&settings(&config, &links, &ports))?;
        if let Some(log) = log {
            tokio::task::spawn_local(log.run());
        }
        let mut balancer = Self {
            seed: config.seed,
            source,
            config,
            started: Instant::now(),
            transport,
            tables,
            attached: Vec::new(),
            checks: Checks::new(transport, ports.probes, reports),
            planner: Planner::new(),
            flows: 0,
            resolver: Resolver::start()?,
            programs,
            links,
            drained: BTreeSet::new(),
            sweep: Sweep::default(),
            sweep_began: Instant::now(),
            tick: maps::tick().map_err(Error::Clock)?,
            broken: false,
            uncleared: Vec::new(),
        };
        balancer.follow_config();
        Ok(balancer)
    }

    /// The ways to the backends, to wait for changes.
    pub(super) const fn next_hops(&mut self) -> &mut watch::Receiver<Arc<NextHops>> {
        &mut self.resolver.next_hops
    }

    /// Whether every backend has its first verdict and its way.
    pub(super) fn knows_all(&self) -> bool {
        let hops = self.resolver.next_hops.borrow();
        let mut addresses = self.config.services.iter().flat_map(|service| &service.backends);
        self.checks.are_all_known() && addresses.all(|backend| hop(&hops, backend.addr.ip()).is_some())
    }

    /// Attaches the balancer to every interface.
    pub(super) fn attach(&mut self, mode: Mode) -> Result<(), Error> {
        for link in &self.links {
            let attachment = self.programs.attach(Program::Balance, link, mode)?;
            announce(&attachment);
            self.attached.push(attachment);
        }
        Ok(())
    }

    /// Says that traffic is being balanced, or what to do so that it will be.
    pub(super) fn tell_ready(&self, control: &Path) {
        let services = self.config.services.len();
        tracing::info!(services, control = %control.display(), config = %self.source, "ready");
        if services == 0 {
            tracing::info!(
                "no services yet: describe one in /etc/lb/lb.toml (lb-userspace/CONFIG.md tells how), try it with \
                 `lb-userspace check /etc/lb/lb.toml`, then `lb-userspace reload`"
            );
        }
    }

    /// Takes a verdict in, before the tables are written for the first time.
    pub(super) fn note(&mut self, report: &Report<BackendKey>) -> bool {
        let changed = self.checks.note(report);
        if changed {
            let transition = &report.transition;
            let cause = transition.cause.as_ref().map(ToString::to_string).unwrap_or_default();
            tracing::info!(
                service = %report.key.service, backend = %report.key.addr, from = %transition.from,
                to = %transition.to, cause, "health"
            );
        }
        changed
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
    pub(super) fn follow_network(&mut self) {
        self.replan(Cause::Network);
    }

    /// Does what the operator asks.
    pub(super) fn obey(&mut self, request: &Request) -> Response {
        match request {
            Request::Status => match self.status() {
                Ok(status) => Response::Status(Box::new(status)),
                Err(error) => Response::Refused { message: chain(&error) },
            },
            Request::Reload => answer(self.reload()),
            Request::Drain { service, backend, undo } => answer(self.drain(service, backend, *undo)),
        }
    }

    /// Reads the configuration again because of a signal: the answer goes to the log.
    pub(super) fn reload_by_signal(&mut self) {
        match self.reload() {
            Ok(message) => tracing::info!("{message}"),
            Err(error) => tracing::error!("{error}"),
        }
    }

    /// Reads the configuration again. Whatever is wrong with it, the old one stays in force.
    fn reload(&mut self) -> Result<String, String> {
        let source = self.source.again();
        let kept = |error: &dyn std::error::Error| {
            format!("{}\nnothing changed; the old configuration serves on", chain(error))
        };
        let config = source.load().map_err(|error| kept(&error))?;
        let former = std::mem::replace(&mut self.config, config);
        match self.make_plan() {
            Ok(plan) => {
                self.source = source;
                self.follow_config();
                let summary = describe(&plan);
                self.apply(&plan, Cause::Reload).map_err(|error| chain(&error))?;
                Ok(format!("reloaded {}: {summary}{}", self.source, needs_restart(&former, &self.config)))
            }
            Err(error) => {
                self.config = former;
                Err(kept(&error))
            }
        }
    }

    /// Drains a backend, or takes that back.
    fn drain(&mut self, service: &str, backend: &str, undo: bool) -> Result<String, String> {
        let key = self.find(service, backend)?;
        let changed = if undo { self.drained.remove(&key) } else { self.drained.insert(key) };
        if !changed {
            return Ok(format!(
                "{service}/{backend} was {} already",
                if undo { "not drained by command" } else { "drained" }
            ));
        }
        self.plan(Cause::Drain).map_err(|error| chain(&error))?;
        let now = if undo { "gets new flows again" } else { "gets no new flows; those it has go on" };
        Ok(format!("{service}/{backend} {now}"))
    }

    fn find(&self, service: &str, backend: &str) -> Result<BackendKey, String> {
        let services = &self.config.services;
        let names = |names: Vec<&str>| names.join(", ");
        let found = services.iter().find(|candidate| candidate.name == service).ok_or_else(|| {
            let present = names(services.iter().map(|service| service.name.as_str()).collect());
            format!("there is no service `{service}`; there are: {present}")
        })?;
        let member = found.backends.iter().find(|candidate| candidate.name == backend).ok_or_else(|| {
            let present = names(found.backends.iter().map(|backend| backend.name.as_str()).collect());
            format!("service `{service}` has no backend `{backend}`; it has: {present}")
        })?;
        Ok(BackendKey::of(found, member))
    }

    /// Lets checks and the watch on the network follow the configuration.
    fn follow_config(&mut self) {
        self.checks.follow(&self.config);
        let configured = self.config.services.iter().flat_map(|service| &service.backends);
        let leaving = self.planner.addresses();
        let addresses = configured.map(|backend| backend.addr.ip()).chain(leaving);
        let v4 = |address| match address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        };
        self.resolver.watch(addresses.filter_map(v4).collect());
        let keys: BTreeSet<_> = keys(&self.config).collect();
        self.drained.retain(|key| keys.contains(key));
    }

    /// Plans anew and writes what changed; a failure is logged and the old tables serve on.
    fn replan(&mut self, cause: Cause) {
        if let Err(error) = self.plan(cause) {
            tracing::error!(cause = cause.as_str(), "cannot change the tables: {}", chain(&error));
        }
    }

    /// Plans anew and writes what changed.
    pub(super) fn plan(&mut self, cause: Cause) -> Result<(), Error> {
        let plan = self.make_plan()?;
        self.apply(&plan, cause)
    }

    fn make_plan(&mut self) -> Result<Plan, PlanError> {
        let next_hops = self.known_hops();
        let inputs = plan::Inputs {
            services: &self.config.services,
            seed: self.seed,
            health: self.checks.verdicts(),
            drained: &self.drained,
            next_hops: &next_hops,
        };
        self.planner.plan(&inputs, Instant::now())
    }

    fn known_hops(&self) -> HashMap<IpAddr, NextHop> {
        let hops = self.resolver.next_hops.borrow();
        let known = |(address, hop): (&std::net::Ipv4Addr, &Result<NextHop, _>)| {
            hop.as_ref().ok().map(|hop| (IpAddr::V4(*address), *hop))
        };
        hops.iter().filter_map(known).collect()
    }

    /// Writes a plan. If an earlier write failed, everything is written.
    fn apply(&mut self, plan: &Plan, cause: Cause) -> Result<(), Error> {
        let began = Instant::now();
        self.uncleared.extend(&plan.summary.admitted);
        let whole = self.broken.then(|| self.planner.plan_whole());
        let writes = whole.as_ref().map_or(&plan.writes, |whole| &whole.writes);
        if writes.is_empty() {
            return Ok(());
        }
        self.broken = true;
        self.clear_counters()?;
        write(&mut self.tables, writes)?;
        self.broken = false;
        let took = began.elapsed();
        tracing::info!(
            cause = cause.as_str(),
            generation = plan.generation,
            writes = writes.len(),
            slots_moved = plan.summary.slots_moved,
            ?took,
            "tables written"
        );
        Ok(())
    }

    /// Clears what earlier bearers of newly given identifiers left in their counters.
    fn clear_counters(&mut self) -> Result<(), TableError> {
        while let Some(id) = self.uncleared.last() {
            self.tables.clear_backend_count(*id)?;
            self.uncleared.pop();
        }
        Ok(())
    }

    /// Goes one batch further through the flow table; returns when to go on.
    pub(super) fn look_at_flows(&mut self) -> Instant {
        let pause = self.sweep_one_batch().unwrap_or_else(|error| {
            tracing::warn!("cannot look at the flow table: {}", chain(&error));
            BETWEEN_LOOKS
        });
        Instant::now() + pause
    }

    fn sweep_one_batch(&mut self) -> Result<Duration, Error> {
        let rules = Rules::new(self.planner.idle_times(), self.tick);
        let (planner, seed) = (&self.planner, self.seed);
        let observed = self.sweep.step(&mut self.tables, &rules, |key| planner.slot_of(key, seed))?;
        let Some(observed) = observed else { return Ok(BETWEEN_BATCHES) };
        let taken_at = std::mem::replace(&mut self.sweep_began, Instant::now());
        self.flows = observed.flows;
        self.end_transitions(&observed, taken_at)?;
        self.sweep_began = Instant::now() + BETWEEN_LOOKS;
        Ok(BETWEEN_LOOKS)
    }

    /// Settles the slots whose old flows are over, and lets go of backends that nothing names any more.
    fn end_transitions(&mut self, observed: &expire::Observations, taken_at: Instant) -> Result<(), Error> {
        let uses = self.settled_uses()?;
        let last_use = |slot: u32| uses.get(&slot).copied();
        let observations = plan::Observations {
            taken_at,
            last_use: &last_use,
            strays: &observed.strays,
            by_backend: &observed.by_backend,
        };
        let plan = self.planner.step_transitions(&observations, Instant::now());
        let forgotten = !plan.summary.forgotten.is_empty();
        self.apply(&plan, Cause::Settling)?;
        if forgotten {
            self.follow_config();
        }
        Ok(())
    }

    /// How long ago each slot of a service with moving slots had its settled owner used.
    fn settled_uses(&self) -> Result<HashMap<u32, Duration>, TableError> {
        let mut uses = HashMap::new();
        for service in self.planner.services().filter(|service| service.tracked > 0) {
            let stamps = self.tables.slot_use(service.first_slot, service.slots)?;
            // Read after the stamps, so that none of them is later.
            let now = self.tables.now()?;
            let stamped = (service.first_slot..).zip(stamps).filter(|(_, stamp)| *stamp != Ticks(0));
            uses.extend(stamped.map(|(slot, stamp)| (slot, self.tick * now.since(stamp))));
        }
        Ok(uses)
    }

    /// Detaches, then ends the probes.
    pub(super) async fn stop(self) -> Result<(), Error> {
        for attachment in self.attached {
            let interface = attachment.interface.name.clone();
            attachment.detach()?;
            tracing::info!(%interface, "detached");
        }
        self.checks.stop().await;
        Ok(())
    }
}

fn settings(config: &Config, links: &[Link], ports: &Ports) -> Settings {
    Settings {
        seed: config.seed,
        ports: ports.nat,
        tx_by_redirect: links.iter().any(|link| link.is_veth),
        log_packets: config.log_packets,
        flows: config.limits.flows,
    }
}

/// Writes in the plan's order, slots that follow each other in one call.
fn write(tables: &mut Tables, writes: &[Write]) -> Result<(), TableError> {
    let mut slots: Vec<(u32, Slot)> = Vec::new();
    for write in writes {
        if let Write::Slot(index, slot) = write {
            slots.push((*index, *slot));
            continue;
        }
        tables.write_slots(&std::mem::take(&mut slots))?;
        match write {
            Write::Backend(id, backend) => tables.write_backend(*id, backend)?,
            Write::Service(place, service) => tables.write_service(*place, service)?,
            Write::Slot(..) => {}
        }
    }
    tables.write_slots(&slots)
}

fn keys(config: &Config) -> impl Iterator<Item = BackendKey> {
    let of = |service: &config::Service| {
        service.backends.iter().map(|backend| BackendKey::of(service, backend)).collect::<Vec<_>>()
    };
    config.services.iter().flat_map(of)
}

/// The way to an address, if it is known.
pub(super) fn hop(hops: &NextHops, address: IpAddr) -> Option<NextHop> {
    match address {
        IpAddr::V4(address) => hops.get(&address)?.as_ref().ok().copied(),
        IpAddr::V6(_) => None,
    }
}

fn answer(result: Result<String, String>) -> Response {
    match result {
        Ok(message) => Response::Done { message },
        Err(message) => Response::Refused { message },
    }
}

/// A sentence on what a plan changes.
fn describe(plan: &Plan) -> String {
    match plan.writes.len() {
        0 => "nothing changed".to_owned(),
        _ => format!("generation {}, {} slots moved", plan.generation, plan.summary.slots_moved),
    }
}

/// A sentence on what a reload cannot change.
fn needs_restart(old: &Config, new: &Config) -> String {
    let keys = [
        ("seed", old.seed != new.seed),
        ("limits", old.limits != new.limits),
        ("nat", old.nat != new.nat),
        ("log_packets", old.log_packets != new.log_packets),
    ];
    let changed: Vec<_> = keys.iter().filter(|(_, changed)| *changed).map(|(key, _)| *key).collect();
    if changed.is_empty() {
        return String::new();
    }
    format!("; {} takes effect at the next start", changed.join(", "))
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
