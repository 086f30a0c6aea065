//! ICMP errors about a flow's packets: they quote the packet, and must reach whoever sent it.
//!
//! Source: RFC 792; RFC 5508, section 4 (translation of ICMP errors). The quoted packet travelled against the error,
//! so its reversed tuple is the key the error's own direction is known by.

use super::link::{self, Way};
use super::parse::{Frame, Segment};
use super::{Arrival, Direction, Outcome, Reason, Steered, Tables, classify, ipip, select};
use crate::abi::{Flow, FlowKey, FlowKind, Forward, Service, ServiceKey};
use crate::wire::checksum::{self, Sum};
use crate::wire::{Packet, Ports, U16be, U32be, icmp, ipv4, protocol, tcp, udp};

/// The packet an error quotes.
#[derive(Clone, Copy)]
struct Quoted {
    /// Where its IP header begins.
    l3: usize,
    ip: ipv4::Header,
    /// The tuple of packets that travel the error's way.
    key: FlowKey<U32be>,
    /// Where the message ends by its own length; what lies behind is padding, not quotation.
    end: usize,
}

impl Quoted {
    #[inline(always)]
    const fn l4(&self) -> usize {
        self.l3 + self.ip.header_length()
    }

    /// Refuses a message that is longer than its frame.
    #[inline(always)]
    fn checked(&self, packet: &impl Packet) -> Result<(), Reason> {
        if self.end > packet.length() as usize { Err(Reason::Malformed) } else { Ok(()) }
    }
}

/// Sends an ICMP error to the end of the flow it is about; any other ICMP passes.
#[inline(always)]
pub(super) fn steer(
    packet: &mut impl Packet,
    tables: &impl Tables,
    frame: &Frame,
    arrival: Arrival,
) -> Outcome {
    let quoted = quoted(packet, frame).ok_or(Reason::IcmpNotOurs)?;
    let vip = ServiceKey::v4(quoted.key.destination, quoted.key.destination_port, quoted.key.protocol);
    match classify::service(tables, &vip) {
        Some(service) => about_service(packet, tables, frame, &quoted, service, arrival),
        None => about_reply(packet, tables, frame, &quoted),
    }
}

#[inline(always)]
fn quoted(packet: &impl Packet, frame: &Frame) -> Option<Quoted> {
    let header: icmp::Header = packet.read(frame.l4)?;
    if !header.is_error() || frame.ip.is_fragment() {
        return None;
    }
    let l3 = frame.l4 + icmp::LENGTH;
    let ip: ipv4::Header = packet.read(l3)?;
    let carries_ports = ip.protocol() == protocol::TCP || ip.protocol() == protocol::UDP;
    if !ip.is_valid() || ip.is_later_fragment() || !carries_ports {
        return None;
    }
    let ports: Ports = packet.read(l3 + ip.header_length())?;
    let key = FlowKey::new(ip.source(), ip.destination(), ports, ip.protocol()).reversed();
    let quoted = Quoted { l3, ip, key, end: frame.l3 + frame.ip.total_length() as usize };
    (quoted.l4() + size_of::<Ports>() <= quoted.end).then_some(quoted)
}

/// The error is about what a backend sent to a client: it goes on to that backend.
#[inline(always)]
fn about_service(
    packet: &mut impl Packet,
    tables: &impl Tables,
    frame: &Frame,
    quoted: &Quoted,
    service: &Service,
    arrival: Arrival,
) -> Outcome {
    quoted.checked(packet)?;
    if service.forward() == Forward::DsrIpip {
        // Asked as for data of a connection, whatever the protocol: an error opens no flow.
        let segment = Segment { protocol: protocol::TCP, flags: tcp::Flags::ACK, checksum: U16be::ZERO };
        let choice = select::owner(tables, service, &quoted.key, &segment, arrival.now)?;
        let choice = select::Choice { reason: Reason::IcmpForward, opened: false, ..choice };
        return ipip::encapsulate(packet, tables, frame, choice);
    }
    let flow = tables.flow(&quoted.key).filter(|flow| flow.kind() == FlowKind::Forward);
    let flow = flow.ok_or(Reason::NoFlow)?;
    let way = Way::to(link::backend(tables, flow.backend)?)?;
    translate(packet, frame, quoted, &flow, way, (Reason::IcmpForward, Direction::ToBackend))
}

