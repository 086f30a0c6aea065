//! Full network address translation: towards a backend a packet comes from the balancer's own address and a port
//! allocated for its flow; the reply is translated back.
//!
//! A flow has two records that hold the finished answer, one under the client's tuple and one under the backend's
//! reply. The reply's is inserted first and never over another, which is what keeps a port from being given twice.

use super::link;
use super::parse::{Frame, Segment};
use super::{Arrival, Direction, Outcome, Reason, Refused, Steered, Tables, select};
use crate::abi::{Backend, BackendId, Flow, FlowKey, FlowKind, Hop, Service, limits};
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
    let known = tables.flow(key, |flow| noted(flow, segment, arrival));
    let usable = known.filter(|flow| stays(tables, flow, segment));
    let (flow, reason) = match usable {
        Some(flow) => (flow, Reason::NatForward),
        None => (open(tables, frame, service, (key, segment), known.as_ref(), arrival)?, Reason::NatOpened),
    };
    relearn(tables, frame, key, &flow, arrival);
    let hop = link::hop_to(link::backend(tables, flow.backend)?)?;
    rewrite(packet, frame, segment, &flow)?;
    link::address(packet, frame, &hop, 0)?;
    let opened = matches!(reason, Reason::NatOpened);
    Ok(Steered {
        reason,
        ifindex: hop.ifindex,
        backend: flow.backend,
        direction: Direction::ToBackend,
        opened,
    })
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
    let noted = |flow: &mut Flow<U32be>| {
        if let Ok(segment) = &segment {
            flow.note(segment.flags, arrival.now);
        }
        *flow
    };
    let flow = tables.flow(key, noted).filter(is_reply).ok_or(Reason::NotAVip)?;
    let segment = segment?;
    rewrite(packet, frame, &segment, &flow)?;
    link::address(packet, frame, &flow.way_back, 0)?;
    Ok(Steered {
        reason: Reason::NatReply,
        ifindex: flow.way_back.ifindex,
        backend: flow.backend,
        direction: Direction::ToClient,
        opened: false,
    })
}

#[inline(always)]
fn is_reply(flow: &Flow<U32be>) -> bool {
    flow.kind() == FlowKind::Reply
}

/// The record as it was, then noted in.
#[inline(always)]
fn noted(flow: &mut Flow<U32be>, segment: &Segment, arrival: Arrival) -> Flow<U32be> {
    let before = *flow;
    flow.note(segment.flags, arrival.now);
    before
}

/// Whether a flow goes on with its record: not when its backend died, not when this packet opens a connection anew
/// after the old one ended, and not when the record is none of a translation (the service encapsulated before).
#[inline(always)]
fn stays(tables: &impl Tables, flow: &Flow<U32be>, segment: &Segment) -> bool {
    let reopened = segment.flags.opens() && flow.state.is_closing();
    !reopened && flow.kind() == FlowKind::Forward && select::is_alive(tables, flow.backend)
}

/// Makes the records of a flow that begins, in place of those it had; none for a packet that cannot leave.
#[inline(always)]
fn open(
    tables: &impl Tables,
    frame: &Frame,
    service: &Service,
    (key, segment): (&FlowKey<U32be>, &Segment),
    former: Option<&Flow<U32be>>,
    arrival: Arrival,
) -> Result<Flow<U32be>, Reason> {
    if frame.ip.time_to_live <= 1 {
        return Err(Reason::TimeToLive);
    }
    match former {
        Some(flow) => forget(tables, key, flow),
        None if segment.may_open() => {}
        None => return Err(Reason::NoFlow),
    }
    let hash = key.hash(tables.seed());
    let id = select::current(tables, service, hash)?;
    let backend = link::backend(tables, id)?;
    link::hop_to(backend)?;
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
) -> Result<Flow<U32be>, Reason> {
    let flow = Flow::translation(FlowKind::Forward, key, leaving, who, arrival.now);
    let refused = match tables.insert(key, &flow) {
        Ok(()) => return Ok(flow),
        Err(refused) => refused,
    };
    tables.remove(&leaving.reversed());
    match refused {
        Refused::Exists => tables.flow(key, |flow| *flow).ok_or(Reason::Inconsistent),
        Refused::Full => Err(Reason::TableFull),
    }
}

/// Takes both records of a flow away.
#[inline(always)]
fn forget(tables: &impl Tables, key: &FlowKey<U32be>, flow: &Flow<U32be>) {
    tables.remove(&flow.opposite(key.protocol));
    tables.remove(key);
}

/// When a client's packets begin to come by another way (its router failed over), replies follow.
#[inline(always)]
fn relearn(tables: &impl Tables, frame: &Frame, key: &FlowKey<U32be>, flow: &Flow<U32be>, arrival: Arrival) {
    let way_back = link::hop_back(frame, arrival);
    if flow.way_back == way_back {
        return;
    }
    tables.flow(key, |flow| flow.way_back = way_back);
    tables.flow(&flow.opposite(key.protocol), |flow| flow.way_back = way_back);
}

/// Applies a record's translation to addresses, ports and both checksums, and takes one hop off.
#[inline(always)]
fn rewrite(
    packet: &mut impl Packet,
    frame: &Frame,
    segment: &Segment,
    flow: &Flow<U32be>,
) -> Result<(), Reason> {
    if frame.ip.time_to_live <= 1 {
        return Err(Reason::TimeToLive);
    }
    let ip = frame.ip.rewritten(flow.source, flow.destination, flow.address_difference);
    packet.write(frame.l3, ip).ok_or(Reason::Inconsistent)?;
    transport(packet, frame.l4(), segment, flow).ok_or(Reason::Inconsistent)
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
