//! Plain packets of services that translate both addresses.

use super::super::family::Family;
use super::super::{Arrival, Direction, Outcome, Reason, Steered, TablesFor, link};
use super::peek::{L3, came_by, flags, key, l4, sound_length};
use super::{of_nobody, sent, sent_to, takes};
use crate::abi::{BackendFlags, Flow, FlowKind};
use crate::wire::{Packet, Transport, protocol, tcp, udp};

/// Translates a client's packet of this length by its flow's record.
#[inline(always)]
pub(super) fn translated<A: Family, const PROTOCOL: u8>(
    packet: &mut impl Packet,
    tables: &impl TablesFor<A>,
    length: u32,
    arrival: impl Fn() -> Arrival,
) -> Option<Outcome> {
    let mut flow = tables.flow(&key::<A, PROTOCOL>(packet)?)?;
    let backend = tables.backend(flow.backend)?;
    let flags = flags::<A, PROTOCOL>(packet, L3)?;
    let usable = backend.flags.has(BackendFlags::ALIVE) && takes::<A, PROTOCOL>(packet, backend, length);
    let Arrival { ifindex, now } = arrival();
    if !usable || !goes_on(&flow, flags) || !came_by(packet, &flow.way_back, ifindex)? {
        return None;
    }
    rewrite::<A, PROTOCOL>(packet, &flow)?;
    flow.note(flags, now);
    link::write_untagged(packet, &backend.link, A::ETHERTYPE)?;
    Some(sent_to(tables, (flow.backend, backend), (Reason::NatForward, false), packet.length()))
}

/// Whether a record says by itself that a packet goes on by it: not if it is none of a translation, nor where a SYN comes after
/// this side's end, for the other side's record counts as well.
#[inline(always)]
const fn goes_on<A: Family>(flow: &Flow<A>, flags: tcp::Flags) -> bool {
    let may_begin_anew = flags.opens() && flow.state.is_closing();
    !may_begin_anew && matches!(flow.kind(), FlowKind::Forward)
}

/// Translates a backend's packet by its flow's record.
#[inline(always)]
pub(super) fn translated_back<A: Family, const PROTOCOL: u8>(
    packet: &mut impl Packet,
    tables: &impl TablesFor<A>,
    arrival: impl Fn() -> Arrival,
) -> Option<Outcome> {
    // This host's own traffic comes to these ports, too.
    let Some(mut flow) = tables.flow(&key::<A, PROTOCOL>(packet)?) else { return of_nobody(packet, tables) };
    if flow.kind() != FlowKind::Reply || !flow.way_back.is_untagged() {
        return None;
    }
    let length = sound_length::<A, PROTOCOL>(packet)?;
    let transport = Transport { l3: L3, l4: l4::<A>(), protocol: PROTOCOL };
    if packet.wire_length(length, 0, transport) > tables.common_mtu() {
        return None;
    }
    rewrite::<A, PROTOCOL>(packet, &flow)?;
    flow.note(flags::<A, PROTOCOL>(packet, L3)?, arrival().now);
    link::write_untagged(packet, &flow.way_back.link, A::ETHERTYPE)?;
    let (ifindex, direction) = (flow.way_back.ifindex, Direction::ToClient);
    let steered =
        Steered { reason: Reason::NatReply, ifindex, backend: flow.backend, direction, opened: false };
    Some(sent(tables, steered, packet.length()))
}

/// Applies a record's translation, and takes one hop off; nothing if that was the last.
#[inline(always)]
fn rewrite<A: Family, const PROTOCOL: u8>(packet: &mut impl Packet, flow: &Flow<A>) -> Option<()> {
    A::send_on(packet, L3, (flow.source, flow.destination), flow.address_difference)?;
    let l4 = l4::<A>();
    packet.write(l4, flow.ports)?;
    let at = l4 + if PROTOCOL == protocol::TCP { tcp::CHECKSUM } else { udp::CHECKSUM };
    let before = packet.peek(at)?;
    packet.renew_checksum(at, before, flow.change(PROTOCOL))
}
