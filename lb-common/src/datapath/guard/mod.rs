//! The guard: whether a packet may go on to the balancer at all.
//!
//! It stands in front, a program of its own that is attached only where a guard is on, so that it costs nothing where
//! none is. It looks at clients' packets to services and VIPs only, and changes none. Whatever it lets go on is
//! parsed and checked again behind: what is malformed by its lengths has its reason there.
//!
//! In this order, the cheapest first: the packet by itself ([`form`]), where it is from ([`list`], blocked addresses), how
//! much comes from there ([`source`]), how much comes at all.

mod form;
mod list;
mod source;
mod tables;

pub use list::origin;
pub use tables::GuardTables;

use super::family::{Family, Piece};
use super::parse::Frame;
use super::{Arrival, Outcome, Reason, TablesFor, Version, classify, fragment, parse, pipeline, version};
use crate::abi::{
    BlockKey, Contents, FlowKey, Forward, GuardFlags, GuardRule, Origin, Service, ServiceFlags, ServiceKey,
    Ticks, limits,
};
use crate::wire::{Packet, Ports, U16be, U32be, ethernet, ipv6, protocol, tcp};
use form::Form;

/// What the guard makes of a packet that it looked at briefly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Glance {
    /// It ends here.
    Stop(Reason),
    /// It may go on to the balancer.
    GoOn,
    /// [`look`] has to tell.
    Look(Version),
}

/// A client's packet, as far as the guard sees it.
struct Seen<A> {
    source: A,
    destination: A,
    form: Form,
}

/// Guards and balances: what the programs do one after another.
#[inline(always)]
pub fn balance(packet: &mut impl Packet, tables: &impl GuardTables, arrival: Arrival) -> Outcome {
    let stopped = match glance(packet, tables, || arrival.now) {
        Glance::Stop(reason) => Some(reason),
        Glance::GoOn => None,
        Glance::Look(Version::V4) => look::<U32be>(packet, tables, arrival.now),
        Glance::Look(Version::V6) => look::<ipv6::Address>(packet, tables, arrival.now),
    };
    match stopped {
        Some(reason) => Err(reason),
        None => pipeline::balance(packet, tables, arrival),
    }
}

/// Judges the packets that come by the million: TCP and UDP without tag, option or fragment.
#[inline(always)]
pub fn glance(packet: &impl Packet, tables: &impl GuardTables, now: impl Fn() -> Ticks) -> Glance {
    let plain = match packet.read(ethernet::TYPE) {
        Some(ethernet::IPV4) => glance_at::<U32be>(packet, tables, now),
        Some(ethernet::IPV6) => glance_at::<ipv6::Address>(packet, tables, now),
        _ => None,
    };
    plain.unwrap_or_else(|| match version(packet) {
        Some(version) => Glance::Look(version),
        None => Glance::GoOn,
    })
}

/// The plain packets of one family; `None` for any other.
#[inline(always)]
fn glance_at<A: Family>(
    packet: &impl Packet,
    tables: &impl GuardTables,
    now: impl Fn() -> Ticks,
) -> Option<Glance> {
    const L3: usize = ethernet::LENGTH;
    if !packet.holds(L3 + A::LENGTH + tcp::LENGTH) || packet.peek::<u8>(0)? & ethernet::GROUP != 0 {
        return None;
    }
    let protocol = A::peek_protocol(packet, L3).filter(|protocol| carries_ports(*protocol))?;
    let (source, destination) = A::peek_addresses(packet, L3)?;
    let ports: Ports = packet.peek(L3 + A::LENGTH)?;
    let vip = ServiceKey::of(destination, ports.destination(), protocol);
    let Some(service) = classify::exact(tables, &vip) else {
        return (tables.contents() == Contents::default()).then_some(Glance::GoOn);
    };
    if service.forward() == Forward::Endpoint {
        return Some(Glance::GoOn);
    }
    let control: U16be = packet.peek(L3 + A::LENGTH + tcp::DATA_OFFSET)?;
    let form = Form::of(protocol, ports.source(), control);
    let stopped = judge(tables, u32::from(service.id), &Seen { source, destination, form }, now);
    Some(stopped.map_or(Glance::GoOn, |reason| stop(packet, tables, reason)))
}

#[inline(always)]
fn stop(packet: &impl Packet, tables: &impl GuardTables, reason: Reason) -> Glance {
    tables.count(reason, packet.length());
    Glance::Stop(reason)
}

const fn carries_ports(protocol: u8) -> bool {
    protocol == protocol::TCP || protocol == protocol::UDP
}

/// Judges any packet of one family; a reason to stop it, if there is one.
#[inline(always)]
pub fn look<A: Family>(
    packet: &impl Packet,
    tables: &(impl GuardTables + TablesFor<A>),
    now: Ticks,
) -> Option<Reason> {
    let frame = parse::frame::<A>(packet).ok()?;
    let reason = look_at(packet, tables, &frame, now)?;
    tables.count(reason, packet.length());
    Some(reason)
}

