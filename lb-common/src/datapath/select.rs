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
        tracked(tables, index, slot, key, segment, now)
    } else {
        Choice { backend: slot.current(), reason: Reason::IpipSettled, opened: segment.flags.opens() }
    };
    existing(choice.backend).map(|_| choice)
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

/// A record decides; a new flow is recorded; an older one stays where it was.
#[inline(always)]
fn tracked(
    tables: &impl Tables,
    index: u32,
    slot: Slot,
    key: &FlowKey<U32be>,
    segment: &Segment,
    now: Ticks,
) -> Choice {
    if let Some(choice) = recorded(tables, slot, key, segment, now) {
        return choice;
    }
    if segment.may_open() {
        return record(tables, slot, key, now);
    }
    tables.note_settled_use(index, now);
    Choice { backend: slot.settled(), reason: Reason::IpipOlder, opened: false }
}

/// What the flow's record says. A record whose backend died, or whose connection ended before this one began, is
/// given to the slot's current owner.
#[inline(always)]
fn recorded(
    tables: &impl Tables,
    slot: Slot,
    key: &FlowKey<U32be>,
    segment: &Segment,
    now: Ticks,
) -> Option<Choice> {
    tables.flow(key, |flow| {
        let reopened = segment.flags.opens() && flow.state.is_closing();
        let moved = reopened || !is_alive(tables, flow.backend);
        if moved {
            *flow = Flow::pinned(slot.current(), now);
        }
        flow.note(segment.flags, now);
        let reason = if moved { Reason::IpipOpened } else { Reason::IpipRecorded };
        Choice { backend: flow.backend, reason, opened: moved }
    })
}

/// Records a new flow with the current owner, if there is one. Without room for a record later packets would be taken for those of an
/// older flow, so the first must go the same way.
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
