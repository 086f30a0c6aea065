//! ICMP errors about a flow's packets: they quote the packet, and must reach whoever sent it.
//!
//! Source: RFC 792; RFC 4443; RFC 5508, section 4 (translation of ICMP errors). The quoted packet travelled against the
//! error, so its reversed tuple is the key the error's own direction is known by.

use super::family::{Family, Piece};
use super::link::{self, Way};
use super::parse::Frame;
use super::track::{self, Choice};
use super::{Arrival, Direction, Outcome, Reason, Route, Steered, TablesFor, classify, dnat, dsr, ping};
use crate::abi::{Contents, Flow, FlowKey, FlowKind, Forward, Hop, Service, address_difference};
use crate::wire::checksum::{self, Sum};
use crate::wire::{Packet, Ports, U16be, icmp, protocol, tcp, udp};

/// Bytes that every way takes, as an error has: its sender keeps it short.
const ANY_LENGTH: u32 = 0;

/// The packet an error quotes.
#[derive(Clone, Copy)]
struct Quoted<A: Family> {
    /// Where its IP header begins.
    l3: usize,
    ip: A::Header,
    /// Where its ports lie.
    l4: usize,
    /// The tuple of packets that travel the error's way.
    key: FlowKey<A>,
    /// Where the message ends by its own length; what lies behind is padding, not quotation.
    end: usize,
}

impl<A: Family> Quoted<A> {
    /// Refuses a message that is longer than its frame.
    #[inline(always)]
    fn checked(&self, packet: &impl Packet) -> Result<(), Reason> {
        if self.end > packet.length() as usize { Err(Reason::Malformed) } else { Ok(()) }
    }
}

/// Sends an ICMP error to the end of the flow it is about, and answers echo requests to a VIP; any other ICMP passes, but for what
/// may be about an outer header: that is left untouched.
#[inline(always)]
pub(super) fn steer<A: Family>(
    packet: &mut impl Packet,
    tables: &impl TablesFor<A>,
    frame: &Frame<A>,
    arrival: Arrival,
) -> Option<Outcome> {
    let header: icmp::Header = match packet.read(frame.l4()) {
        Some(header) if frame.inside.piece == Piece::Whole => header,
        _ => return Some(Err(Reason::IcmpNotOurs)),
    };
    if header.kind == A::ECHO[0] && header.code == 0 {
        return Some(ping::answer(packet, tables, frame, header.checksum, arrival));
    }
    if !A::is_error(header.kind) {
        return Some(Err(Reason::IcmpNotOurs));
    }
    let Some(quoted) = quoted(packet, frame) else { return of_nobody(packet, frame) };
    let translation = match classify::service(tables, &quoted.key) {
        None => match about_reply(tables, &quoted, arrival) {
            Some(translation) => translation,
            None => return of_nobody(packet, frame),
        },
        Some(service) => match service.forward() {
            Forward::Local => return Some(Err(Reason::Local)),
            Forward::Nat | Forward::Dnat => match about_answer(packet, tables, &quoted, service) {
                Ok(translation) => translation,
                Err(reason) => return Some(Err(reason)),
            },
            _ => return Some(encapsulate(packet, tables, frame, &quoted, service)),
        },
    };
    Some(translate(packet, frame, &quoted, &translation))
}

/// What is about no packet of ours: what says that one was too big may be about what was in an outer header.
#[inline(always)]
fn of_nobody<A: Family>(packet: &impl Packet, frame: &Frame<A>) -> Option<Outcome> {
    if packet.read(frame.l4()) == Some(A::TOO_BIG) { None } else { Some(Err(Reason::IcmpNotOurs)) }
}

/// What a message is translated by, and where it goes. Copied from wherever it is known, so that the rewriting, which is
/// long, stands here once.
struct Translation<A: Family> {
    flow: Flow<A>,
    /// [`Hop::NONE`] where the rest is left to the kernel. As an `Option` the compiler reads more of its mark than it wrote
    /// ("invalid size of register fill", Linux 6.18).
    hop: Hop,
    direction: Direction,
}

impl<A: Family> Translation<A> {
    #[inline(always)]
    fn to_backend(tables: &impl TablesFor<A>, flow: Flow<A>) -> Result<Self, Reason> {
        let hop = Way::to(link::backend(tables, flow.backend)?)?.hop();
        Ok(Self { flow, hop, direction: Direction::ToBackend })
    }
}