#[inline(always)]
fn look_at<A: Family>(
    packet: &impl Packet,
    tables: &(impl GuardTables + TablesFor<A>),
    frame: &Frame<A>,
    now: Ticks,
) -> Option<Reason> {
    let (source, destination) = A::addresses(&frame.ip);
    if !carries_ports(frame.inside.protocol) {
        // What is for a VIP as a whole: echo requests and errors above all.
        let host = classify::host(tables, destination)?;
        let seen = Seen { source, destination, form: Form::UNKNOWN };
        return host
            .flags()
            .has(ServiceFlags::VIP)
            .then(|| judge(tables, limits::GUARD_HOSTS, &seen, || now))
            .flatten();
    }
    // Nothing is remembered of a first fragment here: it may yet be stopped.
    let ports = match frame.inside.piece {
        Piece::Later => fragment::recall(tables, frame, now).ok()?,
        _ => packet.read(frame.l4())?,
    };
    let service = service_of(tables, frame, ports)?;
    let form = form_of(packet, frame, ports);
    judge(tables, u32::from(service.id), &Seen { source, destination, form }, || now)
}

#[inline(always)]
fn service_of<'a, A: Family, T: GuardTables>(
    tables: &'a T,
    frame: &Frame<A>,
    ports: Ports,
) -> Option<&'a Service> {
    let (source, destination) = A::addresses(&frame.ip);
    classify::service(tables, &FlowKey::new(source, destination, ports, frame.inside.protocol))
}

/// The form of a packet, as far as it holds it.
#[inline(always)]
fn form_of<A: Family>(packet: &impl Packet, frame: &Frame<A>, ports: Ports) -> Form {
    if frame.inside.piece == Piece::Later {
        return Form::UNKNOWN;
    }
    match packet.read(frame.l4() + tcp::DATA_OFFSET) {
        Some(control) => Form::of(frame.inside.protocol, ports.source(), control),
        None => Form::of(protocol::UDP, ports.source(), U16be::ZERO),
    }
}

/// What the rule of a service says of a packet.
#[inline(always)]
fn judge<A: Family>(
    tables: &impl GuardTables,
    number: u32,
    seen: &Seen<A>,
    now: impl Fn() -> Ticks,
) -> Option<Reason> {
    let rule = tables.guard_rule(number)?;
    if rule.flags.any(GuardFlags::MALFORMED)
        && let Some(reason) = seen.form.fault()
    {
        return Some(reason);
    }
    if rule.flags.any(GuardFlags::BY_ORIGIN)
        && let Some(reason) = by_origin(tables, rule, seen, &now)
    {
        return Some(reason);
    }
    if rule.flags.any(GuardFlags::BY_SOURCE)
        && let Some(reason) = source::exhausted(tables, rule, (number, seen.source, seen.form.opens()), now())
    {
        return Some(reason);
    }
    if rule.flags.any(GuardFlags::SERVICE_FLOWS) && seen.form.opens() {
        let mut budget = tables.budget(number)?;
        return (!budget.admits(&rule.service_flows, now())).then_some(Reason::ServiceNewFlows);
    }
    None
}

/// What is known of where a packet is from. What is allowed is neither denied nor blocked, but it may not be too much: an
/// allowed address is as easily forged as any other.
#[inline(always)]
fn by_origin<A: Family>(
    tables: &impl GuardTables,
    rule: &GuardRule,
    seen: &Seen<A>,
    now: impl Fn() -> Ticks,
) -> Option<Reason> {
    if rule.flags.any(GuardFlags::LAND) && seen.source == seen.destination {
        return Some(Reason::Land);
    }
    let state = tables.guard_state();
    let origin = list::origin(tables, state.list, seen.source);
    if origin != Origin::default() {
        if let Some(reason) = listed(rule.flags, origin) {
            return Some(reason);
        }
        if origin.is(Origin::ALLOWED) {
            return None;
        }
    }
    let is_blocked = state.blocks != 0
        && rule.flags.any(GuardFlags::BLOCKS)
        && tables
            .blocked_until(&BlockKey::of(seen.source))
            .is_some_and(|until| now().since(until) > u32::MAX / 2);
    is_blocked.then_some(Reason::Blocked)
}

#[inline(always)]
fn listed(flags: GuardFlags, origin: Origin) -> Option<Reason> {
    let told = |guard, what| flags.any(guard) && origin.is(what);
    if told(GuardFlags::LISTS, Origin::DENIED) {
        Some(Reason::Denied)
    } else if told(GuardFlags::LAND, Origin::VIP) {
        Some(Reason::Land)
    } else if told(GuardFlags::MARTIANS, Origin::MARTIAN) {
        Some(Reason::Martian)
    } else {
        None
    }
}
