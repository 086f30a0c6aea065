//! The link layer of a packet that leaves.

use super::encap::Outer;
use super::family::Family;
use super::parse::Frame;
use super::{Arrival, Reason, Tables};
use crate::abi::{Backend, BackendFlags, BackendId, Hop};
use crate::wire::vlan::{self, Tags};
use crate::wire::{Packet, U16be, ethernet};

/// Where a packet leaves to. The addresses are borrowed, to be copied once the packet has been moved: before, they
/// would go by way of the stack.
#[derive(Clone, Copy)]
pub(super) struct Way<'a> {
    link: &'a ethernet::Addresses,
    pub(super) ifindex: u32,
    tags: Tags,
}

impl<'a> Way<'a> {
    /// The way to a backend, if its next hop is known.
    #[inline(always)]
    pub(super) fn to(backend: &'a Backend) -> Result<Self, Reason> {
        if !backend.flags.has(BackendFlags::RESOLVED) {
            return Err(Reason::Unresolved);
        }
        Ok(Self { link: &backend.link, ifindex: backend.ifindex, tags: backend.tags() })
    }

    /// The way as a record holds it.
    #[inline(always)]
    pub(super) const fn hop(&self) -> Hop {
        Hop { link: *self.link, ifindex: self.ifindex, tags: self.tags }
    }

    /// The way that a record has learnt.
    #[inline(always)]
    pub(super) const fn by(hop: &'a Hop) -> Self {
        Self { link: &hop.link, ifindex: hop.ifindex, tags: hop.tags }
    }
}

/// The way back to where a packet came from.
#[inline(always)]
pub(super) const fn hop_back<A: Family>(frame: &Frame<A>, arrival: Arrival) -> Hop {
    Hop { link: frame.link.reversed(), ifindex: arrival.ifindex, tags: frame.tags }
}

/// A record's backend, which must exist.
#[inline(always)]
pub(super) fn backend<T: super::Tables>(tables: &T, id: BackendId) -> Result<&Backend, Reason> {
    tables.backend(id).ok_or(Reason::Inconsistent)
}

/// Whether an interface takes a packet that leaves as long as it came. Whichever interface it is, the common packet fits.
#[inline(always)]
pub(super) fn takes<A: Family>(
    packet: &impl Packet,
    tables: &impl Tables,
    frame: &Frame<A>,
    ifindex: u32,
) -> Result<(), Reason> {
    let leaves = packet.wire_length(A::total_length(&frame.ip), 0, frame.transport());
    let fits = leaves <= tables.common_mtu() || leaves <= tables.mtu(ifindex);
    if fits { Ok(()) } else { Err(Reason::TooBig) }
}

/// Puts the link-layer header for `way` in front of the IP packet.
#[inline(always)]
pub(super) fn address<A: Family>(
    packet: &mut impl Packet,
    frame: &Frame<A>,
    way: Way<'_>,
) -> Result<(), Reason> {
    // Either way at offsets that the compiler knows, where nothing is tagged.
    if way.tags.count() == 0 {
        move_front(packet, frame.l3, ethernet::LENGTH)?;
        write_untagged(packet, way.link, A::ETHERTYPE).ok_or(Reason::Inconsistent)
    } else {
        move_front(packet, frame.l3, header_length(way.tags))?;
        write_tagged(packet, way, A::ETHERTYPE).ok_or(Reason::Inconsistent)
    }
}

/// The same with an outer header between them.
#[inline(always)]
pub(super) fn wrap<A: Family, const V6: bool, const UDP: bool>(
    packet: &mut impl Packet,
    frame: &Frame<A>,
    way: Way<'_>,
    outer: &Outer<'_, V6, UDP>,
) -> Result<(), Reason> {
    let (length, ethertype) = (Outer::<V6, UDP>::LENGTH, Outer::<V6, UDP>::ETHERTYPE);
    if way.tags.count() == 0 {
        make_room(packet, outer, frame.l3, ethernet::LENGTH + length)?;
        outer.write(packet, ethernet::LENGTH).ok_or(Reason::Inconsistent)?;
        write_untagged(packet, way.link, ethertype).ok_or(Reason::Inconsistent)
    } else {
        let header = header_length(way.tags);
        make_room(packet, outer, frame.l3, header + length)?;
        outer.write(packet, header).ok_or(Reason::Inconsistent)?;
        write_tagged(packet, way, ethertype).ok_or(Reason::Inconsistent)
    }
}

