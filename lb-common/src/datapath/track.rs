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

/// The owner of the flow that an ICMP error is about, as that of a packet that begins none. The error is no packet of the flow, and leaves
/// no trace.
#[inline(always)]
pub(super) fn owner_of_quoted<A: Family>(
    tables: &impl TablesFor<A>,
    service: &Service,
    key: &FlowKey<A>,
) -> Result<Choice, Reason> {
    let hash = select::hash(service, key, tables.seed());
    let slot = tables.slot(service.slot_index(hash)).ok_or(Reason::Inconsistent)?;
    let (backend, reason) = if tracks(service, slot) {
        match tables.flow(key) {
            Some(flow) => (flow.backend, Reason::Recorded),
            None => (slot.settled(), Reason::Older),
        }
    } else {
        (slot.current(), Reason::Settled)
    };
    existing(backend).map(|backend| Choice { backend, reason, opened: false, hash })
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
#[inline(always)]
pub(super) fn remembered<A: Family>(
    tables: &impl TablesFor<A>,
    (index, slot): (u32, Slot),
    asked: &Asked<'_, A>,
) -> Option<(BackendId, Reason)> {
    if let Some(mut flow) = recorded(tables, asked) {
        if !is_alive(tables, flow.backend) || begins_anew(tables, &flow, asked) {
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

/// Whether a packet begins a recorded flow anew: a SYN after an end.
///
/// Whoever knows the flow's ends may have made up both, and nobody could tell, for answers are not seen here. So it begins anew with
/// the backend it had ([`opened`]), which answers a SYN in a connection that goes on by what it awaits (RFC 5961, section 4), and
/// nothing is lost. A backend that is being taken out gets no new connection, so there the end counts, but only after a lull:
/// it can be made up at any time, and who has something to say soon gainsays it.
#[inline(always)]
fn begins_anew<A: Family>(tables: &impl TablesFor<A>, flow: &Flow<A>, asked: &Asked<'_, A>) -> bool {
    if !asked.segment.flags.opens() || !flow.state.is_closing() {
        return false;
    }
    let lull = LULL.saturating_mul(tables.second());
    select::is_open(tables, flow.backend) || asked.now.passed_since(flow.last_seen) >= lull
}

/// Seconds of silence behind an end after which it is believed: a new connection's first SYN, if it came at once and its backend
/// ignored it, is sent for the third time then (RFC 6298, section 2).
const LULL: u32 = 3;

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

/// Gives a flow that begins, or whose backend died, to a backend that takes new ones, and records that. To the one that it had, if
/// that does.
#[inline(always)]
fn opened<A: Family>(
    tables: &impl TablesFor<A>,
    slot: Slot,
    asked: &Asked<'_, A>,
    hash: u32,
) -> Result<(BackendId, Reason, bool), Reason> {
    let had = tables.flow(asked.key).map(|flow| flow.backend).filter(|id| select::is_open(tables, *id));
    let backend = match had {
        Some(backend) => backend,
        None => select::for_new(tables, asked.service, hash)?,
    };
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

    const FORMER: BackendId = BackendId::from_bits(1);
    const CURRENT: BackendId = BackendId::from_bits(2);
    const OPEN: BackendFlags = BackendFlags::ALIVE.with(BackendFlags::OPEN);

    fn key(protocol: u8) -> FlowKey<U32be> {
        let ports = Ports::new(U16be::new(1024), U16be::new(53));
        FlowKey::new(U32be::new(1), U32be::new(2), ports, protocol)
    }

    /// Tables by which new flows go to `CURRENT`, and where `FORMER`, of which this is known, has a flow.
    fn moved(protocol: u8, former: BackendFlags) -> HostTables {
        let backend = |flags| Backend { flags, ..Backend::UNWRITTEN };
        let slots = [(0, Slot::settled_on(CURRENT))].into();
        let backends = [(FORMER, backend(former)), (CURRENT, backend(OPEN))].into();
        let tables = HostTables { slots, backends, ..HostTables::default() };
        tables.flows.borrow_mut().insert(key(protocol), Flow::pinned(FORMER, Ticks(0)));
        tables
    }

    fn service(key: FlowKey<U32be>, protocol: u8) -> Service {
        let service = ServiceKey::v4(key.destination, key.ports.destination(), protocol);
        let service = Service::new(service, Forward::DsrIpip, 1, 0, 1, ServiceFlags::TRACK_ALWAYS);
        service.selecting(Select::LeastConnections)
    }

    fn owner_of(tables: &HostTables, protocol: u8, flags: tcp::Flags, now: u32) -> (BackendId, Reason) {
        let (key, service) = (key(protocol), service(key(protocol), protocol));
        let segment = Segment { protocol, flags, checksum: U16be::ZERO, piece: Piece::Whole };
        let asked = Asked { service: &service, key: &key, segment: &segment, hash: None, now: Ticks(now) };
        owner(tables, &asked).map(|choice| (choice.backend, choice.reason)).unwrap()
    }

    #[test]
    fn a_flow_counts_for_the_backend_that_takes_it_from_a_dead_one() {
        let tables = moved(protocol::UDP, BackendFlags::default());
        let load_after = |reason| {
            let owner = owner_of(&tables, protocol::UDP, tcp::Flags::NONE, 1);
            assert_eq!(owner, (CURRENT, reason));
            tables.load(CURRENT).map(|load| load.flows)
        };
        assert_eq!([Reason::Opened, Reason::Recorded].map(load_after), [Some(1); 2]);
    }

    #[test]
    fn an_error_about_a_flow_leaves_no_trace() {
        for former in [OPEN, BackendFlags::default()] {
            let tables = moved(protocol::TCP, former);
            let (before, key) = (tables.flows.borrow().clone(), key(protocol::TCP));
            let service = service(key, protocol::TCP);
            let owner = owner_of_quoted(&tables, &service, &key).map(|choice| choice.backend);
            assert_eq!((owner, &*tables.flows.borrow()), (Ok(FORMER), &before));
            assert_eq!(tables.load(CURRENT).map(|load| load.flows), Some(0));
        }
    }

    #[test]
    fn an_error_about_an_older_flow_is_no_use_of_its_slot() {
        let (tables, key) = (moved(protocol::TCP, OPEN), key(protocol::TCP));
        tables.flows.borrow_mut().clear();
        let owner = owner_of_quoted(&tables, &service(key, protocol::TCP), &key);
        assert_eq!(owner.map(|choice| choice.backend), Ok(CURRENT));
        assert!(tables.settled_use.borrow().is_empty() && tables.flows.borrow().is_empty());
    }

    #[test]
    fn after_an_end_a_syn_goes_to_the_backend_that_the_flow_had() {
        let tables = moved(protocol::TCP, OPEN);
        let owner = |flags, now| owner_of(&tables, protocol::TCP, flags, now);
        for (end, now) in [(tcp::Flags::FIN, 1000), (tcp::Flags::RST, 20_000)] {
            assert_eq!(owner(end, now), (FORMER, Reason::Recorded));
            assert_eq!(owner(tcp::Flags::SYN, now + 10_000), (FORMER, Reason::Opened));
            assert!(!tables.flows.borrow()[&key(protocol::TCP)].state.is_closing(), "it is another flow now");
        }
    }

    #[test]
    fn a_backend_that_is_taken_out_gets_no_new_flow_once_the_old_one_has_been_over_for_a_while() {
        let tables = moved(protocol::TCP, BackendFlags::ALIVE);
        let owner = |flags, now| owner_of(&tables, protocol::TCP, flags, now);
        assert_eq!(owner(tcp::Flags::FIN, 1000), (FORMER, Reason::Recorded));
        for tick in [1000, 1250, 1749] {
            assert_eq!(owner(tcp::Flags::SYN, tick), (FORMER, Reason::Recorded));
        }
        assert_eq!(owner(tcp::Flags::SYN, 1750), (CURRENT, Reason::Opened));
        assert_eq!(owner(tcp::Flags::ACK, 1751), (CURRENT, Reason::Recorded));
    }
}
