//! The look at the flow table: records that are over go, slots whose old flows are over settle, and backends that
//! nothing names any more are let go of. One bounded batch at a time, so that everything else has its turn.

use super::Error;
use super::balancer::{Balancer, chain};
use super::tables::Cause;
use crate::kernel::TableError;
use crate::kernel::expire::{Observations, Rules, Slots, Sweep};
use crate::kernel::maps;
use crate::plan::{self, BackendKey, Planner};
use lb_common::abi::{BackendId, FlowKey, Ip, Load, Ticks};
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// Between the end of one walk through the flow table and the beginning of the next.
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);
/// Between two batches of a walk: long enough for everything else to have its turn.
const BETWEEN_BATCHES: Duration = Duration::from_millis(5);

/// From here on, connections that were never opened go sooner.
const NEARLY_FULL_PERCENT: u64 = 70;

/// From here on, connections that one side broke off let go of a backend's ports sooner.
const SHORT_OF_PORTS_PERCENT: u64 = 50;

/// Where the walk through the flow table stands.
#[derive(Debug)]
pub(super) struct Look {
    sweep: Sweep,
    began: Instant,
    /// Length of a tick of the records' clock.
    tick: Duration,
    /// Flows seen by the last whole walk.
    pub(super) flows: u64,
    /// Ports that translated flows to one backend may have.
    ports: u64,
    /// Backends that had few ports left at the last whole walk.
    short_of_ports: HashSet<BackendId>,
    /// Set while looking fails, so that it is said once and not twice a second.
    failing: bool,
}

impl Look {
    /// Before the first walk, where translated flows have these ports ([`Settings::ports`](crate::kernel::Settings::ports)).
    pub(super) fn new([_, first_count, _, second_count]: [u16; 4]) -> Result<Self, Error> {
        let tick = maps::tick().map_err(Error::Clock)?;
        let ports = u64::from(first_count) + u64::from(second_count);
        let (sweep, short_of_ports) = (Sweep::default(), HashSet::new());
        Ok(Self { sweep, began: Instant::now(), tick, flows: 0, ports, short_of_ports, failing: false })
    }

    /// Notes what a whole walk saw.
    fn note(&mut self, observed: &Observations) {
        self.flows = observed.flows;
        let many = (self.ports * SHORT_OF_PORTS_PERCENT / 100).max(1);
        let short = observed.by_backend.iter().filter(|(_, flows)| **flows >= many);
        self.short_of_ports = short.map(|(id, _)| *id).collect();
    }
}

impl Look {
    /// Ticks in a span, at least one.
    pub(super) fn ticks(&self, span: Duration) -> u32 {
        let ticks = span.as_nanos().div_ceil(self.tick.as_nanos().max(1));
        u32::try_from(ticks).unwrap_or(u32::MAX).max(1)
    }
}

/// The slots as the packet path finds them.
struct Seeded<'a> {
    planner: &'a Planner,
    seed: u64,
}

impl Slots for Seeded<'_> {
    fn slot_of<A: Ip>(&self, key: &FlowKey<A>) -> Option<(u32, BackendId)> {
        self.planner.slot_of(key, self.seed)
    }
}

impl Balancer {
    /// Goes one batch further through the flow table; returns when to go on.
    pub(super) fn look_at_flows(&mut self) -> Instant {
        let result = self.look_at_one_batch();
        let failed_before = std::mem::replace(&mut self.look.failing, result.is_err());
        let pause = result.unwrap_or_else(|error| {
            if !failed_before {
                tracing::warn!("cannot look at the flow table, and will try on: {}", chain(&error));
            }
            BETWEEN_LOOKS
        });
        Instant::now() + pause
    }

    fn look_at_one_batch(&mut self) -> Result<Duration, Error> {
        let rules = self.rules();
        let slots = Seeded { planner: &self.planner, seed: self.loaded_with.seed };
        let Some(observed) = self.look.sweep.step(&mut self.tables, &rules, &slots)? else {
            return Ok(BETWEEN_BATCHES);
        };
        let taken_at = std::mem::replace(&mut self.look.began, Instant::now() + BETWEEN_LOOKS);
        self.look.note(&observed);
        self.end_transitions(&observed, taken_at)?;
        self.weigh(&observed)?;
        self.follow_listeners();
        if self.interfaces.can_go_on() {
            self.follow_links();
        }
        self.flood.look(&self.tables);
        self.routed.look(&self.tables, &self.config.services);
        self.sweep_blocks()?;
        Ok(BETWEEN_LOOKS)
    }

    /// Says how much each backend has to do. The programs count on from here.
    fn weigh(&mut self, observed: &Observations) -> Result<(), TableError> {
        for (id, weight) in self.weights() {
            let flows = observed.load_of(id);
            self.tables.write_load(id, Load { flows, weight })?;
        }
        Ok(())
    }

    /// Says what weights count now; what backends have to do stays as it was counted.
    pub(super) fn reweigh(&mut self) -> Result<(), TableError> {
        for (id, weight) in self.weights() {
            let load = self.tables.load(id)?;
            if load.weight != weight {
                self.tables.write_load(id, Load { weight, ..load })?;
            }
        }
        Ok(())
    }

    fn weights(&self) -> Vec<(BackendId, u64)> {
        let services = self.overrides.over(&self.config.services);
        let backends = services.iter().flat_map(|service| {
            service.backends.iter().map(move |backend| (BackendKey::of(service, backend), backend.weight))
        });
        backends.filter_map(|(key, weight)| Some((self.planner.id(&key)?, weight.into()))).collect()
    }

    /// What ends a record now. Two records make a translated flow, so half as many flows as records fill the table.
    fn rules(&self) -> Rules {
        let rules = Rules::new(self.planner.idle_times(), self.look.tick)
            .short_of_ports(self.look.short_of_ports.clone());
        let nearly_full = u64::from(self.loaded_with.limits.flows) / 2 * NEARLY_FULL_PERCENT / 100;
        if self.look.flows < nearly_full { rules } else { rules.under_pressure(self.look.tick) }
    }

    /// Settles the slots whose old flows are over, and lets go of backends that nothing names any more.
    fn end_transitions(&mut self, observed: &Observations, taken_at: Instant) -> Result<(), Error> {
        let uses = self.settled_uses()?;
        let last_use = |slot: u32| uses.get(&slot).copied();
        let observations = plan::Observations {
            taken_at,
            last_use: &last_use,
            strays: &observed.strays,
            by_backend: &observed.by_backend,
        };
        let plan = self.planner.step_transitions(&observations, Instant::now());
        if !plan.summary.forgotten.is_empty() {
            self.follow_config();
        }
        self.apply(&plan, Cause::Settling)
    }

    /// How long ago each slot of a service with moving slots had its settled owner used.
    fn settled_uses(&self) -> Result<HashMap<u32, Duration>, TableError> {
        let mut uses = HashMap::new();
        for service in self.planner.services().filter(|service| service.tracked > 0) {
            let stamps = self.tables.slot_use(service.first_slot, service.slots)?;
            // Read after the stamps, so that none of them is later.
            let now = self.tables.now()?;
            let stamped = (service.first_slot..).zip(stamps).filter(|(_, stamp)| *stamp != Ticks(0));
            uses.extend(stamped.map(|(slot, stamp)| (slot, self.look.tick * now.since(stamp))));
        }
        Ok(uses)
    }
}
