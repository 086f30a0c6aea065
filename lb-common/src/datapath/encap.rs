//! Outer headers: IP in IP (RFC 2003, RFC 2473) and IP in UDP (GUE, variant 1: the IP header follows the UDP header).
//!
//! Source: draft-ietf-intarea-gue, section 4; RFC 6935 (a UDP checksum of zero for tunnels over IPv6).

use super::Reason;
use super::family::Family;
use crate::abi::{Backend, Forward, Service, Wrapped};
use crate::wire::{Packet, Ports, U16be, U32be, ethernet, ipv4, ipv6, protocol, udp};

/// An outer header, to be made when its place is there.
#[derive(Clone, Copy)]
pub(super) struct Outer<'a> {
    backend: &'a Backend,
    /// The packet inside.
    wrapped: Wrapped,
    /// Ports of the UDP header between; none where the destination is zero. Not an `Option`: the verifier refuses the
    /// undefined part of one that the compiler copies about ("R5 !read_ok", Linux 6.18).
    ports: Ports,
}

/// First of the source ports that outer UDP headers have: the dynamic ports (RFC 6335, section 6).
const FIRST_PORT: u16 = 0xc000;

impl<'a> Outer<'a> {
    /// The outer header for a packet with this header.
    #[inline(always)]
    #[allow(
        clippy::cast_possible_truncation,
        reason = "a length that was compared with an MTU; a part of a hash"
    )]
    pub(super) fn around<A: Family>(
        ip: &A::Header,
        service: &Service,
        backend: &'a Backend,
        (hash, spread): (u32, [U32be; 2]),
    ) -> Self {
        let mask = if backend.is_v6() { spread[1] } else { spread[0] };
        let wrapped = Wrapped {
            protocol: A::TUNNELLED,
            length: A::total_length(ip) as u16,
            traffic_class: A::traffic_class(ip),
            spread: U32be::from_raw(hash & mask.raw()),
        };
        let in_udp = service.forward() == Forward::DsrGue;
        let port = if in_udp { service.gue_port } else { U16be::ZERO };
        Self { backend, wrapped, ports: Ports::new(U16be::new(FIRST_PORT | (hash >> 16) as u16), port) }
    }

    #[inline(always)]
    fn in_udp(&self) -> bool {
        self.ports.destination() != U16be::ZERO
    }

    /// Bytes it takes.
    #[inline(always)]
    pub(super) fn length(&self) -> usize {
        usize::from(self.backend.overhead(self.in_udp()))
    }

    /// The frame's type with it.
    #[inline(always)]
    pub(super) const fn ethertype(&self) -> U16be {
        if self.backend.is_v6() { ethernet::IPV6 } else { ethernet::IPV4 }
    }

    /// Writes it where the IP header begins, the farthest bytes first: one comparison with the packet's end then holds
    /// for all.
    #[inline(always)]
    pub(super) fn write(&self, packet: &mut impl Packet, at: usize) -> Option<()> {
        if self.backend.is_v6() {
            let wrapped = self.in_between(packet, at + ipv6::LENGTH)?;
            packet.write(at, self.backend.outer_v6(wrapped))
        } else {
            let wrapped = self.in_between(packet, at + ipv4::LENGTH)?;
            packet.write(at, self.backend.outer_v4(wrapped))
        }
    }

    /// Writes the UDP header, if there is one, and says what the outer IP header wraps with it.
    #[inline(always)]
    fn in_between(&self, packet: &mut impl Packet, at: usize) -> Option<Wrapped> {
        if !self.in_udp() {
            return Some(self.wrapped);
        }
        let length = self.wrapped.length.wrapping_add(udp::LENGTH as u16);
        let udp = udp::Header { ports: self.ports, length: U16be::new(length), checksum: U16be::ZERO };
        packet.write(at, udp)?;
        Some(Wrapped { protocol: protocol::UDP, length, ..self.wrapped })
    }
}

/// Whether a packet fits the backend's interface with `overhead` more bytes.
#[inline(always)]
pub(super) fn fits<A: Family>(ip: &A::Header, backend: &Backend, overhead: u16) -> Result<(), Reason> {
    if A::total_length(ip) + u32::from(overhead) > u32::from(backend.mtu) {
        return Err(Reason::TooBig);
    }
    Ok(())
}
