//! Packet fixtures and random traffic.
//!
//! A row is a sentence, the packets before, the packet, and its whole fate.
//!
//! Every row runs through the host build here and through the kernel's own test run in
//! the differential suite; bytes, verdict, flow records and counters must agree.

mod annex;
mod build;
mod house;
mod ip;
mod ipv6;
mod medley;
#[cfg(test)]
mod properties;
pub mod random;
mod row;
mod rows;
mod run;
mod segment;
mod town;
mod traffic;
mod verify;
mod watch;

pub use annex::Annex;
pub use build::{Ipv4, Network, Stack};
pub use house::{ARRIVAL_IFINDEX, GUE_PORT, PORTS, SEED, furnish, house};
pub use ipv6::Ipv6;
pub use medley::Medley;
pub use random::Random;
pub use row::{Fate, Row, Setup, Side, Step};
pub use rows::rows;
pub use run::on_host;
pub use segment::Segment;
pub use town::{TOWN_PORTS, change, town};
pub use traffic::{Mix, Traffic};
pub use verify::fault;

#[cfg(test)]
mod tests {
    use super::*;
    use lb_common::abi::Ticks;
    use lb_common::datapath::{Arrival, HostTables, Outcome, seldom};
    use lb_common::wire::Buffer;

    fn go_before(tables: &mut HostTables, row: &Row) -> Result<(), String> {
        for step in &row.before {
            match step {
                Step::Leaves(packet) => {
                    on_host(row.side, tables, packet).0.map_err(|why| format!("before: {why:?}"))?;
                }
                Step::Stops(packet) if on_host(row.side, tables, packet).0.is_ok() => {
                    return Err("before: it leaves".into());
                }
                Step::Stops(_) => {}
                Step::Becomes(setup) => furnish(tables, setup),
            }
        }
        Ok(())
    }

    fn is_as_said(row: &Row, outcome: &Outcome, bytes: &[u8]) -> bool {
        match &row.fate {
            Fate::Leaves { reason, ifindex, packet } => {
                outcome.is_ok_and(|end| (end.reason, end.ifindex) == (*reason, *ifindex)) && bytes == packet
            }
            Fate::Passes { reason, packet } => outcome.err() == Some(*reason) && bytes == packet,
            Fate::Stops(reason) => outcome.err() == Some(*reason) && bytes == row.packet,
        }
    }

    fn try_row(row: &Row) -> Result<(), String> {
        let mut tables = house(&row.setup);
        go_before(&mut tables, row)?;
        let (outcome, bytes) = on_host(row.side, &tables, &row.packet);
        let told = is_as_said(row, &outcome, &bytes);
        told.then_some(()).ok_or_else(|| format!("{outcome:?}\nwith  {bytes:02x?}\n not  {:02x?}", row.fate))
    }

    /// A packet by the way that answers all packets, whether common or not.
    fn the_long_way(tables: &HostTables, bytes: &[u8]) -> (Outcome, Vec<u8>) {
        let mut packet = Buffer::new(bytes);
        let arrival = Arrival { ifindex: ARRIVAL_IFINDEX, now: Ticks(0) };
        let outcome = seldom(&mut packet, tables, arrival);
        (outcome, packet.bytes().to_vec())
    }

    fn both_ways(row: &Row) {
        let [mut short, mut long] = [house(&row.setup), house(&row.setup)];
        let last = Step::Stops(row.packet.clone());
        for step in row.before.iter().chain([&last]) {
            match step {
                Step::Leaves(packet) | Step::Stops(packet) => {
                    let fate = on_host(row.side, &short, packet);
                    assert_eq!(fate, the_long_way(&long, packet), "{}", row.sentence);
                }
                Step::Becomes(setup) => {
                    furnish(&mut short, setup);
                    furnish(&mut long, setup);
                }
            }
        }
        assert_eq!(short.flows, long.flows, "{}", row.sentence);
        assert_eq!((short.reasons, short.counts), (long.reasons, long.counts), "{}", row.sentence);
        assert_eq!(short.flows_v6, long.flows_v6, "{}", row.sentence);
        assert_eq!(short.settled_use, long.settled_use, "{}", row.sentence);
    }

    #[test]
    fn common_packets_fare_as_they_would_the_long_way() {
        rows().iter().filter(|row| row.side == Side::Balance).for_each(both_ways);
    }

    #[test]
    fn every_row_ends_as_it_says_on_the_host() {
        let failed: Vec<_> = rows()
            .iter()
            .filter_map(|row| try_row(row).err().map(|why| format!("{}: {why}", row.sentence)))
            .collect();
        assert!(failed.is_empty(), "{} rows:\n{}", failed.len(), failed.join("\n"));
    }

    #[test]
    fn no_two_rows_claim_the_same() {
        let mut sentences: Vec<_> = rows().into_iter().map(|row| row.sentence).collect();
        let all = sentences.len();
        sentences.sort_unstable();
        sentences.dedup();
        assert_eq!(sentences.len(), all);
    }
}
