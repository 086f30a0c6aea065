//! Translation by record: towards a backend a packet comes from the balancer's own address and a port allocated for its flow; the
//! reply is translated back. Or, where the service keeps its clients (`dnat` that records its flows), from the client itself.
//!
//! A flow has two records that hold the finished answer, one under the client's tuple and one under the backend's
//! reply. The reply's is inserted first and never over another, which is what keeps a port from being given twice.

use super::family::{Family, Piece};
use super::link::{self, Way};
use super::parse::{Frame, Segment};
use super::{
    Arrival, Direction, FlowTable, Outcome, Reason, Refused, Steered, TablesFor, encap, icmp_error, reset,
    select,
};
use crate::abi::{Backend, BackendId, Flow, FlowKey, FlowKind, Hop, Service, ServiceFlags, Ticks, limits};
use crate::wire::{Packet, Ports, U16be, protocol, tcp, udp};

/// Translates a client's packet by the records of its flow; `None` if those are to be made first.
#[inline(always)]
pub(super) fn forward<A: Family>(
    packet: &mut impl Packet,
    tables: &impl TablesFor<A>,
    frame: &Frame<A>,
    (key, segment): (&FlowKey<A>, &Segment),
    arrival: Arrival,
) -> Option<Outcome> {
    match standing(tables, key, segment, arrival.now) {
        Standing::GoesOn => relearn(tables, key, link::hop_back(frame, arrival)),
        Standing::Ended => {
            forget(tables, key);
            return None;
        }
        Standing::Unknown => return None,
    }
    let outcome = match tables.flow(key) {
        Some(flow) => towards(packet, tables, frame, (&flow, segment), Reason::NatForward),
        None => Err(Reason::Inconsistent),
    };
    let fitting = || fitting(tables, key);
    Some(icmp_error::unless_left(packet, tables, frame, outcome, fitting, arrival))
}

/// Whether a flow may begin with this packet; also with any of a connection whose client is kept: the backend of its slot may know
/// it, from before this balancer began or another took over.
#[inline(always)]
fn may_open(service: &Service, segment: &Segment) -> bool {
    let is_adopted = service.flags().has(ServiceFlags::KEEPS_CLIENT) && !segment.flags.resets();
    segment.may_open() || (is_adopted && segment.piece != Piece::Later)
}

/// Makes the records of a flow that begins, and translates its first packet; whose flow cannot begin is told that it is over.
#[inline(always)]
pub(super) fn forward_first<A: Family>(
    packet: &mut impl Packet,
    tables: &impl TablesFor<A>,
    frame: &Frame<A>,
    service: &Service,
    (key, segment): (&FlowKey<A>, &Segment),
    arrival: Arrival,
) -> Outcome {
    if !may_open(service, segment) {
        return reset::answer(packet, tables, frame, segment, arrival);
    }
    let outcome = match open(tables, frame, service, key, arrival) {
        Ok(reason) => match tables.published(key) {
            Some(flow) => towards(packet, tables, frame, (&flow, segment), reason),
            None => Err(Reason::Inconsistent),
        },
        Err(reason) => Err(reason),
    };
    icmp_error::unless_left(packet, tables, frame, outcome, || fitting(tables, key), arrival)
}

/// Translates a client's packet by its record.
#[inline(always)]
fn towards<A: Family>(
    packet: &mut impl Packet,
    tables: &impl TablesFor<A>,
    frame: &Frame<A>,
    (flow, segment): (&Flow<A>, &Segment),
    reason: Reason,
) -> Outcome {
    let backend = link::backend(tables, flow.backend)?;
    encap::fits(packet, frame, backend, 0)?;
    let steered = translate(packet, frame, segment, flow, Way::to(backend)?, (reason, Direction::ToBackend))?;
    Ok(Steered { opened: reason as u8 == Reason::NatOpened as u8, ..steered })
}

/// Bytes that the way to a flow's backend takes.
#[inline(always)]
fn fitting<A: Family>(tables: &impl TablesFor<A>, key: &FlowKey<A>) -> Result<u32, Reason> {
    let flow = tables.flow(key).ok_or(Reason::Inconsistent)?;
    Ok(link::backend(tables, flow.backend)?.mtu.into())
}

