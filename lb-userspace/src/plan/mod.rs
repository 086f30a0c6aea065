//! The plan: from the model, health and ways to the tables that the packet path reads, and from one state of the
//! tables to the next by the fewest writes.
//!
//! ```text
//! Inputs ─► records ─► selection (maglev) ─► slots ─┐
//!              └────────► service table ────────────┴─► diff ─► Plan { writes in a safe order }
//! Observations ─► settle slots, forget backends ─────────┘
//! ```
//!
//! Pure: [`Planner`] owns the state that was planned last and computes the next one; whoever asked applies the writes.
//! A plan that fails leaves the state as it was. A plan that changes nothing writes nothing.
//!
//! - Slots go to backends that are up and not drained. One that was not asked yet gets none before its first probe. If
//!   nobody is left, slots name [`BackendId::NONE`] and the packet path refuses new flows with the reason `unserved`:
//!   sending them to backends that are known to be dead would only make clients wait.
//! - A backend that drains, or that the configuration does not name any more, keeps the flows it has. One that is down
//!   loses them.
//! - A backend's identity is its service's VIP and its address, so renaming either moves nothing.

mod diff;

mod encode;
mod endpoints;
mod error;
mod explain;
mod hosts;
mod input;
mod records;
mod regions;
mod service;
mod service_table;
mod slots;
mod stages;
mod state;
mod turns;
mod view;
mod write;

#[cfg(test)]
mod answers;
#[cfg(test)]
mod reloads;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;

use std::time::{Duration, Instant};

pub use error::PlanError;
pub use explain::Place;
pub use input::{BackendKey, BackendState, Inputs, Observations};
pub use stages::stages;
use state::State;
pub use view::{BackendView, ServiceView};
use write::Leavings;
pub use write::{Plan, Summary, Write};

/// Time between a change and the first look at the flow table that may speak about it: for the writes to be applied,
/// and for packets that are in the programs meanwhile to leave them. Both take milliseconds.
pub const GRACE: Duration = Duration::from_secs(1);

/// The owner of the planned state.
#[derive(Clone, Debug)]
pub struct Planner {
    state: State,
    /// What may still be in the maps, though it is planned no more.
    leavings: Leavings,
}

impl Default for Planner {
    fn default() -> Self {
        Self::new()
    }
}

impl Planner {
    /// A planner for empty maps.
    #[must_use]
    pub fn new() -> Self {
        Self { state: State::empty(), leavings: Leavings::default() }
    }

    /// A planner for maps with fewer slots.
    #[cfg(test)]
    pub(crate) fn with_slots(slots: u32) -> Self {
        Self { state: State::with_slots(slots), leavings: Leavings::default() }
    }

    /// Plans the way to what the inputs ask for, and takes it as gone.
    pub fn plan(&mut self, inputs: &Inputs<'_>, now: Instant) -> Result<Plan, PlanError> {
        let mut next = self.state.next(inputs, now)?;
        let plan = write::plan(&self.state, &mut next)?;
        self.state = next;
        self.leavings.note(&plan);
        Ok(plan)
    }

    /// Plans the end of transitions whose old flows are over, and takes it as gone: slots settle, and identifiers that
    /// nothing names become free. Call it after every look at the flow table.
    pub fn step_transitions(&mut self, seen: &Observations<'_>, now: Instant) -> Plan {
        let mut next = self.state.settled(seen, now);
        // Entries go or change where they are, so none lacks a place. Were one to, the next look would try again.
        let Ok(plan) = write::settle(&self.state, &mut next) else { return Plan::default() };
        self.state = next;
        self.leavings.note(&plan);
        plan
    }

    /// Everything that is planned, and the end of what was, unless it is known to be written. While it is being written the maps
    /// are not consistent, so this is for maps that nobody reads yet, or for the way out of a failed write.
    #[must_use]
    pub fn plan_whole(&self) -> Plan {
        write::whole(&self.state, &self.leavings)
    }

    /// Takes note that the maps hold what is planned.
    pub fn note_written(&mut self) {
        self.leavings = Leavings::default();
    }
}
