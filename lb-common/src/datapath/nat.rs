//! Full network address translation: towards a backend a packet comes from the balancer's own address and a port
//! allocated for its flow; the reply is translated back.
//!
//! A flow has two records that hold the finished answer, one under the client's tuple and one under the backend's
//! reply. The reply's is inserted first and never over another, which is what keeps a port from being given twice.

use super::link::{self, Way};
use super::parse::{Frame, Segment};
use super::{Arrival, Direction, Outcome, Reason, Refused, Steered, Tables, select};
use crate::abi::{Backend, BackendFlags, BackendId, Flow, FlowKey, FlowKind, Hop, Service, Ticks, limits};
use crate::wire::{Packet, Ports, U16be, U32be, checksum, protocol, tcp, udp};

/// Translates a client's packet towards the backend that owns its flow.
#[inline(always)]
pub(super) fn forward(
    packet: &mut impl Packet,
    tables: &impl Tables,
    frame: &Frame,
    service: &Service,
    (key, segment): (&FlowKey<U32be>, &Segment),
    arrival: Arrival,
) -> Outcome {
    let reason = match standing(tables, key, segment, arrival.now) {
        Standing::GoesOn => {
            relearn(tables, key, link::hop_back(frame, arrival));
            Reason::NatForward
        }
        Standing::Ended { reply } => {
            tables.remove(&reply);
            tables.remove(key);
            open(tables, frame, service, key, arrival)?
        }
        Standing::Unknown if segment.may_open() => open(tables, frame, service, key, arrival)?,
        Standing::Unknown => return Err(Reason::NoFlow),
    };
    let flow = tables.flow(key).ok_or(Reason::Inconsistent)?;
    let way = Way::to(link::backend(tables, flow.backend)?)?;
    let steered = translate(packet, frame, segment, &flow, way, (reason, Direction::ToBackend))?;
    Ok(Steered { opened: matches!(reason, Reason::NatOpened), ..steered })
}

/// The same for a packet whose records need no change, but for noting that it was seen; `None` for any other.
#[inline(always)]
pub(super) fn forward_known(
    packet: &mut impl Packet,
    tables: &impl Tables,
    frame: &Frame,
    (key, segment): (&FlowKey<U32be>, &Segment),
    arrival: Arrival,
) -> Option<Outcome> {
    let mut flow = tables.flow(key)?;
    let backend = tables.backend(flow.backend)?;
    let usable = backend.flags.has(BackendFlags::ALIVE.with(BackendFlags::RESOLVED));
    if !goes_on(&flow, segment, usable) || flow.way_back != link::hop_back(frame, arrival) {
        return None;
    }
    flow.note(segment.flags, arrival.now);
    let way = Way::to(backend).ok()?;
    Some(translate(packet, frame, segment, &flow, way, (Reason::NatForward, Direction::ToBackend)))
}

/// Translates a backend's reply towards its client; whatever else comes to our address passes.
#[inline(always)]
pub(super) fn reply(
    packet: &mut impl Packet,
    tables: &impl Tables,
    frame: &Frame,
    key: &FlowKey<U32be>,
    arrival: Arrival,
) -> Outcome {
    let segment = super::parse::segment(packet, frame);
    let mut flow = tables.flow(key).ok_or(Reason::NotAVip)?;
    if let Ok(segment) = &segment {
        flow.note(segment.flags, arrival.now);
    }
    if flow.kind() != FlowKind::Reply {
        return Err(Reason::NotAVip);
    }
    translate(
        packet,
        frame,
        &segment?,
        &flow,
        Way::by(&flow.way_back),
        (Reason::NatReply, Direction::ToClient),
    )
}

/// Rewrites a packet by its flow's record and sends it the given way.
#[inline(always)]
fn translate(
    packet: &mut impl Packet,
    frame: &Frame,
    segment: &Segment,
    flow: &Flow<U32be>,
    way: Way<'_>,
    (reason, direction): (Reason, Direction),
) -> Outcome {
    rewrite(packet, frame, segment, flow)?;
    link::address(packet, frame, way, None)?;
    Ok(Steered { reason, ifindex: way.ifindex, backend: flow.backend, direction, opened: false })
}

/// How a packet stands to the record of its flow.
enum Standing {
    /// The flow goes on.
    GoesOn,
    /// The record is of a flow that ended, or whose backend died; the reply's record has this key.
    Ended { reply: FlowKey<U32be> },
    /// There is none.
    Unknown,
}

/// Looks for a packet's record, and notes in it that it was seen.
#[inline(always)]
fn standing(tables: &impl Tables, key: &FlowKey<U32be>, segment: &Segment, now: Ticks) -> Standing {
    let Some(mut flow) = tables.flow(key) else { return Standing::Unknown };
    if !goes_on(&flow, segment, select::is_alive(tables, flow.backend)) {
        return Standing::Ended { reply: flow.opposite(key.protocol) };
    }
    flow.note(segment.flags, now);
    Standing::GoesOn
}

