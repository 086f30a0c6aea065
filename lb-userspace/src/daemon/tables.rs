//! From what is known to the kernel's tables: plans are made and written here, whatever caused them.

use super::Error;
use super::balancer::{Balancer, chain};
use super::overrides::Overrides;
use crate::health::HealthState;
use crate::kernel::{NextHop, TableError, Tables};
use crate::plan::{self, Plan, PlanError, Write};
use std::collections::{BTreeSet, HashMap};
use std::mem::discriminant;
use std::net::IpAddr;
use std::time::Instant;

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

impl Balancer {
    /// Plans anew and writes what changed; a failure is logged and the old tables serve on.
    pub(super) fn replan(&mut self, cause: Cause) {
        if let Err(error) = self.plan(cause) {
            tracing::error!(cause = cause.as_str(), "cannot change the tables: {}", chain(&error));
        }
    }

    /// Plans anew and writes what changed.
    pub(super) fn plan(&mut self, cause: Cause) -> Result<(), Error> {
        let plan = self.make_plan()?;
        self.apply(&plan, cause)
    }

    /// The first plan, with what the guard goes by.
    pub(super) fn begin(&mut self) -> Result<(), Error> {
        self.guard.bring(self.load_lists(&self.config)?);
        let plan = self.make_plan()?;
        self.apply(&plan, Cause::Start)
    }

    /// Plans anew; nothing is written. What is planned is to be applied, or the planner to be put back: the next plan leads on from
    /// this one.
    pub(super) fn make_plan(&mut self) -> Result<Plan, PlanError> {
        let overrides = self.overrides.clone();
        self.plan_under(&overrides)
    }

    /// The same as if this had been ordered.
    pub(super) fn plan_under(&mut self, overrides: &Overrides) -> Result<Plan, PlanError> {
        let (next_hops, bare) = self.known_hops();
        let verdicts = self.checks.verdicts().iter();
        let verdicts =
            verdicts.filter(|(key, health)| **health == HealthState::Down || !bare.contains(&key.addr.ip()));
        let inputs = plan::Inputs {
            services: &overrides.over(&self.config.services),
            seed: self.loaded_with.seed,
            health: &verdicts.map(|(key, health)| (*key, *health)).collect(),
            drained: overrides.drained(),
            ping: self.config.ping,
            encap: self.loaded_with.encap,
            next_hops: &next_hops,
        };
        self.planner.plan(&inputs, Instant::now())
    }

    /// The ways that are known, and the addresses whose way leaves by an interface that came back and has no program: there, answers
    /// would not be translated, and frames of native programs may be lost. Probes know nothing of that.
    fn known_hops(&self) -> (HashMap<IpAddr, NextHop>, BTreeSet<IpAddr>) {
        let (hops, links) = (self.resolver.next_hops.borrow(), self.resolver.links.borrow());
        let bare = self.interfaces.bare();
        let is_bare = |hop: &NextHop| links.get(&hop.ifindex).is_some_and(|link| bare.contains(&link.name));
        let known =
            |(address, hop): (&IpAddr, &Result<NextHop, _>)| hop.as_ref().ok().map(|hop| (*address, *hop));
        let (bare, known): (HashMap<_, _>, HashMap<_, _>) =
            hops.iter().filter_map(known).partition(|(_, hop)| is_bare(hop));
        (known, bare.into_keys().collect())
    }

    /// Writes a plan, and before it what the guard shall go by from now on. If an earlier write failed, everything is written.
    pub(super) fn apply(&mut self, plan: &Plan, cause: Cause) -> Result<(), Error> {
        let began = Instant::now();
        // What earlier bearers of newly given identifiers left in their counters.
        plan.summary.admitted.iter().for_each(|id| self.tables.clear_backend_count(*id));
        let whole = self.broken.then(|| self.planner.plan_whole());
        let writes = whole.as_ref().map_or(&plan.writes, |whole| &whole.writes);
        // Until all of it is written.
        self.broken = !writes.is_empty();
        self.follow_guard()?;
        if writes.is_empty() {
            return Ok(());
        }
        self.reweigh()?;
        write(&mut self.tables, writes)?;
        self.broken = false;
        self.planner.note_written();
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
}

/// Writes in the plan's order; of the kinds that come by the thousand, those that follow each other in one call.
pub fn write(tables: &mut Tables, writes: &[Write]) -> Result<(), TableError> {
    writes.chunk_by(|a, b| discriminant(a) == discriminant(b)).try_for_each(|run| write_run(tables, run))
}

/// Writes of one kind.
fn write_run(tables: &mut Tables, run: &[Write]) -> Result<(), TableError> {
    let (mut backends, mut services, mut slots) = (Vec::new(), Vec::new(), Vec::new());
    for write in run {
        match write {
            Write::Backend(id, backend) => backends.push((*id, *backend)),
            Write::Service(place, service) => services.push((*place, *service)),
            Write::Slot(index, slot) => slots.push((*index, *slot)),
            Write::Range(index, range) => tables.write_range(*index, range)?,
            Write::Prefix(prefix, place) => tables.write_prefix(prefix, *place)?,
            Write::QuicServer(server, backend) => tables.write_quic_server(*server, *backend)?,
            Write::Contents(contents) => tables.write_contents(*contents)?,
        }
    }
    if !backends.is_empty() {
        tables.write_backends(&backends)?;
    }
    if !services.is_empty() {
        tables.write_services(&services)?;
    }
    tables.write_slots(&slots)
}