/// The error is about what we sent to a backend: it goes back to the client, as if the service had sent it.
#[inline(always)]
fn about_reply(packet: &mut impl Packet, tables: &impl Tables, frame: &Frame, quoted: &Quoted) -> Outcome {
    if !tables.ports().contains(quoted.key.destination_port) {
        return Err(Reason::IcmpNotOurs);
    }
    let flow = tables.flow(&quoted.key).filter(|flow| flow.kind() == FlowKind::Reply);
    let flow = flow.ok_or(Reason::IcmpNotOurs)?;
    quoted.checked(packet)?;
    translate(packet, frame, quoted, &flow, Way::by(&flow.way_back), (Reason::IcmpReply, Direction::ToClient))
}

#[inline(always)]
fn translate(
    packet: &mut impl Packet,
    frame: &Frame,
    quoted: &Quoted,
    flow: &Flow<U32be>,
    way: Way<'_>,
    (reason, direction): (Reason, Direction),
) -> Outcome {
    if frame.ip.time_to_live() <= 1 {
        return Err(Reason::TimeToLive);
    }
    rewrite(packet, frame, quoted, flow).ok_or(Reason::Inconsistent)?;
    link::address(packet, frame, way, None)?;
    Ok(Steered { reason, ifindex: way.ifindex, backend: flow.backend, direction, opened: false })
}

/// Translates the quoted packet back into what its sender had sent, then the message around it.
#[inline(always)]
fn rewrite(packet: &mut impl Packet, frame: &Frame, quoted: &Quoted, flow: &Flow<U32be>) -> Option<()> {
    let transport = quoted_transport(packet, quoted, flow)?;
    // A correct header sums to the same before and after, so only its own words can change the message's sum.
    let network = quoted_network(packet, quoted, flow)?;
    let at = frame.l4 + icmp::CHECKSUM;
    let before: U16be = packet.read(at)?;
    let change = Sum::resume(transport.fold()).add(U16be::from_raw(network.fold())).difference();
    packet.write(at, checksum::update(before, change))?;
    let addresses = ipv4::address_difference(
        (frame.ip.source(), frame.ip.destination()),
        (flow.source, flow.destination),
    );
    packet.write(frame.l3, frame.ip.rewritten(flow.source, flow.destination, addresses))
}

/// Rewrites the quoted addresses and header checksum; returns the change of the sum over them.
#[inline(always)]
fn quoted_network(packet: &mut impl Packet, quoted: &Quoted, flow: &Flow<U32be>) -> Option<Sum> {
    let old = quoted.ip;
    let addresses =
        ipv4::address_difference((old.source(), old.destination()), (flow.destination, flow.source));
    let new = old.readdressed(flow.destination, flow.source, addresses);
    packet.write(quoted.l3, new)?;
    Some(addresses.sum().subtract(old.checksum()).add(new.checksum()))
}

/// Rewrites the quoted ports and, where the quotation reaches that far, the checksum; returns the change of the sum.
#[inline(always)]
fn quoted_transport(packet: &mut impl Packet, quoted: &Quoted, flow: &Flow<U32be>) -> Option<Sum> {
    let old = quoted.key.reversed();
    packet.write(quoted.l4(), Ports { source: flow.destination_port, destination: flow.source_port })?;
    let ports = Sum::ZERO
        .subtract(old.source_port)
        .subtract(old.destination_port)
        .add(flow.source_port)
        .add(flow.destination_port);
    let udp = quoted.key.protocol == protocol::UDP;
    let at = quoted.l4() + if udp { udp::CHECKSUM } else { tcp::CHECKSUM };
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
