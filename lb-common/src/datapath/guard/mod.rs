//! The guard: whether a packet may go on to the balancer at all.
//!
//! It stands in front, a program of its own that is attached only where a guard is on, so that it costs nothing where
//! none is. It looks at clients' packets to services and VIPs only. A plain one that it finds nothing wrong with goes the
//! balancer's way at once, its service being known; any other is parsed and checked again behind: what is malformed
//! by its lengths has its reason there.
//!
//! In this order, the cheapest first: the packet by itself ([`form`]), where it is from ([`list`], blocked addresses), how
//! much comes from there ([`source`]), how much comes at all.

mod cookie;
mod form;
mod list;
mod source;
mod tables;

pub use cookie::{Asking, Cookies, challenge};
pub use list::origin;
pub use tables::GuardTables;

use super::family::{Family, Piece};
use super::parse::Frame;
use super::{
    Arrival, Outcome, Reason, TablesFor, Version, classify, fragment, parse, pipeline, plain, version,
};
use crate::abi::{
    BlockKey, Contents, FlowKey, Forward, GuardFlags, GuardRule, Origin, Service, ServiceFlags, ServiceKey,
    Ticks, limits,
};
use crate::wire::{Packet, Ports, U16be, U32be, ethernet, ipv6, protocol, tcp};
use form::Form;

/// What the guard makes of a packet that it looked at briefly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Glance {
    /// It is done with: stopped, or judged and steered.
    Done(Outcome),
    /// It may go on to the balancer.
    GoOn,
    /// [`look`] has to tell.
    Look(Version),
    /// [`challenge`] has to: its service is flooded.
    Challenge(Version),
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
    // Cookies are the kernel's; here there is what there is without them.
    let stopped = match glance(packet, tables, || arrival, false) {
        Glance::Done(outcome) => return outcome,
        Glance::GoOn => None,
        Glance::Challenge(_) => Some(Reason::Inconsistent),
        Glance::Look(Version::V4) => look::<U32be>(packet, tables, arrival.now),
        Glance::Look(Version::V6) => look::<ipv6::Address>(packet, tables, arrival.now),
    };
    match stopped {
        Some(reason) => Err(reason),
        None => pipeline::balance(packet, tables, arrival),
    }
}

