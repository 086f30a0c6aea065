//! Outer headers: IP in IP (RFC 2003, RFC 2473) and IP in UDP (GUE, variant 1: the IP header follows the UDP header).
//!
//! Source: draft-ietf-intarea-gue, section 4; RFC 6935 (a UDP checksum of zero for tunnels over IPv6).

use super::Reason;
use super::family::Family;
use super::parse::Frame;
use crate::abi::{Backend, Extent, Service, Wrapped};
use crate::wire::{Outside, Packet, Ports, U16be, U32be, ethernet, ipv4, ipv6, protocol, udp};

/// An outer header, to be made when its place is there: of IPv6 or IPv4, with a UDP header between or without. Each of
/// the four is code of its own, in which all lengths and offsets are constants.
#[derive(Clone, Copy)]
pub(super) struct Outer<'a, const V6: bool, const UDP: bool> {
    backend: &'a Backend,
    /// The packet inside.
    wrapped: Wrapped,
    /// Ports of the UDP header.
    ports: Ports,
}

/// First of the source ports that outer UDP headers have: the dynamic ports (RFC 6335, section 6).
const FIRST_PORT: u16 = 0xc000;

impl<'a, const V6: bool, const UDP: bool> Outer<'a, V6, UDP> {
    /// Bytes of its IP header.
    const IP: usize = if V6 { ipv6::LENGTH } else { ipv4::LENGTH };
    /// Bytes it takes.
    pub(super) const LENGTH: usize = Self::IP + if UDP { udp::LENGTH } else { 0 };
    /// The same, as a packet's start is moved by.
    #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "at most 48")]
    pub(super) const ROOM: i32 = Self::LENGTH as i32;
    /// What it is made of.
    pub(super) const OUTSIDE: Outside = Outside { v6: V6, udp: UDP };
    /// The frame's type with it.
    pub(super) const ETHERTYPE: U16be = if V6 { ethernet::IPV6 } else { ethernet::IPV4 };

    /// The outer header for a packet of this extent; the bits of the hash that `spread` names go into its source.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "a part of a hash")]
    pub(super) fn around<A: Family>(
        extent: Extent,
        service: &Service,
        backend: &'a Backend,
        (hash, spread): (u32, U32be),
    ) -> Self {
        let spread = U32be::from_raw(hash & spread.raw());
        let wrapped = Wrapped { protocol: A::TUNNELLED, extent, spread };
        Self {
            backend,
            wrapped,
            ports: Ports::new(U16be::new(FIRST_PORT | (hash >> 16) as u16), service.gue_port),
        }
    }

    /// Writes it where the IP header begins, the farthest bytes first: one comparison with the packet's end then holds
    /// for all.
    #[inline(always)]
    pub(super) fn write(&self, packet: &mut impl Packet, at: usize) -> Option<()> {
        let wrapped = if UDP { self.in_between(packet, at + Self::IP)? } else { self.wrapped };
        if V6 {
            packet.write(at, self.backend.outer_v6(wrapped))
        } else {
            packet.write(at, self.backend.outer_v4(wrapped))
        }
    }

    /// Writes the UDP header, and says what the outer IP header wraps with it.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "headers are tens of bytes")]
    fn in_between(&self, packet: &mut impl Packet, at: usize) -> Option<Wrapped> {
        let extent = self.wrapped.extent.with(udp::LENGTH as u16);
        let length = U16be::new(extent.length());
        packet.write(at, udp::Header { ports: self.ports, length, checksum: U16be::ZERO })?;
        Some(Wrapped { protocol: protocol::UDP, extent, ..self.wrapped })
    }
}

/// Whether a packet fits the backend's interface with `overhead` more bytes.
#[inline(always)]
pub(super) fn fits<A: Family>(
    packet: &impl Packet,
    frame: &Frame<A>,
    backend: &Backend,
    overhead: u32,
) -> Result<(), Reason> {
    let length = A::total_length(&frame.ip);
    let leaves = packet.wire_length(length, overhead, frame.transport());
    // What leaves in several packets has a header of 16 bits, too, until it is parted.
    if leaves > u32::from(backend.mtu) || u16::try_from(length + overhead).is_err() {
        return Err(Reason::TooBig);
    }
    Ok(())
}