/// Translates a backend's reply towards its client; whatever else comes to our address passes.
#[inline(always)]
pub(super) fn reply<A: Family>(
    packet: &mut impl Packet,
    tables: &impl TablesFor<A>,
    frame: &Frame<A>,
    key: &FlowKey<A>,
    arrival: Arrival,
) -> Outcome {
    let segment = super::parse::segment(packet, frame);
    let mut flow = tables.flow(key).filter(|flow| flow.kind() == FlowKind::Reply).ok_or(Reason::NotAVip)?;
    let (segment, ifindex) = (segment?, flow.way_back.ifindex);
    flow.note(segment.flags, arrival.now);
    let outcome = match link::takes(packet, tables, frame, ifindex) {
        Ok(()) => {
            let way = Way::by(&flow.way_back);
            translate(packet, frame, &segment, &flow, way, (Reason::NatReply, Direction::ToClient))
        }
        Err(reason) => Err(reason),
    };
    icmp_error::unless_left(packet, tables, frame, outcome, || Ok(tables.mtu(ifindex)), arrival)
}

/// Rewrites a packet by its flow's record and sends it the given way.
#[inline(always)]
fn translate<A: Family>(
    packet: &mut impl Packet,
    frame: &Frame<A>,
    segment: &Segment,
    flow: &Flow<A>,
    way: Way<'_>,
    (reason, direction): (Reason, Direction),
) -> Outcome {
    rewrite(packet, frame, segment, flow)?;
    link::address(packet, frame, way)?;
    Ok(Steered { reason, ifindex: way.ifindex, backend: flow.backend, direction, opened: false })
}

/// How a packet stands to the record of its flow.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// The flow goes on.
    GoesOn,
    /// The record is of a flow that ended, or whose backend died, or of no translation.
    Ended,
    /// There is none.
    Unknown,
}

/// Looks for a packet's record, and notes in it that it was seen.
#[inline(always)]
fn standing<A: Family>(
    tables: &impl TablesFor<A>,
    key: &FlowKey<A>,
    segment: &Segment,
    now: Ticks,
) -> Standing {
    if begins_anew(tables, key, segment.flags) {
        return Standing::Ended;
    }
    let Some(mut flow) = tables.flow(key) else { return Standing::Unknown };
    // A record of another kind was made where the service encapsulated before.
    if !select::is_alive(tables, flow.backend) || !matches!(flow.kind(), FlowKind::Forward) {
        return Standing::Ended;
    }
    flow.note(segment.flags, now);
    Standing::GoesOn
}

/// Whether a packet opens a connection anew that both sides have ended. What came from the client's side alone, anybody may have
/// sent who knows the flow's ends: the backend, which knows its numbers too, is left to judge the SYN.
#[inline(always)]
fn begins_anew<A: Family>(tables: &impl TablesFor<A>, key: &FlowKey<A>, flags: tcp::Flags) -> bool {
    if !flags.opens() {
        return false;
    }
    let closing = tables.flow(key).filter(|flow| flow.state.is_closing());
    let Some(reply) = closing.map(|flow| flow.opposite(key.protocol())) else { return false };
    tables.flow(&reply).is_none_or(|flow| flow.state.is_closing())
}

/// Takes both records of a flow away.
#[inline(always)]
fn forget<A: Family>(tables: &impl TablesFor<A>, key: &FlowKey<A>) {
    let reply = tables.flow(key).map(|flow| flow.opposite(key.protocol()));
    if let Some(reply) = reply {
        tables.remove(&reply);
    }
    tables.remove(key);
}

