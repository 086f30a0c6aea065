//! What a router between us and a backend says of an outer header, told to whoever sent the packet inside: nobody else can make it
//! smaller. It comes here where the outer source leads to us, and says enough where the router quotes more than it must.
//!
//! Whose the packet inside is decides the service as it did for the packet itself, and the outer header must lead to the backend
//! that owns its flow: so there is nothing to remember, and nothing to be told about what we did not send.
//!
//! Source: RFC 2003, section 4 (relaying ICMP messages); RFC 2473, section 8; RFC 1812, section 4.3.2.3 (routers quote as much of a
//! packet as fits 576 bytes).

use super::decapsulate::version_at;
use super::family::{Family, Inside, Piece};
use super::icmp_error::{self, IcmpError};
use super::parse::Frame;
use super::track;
use super::{Arrival, Outcome, Reason, Tables, TablesFor, classify};
use crate::abi::{FlowKey, Forward, Service};
use crate::wire::{Packet, Ports, U16be, U32be, ethernet, icmp, ipv6, protocol, udp};

/// The outer header that a router quotes.
#[derive(Clone, Copy)]
struct Outer<A: Family> {
    destination: A,
    /// Destination port of the UDP header behind it, if there is one.
    gue_port: Option<U16be>,
    /// Where the packet inside begins.
    inner: usize,
    /// Bytes that the way takes, this header among them.
    mtu: u32,
}

/// Tells the sender of the packet inside what fits; whatever else is said to be too big passes.
#[inline(always)]
pub(super) fn steer<A: Family>(
    packet: &mut impl Packet,
    tables: &impl Tables,
    frame: &Frame<A>,
    arrival: Arrival,
) -> Outcome {
    let outer = outer(packet, frame).ok_or(Reason::IcmpNotOurs)?;
    if version_at(packet, outer.inner) == Some(ethernet::IPV4) {
        tell::<A, U32be>(packet, tables, frame, &outer, arrival)
    } else {
        tell::<A, ipv6::Address>(packet, tables, frame, &outer, arrival)
    }
}

#[inline(always)]
fn outer<A: Family>(packet: &impl Packet, frame: &Frame<A>) -> Option<Outer<A>> {
    let said: icmp::Header = packet.read(frame.l4())?;
    let l3 = frame.l4() + icmp::LENGTH;
    let ip: A::Header = packet.read(l3)?;
    let Inside { protocol, l4, piece: Piece::Whole, .. } = A::walk(packet, l3, &ip).ok()? else {
        return None;
    };
    let (_, destination) = A::addresses(&ip);
    let (gue_port, behind) = match protocol {
        protocol::IPIP | protocol::IPV6 => (None, l4),
        protocol::UDP => (Some(packet.read::<Ports>(l4)?.destination()), l4 + udp::LENGTH),
        _ => return None,
    };
    let mtu = said.rest.get() & A::MTU_BITS;
    Some(Outer { destination, gue_port, inner: packet.forget(behind), mtu })
}

/// Tells a client by a packet of its family, `B`.
#[inline(always)]
fn tell<A: Family, B: Family>(
    packet: &mut impl Packet,
    tables: &impl TablesFor<B>,
    frame: &Frame<A>,
    outer: &Outer<A>,
    arrival: Arrival,
) -> Outcome {
    let sent = inner::<A, B>(packet, frame, outer.inner).ok_or(Reason::IcmpNotOurs)?;
    let fitting = fitting(packet, tables, &sent, outer).ok_or(Reason::IcmpNotOurs)?;
    if !icmp_error::is_told(tables, &sent, arrival) {
        return Err(Reason::IcmpNotOurs);
    }
    icmp_error::answer_inner(packet, &sent, IcmpError::too_big::<B>(fitting, Reason::TooBig), arrival)
}

/// The client's packet as if it had come as it lies here, from whom the message came: a router, which knows the way to clients.
#[inline(always)]
fn inner<A: Family, B: Family>(packet: &impl Packet, frame: &Frame<A>, l3: usize) -> Option<Frame<B>> {
    let ip: B::Header = packet.read(l3)?;
    let inside = B::walk(packet, l3, &ip).ok()?;
    Some(Frame { link: frame.link, tags: frame.tags, l3, ip, inside })
}

/// Bytes that a packet of the client's may have, if it is of a service that would put it into this outer header.
#[inline(always)]
fn fitting<A: Family, B: Family>(
    packet: &impl Packet,
    tables: &impl TablesFor<B>,
    sent: &Frame<B>,
    outer: &Outer<A>,
) -> Option<u32> {
    let (source, destination) = B::addresses(&sent.ip);
    let ports: Ports = packet.read(sent.l4())?;
    let key = FlowKey::new(source, destination, ports, sent.inside.protocol);
    let service = classify::service(tables, &key).filter(|service| encapsulates(service, outer.gue_port))?;
    let backend = tables.backend(track::owner_of_quoted(tables, service, &key).ok()?.backend)?;
    let leads_there = backend.address == outer.destination.widen() && backend.is_v6() == (A::VERSION == 6);
    let overhead = backend.overhead(outer.gue_port.is_some());
    outer.mtu.checked_sub(u32::from(overhead)).filter(|fitting| leads_there && *fitting >= B::LEAST_MTU)
}

/// Whether a service puts its packets into such an outer header.
#[inline(always)]
fn encapsulates(service: &Service, gue_port: Option<U16be>) -> bool {
    match gue_port {
        None => service.forward() == Forward::DsrIpip,
        Some(port) => service.forward() == Forward::DsrGue && service.gue_port == port,
    }
}
