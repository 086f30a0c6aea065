//! From bytes to headers, one short step a layer.

use super::Reason;
use crate::abi::{FlowKey, ServiceKey};
use crate::wire::{Packet, Ports, U16be, U32be, ethernet, ipv4, protocol, tcp, udp, vlan};

/// The link and network layer of an IPv4 packet.
#[derive(Clone, Copy)]
pub(super) struct Frame {
    pub(super) link: ethernet::Addresses,
    /// The 802.1Q tag's control word; 0 without one.
    pub(super) vlan: U16be,
    /// Where the IP header begins.
    pub(super) l3: usize,
    /// Where the transport header begins.
    pub(super) l4: usize,
    pub(super) ip: ipv4::Header,
}

impl Frame {
    /// Bytes behind the IP header, by the header's word.
    #[inline(always)]
    const fn payload(&self) -> Option<usize> {
        (self.ip.total_length() as usize).checked_sub(self.l4 - self.l3)
    }
}

/// Where the transport header of a plain packet begins.
const PLAIN_L4: usize = ethernet::LENGTH + ipv4::LENGTH;

/// Where a plain packet goes: TCP or UDP without tag, options or fragmentation, and long enough for a TCP header.
/// Nearly every packet is one, and every offset in it is known to the compiler, which is why the common way through
/// the pipeline begins here. `None` says nothing about the packet but that [`frame`] should look at it.
#[inline(always)]
pub(super) fn plain_destination(packet: &impl Packet) -> Option<ServiceKey> {
    // The farthest byte first: the comparisons with the packet's end that follow are then known to hold.
    let transport: tcp::Header = packet.read(PLAIN_L4)?;
    let ethertype: U16be = packet.read(ethernet::TYPE)?;
    let link: ethernet::Addresses = packet.read(0)?;
    let ip: ipv4::Header = packet.read(ethernet::LENGTH)?;
    let plain = ethertype == ethernet::IPV4 && !link.is_group() && ip.is_bare() && !ip.is_fragment();
    let protocol = ip.protocol();
    let carries_ports = protocol == protocol::TCP || protocol == protocol::UDP;
    (plain && carries_ports).then(|| ServiceKey::v4(ip.destination(), transport.ports.destination, protocol))
}

/// The headers of a packet that [`plain_destination`] has looked at. Read again rather than kept: most of it would
/// have to wait on the stack while the service is looked up.
#[inline(always)]
pub(super) fn plain_frame(packet: &impl Packet) -> Option<(Frame, FlowKey<U32be>)> {
    let ports: Ports = packet.read(PLAIN_L4)?;
    let link: ethernet::Addresses = packet.read(0)?;
    let ip: ipv4::Header = packet.read(ethernet::LENGTH)?;
    let key = FlowKey::new(ip.source(), ip.destination(), ports, ip.protocol());
    Some((Frame { link, vlan: U16be::ZERO, l3: ethernet::LENGTH, l4: PLAIN_L4, ip }, key))
}

/// Ethernet, at most one tag, IPv4.
#[inline(always)]
pub(super) fn frame(packet: &impl Packet) -> Result<Frame, Reason> {
    let link: ethernet::Addresses = packet.read(0).ok_or(Reason::NotIpv4)?;
    let (vlan, ethertype, l3) = untagged(packet)?;
    if ethertype != ethernet::IPV4 {
        return Err(Reason::NotIpv4);
    }
    if link.is_group() {
        return Err(Reason::NotUnicast);
    }
    let ip: ipv4::Header = packet.read(l3).ok_or(Reason::BadIpv4)?;
    if !ip.is_valid() {
        return Err(Reason::BadIpv4);
    }
    Ok(Frame { link, vlan, l3, l4: l3 + ip.header_length(), ip })
}

/// The tag, if there is one, the type behind it, and where that begins.
#[inline(always)]
fn untagged(packet: &impl Packet) -> Result<(U16be, U16be, usize), Reason> {
    let ethertype: U16be = packet.read(ethernet::TYPE).ok_or(Reason::NotIpv4)?;
    if ethertype != ethernet::VLAN {
        return Ok((U16be::ZERO, ethertype, ethernet::LENGTH));
    }
    let tag: vlan::Tag = packet.read(ethernet::LENGTH).ok_or(Reason::NotIpv4)?;
    Ok((tag.control, tag.ethertype, ethernet::LENGTH + vlan::LENGTH))
}

/// The flow a TCP or UDP packet belongs to.
#[inline(always)]
pub(super) fn flow_key(packet: &impl Packet, frame: &Frame) -> Result<FlowKey<U32be>, Reason> {
    let ip = &frame.ip;
    if ip.protocol() != protocol::TCP && ip.protocol() != protocol::UDP {
        return Err(Reason::OtherProtocol);
    }
    if ip.is_later_fragment() {
        return Err(Reason::LaterFragment);
    }
    let ports: Ports = packet.read(frame.l4).ok_or(Reason::NoPorts)?;
    Ok(FlowKey::new(ip.source(), ip.destination(), ports, ip.protocol()))
}

/// What the packet path needs of a transport header behind the ports.
#[derive(Clone, Copy)]
pub(super) struct Segment {
    pub(super) protocol: u8,
    /// TCP's control bits. UDP has none: every datagram may open a flow and none closes it.
    pub(super) flags: tcp::Flags,
    pub(super) checksum: U16be,
}

impl Segment {
    /// Whether a flow may begin with this packet.
    #[inline(always)]
    pub(super) const fn may_open(self) -> bool {
        self.protocol == protocol::UDP || self.flags.opens()
    }
}

/// The transport header of a packet that is ours, its lengths checked.
#[inline(always)]
pub(super) fn segment(packet: &impl Packet, frame: &Frame) -> Result<Segment, Reason> {
    let total = frame.ip.total_length();
    if frame.ip.is_fragment() {
        return Err(Reason::Fragmented);
    }
    if frame.l3 + total as usize > packet.length() as usize {
        return Err(Reason::Malformed);
    }
    let payload = frame.payload().ok_or(Reason::Malformed)?;
    if frame.ip.protocol() == protocol::TCP {
        tcp_segment(packet, frame.l4, payload)
    } else {
        udp_segment(packet, frame.l4, payload)
    }
}

#[inline(always)]
fn tcp_segment(packet: &impl Packet, l4: usize, payload: usize) -> Result<Segment, Reason> {
    let header: tcp::Header = packet.read(l4).ok_or(Reason::Malformed)?;
    if header.length() < tcp::LENGTH || header.length() > payload {
        return Err(Reason::Malformed);
    }
    Ok(Segment { protocol: protocol::TCP, flags: header.flags, checksum: header.checksum })
}

#[inline(always)]
fn udp_segment(packet: &impl Packet, l4: usize, payload: usize) -> Result<Segment, Reason> {
    let header: udp::Header = packet.read(l4).ok_or(Reason::Malformed)?;
    let length = header.length.get() as usize;
    if length < udp::LENGTH || length > payload {
        return Err(Reason::Malformed);
    }
    Ok(Segment { protocol: protocol::UDP, flags: tcp::Flags::NONE, checksum: header.checksum })
}
