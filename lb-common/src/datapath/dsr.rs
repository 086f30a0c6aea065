//! Direct server return: a client's packet goes to the backend as it is, in an outer header or by the backend's
//! link-layer address, and the backend answers the client.

use super::encap::{self, Outer};
use super::family::Family;
use super::link::{self, Way};
use super::parse::{Frame, Segment};
use super::track::{self, Asked, Choice};
use super::{Arrival, Direction, Outcome, Reason, Steered, Tables, TablesFor, icmp_error, select};
use crate::abi::{Backend, Extent, FlowKey, Forward, Service};
use crate::wire::Packet;

/// Sends a client's packet to the backend that owns its flow.
#[inline(always)]
pub(super) fn forward<A: Family>(
    packet: &mut impl Packet,
    tables: &impl TablesFor<A>,
    frame: &Frame<A>,
    service: &Service,
    (key, segment): (&FlowKey<A>, &Segment),
    arrival: Arrival,
) -> Outcome {
    let asked = Asked { service, key, segment, hash: None, now: arrival.now };
    let choice = match select::quic_server(packet, tables, frame, service, segment) {
        Some(backend) => {
            let hash = key.hash(tables.seed());
            Ok(Choice { backend, reason: Reason::QuicServer, opened: false, hash })
        }
        None => track::owner(tables, &asked),
    };
    let outcome = match choice {
        Ok(choice) => send(packet, tables, frame, service, choice),
        Err(reason) => Err(reason),
    };
    let fitting = || {
        let backend = link::backend(tables, choice?.backend)?;
        Ok(u32::from(backend.mtu.saturating_sub(overhead(service, backend))))
    };
    icmp_error::unless_left(packet, tables, frame, outcome, fitting, arrival)
}

#[inline(always)]
fn overhead(service: &Service, backend: &Backend) -> u16 {
    match service.forward() {
        Forward::DsrIpip => backend.overhead(false),
        Forward::DsrGue => backend.overhead(true),
        _ => 0,
    }
}

/// Sends a packet to the chosen backend in the service's way.
#[inline(always)]
pub(super) fn send<A: Family>(
    packet: &mut impl Packet,
    tables: &impl Tables,
    frame: &Frame<A>,
    service: &Service,
    choice: Choice,
) -> Outcome {
    let backend = link::backend(tables, choice.backend)?;
    let to = (service, backend, choice.hash);
    let ifindex = match (service.forward(), backend.is_v6()) {
        (Forward::DsrIpip, false) => tunnel::<A, false, false>(packet, tables, frame, to)?,
        (Forward::DsrIpip, true) => tunnel::<A, true, false>(packet, tables, frame, to)?,
        (Forward::DsrGue, false) => tunnel::<A, false, true>(packet, tables, frame, to)?,
        (Forward::DsrGue, true) => tunnel::<A, true, true>(packet, tables, frame, to)?,
        _ => hand_on(packet, frame, backend)?,
    };
    Ok(Steered {
        reason: choice.reason,
        ifindex,
        backend: choice.backend,
        direction: Direction::ToBackend,
        opened: choice.opened,
    })
}

/// Puts an outer header around a packet that may still go somewhere; gives the interface it leaves by. No hop is taken off, for to the
/// sender there is none: but what has none left is nobody's to send on (RFC 2003, section 3.1).
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "headers are tens of bytes")]
fn tunnel<A: Family, const V6: bool, const UDP: bool>(
    packet: &mut impl Packet,
    tables: &impl Tables,
    frame: &Frame<A>,
    (service, backend, hash): (&Service, &Backend, u32),
) -> Result<u32, Reason> {
    let way = Way::to(backend)?;
    if A::hops(&frame.ip) == 0 {
        return Err(Reason::TimeToLive);
    }
    encap::fits(packet, frame, backend, Outer::<V6, UDP>::LENGTH as u32)?;
    let extent = Extent::new(A::traffic_class(&frame.ip), A::total_length(&frame.ip) as u16);
    let outer = Outer::<V6, UDP>::around::<A>(extent, service, backend, (hash, tables.spread(V6)));
    link::wrap(packet, frame, way, &outer)?;
    Ok(way.ifindex)
}

/// Changes the link layer, and takes one hop off: two balancers that are each other's backends would else hand a packet to and
/// fro for ever.
#[inline(always)]
fn hand_on<A: Family>(packet: &mut impl Packet, frame: &Frame<A>, backend: &Backend) -> Result<u32, Reason> {
    let way = Way::to(backend)?;
    encap::fits(packet, frame, backend, 0)?;
    A::take_hop(packet, frame.l3).ok_or(Reason::TimeToLive)?;
    link::address(packet, frame, way)?;
    Ok(way.ifindex)
}