/// A quoted packet whose ports can be found. One in fragments has them in its first.
///
/// Who is told is who sent it: an error to anybody else was made up, or is about an outer header's inside, and is no
/// service's business.
#[inline(always)]
fn quoted<A: Family>(packet: &impl Packet, frame: &Frame<A>) -> Option<Quoted<A>> {
    let l3 = frame.l4() + icmp::LENGTH;
    let ip: A::Header = packet.read(l3)?;
    let inside = A::walk(packet, l3, &ip).ok()?;
    let carries_ports = inside.protocol == protocol::TCP || inside.protocol == protocol::UDP;
    if inside.piece == Piece::Later || !carries_ports {
        return None;
    }
    let ports: Ports = packet.read(inside.l4)?;
    let (source, destination) = A::addresses(&ip);
    let (_, told) = A::addresses(&frame.ip);
    if !told.is(source) {
        return None;
    }
    let key = FlowKey::new(source, destination, ports, inside.protocol).reversed();
    let end = frame.l3 + A::total_length(&frame.ip) as usize;
    let quoted = Quoted { l3, ip, l4: inside.l4, key, end };
    (quoted.l4 + size_of::<Ports>() <= end).then_some(quoted)
}

/// The owner of the flow that an error is about.
#[inline(always)]
fn owner<A: Family>(
    tables: &impl TablesFor<A>,
    quoted: &Quoted<A>,
    service: &Service,
) -> Result<Choice, Reason> {
    let choice = track::owner_of_quoted(tables, service, &quoted.key)?;
    Ok(Choice { reason: Reason::IcmpForward, ..choice })
}

/// The error is about what a service that translates sent to a client: it goes on to the backend that did.
#[inline(always)]
fn about_answer<A: Family>(
    packet: &impl Packet,
    tables: &impl TablesFor<A>,
    quoted: &Quoted<A>,
    service: &Service,
) -> Result<Translation<A>, Reason> {
    quoted.checked(packet)?;
    match service.forward() {
        Forward::Dnat => about_dnat(tables, quoted, service),
        _ => about_translated(tables, quoted),
    }
}

/// The error is about what a backend sent to a client itself: it goes on to that backend as it is.
#[inline(always)]
fn encapsulate<A: Family>(
    packet: &mut impl Packet,
    tables: &impl TablesFor<A>,
    frame: &Frame<A>,
    quoted: &Quoted<A>,
    service: &Service,
) -> Outcome {
    quoted.checked(packet)?;
    let choice = owner(tables, quoted, service)?;
    dsr::send(packet, tables, frame, service, choice)
}

/// The same, of a backend whose replies get the VIP as their source.
#[inline(always)]
fn about_dnat<A: Family>(
    tables: &impl TablesFor<A>,
    quoted: &Quoted<A>,
    service: &Service,
) -> Result<Translation<A>, Reason> {
    let id = owner(tables, quoted, service)?.backend;
    let flow = dnat::towards(&quoted.key, dnat::endpoint(tables, id)?, id);
    Translation::to_backend(tables, flow)
}

/// The same, of a backend that does not know the client.
#[inline(always)]
fn about_translated<A: Family>(
    tables: &impl TablesFor<A>,
    quoted: &Quoted<A>,
) -> Result<Translation<A>, Reason> {
    let flow = tables.flow(&quoted.key).filter(|flow| flow.kind() == FlowKind::Forward);
    let flow = *flow.ok_or(Reason::NoFlow)?;
    Translation::to_backend(tables, flow)
}

/// The error is about what we sent to a backend: it goes back to the client, as if the service had sent it.
#[inline(always)]
fn about_reply<A: Family>(
    tables: &impl TablesFor<A>,
    quoted: &Quoted<A>,
    arrival: Arrival,
) -> Option<Translation<A>> {
    let direction = Direction::ToClient;
    if let Some(endpoint) = classify::endpoint(tables, &quoted.key) {
        let flow = dnat::back(&quoted.key, endpoint);
        let leaving = flow.opposite(quoted.key.protocol()).reversed();
        let hop = match tables.route(&leaving, ANY_LENGTH, arrival) {
            Route::By(hop) => hop,
            Route::TooNarrow(_) | Route::Kernel => Hop::NONE,
        };
        return Some(Translation { flow, hop, direction });
    }
    let may_be_kept = tables.contents().has(Contents::KEPT_CLIENTS);
    if !may_be_kept && !tables.ports().contains(quoted.key.ports.destination()) {
        return None;
    }
    let flow = *tables.flow(&quoted.key).filter(|flow| flow.kind() == FlowKind::Reply)?;
    Some(Translation { flow, hop: flow.way_back, direction })
}

