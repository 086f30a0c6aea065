//! The writes that turn one state of the tables into another, in an order that is safe at every step.
//!
//! What is named is written before what names it, and taken away after: own addresses, backends, slots, services; then
//! services that are gone, and backends at the very end.

use lb_common::abi::{Backend, BackendId, Service, Slot};

use super::PlanError;
use super::diff::{Change, diff};
use super::service::Planned;
use super::service_table::{EntryWrite, ServiceTable};
use super::state::{EntryName, State};

/// One word or record to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// A backend record.
    Backend(BackendId, Backend),
    /// The slot with this index.
    Slot(u32, Slot),
    /// The place of the service table with this index.
    Service(u32, Service),
}

/// What a plan does, for the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Identifiers given to new backends. Their counters may hold what an earlier bearer left: clear them first.
    pub admitted: Vec<BackendId>,
    /// Identifiers that nothing names any more and that are free again.
    pub forgotten: Vec<BackendId>,
    /// Slots whose new flows go to another backend than before.
    pub slots_moved: usize,
    /// Slot words to write.
    pub slots_written: usize,
}

/// The way from one state of the tables to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The generation that the tables have afterwards.
    pub generation: u32,
    /// What to write, in this order.
    pub writes: Vec<Write>,
    /// What it amounts to.
    pub summary: Summary,
}

/// The way from `old` to `new`, whose service table is brought up to date on the way.
pub(super) fn plan(old: &State, new: &mut State) -> Result<Plan, PlanError> {
    let (first, last) = change_services(old, new)?;
    Ok(Plan::between(old, new, first, last))
}

/// The way from `old` to `new`, which have the same services.
pub(super) fn settle(old: &State, new: &mut State) -> Plan {
    Plan::between(old, new, Vec::new(), Vec::new())
}

/// Everything as it is, for maps of unknown contents.
pub(super) fn whole(state: &State) -> Plan {
    let mut plan = Plan { generation: state.generation, ..Plan::default() };
    plan.change_backends(&State::empty(), state);
    plan.change_slots(&State::empty(), state);
    plan.add_services((0..).zip(state.table.entries().iter().copied()).collect());
    Plan { summary: Summary { admitted: Vec::new(), ..plan.summary }, ..plan }
}

impl Plan {
    /// All writes in their order. A state that needs none keeps the old generation.
    fn between(old: &State, new: &mut State, first: Vec<EntryWrite>, last: Vec<EntryWrite>) -> Self {
        let mut plan = Self::default();
        plan.add_services(first);
        let retired = plan.change_backends(old, new);
        plan.change_slots(old, new);
        plan.add_services(last);
        plan.writes.extend(retired);
        if plan.writes.is_empty() {
            new.generation = old.generation;
        }
        plan.generation = new.generation;
        plan
    }

    fn add_services(&mut self, writes: Vec<EntryWrite>) {
        self.writes.extend(writes.into_iter().map(|(place, entry)| Write::Service(place, entry)));
    }

    /// Adds new and changed records, and returns the writes that wipe those that are gone.
    fn change_backends(&mut self, old: &State, new: &State) -> Vec<Write> {
        let mut retired = Vec::new();
        for change in diff(&old.records.table(), &new.records.table()) {
            match change {
                Change::Added(id, record) => {
                    self.summary.admitted.push(*id);
                    self.writes.push(Write::Backend(*id, *record));
                }
                Change::Changed(id, record) => self.writes.push(Write::Backend(*id, *record)),
                Change::Removed(id, _) => {
                    self.summary.forgotten.push(*id);
                    retired.push(Write::Backend(*id, Backend::UNWRITTEN));
                }
            }
        }
        retired
    }

    fn change_slots(&mut self, old: &State, new: &State) {
        let before = self.writes.len();
        for service in new.services.values() {
            let previous = old.services.get(&service.vip);
            let in_place = previous.filter(|previous| previous.first_slot == service.first_slot);
            self.writes.extend(changed_slots(in_place, service));
            self.summary.slots_moved += moved_slots(previous, service);
        }
        self.summary.slots_written += self.writes.len() - before;
    }
}

/// Words that differ from those at the same index; all of them in a new range, whose old contents are anybody's.
fn changed_slots(previous: Option<&Planned>, service: &Planned) -> Vec<Write> {
    let old = previous.map(|previous| &previous.slots);
    if old.is_some_and(|old| std::sync::Arc::ptr_eq(old, &service.slots)) {
        return Vec::new();
    }
    let old = |index: usize| old.and_then(|old| old.words().get(index));
    let words = (service.first_slot..).zip(service.slots.words().iter().enumerate());
    let changed = words.filter(|(_, (index, word))| old(*index) != Some(word));
    changed.map(|(slot, (_, word))| Write::Slot(slot, *word)).collect()
}

/// How many slots another backend has; in a stretched table each slot is held against the one it came from.
fn moved_slots(previous: Option<&Planned>, service: &Planned) -> usize {
    let old = previous.map_or(&[][..], |previous| previous.slots.words());
    let factor = service.slots.words().len() / old.len().max(1);
    let had = |index: usize| old.get(index / factor.max(1)).map_or(BackendId::NONE, |word| word.current());
    service.slots.words().iter().enumerate().filter(|(index, word)| had(*index) != word.current()).count()
}

/// Brings the service table up to date. Gives the writes to make before all others (own addresses, to which replies
/// come as soon as a backend is sent its first packet) and those to make after the slots.
fn change_services(old: &State, new: &mut State) -> Result<(Vec<EntryWrite>, Vec<EntryWrite>), PlanError> {
    let (mut first, mut last) = (Vec::new(), Vec::new());
    for change in diff(&old.entries(), &new.entries()) {
        match change {
            Change::Added(name @ EntryName::Own(_), entry) => {
                first.extend(insert(&mut new.table, *name, *entry)?);
            }
            Change::Added(name, entry) | Change::Changed(name, entry) => {
                last.extend(insert(&mut new.table, *name, *entry)?);
            }
            Change::Removed(name, _) => last.extend(new.table.remove(&name.key())),
        }
    }
    Ok((first, last))
}

fn insert(table: &mut ServiceTable, name: EntryName, entry: Service) -> Result<Vec<EntryWrite>, PlanError> {
    table.insert(entry).map_err(|_crowded| PlanError::ServiceTableCrowded { name: name.to_string() })
}
