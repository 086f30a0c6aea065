//! Packet fixtures: a row is a sentence, the packets before, the packet, and its whole fate.
//!
//! Every row runs through the host build here and through the kernel's own test run in
//! the differential suite; bytes, verdict, flow records and counters must agree.

mod build;
mod house;
mod row;
mod rows;

pub use build::Stack;
pub use house::{ARRIVAL_IFINDEX, PORTS, SEED, house};
pub use row::{Fate, Row, Setup};
pub use rows::rows;

#[cfg(test)]
mod tests {
    use super::*;
    use lb_common::abi::Ticks;
    use lb_common::datapath::{Arrival, HostTables, Outcome, balance, seldom};
    use lb_common::wire::Buffer;

    const ARRIVAL: Arrival = Arrival { ifindex: ARRIVAL_IFINDEX, now: Ticks(1000) };

    fn run(tables: &HostTables, bytes: &[u8]) -> (Outcome, Vec<u8>) {
        let mut packet = Buffer::new(bytes);
        let outcome = balance(&mut packet, tables, ARRIVAL);
        (outcome, packet.bytes().to_vec())
    }

    /// The same without the way for common packets.
    fn run_the_long_way(tables: &HostTables, bytes: &[u8]) -> (Outcome, Vec<u8>) {
        let mut packet = Buffer::new(bytes);
        let outcome = seldom(&mut packet, tables, ARRIVAL);
        (outcome, packet.bytes().to_vec())
    }

    #[test]
    fn common_packets_fare_as_they_would_the_long_way() {
        for row in rows() {
            let [short, long] = [house(&row.setup), house(&row.setup)];
            for packet in row.before.iter().chain([&row.packet]) {
                assert_eq!(run(&short, packet), run_the_long_way(&long, packet), "{}", row.sentence);
            }
            assert_eq!(short.flows, long.flows, "{}", row.sentence);
            assert_eq!((short.reasons, short.counts), (long.reasons, long.counts), "{}", row.sentence);
            assert_eq!(short.settled_use, long.settled_use, "{}", row.sentence);
        }
    }

    #[test]
    fn every_row_ends_as_it_says_on_the_host() {
        for row in rows() {
            let tables = house(&row.setup);
            for packet in &row.before {
                run(&tables, packet).0.unwrap_or_else(|why| panic!("{}: before: {why:?}", row.sentence));
            }
            let (outcome, bytes) = run(&tables, &row.packet);
            match &row.fate {
                Fate::Leaves { reason, ifindex, packet } => {
                    let steered = outcome.unwrap_or_else(|why| panic!("{}: {why:?}", row.sentence));
                    assert_eq!((steered.reason, steered.ifindex), (*reason, *ifindex), "{}", row.sentence);
                    assert_eq!(&bytes, packet, "{}", row.sentence);
                }
                Fate::Stops(reason) => {
                    assert_eq!(outcome.err(), Some(*reason), "{}", row.sentence);
                    assert_eq!(bytes, row.packet, "{}: a packet that stops is left as it was", row.sentence);
                }
            }
        }
    }

    #[test]
    fn no_two_rows_claim_the_same() {
        let mut sentences: Vec<_> = rows().iter().map(|row| row.sentence).collect();
        let all = sentences.len();
        sentences.sort_unstable();
        sentences.dedup();
        assert_eq!(sentences.len(), all);
    }
}