/// Makes the two records of a flow that begins; none for a packet that cannot leave. Says whether the flow was opened, or goes
/// on because another CPU did so at the same time.
#[inline(always)]
fn open<A: Family>(
    tables: &impl TablesFor<A>,
    frame: &Frame<A>,
    service: &Service,
    key: &FlowKey<A>,
    arrival: Arrival,
) -> Result<Reason, Reason> {
    may_go_on(frame)?;
    let hash = key.hash(tables.seed());
    let id = select::for_new(tables, service, select::hash(service, key, tables.seed()))?;
    let backend = link::backend(tables, id)?;
    Way::to(backend)?;
    let who = (id, link::hop_back(frame, arrival));
    let keeps_client = service.flags().has(ServiceFlags::KEEPS_CLIENT);
    let mut replied = reversed_towards(key, backend, keeps_client);
    let mut reserved = Err(Refused::Exists);
    for attempt in 0..limits::PORT_PROBES {
        if !keeps_client {
            let port = tables.ports().pick(hash.wrapping_add(attempt).wrapping_mul(PORT_STRIDE));
            replied.ports = Ports::new(replied.ports.source(), port);
        }
        reserved = add(tables, FlowKind::Reply, (&replied, key), who, arrival.now);
        if reserved != Err(Refused::Exists) || keeps_client {
            break;
        }
    }
    reserved.map_err(refusal)?;
    match add(tables, FlowKind::Forward, (key, &replied), who, arrival.now) {
        Ok(()) => {
            tables.note_opened(id);
            Ok(Reason::NatOpened)
        }
        Err(refused) => {
            tables.remove(&replied);
            // Another CPU opened the same flow meanwhile: its records win.
            if matches!(refused, Refused::Exists) { Ok(Reason::NatForward) } else { Err(refusal(refused)) }
        }
    }
}

/// Adds a flow's record for packets with the key `arriving`, whose answers have the key `opposite`. It is written where it will
/// lie: a stack of 512 bytes does not hold more of IPv6 than the keys.
#[inline(always)]
fn add<A: Family>(
    tables: &impl TablesFor<A>,
    kind: FlowKind,
    (arriving, opposite): (&FlowKey<A>, &FlowKey<A>),
    who: (BackendId, Hop),
    now: Ticks,
) -> Result<(), Refused> {
    let mut flow = tables.reserve(arriving, now)?;
    flow.translate(kind, arriving, &opposite.reversed(), who, now);
    FlowTable::<A>::publish(tables, flow);
    Ok(())
}

/// Why a flow cannot be whose record was refused; a key that exists is that of a port.
#[inline(always)]
const fn refusal(refused: Refused) -> Reason {
    match refused {
        Refused::Exists => Reason::PortsTaken,
        Refused::Full => Reason::TableFull,
        Refused::Guarded => Reason::GuardRefused,
    }
}

/// Spreads a hash and its successors over all ports (the golden ratio, odd), apart from the slot it picked.
const PORT_STRIDE: u32 = 0x9e37_79b1;

/// What a backend's replies look like: sent to the client, or to us, but for the port.
#[inline(always)]
fn reversed_towards<A: Family>(key: &FlowKey<A>, backend: &Backend, keeps_client: bool) -> FlowKey<A> {
    let (to, port) = if keeps_client {
        (key.source, key.ports.source())
    } else {
        (A::narrow(backend.source), U16be::ZERO)
    };
    let ports = Ports::new(destination_port(key, backend), port);
    FlowKey::new(A::narrow(backend.address), to, ports, key.protocol())
}

/// The port a backend is sent to.
#[inline(always)]
pub(super) fn destination_port<A: Family>(key: &FlowKey<A>, backend: &Backend) -> U16be {
    if backend.port == U16be::ZERO { key.ports.destination() } else { backend.port }
}

/// When a client's packets begin to come by another way (its router failed over), replies follow.
#[inline(always)]
fn relearn<A: Family>(tables: &impl TablesFor<A>, key: &FlowKey<A>, way_back: Hop) {
    let Some(mut flow) = tables.flow(key).filter(|flow| flow.way_back != way_back) else { return };
    flow.way_back = way_back;
    let reply = flow.opposite(key.protocol());
    drop(flow);
    if let Some(mut flow) = tables.flow(&reply) {
        flow.way_back = way_back;
    }
}

