//! The whole way of a packet on one page.

use super::family::Family;
use super::{Arrival, Outcome, Reason, Tables, TablesFor, classify, dnat, dsr, icmp, nat, parse, plain};
use crate::abi::{Contents, FlowKey, Forward, Service};
use crate::wire::{Packet, U16be, U32be, ethernet, ipv6};
use parse::Frame;

/// Steers a packet or says why not, and counts it once under its reason and, if it has one, its backend.
///
/// The stages stand for programs of the kernel's, each of which answers a packet or leaves it untouched for the next.
#[inline(always)]
pub fn balance(packet: &mut impl Packet, tables: &impl Tables, arrival: Arrival) -> Outcome {
    often(packet, tables, || arrival).unwrap_or_else(|| seldom(packet, tables, arrival))
}

/// All stages but [`often`], which answer every packet.
pub fn seldom(packet: &mut impl Packet, tables: &impl Tables, arrival: Arrival) -> Outcome {
    match version(packet) {
        Some(Version::V4) => seldom_of::<U32be>(packet, tables, arrival),
        Some(Version::V6) => seldom_of::<ipv6::Address>(packet, tables, arrival),
        None => leave(packet, tables, Reason::NotIp),
    }
}

fn seldom_of<A: Family>(packet: &mut impl Packet, tables: &impl TablesFor<A>, arrival: Arrival) -> Outcome {
    match transport::<A>(packet, tables, arrival) {
        Ok(outcome) => outcome,
        Err(Next::Nat) => {
            let known = full_nat::<A>(packet, tables, arrival);
            known.unwrap_or_else(|| full_nat_first::<A>(packet, tables, arrival))
        }
        Err(Next::Dnat) => destination_nat::<A>(packet, tables, arrival),
        Err(Next::Control) => {
            let known = control::<A>(packet, tables, arrival);
            known.unwrap_or_else(|| relay::<A>(packet, tables, arrival))
        }
    }
}

/// The stage that a packet is left to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// [`full_nat`].
    Nat,
    /// [`destination_nat`].
    Dnat,
    /// [`control`].
    Control,
}

/// The packets that come by the million; the rest are left untouched. Nothing is dropped here, but by a defect of ours.
///
/// A stage of its own because the kernel programs compile each by itself: one with all of it has too few registers,
/// and costs a common packet twice as much.
#[inline(always)]
pub fn often(
    packet: &mut impl Packet,
    tables: &impl Tables,
    arrival: impl Fn() -> Arrival,
) -> Option<Outcome> {
    if !packet.holds(plain::least::<U32be>()) {
        return None;
    }
    match packet.read(ethernet::TYPE)? {
        ethernet::IPV4 => plain::steer::<U32be>(packet, tables, arrival),
        ethernet::IPV6 if packet.holds(plain::least::<ipv6::Address>()) => {
            plain::steer::<ipv6::Address>(packet, tables, arrival)
        }
        _ => None,
    }
}

/// Any TCP or UDP packet that goes to a backend as it is, and whatever of this family is none of our business. ICMP, and
/// what is to be translated, is left untouched.
#[inline(always)]
pub fn transport<A: Family>(
    packet: &mut impl Packet,
    tables: &impl TablesFor<A>,
    arrival: Arrival,
) -> Result<Outcome, Next> {
    let bytes = packet.length();
    let outcome = match parse::frame::<A>(packet) {
        Ok(frame) if frame.inside.protocol == A::ICMP => return Err(Next::Control),
        Ok(frame) => steer(packet, tables, &frame, arrival)?,
        Err(reason) => Err(reason),
    };
    count(tables, &outcome, bytes);
    Ok(outcome)
}

/// TCP and UDP packets of services that translate by records, on their way to a backend or back. A packet that begins a flow is
/// left untouched.
#[inline(always)]
pub fn full_nat<A: Family>(
    packet: &mut impl Packet,
    tables: &impl TablesFor<A>,
    arrival: Arrival,
) -> Option<Outcome> {
    let bytes = packet.length();
    let outcome = match parse::frame::<A>(packet) {
        Ok(frame) => steer_nat(packet, tables, &frame, arrival)?,
        Err(reason) => Err(reason),
    };
    count(tables, &outcome, bytes);
    Some(outcome)
}

/// Packets that begin a flow of these services.
#[inline(always)]
pub fn full_nat_first<A: Family>(
    packet: &mut impl Packet,
    tables: &impl TablesFor<A>,
    arrival: Arrival,
) -> Outcome {
    let bytes = packet.length();
    let outcome = match parse::frame::<A>(packet) {
        Ok(frame) => steer_nat_first(packet, tables, &frame, arrival),
        Err(reason) => Err(reason),
    };
    count(tables, &outcome, bytes);
    outcome
}

/// TCP and UDP packets of services that translate the destination, on their way to a backend or back.
#[inline(always)]
pub fn destination_nat<A: Family>(
    packet: &mut impl Packet,
    tables: &impl TablesFor<A>,
    arrival: Arrival,
) -> Outcome {
    let bytes = packet.length();
    let outcome = match parse::frame::<A>(packet) {
        Ok(frame) => steer_dnat(packet, tables, &frame, arrival),
        Err(reason) => Err(reason),
    };
    count(tables, &outcome, bytes);
    outcome
}

/// ICMP of this family. What says of a packet that it is too big, and is not about one that we sent as it was, is left untouched.
#[inline(always)]
pub fn control<A: Family>(
    packet: &mut impl Packet,
    tables: &impl TablesFor<A>,
    arrival: Arrival,
) -> Option<Outcome> {
    let bytes = packet.length();
    let outcome = match parse::frame::<A>(packet) {
        Ok(frame) => icmp::steer(packet, tables, &frame, arrival)?,
        Err(reason) => Err(reason),
    };
    count(tables, &outcome, bytes);
    Some(outcome)
}

