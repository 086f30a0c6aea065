//! The writes that turn one state of the tables into another, in an order that is safe at every step.
//!
//! What is named is written before what names it, and taken away after: own addresses and endpoints, backends, slots,
//! services; then services that are gone, and endpoints and backends at the very end.
//!
//! **Invariant**: whatever a backend is sent whose answers are known by its endpoint, the answer gets the VIP that the client
//! asked. So before an endpoint goes or becomes another service's, its backend's record says that it has none: what a
//! service sends there meanwhile is dropped, for as long as a plan takes to be written.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashSet};

use lb_common::abi::{
    Backend, BackendId, Contents, PortRange, PrefixKey, QuicServer, Service, ServiceKey, Slot,
};

use super::diff::{Change, diff};
use super::service::Planned;
use super::service_table::{EntryWrite, ServiceTable};
use super::state::{EntryName, State};
use super::{PlanError, encode, hosts};

/// One word or record to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// A backend record.
    Backend(BackendId, Backend),
    /// The slot with this index.
    Slot(u32, Slot),
    /// The place of the service table with this index.
    Service(u32, Service),
    /// The port range with this index.
    Range(u32, PortRange),
    /// Where the entry of a prefix is; nowhere if it is gone.
    Prefix(PrefixKey, Option<u32>),
    /// The backend of a QUIC server; none if it is gone.
    QuicServer(QuicServer, Option<BackendId>),
    /// What there is in the tables.
    Contents(Contents),
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

/// What plans took away that a map may still have, if their writes failed. Places are written over; what is found by a key of its
/// own stays until it is deleted, and leads to a place that may be another's by then.
#[derive(Clone, Debug, Default)]
pub(super) struct Leavings {
    prefixes: HashSet<PrefixKey>,
    quic_servers: HashSet<QuicServer>,
}

impl Leavings {
    /// Follows what a plan takes away, and what it brings back.
    pub(super) fn note(&mut self, plan: &Plan) {
        for write in &plan.writes {
            match write {
                Write::Prefix(prefix, None) => drop(self.prefixes.insert(*prefix)),
                Write::Prefix(prefix, Some(_)) => drop(self.prefixes.remove(prefix)),
                Write::QuicServer(server, None) => drop(self.quic_servers.insert(*server)),
                Write::QuicServer(server, Some(_)) => drop(self.quic_servers.remove(server)),
                _ => {}
            }
        }
    }

    fn end(&self) -> impl Iterator<Item = Write> {
        let prefixes = self.prefixes.iter().map(|prefix| Write::Prefix(*prefix, None));
        prefixes.chain(self.quic_servers.iter().map(|server| Write::QuicServer(*server, None)))
    }
}

/// The way from `old` to `new`, whose service table is brought up to date on the way.
pub(super) fn plan(old: &State, new: &mut State) -> Result<Plan, PlanError> {
    let changes = change_services(old, new)?;
    Ok(Plan::between(old, new, changes))
}

/// The way from `old` to `new`, which have the same services.
pub(super) fn settle(old: &State, new: &mut State) -> Result<Plan, PlanError> {
    if old.endpoints == new.endpoints {
        return Ok(Plan::between(old, new, Changes::default()));
    }
    plan(old, new)
}

/// Everything as it is, and the end of what is left.
pub(super) fn whole(state: &State, leavings: &Leavings) -> Plan {
    let mut plan = Plan { generation: state.generation, ..Plan::default() };
    plan.change_backends(&State::empty(), state, &BTreeSet::new());
    plan.change_slots(&State::empty(), state);
    let (empty, table) = (State::empty(), state.table.entries().iter().copied());
    plan.writes.extend((0..).zip(table).map(|(place, entry)| Write::Service(place, entry)));
    plan.writes.extend(endpoint_lists(&empty, state).into_iter().chain(lists(&empty, state)));
    plan.writes.extend(prefixes(&empty, state));
    plan.writes.extend(leavings.end());
    plan.writes.push(Write::Contents(state.contents()));
    Plan { summary: Summary { admitted: Vec::new(), ..plan.summary }, ..plan }
}

