//! Direct server return through IP in IP (RFC 2003): the backend takes the outer header off and answers the client.

use super::link::{self, Outer, Way};
use super::parse::{Frame, Segment};
use super::select::{self, Choice};
use super::{Arrival, Direction, Outcome, Reason, Steered, Tables, too_big};
use crate::abi::{FlowKey, OUTER_LENGTH, Service};
use crate::wire::{Packet, U32be};

/// Sends a client's packet to the backend that owns its flow.
#[inline(always)]
pub(super) fn forward(
    packet: &mut impl Packet,
    tables: &impl Tables,
    frame: &Frame,
    service: &Service,
    (key, segment): (&FlowKey<U32be>, &Segment),
    arrival: Arrival,
) -> Outcome {
    let choice = select::owner(tables, service, key, segment, arrival.now)?;
    match encapsulate(packet, tables, frame, choice) {
        Err(Reason::TooBig) => {
            too_big::answer(packet, frame, link::backend(tables, choice.backend)?.mtu, arrival)
        }
        outcome => outcome,
    }
}

/// The same for a packet that needs no new state, `None` for any other.
#[inline(always)]
pub(super) fn forward_known(
    packet: &mut impl Packet,
    tables: &impl Tables,
    frame: &Frame,
    service: &Service,
    (key, segment): (&FlowKey<U32be>, &Segment),
    arrival: Arrival,
) -> Option<Outcome> {
    let choice = select::known_owner(tables, service, key, segment, arrival.now)?;
    Some(encapsulate(packet, tables, frame, choice))
}

/// Puts the chosen backend's outer header around the packet.
#[inline(always)]
pub(super) fn encapsulate(
    packet: &mut impl Packet,
    tables: &impl Tables,
    frame: &Frame,
    choice: Choice,
) -> Outcome {
    let backend = link::backend(tables, choice.backend)?;
    let way = Way::to(backend)?;
    let inner_length = frame.ip.total_length();
    if u32::from(inner_length) + u32::from(OUTER_LENGTH) > u32::from(backend.mtu) {
        return Err(Reason::TooBig);
    }
    let outer = Outer { backend, inner_length, traffic_class: frame.ip.traffic_class() };
    link::address(packet, frame, way, Some(outer))?;
    Ok(Steered {
        reason: choice.reason,
        ifindex: way.ifindex,
        backend: choice.backend,
        direction: Direction::ToBackend,
        opened: choice.opened,
    })
}