/// Makes `room` bytes in front of the IP packet, and in front of them the link-layer header that leads back to where
/// the packet came from. Returns where the room begins.
#[inline(always)]
pub(super) fn turn_back<A: Family>(
    packet: &mut impl Packet,
    frame: &Frame<A>,
    room: usize,
) -> Result<usize, Reason> {
    move_front(packet, frame.l3, frame.l3 + room)?;
    let link = frame.link.reversed();
    let way = Way { link: &link, ifindex: 0, tags: frame.tags };
    if frame.tags.count() == 0 {
        write_untagged(packet, way.link, A::ETHERTYPE).ok_or(Reason::Inconsistent)?;
    } else {
        write_tagged(packet, way, A::ETHERTYPE).ok_or(Reason::Inconsistent)?;
    }
    Ok(frame.l3)
}

/// Bytes of an Ethernet header with these tags.
#[inline(always)]
pub(super) const fn header_length(tags: Tags) -> usize {
    ethernet::LENGTH + tags.count() * vlan::LENGTH
}

/// Makes the room in front of the IP packet, which begins at `l3`, `needed` bytes, this outer header among them.
#[inline(always)]
#[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "offsets below 200")]
fn make_room<const V6: bool, const UDP: bool>(
    packet: &mut impl Packet,
    _outer: &Outer<'_, V6, UDP>,
    l3: usize,
    needed: usize,
) -> Result<(), Reason> {
    let delta = l3 as i32 - needed as i32;
    packet.make_room(delta, Outer::<V6, UDP>::OUTSIDE).ok_or(Reason::NoHeadroom)
}

/// Makes the room in front of the IP packet, which begins at `l3`, `needed` bytes.
#[inline(always)]
fn move_front(packet: &mut impl Packet, l3: usize, needed: usize) -> Result<(), Reason> {
    if l3 == needed {
        return Ok(());
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "offsets below 200")]
    let delta = l3 as i32 - needed as i32;
    packet.move_front(delta).ok_or(Reason::NoHeadroom)
}

/// Writes a link-layer header without tags.
#[inline(always)]
pub(super) fn write_untagged(
    packet: &mut impl Packet,
    link: &ethernet::Addresses,
    ethertype: U16be,
) -> Option<()> {
    packet.write(ethernet::TYPE, ethertype)?;
    write_addresses(packet, link)
}

#[inline(always)]
fn write_tagged(packet: &mut impl Packet, way: Way<'_>, ethertype: U16be) -> Option<()> {
    write_tags(packet, way.tags, ethertype)?;
    write_addresses(packet, way.link)
}

/// Writes what lies between the link-layer addresses and the payload, which has this type.
#[inline(always)]
pub(super) fn write_tags(packet: &mut impl Packet, tags: Tags, ethertype: U16be) -> Option<()> {
    let [mut first, mut inner] = [ethertype; 2];
    if tags.count() == 2 {
        let second = vlan::Tag { control: tags.second, ethertype };
        packet.write(ethernet::LENGTH + vlan::LENGTH, second)?;
        inner = tags.second_kind();
    }
    if tags.count() > 0 {
        packet.write(ethernet::LENGTH, vlan::Tag { control: tags.first, ethertype: inner })?;
        first = tags.kind();
    }
    packet.write(ethernet::TYPE, first)
}

/// Word by word: a copy of all twelve bytes from one memory to another becomes a loop over bytes on BPF.
#[inline(always)]
fn write_addresses(packet: &mut impl Packet, link: &ethernet::Addresses) -> Option<()> {
    let [a, b, c] = link.words();
    packet.write(8, c)?;
    packet.write(4, b)?;
    packet.write(0, a)
}
