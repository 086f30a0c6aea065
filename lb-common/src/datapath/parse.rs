//! From bytes to headers, one short step a layer.

use super::family::{Family, Inside, Piece};
use super::{Reason, Tables, fragment};
use crate::abi::{FlowKey, Ticks};
use crate::wire::vlan::{self, Tags};
use crate::wire::{Packet, Ports, Transport, U16be, ethernet, protocol, tcp, udp};

/// The link and network layer of an IP packet.
#[derive(Clone, Copy)]
pub(super) struct Frame<A: Family> {
    pub(super) link: ethernet::Addresses,
    pub(super) tags: Tags,
    /// Where the IP header begins.
    pub(super) l3: usize,
    pub(super) ip: A::Header,
    /// What is behind the IP header.
    pub(super) inside: Inside,
}

impl<A: Family> Frame<A> {
    /// Where the transport header begins.
    #[inline(always)]
    pub(super) const fn l4(&self) -> usize {
        self.inside.l4
    }

    /// Where the headers lie.
    #[inline(always)]
    pub(super) const fn transport(&self) -> Transport {
        Transport { l3: self.l3, l4: self.inside.l4, protocol: self.inside.protocol }
    }

    /// Bytes behind options and extension headers, by the header's word.
    #[inline(always)]
    fn payload(&self) -> Option<usize> {
        (A::total_length(&self.ip) as usize).checked_sub(self.l4() - self.l3)
    }
}

/// Type of what a frame carries behind at most two tags, and where that begins.
#[inline(always)]
pub(super) fn untagged(packet: &impl Packet) -> Option<(Tags, U16be, usize)> {
    let kind: U16be = packet.read(ethernet::TYPE)?;
    if !is_tag(kind) {
        return Some((Tags::NONE, kind, ethernet::LENGTH));
    }
    let first: vlan::Tag = packet.read(ethernet::LENGTH)?;
    let (tags, l3) = (Tags::one(kind, first.control), ethernet::LENGTH + vlan::LENGTH);
    if !is_tag(first.ethertype) {
        return Some((tags, first.ethertype, l3));
    }
    let second: vlan::Tag = packet.read(l3)?;
    Some((tags.around(first.ethertype, second.control), second.ethertype, l3 + vlan::LENGTH))
}

#[inline(always)]
fn is_tag(ethertype: U16be) -> bool {
    ethertype == ethernet::VLAN || ethertype == ethernet::SERVICE_VLAN
}

/// Ethernet, at most two tags, and an IP header of this family with what follows it.
#[inline(always)]
pub(super) fn frame<A: Family>(packet: &impl Packet) -> Result<Frame<A>, Reason> {
    let link: ethernet::Addresses = packet.read(0).ok_or(Reason::NotIp)?;
    let (tags, ethertype, l3) = untagged(packet).ok_or(Reason::NotIp)?;
    if ethertype != A::ETHERTYPE {
        return Err(Reason::NotIp);
    }
    if !link.is_unicast() {
        return Err(Reason::NotUnicast);
    }
    let l3 = packet.forget(l3);
    let ip: A::Header = packet.read(l3).ok_or(Reason::BadIp)?;
    let inside = A::walk(packet, l3, &ip)?;
    Ok(Frame { link, tags, l3, ip, inside })
}

/// The flow a TCP or UDP packet belongs to.
#[inline(always)]
pub(super) fn flow_key<A: Family>(
    packet: &impl Packet,
    tables: &impl Tables,
    frame: &Frame<A>,
    now: Ticks,
) -> Result<FlowKey<A>, Reason> {
    let (source, destination) = A::addresses(&frame.ip);
    let (ports, protocol) = match frame.inside {
        Inside { piece: Piece::Later, .. } => fragment::recall(tables, frame, now)?,
        Inside { piece, protocol, .. } if carries_ports(protocol) => {
            let ports: Ports = packet.read(frame.l4()).ok_or(Reason::NoPorts)?;
            if piece == Piece::First {
                fragment::remember(tables, frame, ports, now);
            }
            (ports, protocol)
        }
        _ => return Err(Reason::OtherProtocol),
    };
    Ok(FlowKey::new(source, destination, ports, protocol))
}

/// Whether what begins with a transport header of this protocol begins with its ports.
#[inline(always)]
pub(super) const fn carries_ports(protocol: u8) -> bool {
    protocol == protocol::TCP || protocol == protocol::UDP
}

/// What the packet path needs of a transport header behind the ports.
///
/// Larger than two registers, as are other structs that functions here return: a smaller one is handed over as an
/// integer, into which the compiler packs the fields and takes them out again, inlined or not (1 ns a packet).
#[derive(Clone, Copy)]
#[repr(align(32))]
pub(super) struct Segment {
    pub(super) protocol: u8,
    /// TCP's control bits. UDP has none: every datagram may open a flow and none closes it.
    pub(super) flags: tcp::Flags,
    pub(super) checksum: U16be,
    pub(super) piece: Piece,
}

impl Segment {
    /// What is taken of a later fragment: data of a connection, whatever the protocol, for it opens no flow.
    const LATER: Self =
        Self { protocol: protocol::TCP, flags: tcp::Flags::ACK, checksum: U16be::ZERO, piece: Piece::Later };

    /// Whether a flow may begin with this packet.
    #[inline(always)]
    pub(super) fn may_open(self) -> bool {
        self.piece != Piece::Later && (self.protocol == protocol::UDP || self.flags.opens())
    }
}

/// Bytes that a packet of ours has behind options and extension headers, if it is not longer than its frame.
#[inline(always)]
pub(super) fn payload<A: Family>(packet: &impl Packet, frame: &Frame<A>) -> Result<usize, Reason> {
    if frame.l3 + A::total_length(&frame.ip) as usize > packet.length() as usize {
        return Err(Reason::Malformed);
    }
    frame.payload().ok_or(Reason::Malformed)
}

/// The transport header of a packet that is ours, its lengths checked.
#[inline(always)]
pub(super) fn segment<A: Family>(packet: &impl Packet, frame: &Frame<A>) -> Result<Segment, Reason> {
    let payload = payload(packet, frame)?;
    match frame.inside {
        Inside { piece: Piece::Later, protocol, .. } => Ok(Segment { protocol, ..Segment::LATER }),
        Inside { protocol: protocol::TCP, piece, .. } => tcp_segment(packet, frame.l4(), payload, piece),
        Inside { piece, .. } => udp_segment(packet, frame.l4(), payload, piece),
    }
}

#[inline(always)]
fn tcp_segment(packet: &impl Packet, l4: usize, payload: usize, piece: Piece) -> Result<Segment, Reason> {
    let header: tcp::Header = packet.read(l4).ok_or(Reason::Malformed)?;
    if header.length() < tcp::LENGTH || header.length() > payload {
        return Err(Reason::Malformed);
    }
    Ok(Segment { protocol: protocol::TCP, flags: header.flags, checksum: header.checksum, piece })
}

#[inline(always)]
fn udp_segment(packet: &impl Packet, l4: usize, payload: usize, piece: Piece) -> Result<Segment, Reason> {
    let header: udp::Header = packet.read(l4).ok_or(Reason::Malformed)?;
    let length = header.length.get() as usize;
    // A first fragment tells the length of the whole datagram.
    let fits = payload >= udp::LENGTH && (length <= payload || piece == Piece::First);
    if length < udp::LENGTH || !fits {
        return Err(Reason::Malformed);
    }
    Ok(Segment { protocol: protocol::UDP, flags: tcp::Flags::NONE, checksum: header.checksum, piece })
}