/// Judges and steers the packets that come by the million: TCP and UDP without tag, option or fragment. `sends_cookies`
/// says whether any may be left to [`challenge`].
#[inline(always)]
pub fn glance(
    packet: &mut impl Packet,
    tables: &impl GuardTables,
    arrival: impl Fn() -> Arrival,
    sends_cookies: bool,
) -> Glance {
    let plain = match packet.read(ethernet::TYPE) {
        Some(ethernet::IPV4) => glance_at::<U32be>(packet, tables, arrival, sends_cookies),
        Some(ethernet::IPV6) => glance_at::<ipv6::Address>(packet, tables, arrival, sends_cookies),
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
    packet: &mut impl Packet,
    tables: &(impl GuardTables + TablesFor<A>),
    arrival: impl Fn() -> Arrival,
    sends_cookies: bool,
) -> Option<Glance> {
    if !packet.holds(plain::least::<A>()) || packet.peek::<u8>(0)? & ethernet::GROUP != 0 {
        return None;
    }
    // Each by itself, as behind: what is known of the protocol need not be kept.
    match A::peek_protocol(packet, ethernet::LENGTH)? {
        protocol::TCP => carried::<A, { protocol::TCP }>(packet, tables, arrival, sends_cookies),
        protocol::UDP => carried::<A, { protocol::UDP }>(packet, tables, arrival, sends_cookies),
        _ => None,
    }
}

/// Those of one protocol.
#[inline(always)]
fn carried<A: Family, const PROTOCOL: u8>(
    packet: &mut impl Packet,
    tables: &(impl GuardTables + TablesFor<A>),
    arrival: impl Fn() -> Arrival,
    sends_cookies: bool,
) -> Option<Glance> {
    const L3: usize = ethernet::LENGTH;
    let (source, destination) = A::peek_addresses(packet, L3)?;
    let ports: Ports = packet.peek(L3 + A::LENGTH)?;
    let vip = ServiceKey::of(destination, ports.destination(), PROTOCOL);
    let Some(service) = classify::exact(tables, &vip) else {
        return (tables.contents() == Contents::default()).then_some(Glance::GoOn);
    };
    if service.forward() == Forward::Endpoint {
        return Some(Glance::GoOn);
    }
    let control: U16be = packet.peek(L3 + A::LENGTH + tcp::DATA_OFFSET)?;
    let form = Form::of(PROTOCOL, ports.source(), control);
    let number = u32::from(service.id);
    let now = || arrival().now;
    let stopped = judge(tables, number, &Seen { source, destination, form }, now);
    if sends_cookies && is_challenged(tables, number, form, (stopped, now())) == Some(true) {
        let version = if A::VERSION == 4 { Version::V4 } else { Version::V6 };
        return Some(Glance::Challenge(version));
    }
    if let Some(reason) = stopped {
        return Some(stop(packet, tables, reason));
    }
    let steered = plain::of_a_service::<A, PROTOCOL>(packet, tables, service, arrival);
    Some(steered.map_or(Glance::GoOn, Glance::Done))
}

#[inline(always)]
fn stop(packet: &impl Packet, tables: &impl GuardTables, reason: Reason) -> Glance {
    tables.count(reason, packet.length());
    Glance::Done(Err(reason))
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

/// Whether a packet that was judged is left to cookies: a SYN above what its service may have, and while there are such,
/// whatever acknowledges something.
#[inline(always)]
fn is_challenged(
    tables: &impl GuardTables,
    number: u32,
    form: Form,
    (stopped, now): (Option<Reason>, Ticks),
) -> Option<bool> {
    let rule = tables.guard_rule(number)?;
    if !rule.flags.any(GuardFlags::SYN_COOKIES) {
        return None;
    }
    match stopped {
        Some(reason) => Some(reason == Reason::ServiceNewFlows),
        None => Some(form.acknowledges() && tables.budget(number)?.is_low(&rule.service_flows, now)),
    }
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

#[cfg(all(test, feature = "host"))]
mod tests {
    use super::*;
    use crate::abi::{Rate, SourceMask};
    use crate::datapath::HostTables;
    use crate::wire::Buffer;
    use std::vec::Vec;

    const VIP: [u8; 4] = [203, 0, 113, 10];
    const SYN: u8 = 0x02;
    const ACK: u8 = 0x10;

    fn packet(flags: u8) -> Buffer {
        let ip = [0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, 6, 0, 0, 192, 0, 2, 1];
        let tcp = [4, 0, 0, 80, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0];
        let link = [&[4; 6][..], &[2; 6], &[8, 0]].concat();
        Buffer::new(&[&link, &ip[..], &VIP, &tcp].concat::<u8>())
    }

    /// A service of this host's that may begin two flows a second.
    fn tables(flags: GuardFlags) -> HostTables {
        let mut tables = HostTables::default();
        let key = ServiceKey::v4(U32be::from(VIP), U16be::new(80), protocol::TCP);
        assert!(tables.add_service(Service::new(key, Forward::Local, 0, 0, 0, ServiceFlags(0))));
        let rule =
            GuardRule::new(flags, SourceMask::new(32, 64), [Rate::NONE, Rate::NONE, Rate::new(2, 2, 250)]);
        tables.guard.rules.insert(0, rule);
        tables
    }

    fn glances(tables: &HostTables, sends_cookies: bool) -> Vec<Glance> {
        let flags = [ACK, SYN, SYN, SYN, ACK];
        flags.map(|flags| glance_when(1000, tables, flags, sends_cookies)).to_vec()
    }

    fn glance_when(now: u32, tables: &HostTables, flags: u8, sends_cookies: bool) -> Glance {
        let arrival = Arrival { now: Ticks(now), ifindex: 1 };
        glance(&mut packet(flags), tables, || arrival, sends_cookies)
    }

    #[test]
    fn more_syns_than_may_be_are_left_to_cookies_and_so_is_what_then_acknowledges() {
        let tables = tables(GuardFlags::SERVICE_FLOWS.with(GuardFlags::SYN_COOKIES));
        let challenge = Glance::Challenge(Version::V4);
        let expected = [Glance::GoOn, Glance::GoOn, Glance::GoOn, challenge, challenge];
        assert_eq!(glances(&tables, true), expected);
        let later = |flags| glance_when(2000, &tables, flags, true);
        assert_eq!([later(ACK), later(SYN)], [Glance::GoOn; 2], "the flood is over");
    }

    #[test]
    fn without_cookies_they_are_dropped() {
        let stop = Glance::Done(Err(Reason::ServiceNewFlows));
        let expected = [Glance::GoOn, Glance::GoOn, Glance::GoOn, stop, Glance::GoOn];
        assert_eq!(glances(&tables(GuardFlags::SERVICE_FLOWS), true), expected);
        let with = GuardFlags::SERVICE_FLOWS.with(GuardFlags::SYN_COOKIES);
        assert_eq!(glances(&tables(with), false), expected, "at TC");
    }
}