/// Applies a record's translation to addresses, ports and both checksums, and takes one hop off. Fragments but the first
/// have no ports; what changes in the checksum is changed in the first.
#[inline(always)]
pub(super) fn rewrite<A: Family>(
    packet: &mut impl Packet,
    frame: &Frame<A>,
    segment: &Segment,
    flow: &Flow<A>,
) -> Result<(), Reason> {
    may_go_on(frame)?;
    let ip = A::rewritten(&frame.ip, (flow.source, flow.destination), flow.address_difference);
    put(packet, frame, segment, flow, ip)
}

/// The same, but for the hop, which is the kernel's to take off as it sends the packet on. One on its last hop it would drop.
#[inline(always)]
pub(super) fn rewrite_for_the_kernel<A: Family>(
    packet: &mut impl Packet,
    frame: &Frame<A>,
    segment: &Segment,
    flow: &Flow<A>,
) -> Result<(), Reason> {
    may_go_on(frame)?;
    let ip = A::readdressed(&frame.ip, (flow.source, flow.destination), flow.address_difference);
    put(packet, frame, segment, flow, ip)
}

/// Whether a packet has a hop left to be sent on by.
#[inline(always)]
fn may_go_on<A: Family>(frame: &Frame<A>) -> Result<(), Reason> {
    if A::hops(&frame.ip) <= 1 { Err(Reason::TimeToLive) } else { Ok(()) }
}

/// Writes a header in the place of a packet's own, and translates the transport.
#[inline(always)]
fn put<A: Family>(
    packet: &mut impl Packet,
    frame: &Frame<A>,
    segment: &Segment,
    flow: &Flow<A>,
    ip: A::Header,
) -> Result<(), Reason> {
    packet.write(frame.l3, ip).ok_or(Reason::Inconsistent)?;
    if segment.piece == Piece::Later {
        return Ok(());
    }
    transport(packet, frame.l4(), segment, flow).ok_or(Reason::Inconsistent)
}

#[inline(always)]
fn transport<A: Family>(
    packet: &mut impl Packet,
    l4: usize,
    segment: &Segment,
    flow: &Flow<A>,
) -> Option<()> {
    packet.write(l4, flow.ports)?;
    let offset = if segment.protocol == protocol::TCP { tcp::CHECKSUM } else { udp::CHECKSUM };
    packet.renew_checksum(l4 + offset, segment.checksum, flow.change(segment.protocol))
}

#[cfg(all(test, feature = "host"))]
mod tests {
    use super::*;
    use crate::abi::Contents;
    use crate::datapath::{HostTables, balance};
    use crate::wire::{Buffer, U32be};

    const CLIENT: [u8; 4] = [192, 0, 2, 1];
    const VIP: [u8; 4] = [203, 0, 113, 10];

    /// A client's segment, from port 1024 to port 80.
    fn segment(flags: tcp::Flags) -> Buffer {
        let link = [&[4; 6][..], &[2; 6], &[8, 0]].concat();
        let ip = [&[0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, protocol::TCP, 0, 0], &CLIENT[..], &VIP].concat();
        let tcp = [4, 0, 0, 80, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags.0, 0x20, 0, 0, 0, 0, 0];
        Buffer::new(&[&link[..], &ip, &tcp].concat())
    }

    #[test]
    fn what_is_no_reply_leaves_no_trace_in_a_record() {
        let ports = Ports::new(U16be::new(1024), U16be::new(80));
        let key = FlowKey::new(U32be::from(CLIENT), U32be::from(VIP), ports, protocol::TCP);
        let who = (BackendId::from_bits(1), Hop::default());
        // That of a service which has gone since.
        let left = Flow::translation(FlowKind::Forward, &key, &key, who, Ticks(0));
        let contents = Contents::default().with(Contents::KEPT_CLIENTS);
        let tables = HostTables { contents, ..HostTables::default() };
        tables.flows.borrow_mut().insert(key, left);
        let arrival = Arrival { ifindex: 1, now: Ticks(1000) };
        assert_eq!(balance(&mut segment(tcp::Flags::FIN), &tables, arrival), Err(Reason::NotAVip));
        assert_eq!(tables.flows.borrow().get(&key), Some(&left));
    }
}
