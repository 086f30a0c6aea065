//! Packets: whatever comes, no panic, no damage, and the short way ends as the long one does.

use lb_common::abi::Ticks;
use lb_common::datapath::{Arrival, HostTables, Outcome, Reason, balance, decapsulate, seldom};
use lb_common::wire::{Buffer, U16be};
use lb_tests::packets::{ARRIVAL_IFINDEX, GUE_PORT, Medley, Random, change, fault, town};

/// Most packets that one input is taken for: more only make the fuzzer slow.
const PACKETS: usize = 64;
/// Reasons under which a packet passes that is not as it came.
const REWRITTEN: [Reason; 2] = [Reason::Decapsulated, Reason::DnatRouted];

/// A packet by one way through tables, and its bytes afterwards.
type Way = fn(&mut Buffer, &HostTables, Arrival) -> Outcome;

fn the_usual_way(packet: &mut Buffer, tables: &HostTables, arrival: Arrival) -> Outcome {
    balance(packet, tables, arrival)
}

fn the_long_way(packet: &mut Buffer, tables: &HostTables, arrival: Arrival) -> Outcome {
    seldom(packet, tables, arrival)
}

fn by(way: Way, tables: &HostTables, now: u32, bytes: &[u8]) -> (Outcome, Vec<u8>) {
    let mut packet = Buffer::new(bytes);
    let outcome = way(&mut packet, tables, Arrival { ifindex: ARRIVAL_IFINDEX, now: Ticks(now) });
    (outcome, packet.bytes().to_vec())
}

/// A frame that meets no service, at either end of a tunnel: it is read, and not touched.
pub fn packet_parser(bytes: &[u8]) {
    let (outcome, after) = by(the_usual_way, &HostTables::default(), 0, bytes);
    assert!(outcome.is_err(), "there is nobody to steer to");
    assert_eq!(after, bytes);
    let mut packet = Buffer::new(bytes);
    let reason = decapsulate(&mut packet, U16be::new(GUE_PORT));
    if reason == Reason::Decapsulated {
        comes_out(packet.bytes(), bytes);
    } else {
        assert_eq!(packet.bytes(), bytes);
    }
}

/// What was inside comes out as it was, or with a mark of congestion that does it no other harm.
fn comes_out(frame: &[u8], outer: &[u8]) {
    let (link, inner) = frame.split_at(frame.len() - behind_link(frame).len());
    let was = &outer[outer.len() - inner.len()..];
    if inner == was {
        return;
    }
    assert_eq!(unmarked(inner), unmarked(was), "but for the mark it comes out as it was");
    if fault(&[link, was].concat()).is_none() {
        assert_eq!(fault(frame), None);
    }
}

/// An IP packet without what a mark of congestion changes: two bits, and the checksum of an IPv4 header.
fn unmarked(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    match packet.as_mut_slice() {
        [0x40..=0x4f, class, _, _, _, _, _, _, _, _, high, low, ..] => {
            *class &= !0x03;
            [*high, *low] = [0, 0];
        }
        [_, class, ..] => *class &= !0x30,
        _ => {}
    }
    packet
}

/// What stands behind a frame's Ethernet header and tags.
fn behind_link(frame: &[u8]) -> &[u8] {
    let is_tag = |at: usize| matches!(frame.get(at..at + 2), Some([0x81, 0x00] | [0x88, 0xa8]));
    let kind = (12..=20).step_by(4).find(|&at| !is_tag(at)).unwrap_or(20);
    frame.get(kind + 2..).unwrap_or_default()
}

/// A frame through tables of every way of forwarding.
pub fn packet_pipeline(bytes: &[u8]) {
    for tables in [Medley::tables as fn() -> HostTables, || town(1, 0)] {
        fares_alike(&tables(), &tables(), 0, bytes);
    }
}

/// The same packet by both ways, through tables that were alike; what must hold of its end.
fn fares_alike(tables: &HostTables, twins: &HostTables, now: u32, bytes: &[u8]) {
    let usual = by(the_usual_way, tables, now, bytes);
    assert_eq!(usual, by(the_long_way, twins, now, bytes), "the common packets' way is the same");
    let (outcome, after) = usual;
    match outcome {
        Err(reason) if !REWRITTEN.contains(&reason) => assert_eq!(after, bytes, "{reason:?}"),
        _ if fault(bytes).is_none() => assert_eq!(fault(&after), None, "{outcome:?}"),
        _ => {}
    }
}

/// A story: frames, changes of the tables, and time that passes. Each begins with a byte that says which it is.
pub fn packet_stateful(bytes: &[u8]) {
    let [mut tables, mut twins] = [town(1, 8), town(1, 8)];
    let (mut now, mut rest) = (0_u32, bytes);
    for _ in 0..PACKETS {
        let Some((&[kind, operand], behind)) = rest.split_first_chunk() else {
            break;
        };
        rest = behind;
        match kind % 4 {
            0 => now = now.saturating_add(u32::from(operand) << 6),
            1 => [&mut tables, &mut twins]
                .map(|tables| change(tables, &mut Random::new(operand.into())))
                .into_iter()
                .collect(),
            _ => {
                let (frame, behind) = rest.split_at(rest.len().min(operand.into()));
                rest = behind;
                fares_alike(&tables, &twins, now, frame);
            }
        }
    }
    assert_eq!(tables.flows, twins.flows);
    assert_eq!(tables.flows_v6, twins.flows_v6);
    assert_eq!(tables.settled_use, twins.settled_use);
    assert_eq!((tables.reasons, tables.counts), (twins.reasons, twins.counts));
}
