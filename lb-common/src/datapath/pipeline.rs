//! The whole way of a packet on one page.

use super::{Arrival, Outcome, Reason, Tables, Verdict, classify, icmp, ipip, nat, parse};
use crate::abi::{FlowKey, Forward, Service, ServiceKey};
use crate::wire::{Packet, U16be, U32be, protocol};
use parse::Frame;

/// Steers a packet or says why not, and counts it once under its reason and, if it has one, its backend.
#[inline(always)]
pub fn balance(packet: &mut impl Packet, tables: &impl Tables, arrival: Arrival) -> Outcome {
    often(packet, tables, arrival).unwrap_or_else(|| seldom(packet, tables, arrival))
}

/// The packets that come by the million: plain ones that need no new state. The rest are left untouched for
/// [`seldom`], which answers every packet, and these alike. Nothing is dropped here.
///
/// Two functions because the kernel programs compile each by itself: one with all of it has too few registers, and
/// costs a common packet twice as much.
#[inline(always)]
pub fn often(packet: &mut impl Packet, tables: &impl Tables, arrival: Arrival) -> Option<Outcome> {
    let bytes = packet.length();
    let vip = parse::plain_destination(packet)?;
    let Some(service) = classify::service(tables, &vip) else {
        return to_client_known(packet, tables, &vip, arrival, bytes);
    };
    let (frame, key) = parse::plain_frame(packet)?;
    let segment = parse::segment(packet, &frame).ok()?;
    let with = (&key, &segment);
    // Counted in each arm, where the compiler knows more of the outcome than behind them.
    match service.forward() {
        Forward::Nat => {
            unless_dropped(tables, nat::forward_known(packet, tables, &frame, with, arrival)?, bytes)
        }
        Forward::DsrIpip => {
            let outcome = ipip::forward_known(packet, tables, &frame, service, with, arrival)?;
            unless_dropped(tables, outcome, bytes)
        }
        Forward::Own => None,
    }
}

#[inline(always)]
fn to_client_known(
    packet: &mut impl Packet,
    tables: &impl Tables,
    destination: &ServiceKey,
    arrival: Arrival,
    bytes: u32,
) -> Option<Outcome> {
    if !is_ours(tables, destination.address.as_v4(), destination.port()) {
        tables.count(Reason::NotAVip, bytes);
        return Some(Err(Reason::NotAVip));
    }
    let (frame, key) = parse::plain_frame(packet)?;
    unless_dropped(tables, nat::reply(packet, tables, &frame, &key, arrival), bytes)
}

/// Any packet; see [`often`].
#[inline(always)]
pub fn seldom(packet: &mut impl Packet, tables: &impl Tables, arrival: Arrival) -> Outcome {
    let bytes = packet.length();
    let outcome = steer(packet, tables, arrival);
    count(tables, &outcome, bytes);
    outcome
}

#[inline(always)]
fn count(tables: &impl Tables, outcome: &Outcome, bytes: u32) {
    match outcome {
        Ok(steered) => {
            tables.count(steered.reason, bytes);
            tables.count_backend(steered.backend, steered.direction, steered.opened, bytes);
        }
        Err(reason) => tables.count(*reason, bytes),
    }
}

/// Counts a packet, but for one that is dropped, which was left as it came.
#[inline(always)]
fn unless_dropped(tables: &impl Tables, outcome: Outcome, bytes: u32) -> Option<Outcome> {
    if outcome.is_err_and(|reason| reason.verdict() == Verdict::Drop) {
        return None;
    }
    count(tables, &outcome, bytes);
    Some(outcome)
}

#[inline(always)]
fn steer(packet: &mut impl Packet, tables: &impl Tables, arrival: Arrival) -> Outcome {
    let frame = parse::frame(packet)?;
    if frame.ip.protocol() == protocol::ICMP {
        return icmp::steer(packet, tables, &frame, arrival);
    }
    let key = parse::flow_key(packet, &frame)?;
    let vip = ServiceKey::v4(key.destination, key.destination_port, key.protocol);
    match classify::service(tables, &vip) {
        Some(service) => to_backend(packet, tables, &frame, service, &key, arrival),
        None => to_client(packet, tables, &frame, &key, arrival),
    }
}

/// A client's packet for a service.
#[inline(always)]
fn to_backend(
    packet: &mut impl Packet,
    tables: &impl Tables,
    frame: &Frame,
    service: &Service,
    key: &FlowKey<U32be>,
    arrival: Arrival,
) -> Outcome {
    let segment = parse::segment(packet, frame)?;
    match service.forward() {
        Forward::Nat => nat::forward(packet, tables, frame, service, (key, &segment), arrival),
        Forward::DsrIpip => ipip::forward(packet, tables, frame, service, (key, &segment), arrival),
        Forward::Own => Err(Reason::Inconsistent),
    }
}

/// A backend's reply to an address of ours, or a packet that is none of our business.
#[inline(always)]
fn to_client(
    packet: &mut impl Packet,
    tables: &impl Tables,
    frame: &Frame,
    key: &FlowKey<U32be>,
    arrival: Arrival,
) -> Outcome {
    if !is_ours(tables, key.destination, key.destination_port) {
        return Err(Reason::NotAVip);
    }
    nat::reply(packet, tables, frame, key, arrival)
}

/// Whether NAT may have given this port of this address to a flow.
#[inline(always)]
fn is_ours(tables: &impl Tables, address: U32be, port: U16be) -> bool {
    tables.ports().contains(port) && classify::is_own(tables, address)
}