/// What a router on the way to a backend says of an outer header.
#[inline(always)]
pub fn relay<A: Family>(packet: &mut impl Packet, tables: &impl Tables, arrival: Arrival) -> Outcome {
    let bytes = packet.length();
    let outcome = match parse::frame::<A>(packet) {
        Ok(frame) => super::relay::steer(packet, tables, &frame, arrival),
        Err(reason) => Err(reason),
    };
    count(tables, &outcome, bytes);
    outcome
}

/// Leaves a packet untouched that no stage is for.
#[inline(always)]
pub fn leave(packet: &impl Packet, tables: &impl Tables, reason: Reason) -> Outcome {
    tables.count(reason, packet.length());
    Err(reason)
}

/// IP versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// What a frame says it carries.
#[inline(always)]
pub fn version(packet: &impl Packet) -> Option<Version> {
    match parse::untagged(packet)? {
        (_, ethernet::IPV4, _) => Some(Version::V4),
        (_, ethernet::IPV6, _) => Some(Version::V6),
        _ => None,
    }
}

#[inline(always)]
fn count(tables: &impl Tables, outcome: &Outcome, bytes: u32) {
    match outcome {
        Ok(steered) if steered.backend.is_none() => tables.count(steered.reason, bytes),
        Ok(steered) => tables.count_steered(steered, bytes),
        Err(reason) => tables.count(*reason, bytes),
    }
}

/// What becomes of TCP and UDP, or the stage that knows. What is for no service may be a backend's answer: to an address of ours,
/// from a known endpoint, or by a record, for which any packet has to be looked up where there are such.
#[inline(always)]
fn steer<A: Family>(
    packet: &mut impl Packet,
    tables: &impl TablesFor<A>,
    frame: &Frame<A>,
    arrival: Arrival,
) -> Result<Outcome, Next> {
    let key = match parse::flow_key(packet, tables, frame, arrival.now) {
        Ok(key) => key,
        Err(reason) => return Ok(Err(reason)),
    };
    match classify::service(tables, &key) {
        Some(service) => to_backend(packet, tables, frame, service, &key, arrival),
        None if is_ours(tables, key.destination, key.ports.destination()) => Err(Next::Nat),
        None if classify::endpoint(tables, &key).is_some() => Err(Next::Dnat),
        None if tables.contents().has(Contents::KEPT_CLIENTS) => Err(Next::Nat),
        None => Ok(Err(Reason::NotAVip)),
    }
}

/// A client's packet for a service.
#[inline(always)]
fn to_backend<A: Family>(
    packet: &mut impl Packet,
    tables: &impl TablesFor<A>,
    frame: &Frame<A>,
    service: &Service,
    key: &FlowKey<A>,
    arrival: Arrival,
) -> Result<Outcome, Next> {
    match service.forward() {
        Forward::Nat => Err(Next::Nat),
        Forward::Dnat => Err(Next::Dnat),
        Forward::Local => Ok(Err(Reason::Local)),
        Forward::DsrIpip | Forward::DsrGue | Forward::DsrL2 => Ok(match parse::segment(packet, frame) {
            Ok(segment) => dsr::forward(packet, tables, frame, service, (key, &segment), arrival),
            Err(reason) => Err(reason),
        }),
        Forward::Host | Forward::Endpoint => Ok(Err(Reason::Inconsistent)),
    }
}

#[inline(always)]
fn steer_nat<A: Family>(
    packet: &mut impl Packet,
    tables: &impl TablesFor<A>,
    frame: &Frame<A>,
    arrival: Arrival,
) -> Option<Outcome> {
    let key = match parse::flow_key(packet, tables, frame, arrival.now) {
        Ok(key) => key,
        Err(reason) => return Some(Err(reason)),
    };
    if classify::service(tables, &key).is_none() {
        return Some(nat::reply(packet, tables, frame, &key, arrival));
    }
    match parse::segment(packet, frame) {
        Ok(segment) => nat::forward(packet, tables, frame, (&key, &segment), arrival),
        Err(reason) => Some(Err(reason)),
    }
}

#[inline(always)]
fn steer_nat_first<A: Family>(
    packet: &mut impl Packet,
    tables: &impl TablesFor<A>,
    frame: &Frame<A>,
    arrival: Arrival,
) -> Outcome {
    let key = parse::flow_key(packet, tables, frame, arrival.now)?;
    let service = classify::service(tables, &key).ok_or(Reason::Inconsistent)?;
    let segment = parse::segment(packet, frame)?;
    nat::forward_first(packet, tables, frame, service, (&key, &segment), arrival)
}

#[inline(always)]
fn steer_dnat<A: Family>(
    packet: &mut impl Packet,
    tables: &impl TablesFor<A>,
    frame: &Frame<A>,
    arrival: Arrival,
) -> Outcome {
    let key = parse::flow_key(packet, tables, frame, arrival.now)?;
    let segment = parse::segment(packet, frame)?;
    if let Some(service) = classify::service(tables, &key) {
        return dnat::forward(packet, tables, frame, service, (&key, &segment), arrival);
    }
    let endpoint = classify::endpoint(tables, &key).ok_or(Reason::NotAVip)?;
    dnat::reply(packet, tables, frame, endpoint, (&key, &segment), arrival)
}

/// Whether NAT may have given this port of this address to a flow.
#[inline(always)]
fn is_ours<A: Family>(tables: &impl Tables, address: A, port: U16be) -> bool {
    tables.ports().contains(port) && classify::is_own(tables, address)
}
