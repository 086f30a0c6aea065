//! The link layer of a packet that leaves.

use super::parse::Frame;
use super::{Arrival, Reason};
use crate::abi::{Backend, BackendFlags, BackendId, Hop};
use crate::wire::{Packet, U16be, ethernet, ipv4, vlan};

/// Where a packet leaves to. The addresses are borrowed, to be copied once the packet has been moved: before, they
/// would go by way of the stack.
#[derive(Clone, Copy)]
pub(super) struct Way<'a> {
    link: &'a ethernet::Addresses,
    pub(super) ifindex: u32,
    vlan: U16be,
}

impl<'a> Way<'a> {
    /// The way to a backend, if its next hop is known.
    #[inline(always)]
    pub(super) fn to(backend: &'a Backend) -> Result<Self, Reason> {
        if !backend.flags.has(BackendFlags::RESOLVED) {
            return Err(Reason::Unresolved);
        }
        Ok(Self { link: &backend.link, ifindex: backend.ifindex, vlan: backend.vlan })
    }

    /// The way that a record has learnt.
    #[inline(always)]
    pub(super) const fn by(hop: &'a Hop) -> Self {
        Self { link: &hop.link, ifindex: hop.ifindex, vlan: hop.vlan }
    }
}

/// An outer header, to be made when its place is there.
#[derive(Clone, Copy)]
pub(super) struct Outer<'a> {
    pub(super) backend: &'a Backend,
    pub(super) inner_length: u16,
    pub(super) traffic_class: u8,
}

/// The way back to where a packet came from.
#[inline(always)]
pub(super) const fn hop_back(frame: &Frame, arrival: Arrival) -> Hop {
    Hop::new(frame.link.reversed(), arrival.ifindex, frame.vlan)
}

/// A record's backend, which must exist.
#[inline(always)]
pub(super) fn backend<T: super::Tables>(tables: &T, id: BackendId) -> Result<&Backend, Reason> {
    tables.backend(id).ok_or(Reason::Inconsistent)
}

/// Puts the link-layer header for `way`, and behind it an outer header if there is one, in front of the IP packet.
#[inline(always)]
pub(super) fn address(
    packet: &mut impl Packet,
    frame: &Frame,
    way: Way<'_>,
    outer: Option<Outer<'_>>,
) -> Result<(), Reason> {
    // Either way at offsets that the compiler knows.
    if way.vlan == U16be::ZERO {
        let moved = move_front(packet, frame, ethernet::LENGTH, outer.is_some())?;
        write(packet, way, outer, moved).ok_or(Reason::Inconsistent)
    } else {
        move_front(packet, frame, TAGGED, outer.is_some())?;
        write_tagged(packet, way, outer).ok_or(Reason::Inconsistent)
    }
}

/// Makes `room` bytes in front of the IP packet, and in front of them the link-layer header that leads back to where
/// the packet came from. Returns where the room begins.
#[inline(always)]
pub(super) fn turn_back(packet: &mut impl Packet, frame: &Frame, room: usize) -> Result<usize, Reason> {
    #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "a few headers")]
    packet.move_front(-(room as i32)).ok_or(Reason::NoHeadroom)?;
    let link = frame.link.reversed();
    let way = Way { link: &link, ifindex: 0, vlan: frame.vlan };
    if frame.l3 == TAGGED {
        write_tagged(packet, way, None).ok_or(Reason::Inconsistent)?;
    } else {
        write(packet, way, None, true).ok_or(Reason::Inconsistent)?;
    }
    Ok(frame.l3)
}

/// Bytes of a tagged Ethernet header.
const TAGGED: usize = ethernet::LENGTH + vlan::LENGTH;

/// Makes the room that the headers in front of the IP packet need; says whether there was other room before.
#[inline(always)]
fn move_front(packet: &mut impl Packet, frame: &Frame, header: usize, outer: bool) -> Result<bool, Reason> {
    let needed = if outer { header + ipv4::LENGTH } else { header };
    if frame.l3 == needed {
        return Ok(false);
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "offsets below 200")]
    let delta = frame.l3 as i32 - needed as i32;
    packet.move_front(delta).ok_or(Reason::NoHeadroom)?;
    Ok(true)
}

/// The farthest bytes first: one comparison with the packet's end then holds for all.
#[inline(always)]
fn write(packet: &mut impl Packet, way: Way<'_>, outer: Option<Outer<'_>>, moved: bool) -> Option<()> {
    if let Some(outer) = outer {
        packet.write(ethernet::LENGTH, outer.header())?;
    }
    if moved {
        packet.write(ethernet::TYPE, ethernet::IPV4)?;
    }
    write_link(packet, way)
}

#[inline(always)]
fn write_tagged(packet: &mut impl Packet, way: Way<'_>, outer: Option<Outer<'_>>) -> Option<()> {
    if let Some(outer) = outer {
        packet.write(TAGGED, outer.header())?;
    }
    packet.write(ethernet::LENGTH, vlan::Tag { control: way.vlan, ethertype: ethernet::IPV4 })?;
    packet.write(ethernet::TYPE, ethernet::VLAN)?;
    write_link(packet, way)
}

/// Word by word: a copy of all twelve bytes from one memory to another becomes a loop over bytes on BPF.
#[inline(always)]
fn write_link(packet: &mut impl Packet, way: Way<'_>) -> Option<()> {
    let [a, b, c] = way.link.words();
    packet.write(8, c)?;
    packet.write(4, b)?;
    packet.write(0, a)
}

impl Outer<'_> {
    #[inline(always)]
    fn header(&self) -> ipv4::Header {
        self.backend.outer_header(self.inner_length, self.traffic_class)
    }
}
