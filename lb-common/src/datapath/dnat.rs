//! Translation of the destination only: the balancer is the backends' gateway, and clients' addresses are kept.
//!
//! No translation is recorded for it: towards a backend its flow's owner decides ([`super::track`]), and back the backend's
//! endpoint, which belongs to one service, says which VIP its packets come from. Where a service is to know answers by records
//! (`tracking = "always"`), it is [`super::nat`] that translates.

use super::family::Family;
use super::link::{self, Way};
use super::nat;
use super::parse::{Frame, Segment};
use super::track::{self, Asked, Choice};
use super::{Arrival, Direction, Outcome, Reason, Route, Steered, Tables, TablesFor, encap, icmp_error};
use crate::abi::{Backend, BackendFlags, BackendId, Flow, FlowKey, FlowKind, Hop, Service, Ticks};
use crate::wire::{Packet, Ports, U16be};

/// Sends a client's packet to the endpoint of the backend that owns its flow.
#[inline(always)]
pub(super) fn forward<A: Family>(
    packet: &mut impl Packet,
    tables: &impl TablesFor<A>,
    frame: &Frame<A>,
    service: &Service,
    (key, segment): (&FlowKey<A>, &Segment),
    arrival: Arrival,
) -> Outcome {
    let choice = owner(tables, &Asked { service, key, segment, hash: None, now: arrival.now });
    let outcome = match choice {
        Ok(choice) => send(packet, tables, frame, (key, segment), choice),
        Err(reason) => Err(reason),
    };
    let fitting = || Ok(link::backend(tables, choice?.backend)?.mtu.into());
    icmp_error::unless_left(packet, tables, frame, outcome, fitting, arrival)
}

/// The owner of a packet's flow. A record that was made for another service may name a backend whose answers would not be
/// known: it goes, and the flow begins anew with its next packet.
#[inline(always)]
fn owner<A: Family>(tables: &impl TablesFor<A>, asked: &Asked<'_, A>) -> Result<Choice, Reason> {
    let choice = track::owner(tables, asked)?;
    endpoint(tables, choice.backend).map(|_| choice).inspect_err(|_| tables.remove(asked.key))
}

/// A backend whose answers are known.
#[inline(always)]
pub(super) fn endpoint<T: Tables>(tables: &T, id: BackendId) -> Result<&Backend, Reason> {
    let backend = link::backend(tables, id)?;
    if backend.flags.has(BackendFlags::ENDPOINT) { Ok(backend) } else { Err(Reason::NoFlow) }
}

/// Sends it to this backend.
#[inline(always)]
fn send<A: Family>(
    packet: &mut impl Packet,
    tables: &impl TablesFor<A>,
    frame: &Frame<A>,
    (key, segment): (&FlowKey<A>, &Segment),
    choice: Choice,
) -> Outcome {
    let backend = link::backend(tables, choice.backend)?;
    let way = Way::to(backend)?;
    encap::fits(packet, frame, backend, 0)?;
    nat::rewrite(packet, frame, segment, &towards(key, backend, choice.backend))?;
    link::address(packet, frame, way)?;
    Ok(Steered {
        reason: choice.reason,
        ifindex: way.ifindex,
        backend: choice.backend,
        direction: Direction::ToBackend,
        opened: choice.opened,
    })
}

/// Gives an endpoint's packet the VIP as its source, and sends it on as the kernel would route it. Where that takes
/// more than a next hop, the rest is the kernel's, but for what does not fit: the kernel would tell the VIP, which is nobody.
#[inline(always)]
pub(super) fn reply<A: Family>(
    packet: &mut impl Packet,
    tables: &impl TablesFor<A>,
    frame: &Frame<A>,
    endpoint: &Service,
    (key, segment): (&FlowKey<A>, &Segment),
    arrival: Arrival,
) -> Outcome {
    let translation = back(key, endpoint);
    let bytes = packet.wire_length(A::total_length(&frame.ip), 0, frame.transport());
    let route = tables.route(&translation.opposite(key.protocol()).reversed(), bytes, arrival);
    let outcome = match &route {
        Route::By(hop) => send_back(packet, frame, segment, (&translation, hop)),
        Route::TooNarrow(_) => Err(Reason::TooBig),
        Route::Kernel => {
            let rewritten = nat::rewrite_for_the_kernel(packet, frame, segment, &translation);
            rewritten.and(Err(Reason::DnatRouted))
        }
    };
    let fitting = || if let Route::TooNarrow(mtu) = route { Ok(mtu) } else { Err(Reason::Inconsistent) };
    icmp_error::unless_left(packet, tables, frame, outcome, fitting, arrival)
}

/// Sends it by this way.
#[inline(always)]
fn send_back<A: Family>(
    packet: &mut impl Packet,
    frame: &Frame<A>,
    segment: &Segment,
    (translation, hop): (&Flow<A>, &Hop),
) -> Outcome {
    nat::rewrite(packet, frame, segment, translation)?;
    link::address(packet, frame, Way::by(hop))?;
    Ok(Steered {
        reason: Reason::DnatReply,
        ifindex: hop.ifindex,
        backend: BackendId::NONE,
        direction: Direction::ToClient,
        opened: false,
    })
}

/// What turns a client's packets into those that a backend gets.
#[inline(always)]
pub(super) fn towards<A: Family>(key: &FlowKey<A>, backend: &Backend, id: BackendId) -> Flow<A> {
    let ports = Ports::new(key.ports.source(), nat::destination_port(key, backend));
    let leaving = FlowKey::new(key.source, A::narrow(backend.address), ports, key.protocol());
    translation(key, &leaving, id)
}

/// What turns an endpoint's packets into those that a client gets.
#[inline(always)]
pub(super) fn back<A: Family>(key: &FlowKey<A>, endpoint: &Service) -> Flow<A> {
    let kept = endpoint.other_port == U16be::ZERO;
    let port = if kept { key.ports.source() } else { endpoint.other_port };
    let ports = Ports::new(port, key.ports.destination());
    let leaving = FlowKey::new(A::narrow(endpoint.other), key.destination, ports, key.protocol());
    translation(key, &leaving, BackendId::NONE)
}

#[inline(always)]
fn translation<A: Family>(arriving: &FlowKey<A>, leaving: &FlowKey<A>, backend: BackendId) -> Flow<A> {
    Flow::translation(FlowKind::Forward, arriving, leaving, (backend, Hop::default()), Ticks(0))
}