impl Plan {
    /// All writes in their order. A state that needs none keeps the old generation.
    fn between(old: &State, new: &mut State, changes: Changes) -> Self {
        let mut plan = Self { writes: changes.first, ..Self::default() };
        let retired = plan.change_backends(old, new, &changes.stopped);
        plan.change_slots(old, new);
        plan.writes.extend(changes.last);
        plan.writes.extend(retired);
        if plan.writes.is_empty() {
            new.generation = old.generation;
        }
        plan.generation = new.generation;
        plan
    }

    /// Adds new and changed records but those of stopped backends, which are written already, and returns the writes that
    /// wipe those that are gone.
    fn change_backends(&mut self, old: &State, new: &State, stopped: &BTreeSet<BackendId>) -> Vec<Write> {
        let (mut written, mut retired) = (Vec::new(), Vec::new());
        for change in diff(&old.records.table(), &new.records.table()) {
            match change {
                Change::Added(id, record) => {
                    self.summary.admitted.push(*id);
                    written.push((*id, *record));
                }
                Change::Changed(id, record) => written.push((*id, *record)),
                Change::Removed(id, _) => {
                    self.summary.forgotten.push(*id);
                    retired.push(Write::Backend(*id, Backend::UNWRITTEN));
                }
            }
        }
        let written = written.into_iter().filter(|(id, _)| !stopped.contains(id));
        self.writes.extend(written.map(|(id, record)| Write::Backend(id, record)));
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

/// What changes of the service table and what it leads to.
#[derive(Default)]
struct Changes {
    /// Before all others: addresses and endpoints, to which replies come as soon as a backend is sent its first packet.
    first: Vec<Write>,
    /// Backends that have no endpoint from then on.
    stopped: BTreeSet<BackendId>,
    /// After the slots.
    last: Vec<Write>,
}

/// Brings the service table up to date.
fn change_services(old: &State, new: &mut State) -> Result<Changes, PlanError> {
    let (before, after) = (old.contents(), new.contents());
    let (mut first, mut last, mut gone) = (Vec::new(), lists(old, new), Vec::new());
    // What is said to be there may be missing, but not the other way round.
    if before.with(after) != before {
        first.push(Write::Contents(before.with(after)));
    }
    for (name, entry) in new.new_own(old) {
        first.extend(insert(&mut new.table, name, entry)?);
    }
    let stopped = stop(old, new, &mut first);
    first.extend(endpoint_lists(old, new));
    for change in diff(&old.entries(), &new.entries()) {
        match change {
            Change::Added(name, entry) | Change::Changed(name, entry) => {
                let writes = match name {
                    EntryName::Endpoint(_) | EntryName::Server(_) => &mut first,
                    EntryName::Vip(_) | EntryName::Host(_) => &mut last,
                };
                writes.extend(insert(&mut new.table, *name, *entry)?);
            }
            Change::Removed(name @ EntryName::Vip(vip), entry) if new.endpoints.host(vip.addr).is_some() => {
                // It would hide the endpoint that the port is now.
                first.extend(remove(&mut new.table, &[(name.key(), *entry)]));
            }
            Change::Removed(name, entry) => gone.push((name.key(), *entry)),
        }
    }
    last.extend(prefixes(old, new));
    last.extend(remove(&mut new.table, &gone));
    if after != before.with(after) {
        last.push(Write::Contents(after));
    }
    Ok(Changes { first, stopped, last })
}

/// Has endpoints that are lost sent nothing any more, and takes them out: a port has an entry of its own in front of any range
/// that comes.
fn stop(old: &State, new: &mut State, writes: &mut Vec<Write>) -> BTreeSet<BackendId> {
    let lost: Vec<_> = old.endpoints.lost(&new.endpoints).collect();
    let written: BTreeMap<_, _> =
        lost.iter().filter_map(|(id, _)| Some((*id, new.records.entry(*id)?.record))).collect();
    writes.extend(written.iter().map(|(id, record)| Write::Backend(*id, *record)));
    let stays = new.entries();
    let names = lost.iter().filter(|(_, at)| at.is_exact()).map(|(_, at)| EntryName::Endpoint(*at));
    for name in names.filter(|name| !stays.contains_key(name)) {
        writes.extend(places(new.table.remove(&name.key())));
    }
    written.into_keys().collect()
}

/// Takes out what is gone, in the opposite order: a port of an address that has nothing else any more is left to the
/// prefixes around it. An endpoint may have become a VIP, or the other way round: its place is taken.
fn remove(table: &mut ServiceTable, gone: &[(ServiceKey, Service)]) -> Vec<Write> {
    let gone = gone.iter().rev();
    gone.flat_map(
        |(key, entry)| {
            if table.entry(key) == Some(entry) { places(table.remove(key)) } else { Vec::new() }
        },
    )
    .collect()
}

/// The entries and lists that the addresses of backends lead to. Those that are gone stay: nothing leads to them.
fn endpoint_lists(old: &State, new: &State) -> Vec<Write> {
    let (old, new) = (&old.endpoints, &new.endpoints);
    let entries = added(&old.ranged(), &new.ranged(), Write::Service);
    entries.into_iter().chain(added(&old.ranges(), &new.ranges(), Write::Range)).collect()
}

/// The same for those of services, with their QUIC servers.
fn lists(old: &State, new: &State) -> Vec<Write> {
    let entries = added(&old.ranged(), &new.ranged(), Write::Service);
    let ranges = added(&old.ranges(), &new.ranges(), Write::Range);
    let servers = (old.quic_servers(), new.quic_servers());
    let servers = diff(&servers.0, &servers.1).map(|change| match change {
        Change::Added(_, (server, id)) | Change::Changed(_, (server, id)) => {
            Write::QuicServer(*server, Some(*id))
        }
        Change::Removed(_, (server, _)) => Write::QuicServer(*server, None),
    });
    entries.into_iter().chain(ranges).chain(servers).collect()
}

/// What is new or different in a table.
fn added<V: Copy + PartialEq>(
    old: &BTreeMap<u32, V>,
    new: &BTreeMap<u32, V>,
    write: impl Fn(u32, V) -> Write,
) -> Vec<Write> {
    let written = diff(old, new).filter_map(|change| match change {
        Change::Added(index, value) | Change::Changed(index, value) => Some(write(*index, *value)),
        Change::Removed(..) => None,
    });
    written.collect()
}

/// Where prefixes lead, and the entries there. The longer ones come first and go last, so that none of their packets is
/// the shorter one's meanwhile, nor nobody's.
fn prefixes(old: &State, new: &State) -> Vec<Write> {
    let key = |name: &hosts::Name| encode::prefix_key(name.0, name.1);
    let (old, new) = (old.prefixes(), new.prefixes());
    let (mut come, mut go) = (Vec::new(), Vec::new());
    for change in diff(&old, &new) {
        match change {
            Change::Added(name, (place, entry)) | Change::Changed(name, (place, entry)) => {
                let writes = [Write::Service(*place, *entry), Write::Prefix(key(name), Some(*place))];
                let is_led_to = old.get(name).is_some_and(|(before, _)| before == place);
                come.push((Reverse(name.1), writes.into_iter().take(if is_led_to { 1 } else { 2 })));
            }
            Change::Removed(name, _) => go.push((name.1, Write::Prefix(key(name), None))),
        }
    }
    come.sort_by_key(|(bits, _)| *bits);
    go.sort_by_key(|(bits, _)| *bits);
    come.into_iter().flat_map(|(_, writes)| writes).chain(go.into_iter().map(|(_, write)| write)).collect()
}

/// Puts an entry in, unless it is there as it is.
fn insert(table: &mut ServiceTable, name: EntryName, entry: Service) -> Result<Vec<Write>, PlanError> {
    if table.entry(&entry.key) == Some(&entry) {
        return Ok(Vec::new());
    }
    let written = table.insert(entry);
    written.map(places).map_err(|_crowded| PlanError::ServiceTableCrowded { name: name.to_string() })
}

fn places(writes: Vec<EntryWrite>) -> Vec<Write> {
    writes.into_iter().map(|(place, entry)| Write::Service(place, entry)).collect()
}
