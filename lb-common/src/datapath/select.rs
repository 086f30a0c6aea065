//! Which backend a new flow gets: the slot of a hash, and what the service's selector makes of it.

use super::family::Family;
use super::parse::{Frame, Segment};
use super::{Reason, Tables};
use crate::abi::{BackendFlags, BackendId, FlowKey, Ip, QuicServer, Select, Service, Slot};
use crate::wire::{Packet, U32be, protocol, quic, udp};

/// Index of a flow's slot.
#[inline(always)]
#[must_use]
pub fn slot_index<A: Ip>(service: &Service, key: &FlowKey<A>, seed: u64) -> u32 {
    service.slot_index(hash(service, key, seed))
}

/// What a flow's slot is found by.
#[inline(always)]
pub(super) fn hash<A: Ip>(service: &Service, key: &FlowKey<A>, seed: u64) -> u32 {
    match service.select() {
        Select::Source => key.source_hash(seed, service.prefix_bits()),
        _ => key.hash(seed),
    }
}

/// The backend that a flow of this hash gets if it begins now.
#[inline(always)]
pub(super) fn for_new(tables: &impl Tables, service: &Service, hash: u32) -> Result<BackendId, Reason> {
    let slot = match service.select() {
        Select::RoundRobin => next_in_turn(tables, service),
        Select::LeastConnections => less_loaded(tables, service, hash),
        _ => slot(tables, service.slot_index(hash)),
    }?;
    existing(slot.current())
}

#[inline(always)]
fn slot(tables: &impl Tables, index: u32) -> Result<Slot, Reason> {
    tables.slot(index).ok_or(Reason::Inconsistent)
}

/// The slots of a service that takes turns hold its backends in their order, each as often as its weight says.
#[inline(always)]
fn next_in_turn(tables: &impl Tables, service: &Service) -> Result<Slot, Reason> {
    let turn = tables.turn(service.id, service.slots);
    slot(tables, service.first_slot().wrapping_add(turn))
}

/// The power of two choices. Source: Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001.
#[inline(always)]
fn less_loaded(tables: &impl Tables, service: &Service, hash: u32) -> Result<Slot, Reason> {
    let one = slot(tables, service.slot_index(hash))?;
    let other = slot(tables, service.slot_index(hash.wrapping_mul(SECOND_CHOICE)))?;
    let loads = tables.load(one.current()).zip(tables.load(other.current()));
    let (its, the_others) = loads.ok_or(Reason::Inconsistent)?;
    Ok(if the_others.is_below(&its) { other } else { one })
}

/// Makes a second hash of a first one (the golden ratio, odd).
const SECOND_CHOICE: u32 = 0x9e37_79b1;

#[inline(always)]
pub(super) const fn existing(backend: BackendId) -> Result<BackendId, Reason> {
    if backend.is_none() { Err(Reason::NoBackend) } else { Ok(backend) }
}

/// Whether a backend's flows may stay with it.
#[inline(always)]
pub(super) fn is_alive(tables: &impl Tables, id: BackendId) -> bool {
    is(tables, id, BackendFlags::ALIVE)
}

/// Whether a backend takes new flows.
#[inline(always)]
pub(super) fn is_open(tables: &impl Tables, id: BackendId) -> bool {
    is(tables, id, BackendFlags::OPEN)
}

#[inline(always)]
fn is(tables: &impl Tables, id: BackendId, flags: BackendFlags) -> bool {
    tables.backend(id).is_some_and(|backend| backend.flags.has(flags))
}

/// The living backend that the connection identifier of a QUIC packet names.
#[inline(always)]
pub(super) fn quic_server<A: Family>(
    packet: &impl Packet,
    tables: &impl Tables,
    frame: &Frame<A>,
    service: &Service,
    segment: &Segment,
) -> Option<BackendId> {
    if service.select() != Select::Quic || segment.protocol != protocol::UDP || !segment.may_open() {
        return None;
    }
    let header = frame.l4() + udp::LENGTH;
    let (first, version) = (packet.read(header)?, packet.read(header + quic::VERSION)?);
    let quic::Identifier::Server { offset } = quic::identifier(first, version) else { return None };
    let id: [U32be; 2] = packet.read(header + offset + QuicServer::OFFSET)?;
    let backend = tables.quic_server(&QuicServer::named(service, id))?;
    is_alive(tables, backend).then_some(backend)
}
