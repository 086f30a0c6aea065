//! Which backend takes a flow: the slot table, and the records that exist while a slot moves.
//!
//! Source of the rule: Beamer (NSDI 2018) and JET (`CoNEXT` 2020); see "Stateless while nothing changes" in
//! ARCHITECTURE.md.

use super::parse::Segment;
use super::{Reason, Refused, Tables};
use crate::abi::{BackendFlags, BackendId, Flow, FlowKey, Service, ServiceFlags, Slot, Ticks};
use crate::wire::U32be;

/// The backend for a packet, and why.
#[derive(Clone, Copy)]
pub(super) struct Choice {
    pub(super) backend: BackendId,
    pub(super) reason: Reason,
    pub(super) opened: bool,
}

/// Index of a flow's slot.
#[inline(always)]
#[must_use]
pub fn slot_index(service: &Service, key: &FlowKey<U32be>, seed: u64) -> u32 {
    service.slot_index(key.hash(seed))
}

/// The backend that gets a flow beginning now.
#[inline(always)]
pub(super) fn current(tables: &impl Tables, service: &Service, hash: u32) -> Result<BackendId, Reason> {
    let slot = tables.slot(service.slot_index(hash)).ok_or(Reason::Inconsistent)?;
    existing(slot.current())
}

/// The backend that owns a packet's flow, where any backend can be sent any packet.
///
/// In a slot that does not track this is one array load; nothing is remembered.
#[inline(always)]
pub(super) fn owner(
    tables: &impl Tables,
    service: &Service,
    key: &FlowKey<U32be>,
    segment: &Segment,
    now: Ticks,
) -> Result<Choice, Reason> {
    let index = slot_index(service, key, tables.seed());
    let slot = tables.slot(index).ok_or(Reason::Inconsistent)?;
    let choice = if tracks(service, slot) {
        remembered(tables, (index, slot), key, segment, now)
            .or_else(|| moved(tables, slot, key, segment, now))
            .unwrap_or_else(|| record(tables, slot, key, now))
    } else {
        settled(slot, segment)
    };
    existing(choice.backend).map(|_| choice)
}

/// The same for a packet that leaves the records as they are, but for noting that it was seen; `None` for any other.
#[inline(always)]
pub(super) fn known_owner(
    tables: &impl Tables,
    service: &Service,
    key: &FlowKey<U32be>,
    segment: &Segment,
    now: Ticks,
) -> Option<Choice> {
    let index = slot_index(service, key, tables.seed());
    let slot = tables.slot(index)?;
    let choice = if tracks(service, slot) {
        remembered(tables, (index, slot), key, segment, now)?
    } else {
        settled(slot, segment)
    };
    (!choice.backend.is_none()).then_some(choice)
}

#[inline(always)]
const fn tracks(service: &Service, slot: Slot) -> bool {
    let never = service.flags.has(ServiceFlags::TRACK_NEVER);
    service.flags.has(ServiceFlags::TRACK_ALWAYS) || (slot.is_tracked() && !never)
}

#[inline(always)]
const fn existing(backend: BackendId) -> Result<BackendId, Reason> {
    if backend.is_none() { Err(Reason::NoBackend) } else { Ok(backend) }
}

#[inline(always)]
const fn settled(slot: Slot, segment: &Segment) -> Choice {
    Choice { backend: slot.current(), reason: Reason::IpipSettled, opened: segment.flags.opens() }
}

/// A record that goes on decides. A packet without a record that cannot begin a flow is of one older than the change,
/// and stays where it was.
#[inline(always)]
fn remembered(
    tables: &impl Tables,
    (index, slot): (u32, Slot),
    key: &FlowKey<U32be>,
    segment: &Segment,
    now: Ticks,
) -> Option<Choice> {
    if let Some(mut flow) = tables.flow(key) {
        if !goes_on(tables, &flow, segment) {
            return None;
        }
        flow.note(segment.flags, now);
        return Some(Choice { backend: flow.backend, reason: Reason::IpipRecorded, opened: false });
    }
    if segment.may_open() {
        return None;
    }
    tables.note_settled_use(index, now);
    Some(Choice { backend: slot.settled(), reason: Reason::IpipOlder, opened: false })
}

/// Whether a record still holds: its backend lives, and its connection did not end before this packet's began.
#[inline(always)]
fn goes_on(tables: &impl Tables, flow: &Flow<U32be>, segment: &Segment) -> bool {
    let reopened = segment.flags.opens() && flow.state.is_closing();
    !reopened && is_alive(tables, flow.backend)
}

/// A record that does not go on is given to the slot's current owner.
#[inline(always)]
fn moved(
    tables: &impl Tables,
    slot: Slot,
    key: &FlowKey<U32be>,
    segment: &Segment,
    now: Ticks,
) -> Option<Choice> {
    let mut flow = tables.flow(key)?;
    *flow = Flow::pinned(slot.current(), now);
    flow.note(segment.flags, now);
    Some(Choice { backend: flow.backend, reason: Reason::IpipOpened, opened: true })
}

/// Records a new flow with the current owner, if there is one. Without room for a record later packets would be taken
/// for those of an older flow, so the first must go the same way.
#[inline(always)]
fn record(tables: &impl Tables, slot: Slot, key: &FlowKey<U32be>, now: Ticks) -> Choice {
    if slot.current().is_none() {
        return Choice { backend: BackendId::NONE, reason: Reason::NoBackend, opened: false };
    }
    match tables.insert(key, &Flow::pinned(slot.current(), now)) {
        Err(Refused::Full) => {
            Choice { backend: slot.settled(), reason: Reason::IpipUnrecorded, opened: true }
        }
        Ok(()) | Err(Refused::Exists) => {
            Choice { backend: slot.current(), reason: Reason::IpipOpened, opened: true }
        }
    }
}

/// Whether a backend's flows may stay with it.
#[inline(always)]
pub(super) fn is_alive(tables: &impl Tables, id: BackendId) -> bool {
    tables.backend(id).is_some_and(|backend| backend.flags.has(BackendFlags::ALIVE))
}
