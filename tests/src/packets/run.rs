//! A packet through the host build of either side.

use super::house::{ARRIVAL_IFINDEX, GUE_PORT};
use super::row::Side;
use lb_common::abi::Ticks;
use lb_common::datapath::{Arrival, HostTables, Outcome, Reason, Tables as _, balance, decapsulate, guard};
use lb_common::wire::{Buffer, Packet as _, U16be};

/// What becomes of a packet, and its bytes afterwards.
pub fn on_host(side: Side, tables: &HostTables, bytes: &[u8]) -> (Outcome, Vec<u8>) {
    let mut packet = Buffer::new(bytes);
    let outcome = match side {
        Side::Balance => {
            let arrival = Arrival { ifindex: ARRIVAL_IFINDEX, now: Ticks(0) };
            balance(&mut packet, tables, arrival)
        }
        Side::Guard => {
            let arrival = Arrival { ifindex: ARRIVAL_IFINDEX, now: Ticks(0) };
            guard::balance(&mut packet, tables, arrival)
        }
        Side::Decap => Err(counted_decapsulation(tables, &mut packet)),
    };
    (outcome, packet.bytes().to_vec())
}

/// The kernel program counts by itself, since it has no tables.
fn counted_decapsulation(tables: &HostTables, packet: &mut Buffer) -> Reason {
    let length = packet.length();
    let reason = decapsulate(packet, U16be::new(GUE_PORT));
    tables.count(reason, length);
    reason
}