/// Whether a flow goes on with its record: not when its backend died, not when this packet opens a connection anew
/// after the old one ended, and not when the record is none of a translation (the service encapsulated before).
#[inline(always)]
const fn goes_on(flow: &Flow<U32be>, segment: &Segment, is_alive: bool) -> bool {
    let reopened = segment.flags.opens() && flow.state.is_closing();
    is_alive && !reopened && matches!(flow.kind(), FlowKind::Forward)
}

/// Makes the two records of a flow that begins; none for a packet that cannot leave.
#[inline(always)]
fn open(
    tables: &impl Tables,
    frame: &Frame,
    service: &Service,
    key: &FlowKey<U32be>,
    arrival: Arrival,
) -> Result<Reason, Reason> {
    if frame.ip.time_to_live() <= 1 {
        return Err(Reason::TimeToLive);
    }
    let hash = key.hash(tables.seed());
    let id = select::current(tables, service, hash)?;
    let backend = link::backend(tables, id)?;
    Way::to(backend)?;
    let who = (id, link::hop_back(frame, arrival));
    for attempt in 0..limits::PORT_PROBES {
        let port = tables.ports().pick(hash.wrapping_add(attempt).wrapping_mul(PORT_STRIDE));
        let leaving = leaving(key, backend, port);
        let reply =
            Flow::translation(FlowKind::Reply, &leaving.reversed(), &key.reversed(), who, arrival.now);
        match tables.insert(&leaving.reversed(), &reply) {
            Ok(()) => return complete(tables, key, &leaving, who, arrival),
            Err(Refused::Exists) => {}
            Err(Refused::Full) => return Err(Reason::TableFull),
        }
    }
    Err(Reason::PortsTaken)
}

/// Spreads a hash and its successors over all ports (the golden ratio, odd), apart from the slot it picked.
const PORT_STRIDE: u32 = 0x9e37_79b1;

/// What a client's packet looks like towards the backend.
#[inline(always)]
const fn leaving(key: &FlowKey<U32be>, backend: &Backend, port: U16be) -> FlowKey<U32be> {
    let ports = Ports { source: port, destination: backend.port };
    FlowKey::new(backend.source.as_v4(), backend.address.as_v4(), ports, key.protocol)
}

/// Adds the client side's record to the reply's. Another CPU may have opened the same flow meanwhile: its records win.
#[inline(always)]
fn complete(
    tables: &impl Tables,
    key: &FlowKey<U32be>,
    leaving: &FlowKey<U32be>,
    who: (BackendId, Hop),
    arrival: Arrival,
) -> Result<Reason, Reason> {
    let flow = Flow::translation(FlowKind::Forward, key, leaving, who, arrival.now);
    let inserted = tables.insert(key, &flow);
    if inserted.is_err() {
        tables.remove(&leaving.reversed());
    }
    match inserted {
        Ok(()) | Err(Refused::Exists) => Ok(Reason::NatOpened),
        Err(Refused::Full) => Err(Reason::TableFull),
    }
}

/// When a client's packets begin to come by another way (its router failed over), replies follow.
#[inline(always)]
fn relearn(tables: &impl Tables, key: &FlowKey<U32be>, way_back: Hop) {
    let Some(mut flow) = tables.flow(key).filter(|flow| flow.way_back != way_back) else { return };
    flow.way_back = way_back;
    let reply = flow.opposite(key.protocol);
    drop(flow);
    if let Some(mut flow) = tables.flow(&reply) {
        flow.way_back = way_back;
    }
}

/// Applies a record's translation to addresses, ports and both checksums, and takes one hop off.
#[inline(always)]
fn rewrite(
    packet: &mut impl Packet,
    frame: &Frame,
    segment: &Segment,
    flow: &Flow<U32be>,
) -> Result<(), Reason> {
    if frame.ip.time_to_live() <= 1 {
        return Err(Reason::TimeToLive);
    }
    let ip = frame.ip.rewritten(flow.source, flow.destination, flow.address_difference);
    packet.write(frame.l3, ip).ok_or(Reason::Inconsistent)?;
    transport(packet, frame.l4, segment, flow).ok_or(Reason::Inconsistent)
}

#[inline(always)]
fn transport(packet: &mut impl Packet, l4: usize, segment: &Segment, flow: &Flow<U32be>) -> Option<()> {
    packet.write(l4, Ports { source: flow.source_port, destination: flow.destination_port })?;
    if segment.protocol == protocol::TCP {
        packet.write(l4 + tcp::CHECKSUM, checksum::update(segment.checksum, flow.difference))
    } else {
        packet.write(l4 + udp::CHECKSUM, udp::update_checksum(segment.checksum, flow.difference))
    }
}
