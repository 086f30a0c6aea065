//! Stateless while nothing changes, exact while something does: which backend owns a packet's flow, where any backend
//! can be sent any packet.
//!
//! A slot that does not track is the whole truth. In one that does, a flow that begins goes to the slot's current owner
//! and is recorded; a packet without a record is of an older flow and goes to the settled owner.
//!
//! Source of the rule: Beamer (NSDI 2018) and JET (`CoNEXT` 2020); see "Stateless while nothing changes" in
//! ARCHITECTURE.md.

use super::family::Family;
use super::parse::Segment;
use super::select::{self, existing, is_alive};
use super::{FlowTable, Reason, Refused, TablesFor};
use crate::abi::{BackendId, Flow, FlowKey, Service, ServiceFlags, Slot, Ticks};

/// The backend for a packet, and why.
#[derive(Clone, Copy)]
// See `parse::Segment` for the alignment.
#[repr(align(32))]
pub(super) struct Choice {
    pub(super) backend: BackendId,
    pub(super) reason: Reason,
    pub(super) opened: bool,
    /// The flow's hash.
    pub(super) hash: u32,
}

/// A packet's flow, and when it came.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a, A: Family> {
    pub(super) service: &'a Service,
    pub(super) key: &'a FlowKey<A>,
    pub(super) segment: &'a Segment,
    /// The key's own hash, if it is known.
    pub(super) hash: Option<u32>,
    pub(super) now: Ticks,
}

/// The owner of a packet's flow.
#[inline(always)]
pub(super) fn owner<A: Family>(tables: &impl TablesFor<A>, asked: &Asked<'_, A>) -> Result<Choice, Reason> {
    let hash = select::hash(asked.service, asked.key, tables.seed());
    let index = asked.service.slot_index(hash);
    let slot = tables.slot(index).ok_or(Reason::Inconsistent)?;
    let (backend, reason, opened) = if tracks(asked.service, slot) {
        match remembered(tables, (index, slot), asked) {
            Some((backend, reason)) => (backend, reason, false),
            None => opened(tables, slot, asked, hash)?,
        }
    } else {
        settled(slot, asked.segment)
    };
    existing(backend).map(|backend| Choice { backend, reason, opened, hash })
}

/// Whether a slot's flows are looked up and recorded.
#[inline(always)]
pub(super) const fn tracks(service: &Service, slot: Slot) -> bool {
    let never = service.flags().has(ServiceFlags::TRACK_NEVER);
    service.flags().has(ServiceFlags::TRACK_ALWAYS) || (slot.is_tracked() && !never)
}

#[inline(always)]
const fn settled(slot: Slot, segment: &Segment) -> (BackendId, Reason, bool) {
    (slot.current(), Reason::Settled, segment.flags.opens())
}

/// A record that goes on decides. A packet without a record that cannot begin a flow is of one older than the change,
/// and stays where it was. `None` for one that begins a flow, or whose record's backend died.
///
/// A SYN after an end begins anew, though whoever knows the flow's ends may have made up both: answers are not seen here, so
/// nobody could tell it from a client that uses its port again (see README, limits).
#[inline(always)]
pub(super) fn remembered<A: Family>(
    tables: &impl TablesFor<A>,
    (index, slot): (u32, Slot),
    asked: &Asked<'_, A>,
) -> Option<(BackendId, Reason)> {
    if let Some(mut flow) = recorded(tables, asked) {
        let reopened = asked.segment.flags.opens() && flow.state.is_closing();
        if reopened || !is_alive(tables, flow.backend) {
            return None;
        }
        flow.note(asked.segment.flags, asked.now);
        return Some((flow.backend, Reason::Recorded));
    }
    if asked.segment.may_open() {
        return None;
    }
    tables.note_settled_use(index, asked.now);
    Some((slot.settled(), Reason::Older))
}

#[inline(always)]
fn recorded<'a, A: Family, T: TablesFor<A>>(
    tables: &'a T,
    asked: &Asked<'_, A>,
) -> Option<<T as FlowTable<A>>::Record<'a>> {
    match asked.hash {
        Some(hash) => tables.flow_hashed(asked.key, hash),
        None => tables.flow(asked.key),
    }
}

/// Gives a flow that begins, or whose backend died, to a backend that takes new ones, and records that.
#[inline(always)]
fn opened<A: Family>(
    tables: &impl TablesFor<A>,
    slot: Slot,
    asked: &Asked<'_, A>,
    hash: u32,
) -> Result<(BackendId, Reason, bool), Reason> {
    let backend = select::for_new(tables, asked.service, hash)?;
    if let Some(mut flow) = tables.flow(asked.key) {
        *flow = Flow::pinned(backend, asked.now);
        flow.note(asked.segment.flags, asked.now);
        tables.note_opened(backend);
        return Ok((backend, Reason::Opened, true));
    }
    // Without a record later packets would be taken for those of an older flow, so the first must go the same way.
    Ok(match tables.reserve(asked.key, asked.now) {
        Err(Refused::Full) => (slot.settled(), Reason::Unrecorded, true),
        Err(Refused::Guarded) => (slot.settled(), Reason::GuardUnrecorded, true),
        Ok(mut flow) => {
            flow.pin(backend, asked.now);
            FlowTable::<A>::publish(tables, flow);
            tables.note_opened(backend);
            (backend, Reason::Opened, true)
        }
        // Another CPU recorded the same flow meanwhile: its record wins.
        Err(Refused::Exists) => match tables.published(asked.key) {
            Some(flow) => (flow.backend, Reason::Recorded, false),
            None => (backend, Reason::Opened, true),
        },
    })
}

#[cfg(all(test, feature = "host"))]
mod tests {
    use super::*;
    use crate::abi::{Backend, BackendFlags, Forward, Select, ServiceKey};
    use crate::datapath::family::Piece;
    use crate::datapath::{HostTables, Tables};
    use crate::wire::{Ports, U16be, U32be, protocol, tcp};

    #[test]
    fn a_flow_counts_for_the_backend_that_takes_it_from_a_dead_one() {
        let [dead, living] = [1, 2].map(BackendId::from_bits);
        let ports = Ports::new(U16be::new(1024), U16be::new(53));
        let key = FlowKey::new(U32be::new(1), U32be::new(2), ports, protocol::UDP);
        let tables = HostTables::default();
        let mut tables = HostTables { slots: [(0, Slot::settled_on(living))].into(), ..tables };
        let record = Backend { flags: BackendFlags::ALIVE, ..Backend::UNWRITTEN };
        tables.backends.insert(living, record);
        tables.flows.borrow_mut().insert(key, Flow::pinned(dead, Ticks(0)));

        let service = ServiceKey::v4(key.destination, U16be::new(53), protocol::UDP);
        let service = Service::new(service, Forward::DsrIpip, 1, 0, 1, ServiceFlags::TRACK_ALWAYS);
        let service = service.selecting(Select::LeastConnections);
        let (flags, checksum) = (tcp::Flags::NONE, U16be::ZERO);
        let segment = Segment { protocol: protocol::UDP, flags, checksum, piece: Piece::Whole };
        let asked = Asked { service: &service, key: &key, segment: &segment, hash: None, now: Ticks(1) };
        let load_after = || {
            assert!(owner(&tables, &asked).is_ok_and(|choice| choice.backend == living));
            tables.load(living).map(|load| load.flows)
        };
        assert_eq!([load_after(), load_after()], [Some(1); 2]);
    }
}