#[inline(always)]
fn translate<A: Family>(
    packet: &mut impl Packet,
    frame: &Frame<A>,
    quoted: &Quoted<A>,
    translation: &Translation<A>,
) -> Outcome {
    quoted.checked(packet)?;
    if A::hops(&frame.ip) <= 1 {
        return Err(Reason::TimeToLive);
    }
    let Translation { flow, hop, direction } = translation;
    rewrite(packet, frame, quoted, translation).ok_or(Reason::Inconsistent)?;
    if hop.is_none() {
        return Err(Reason::DnatRouted);
    }
    link::address(packet, frame, Way::by(hop))?;
    let reason = match direction {
        Direction::ToBackend => Reason::IcmpForward,
        Direction::ToClient => Reason::IcmpReply,
    };
    Ok(Steered { reason, ifindex: hop.ifindex, backend: flow.backend, direction: *direction, opened: false })
}

/// Translates the quoted packet back into what its sender had sent, then the message around it.
#[inline(always)]
fn rewrite<A: Family>(
    packet: &mut impl Packet,
    frame: &Frame<A>,
    quoted: &Quoted<A>,
    Translation { flow, hop, .. }: &Translation<A>,
) -> Option<()> {
    let transport = quoted_transport(packet, quoted, flow)?;
    let network = quoted_network(packet, quoted, flow)?;
    let outside = address_difference(A::addresses(&frame.ip), (flow.source, flow.destination));
    let summed = if A::ICMP_SUMS_ADDRESSES { outside.sum() } else { Sum::ZERO };
    let at = frame.l4() + icmp::CHECKSUM;
    let before: U16be = packet.read(at)?;
    let inside = Sum::resume(transport.fold()).add(U16be::from_raw(network.fold()));
    let change = inside.add(U16be::from_raw(summed.fold())).difference();
    packet.write(at, checksum::update(before, change))?;
    let leaving = (flow.source, flow.destination);
    // The kernel takes the hop off itself.
    let ip = if hop.is_none() {
        A::readdressed(&frame.ip, leaving, outside)
    } else {
        A::rewritten(&frame.ip, leaving, outside)
    };
    packet.write(frame.l3, ip)
}

/// Rewrites the quoted addresses and header checksum; returns the change of the sum over them.
#[inline(always)]
fn quoted_network<A: Family>(packet: &mut impl Packet, quoted: &Quoted<A>, flow: &Flow<A>) -> Option<Sum> {
    let leaving = (flow.destination, flow.source);
    let addresses = address_difference(A::addresses(&quoted.ip), leaving);
    let new = A::readdressed(&quoted.ip, leaving, addresses);
    packet.write(quoted.l3, new)?;
    Some(addresses.sum().subtract(A::checksum(&quoted.ip)).add(A::checksum(&new)))
}

/// Rewrites the quoted ports and, where the quotation reaches that far, the checksum; returns the change of the sum.
#[inline(always)]
fn quoted_transport<A: Family>(packet: &mut impl Packet, quoted: &Quoted<A>, flow: &Flow<A>) -> Option<Sum> {
    packet.write(quoted.l4, flow.ports.reversed())?;
    let ports = Sum::ZERO.subtract_long(quoted.key.ports.word()).add_long(flow.ports.word());
    let udp = quoted.key.protocol() == protocol::UDP;
    let at = quoted.l4 + if udp { udp::CHECKSUM } else { tcp::CHECKSUM };
    if at + size_of::<U16be>() > quoted.end {
        return Some(ports);
    }
    let before: U16be = packet.read(at)?;
    // The quoted packet's reversal leaves a sum unchanged, so the record's difference fits it as it is.
    let after = if udp {
        udp::update_checksum(before, flow.difference)
    } else {
        checksum::update(before, flow.difference)
    };
    packet.write(at, after)?;
    Some(ports.subtract(before).add(after))
}
