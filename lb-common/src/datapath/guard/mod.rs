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
mod seen;
mod source;
mod tables;

pub use cookie::{Asking, Cookies, challenge};
pub use list::{origin, outlined};
pub use tables::GuardTables;

use super::family::{Family, Inside, Piece};
use super::parse::{Frame, carries_ports};
use super::{
    Arrival, Outcome, Reason, Tables, TablesFor, Version, classify, fragment, parse, pipeline, plain, version,
};
use crate::abi::{BlockKey, Contents, FlowKey, GuardFlags, Origin, ServiceFlags, Ticks, limits};
use crate::wire::{Packet, Ports, U16be, U32be, ethernet, ipv6, protocol, tcp};
use core::hint::{black_box, cold_path};
use form::Form;
use seen::{Parsed, Peeked, Seen};

/// What the guard makes of a packet that it looked at briefly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Glance {
    /// It is judged and steered.
    Done(Outcome),
    /// It ends here.
    Stopped(Reason),
    /// It may go on to the balancer.
    GoOn,
    /// [`look`] has to tell.
    Look(Version),
    /// [`challenge`] has to: its service is flooded.
    Challenge(Version),
}

/// Guards and balances: what the programs do one after another.
#[inline(always)]
pub fn balance(packet: &mut impl Packet, tables: &impl GuardTables, arrival: Arrival) -> Outcome {
    // Cookies are the kernel's; here there is what there is without them.
    let stopped = match glance(packet, tables, || arrival, || false) {
        Glance::Done(outcome) => return outcome,
        Glance::Stopped(reason) => Some(reason),
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
    sends_cookies: impl Fn() -> bool,
) -> Glance {
    let plain = match kind(packet) {
        Some(ethernet::IPV4) => glance_at::<U32be>(packet, tables, arrival, sends_cookies),
        Some(ethernet::IPV6) if packet.holds(plain::least::<ipv6::Address>()) => {
            glance_at::<ipv6::Address>(packet, tables, arrival, sends_cookies)
        }
        _ => None,
    };
    plain.unwrap_or_else(|| match version(packet) {
        Some(version) => Glance::Look(version),
        None => Glance::GoOn,
    })
}

/// What a frame carries, if it may be a plain packet.
#[inline(always)]
fn kind(packet: &impl Packet) -> Option<U16be> {
    if packet.holds(plain::least::<U32be>()) { packet.read(ethernet::TYPE) } else { None }
}

/// The plain packets of one family; `None` for any other.
#[inline(always)]
fn glance_at<A: Family>(
    packet: &mut impl Packet,
    tables: &(impl GuardTables + TablesFor<A>),
    arrival: impl Fn() -> Arrival,
    sends_cookies: impl Fn() -> bool,
) -> Option<Glance> {
    if !plain::is_unicast(packet)? {
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
    sends_cookies: impl Fn() -> bool,
) -> Option<Glance> {
    let Some(service) = classify::exact(tables, &plain::vip::<A, PROTOCOL>(packet)?) else {
        return (tables.contents() == Contents::default()).then_some(Glance::GoOn);
    };
    let (number, now) = (|| u32::from(service.id), || arrival().now);
    let seen = Peeked::<_, PROTOCOL>(packet);
    // No rule says anything of endpoints, which are left to the balancer. An arm each, so that a reason leads straight to where it is counted.
    match judge::<A>(tables, number, &seen, now) {
        Some(Reason::ServiceNewFlows) if sends_cookies() && has_cookies(tables, number()) => {
            Some(challenge_of::<A>())
        }
        Some(reason) => {
            tables.count(reason, packet.length());
            Some(Glance::Stopped(reason))
        }
        None if sends_cookies() && is_suspect::<A>(tables, number(), &seen, now()) == Some(true) => {
            Some(challenge_of::<A>())
        }
        None => {
            // Read anew rather than kept through all the questions.
            let vip = plain::vip::<A, PROTOCOL>(packet)?;
            let steered = plain::of_a_service::<A, PROTOCOL>(packet, tables, (&vip, service), arrival);
            Some(steered.map_or(Glance::GoOn, Glance::Done))
        }
    }
}

const fn challenge_of<A: Family>() -> Glance {
    Glance::Challenge(if A::VERSION == 4 { Version::V4 } else { Version::V6 })
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
    let Some((ports, protocol)) = transport_of(packet, tables, frame, now) else {
        if carries_ports(frame.inside.protocol) {
            return None;
        }
        // What is for a VIP as a whole: echo requests and errors above all.
        let host = classify::host(tables, destination)?;
        let seen = Parsed { source, destination, source_port: None, form: Form::UNKNOWN };
        return host
            .flags()
            .has(ServiceFlags::VIP)
            .then(|| judge(tables, || limits::GUARD_HOSTS, &seen, || now))
            .flatten();
    };
    let service = classify::service(tables, &FlowKey::new(source, destination, ports, protocol))?;
    let form = form_of(packet, frame);
    let seen = Parsed { source, destination, source_port: Some(ports.source()), form };
    judge(tables, || u32::from(service.id), &seen, || now)
}

/// A packet's ports and their protocol, if it has or had any. Nothing is remembered of a first fragment here: it may yet be stopped.
#[inline(always)]
fn transport_of<A: Family>(
    packet: &impl Packet,
    tables: &impl Tables,
    frame: &Frame<A>,
    now: Ticks,
) -> Option<(Ports, u8)> {
    match frame.inside {
        Inside { piece: Piece::Later, .. } => fragment::recall(tables, frame, now).ok(),
        Inside { protocol, .. } if carries_ports(protocol) => Some((packet.read(frame.l4())?, protocol)),
        _ => None,
    }
}

/// The form of a packet, as far as it holds it.
#[inline(always)]
fn form_of<A: Family>(packet: &impl Packet, frame: &Frame<A>) -> Form {
    let control = match frame.inside.piece {
        Piece::Later => None,
        _ => packet.read(frame.l4() + tcp::DATA_OFFSET),
    };
    control.map_or(Form::UNKNOWN, |control| Form::of(frame.inside.protocol, control))
}

/// What the rule of a service says of a packet.
#[inline(always)]
fn judge<A: Family>(
    tables: &impl GuardTables,
    number: impl Fn() -> u32,
    seen: &impl Seen<A>,
    now: impl Fn() -> Ticks,
) -> Option<Reason> {
    let flags = tables.guard_rule(number())?.flags;
    if let Some(reason) = by_form(flags, seen) {
        return Some(reason);
    }
    let origin = origin_of(tables, flags, seen)?;
    if let Some(reason) = listed(flags.stopping(origin)) {
        return Some(reason);
    }
    // What comes next calls functions of the kernel. The rule is found anew, or the compiler would put all that is known of
    // it on the stack beforehand, also for those that have been stopped.
    black_box(());
    by_count(tables, (number(), origin.is(Origin::ALLOWED)), seen, now)
}

/// What a packet says of itself that no sender means. Few do, and most services have this guard: it is asked last whether
/// it is on.
#[inline(always)]
fn by_form<A: Family>(flags: GuardFlags, seen: &impl Seen<A>) -> Option<Reason> {
    if !seen.form()?.is_sound() {
        cold_path();
        if flags.any(GuardFlags::MALFORMED) {
            return Some(Reason::BadFlags);
        }
    }
    if seen.source_port()? == U16be::ZERO {
        cold_path();
        if flags.any(GuardFlags::MALFORMED) {
            return Some(Reason::PortZero);
        }
    }
    None
}

/// What is known of where a packet is from, by its addresses and by the lists.
#[inline(always)]
fn origin_of<A: Family>(tables: &impl GuardTables, flags: GuardFlags, seen: &impl Seen<A>) -> Option<Origin> {
    if seen.source()? == seen.destination()? {
        cold_path();
        if flags.any(GuardFlags::LAND) {
            return Some(Origin::VIP);
        }
    }
    match list::outlined(tables, seen.source()?) {
        None if flags.any(GuardFlags::BY_ORIGIN) => Some(list::origin(tables, seen.source()?)),
        outlined => Some(outlined.unwrap_or_default()),
    }
}

/// The reason to stop a packet of which this is known, if there is any.
#[inline(always)]
const fn listed(known: Origin) -> Option<Reason> {
    if known.is(Origin::DENIED) {
        Some(Reason::Denied)
    } else if known.is(Origin::VIP) {
        Some(Reason::Land)
    } else if known.is(Origin::MARTIAN) {
        Some(Reason::Martian)
    } else {
        None
    }
}

/// Whether a packet is from a blocked address, or one too many. What is allowed is not blocked, but it may not be too
/// much: an allowed address is as easily forged as any other.
#[inline(always)]
fn by_count<A: Family>(
    tables: &impl GuardTables,
    (number, is_allowed): (u32, bool),
    seen: &impl Seen<A>,
    now: impl Fn() -> Ticks,
) -> Option<Reason> {
    let rule = tables.guard_rule(number)?;
    if !is_allowed && is_blocked(tables, rule.flags, seen.source()?, &now) {
        return Some(Reason::Blocked);
    }
    if rule.flags.any(GuardFlags::BY_SOURCE)
        && let Some(reason) = source::exhausted(tables, rule, (number, seen), now())
    {
        return Some(reason);
    }
    if rule.flags.any(GuardFlags::SERVICE_FLOWS) && seen.form()?.opens() {
        let mut budget = tables.budget(number)?;
        return (!budget.admits(&rule.service_flows, now())).then_some(Reason::ServiceNewFlows);
    }
    None
}

#[inline(always)]
fn is_blocked<A: Family>(
    tables: &impl GuardTables,
    flags: GuardFlags,
    source: A,
    now: impl Fn() -> Ticks,
) -> bool {
    flags.any(GuardFlags::BLOCKS)
        && tables.guard_state().blocks != 0
        && tables.blocked_until(&BlockKey::of(source)).is_some_and(|until| now().since(until) > u32::MAX / 2)
}

/// Whether SYNs above what a service may have are left to cookies.
#[inline(always)]
fn has_cookies(tables: &impl GuardTables, number: u32) -> bool {
    tables.guard_rule(number).is_some_and(|rule| rule.flags.any(GuardFlags::SYN_COOKIES))
}

/// Whether a packet that may go on is left to cookies all the same: while there are such SYNs, whatever acknowledges
/// something.
#[inline(always)]
fn is_suspect<A: Family>(
    tables: &impl GuardTables,
    number: u32,
    seen: &impl Seen<A>,
    now: Ticks,
) -> Option<bool> {
    if !has_cookies(tables, number) || !seen.form()?.acknowledges() {
        return Some(false);
    }
    let rule = tables.guard_rule(number)?;
    Some(tables.budget(number)?.is_low(&rule.service_flows, now))
}

#[cfg(all(test, feature = "host"))]
mod tests {
    use super::*;
    use crate::abi::{Forward, GuardRule, Rate, Service, ServiceKey, SourceMask};
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
        glance(&mut packet(flags), tables, || arrival, || sends_cookies)
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
        let stop = Glance::Stopped(Reason::ServiceNewFlows);
        let expected = [Glance::GoOn, Glance::GoOn, Glance::GoOn, stop, Glance::GoOn];
        assert_eq!(glances(&tables(GuardFlags::SERVICE_FLOWS), true), expected);
        let with = GuardFlags::SERVICE_FLOWS.with(GuardFlags::SYN_COOKIES);
        assert_eq!(glances(&tables(with), false), expected, "at TC");
    }
}
