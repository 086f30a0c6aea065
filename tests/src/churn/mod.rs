//! The churn simulation: the same flows under the same changes of their backends, sent on by plain Maglev, by Maglev with
//! a table of recently used flows, and by the planner and packet path of `lb` as they are.
//!
//! Everything is drawn from a seed, so that a run can be had again. A flow is *broken* when a packet of it comes to
//! another backend than its first; *needlessly* if the backend it began at was alive and could have kept it. Flows whose
//! backend died are over, in every way alike.

mod crowd;
mod event;
mod lb;
mod lru;
mod maglev;
mod pool;
mod tally;

pub use event::Kind;
pub use tally::{Report, Row};

use crate::packets::random::Random;
use anyhow::Result;
use crowd::{Crowd, Turn};
use event::{Step, timetable};
use lb::Lb;
use lru::Lru;
use maglev::Maglev;
use pool::Pool;
use std::net::SocketAddr;
use tally::Tally;

/// Flows that a flow table of Katran's has room for, for each balancer. Source: Katran's `BalancerConsts.h`, the smallest
/// of its tables in production.
pub const LRU_ENTRIES: usize = 65_536;
/// Seconds that a flow may be silent before its record, or its slot's memory of it, goes: what a service has unless its
/// configuration says otherwise.
pub const IDLE_SECONDS: u32 = 300;
/// Balancers that the flows are spread over by a router's hash.
pub const BALANCERS: usize = 4;

/// How large a simulation is.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// What everything random is drawn from.
    pub seed: u64,
    /// Flows over the whole time.
    pub flows: u32,
    /// Backends at first.
    pub backends: u8,
    /// Flows that each balancer's table of recently used flows has room for.
    pub lru_entries: usize,
}

/// A way of sending flows to backends, for all balancers. Times are in milliseconds.
trait Way {
    /// The backends are these from now on.
    fn change(&mut self, pool: &Pool, now: u32) -> Result<()>;
    /// Time went by: once a second.
    fn pass(&mut self, now: u32);
    /// A balancer is gone, and what it knew.
    fn lose(&mut self, balancer: usize);
    /// A lost balancer is back, and knows nothing.
    fn regain(&mut self, balancer: usize, pool: &Pool, now: u32) -> Result<()>;
    /// Where a packet of a flow is sent to.
    fn send(&mut self, balancer: usize, packet: Packet, now: u32) -> Option<SocketAddr>;
    /// Flows that are remembered, on all balancers.
    fn entries(&self) -> usize;
    /// Flows that were ever recorded because they began in a slot that moved, where that is how flows come to be recorded.
    fn recorded(&self) -> Option<u64>;
}

/// A client's packet.
#[derive(Clone, Copy, Debug)]
struct Packet {
    /// Number of the flow.
    flow: u32,
    kind: PacketKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PacketKind {
    Opens,
    Data,
    Ends,
}

/// Runs the simulation in all ways.
pub fn simulate(scale: &Scale) -> Result<Report> {
    let mut random = Random::new(scale.seed);
    let pool = Pool::new(scale.backends, &mut random);
    let ways: Vec<(&'static str, Box<dyn Way>)> = vec![
        ("maglev", Box::new(Maglev::default())),
        ("maglev+lru", Box::new(Lru::new(BALANCERS, scale.lru_entries))),
        ("lb", Box::new(Lb::new(BALANCERS, false))),
        ("lb+record-on-sight", Box::new(Lb::new(BALANCERS, true))),
    ];
    let (names, ways): (Vec<_>, Vec<_>) = ways.into_iter().unzip();
    let steps = timetable(&pool, &mut random);
    let end = steps.last().map_or(0, |(at, ..)| at + 60_000);
    let mut simulation = Simulation {
        tally: Tally::new(names),
        ways,
        pool,
        crowd: Crowd::new(scale.flows, end, random),
        alive: (0..BALANCERS).collect(),
    };
    simulation.run(&steps, end)?;
    Ok(simulation.tally.report(scale))
}

struct Simulation {
    ways: Vec<Box<dyn Way>>,
    pool: Pool,
    crowd: Crowd,
    tally: Tally,
    /// Balancers that a router sends flows to.
    alive: Vec<usize>,
}

impl Simulation {
    fn run(&mut self, steps: &[(u32, Kind, Step)], end: u32) -> Result<()> {
        self.changed(0)?;
        let mut steps = steps.iter().peekable();
        for second in 0..end / 1000 {
            let now = second * 1000;
            while let Some((_, kind, step)) = steps.next_if(|(at, ..)| *at <= now) {
                self.take(*kind, *step, now)?;
            }
            self.talk(now + 1000);
            self.ways.iter_mut().for_each(|way| way.pass(now + 1000));
            self.tally.note_entries(&self.ways);
        }
        Ok(())
    }

    fn take(&mut self, kind: Kind, step: Step, now: u32) -> Result<()> {
        self.tally.begin(kind, self.crowd.alive());
        match step {
            Step::Lose(balancer) => {
                self.alive.retain(|alive| *alive != balancer);
                self.ways.iter_mut().for_each(|way| way.lose(balancer));
            }
            Step::Regain(balancer) => {
                self.alive.push(balancer);
                self.alive.sort_unstable();
                self.ways.iter_mut().try_for_each(|way| way.regain(balancer, &self.pool, now))?;
            }
            Step::Pool(change) => {
                self.pool.change(change);
                self.crowd.bury(|backend| self.pool.is_dead(backend));
                self.changed(now)?;
            }
        }
        Ok(())
    }

    fn changed(&mut self, now: u32) -> Result<()> {
        self.ways.iter_mut().try_for_each(|way| way.change(&self.pool, now))
    }

    /// All packets until then.
    fn talk(&mut self, until: u32) {
        while let Some(Turn { at, packet, silent_for }) = self.crowd.next(until) {
            let balancer = self.alive[crowd::spread(packet.flow, self.alive.len())];
            for (number, way) in self.ways.iter_mut().enumerate() {
                let Some(owner) = self.crowd.owner(packet.flow, number) else { continue };
                let reached = way.send(balancer, packet, at);
                if packet.kind == PacketKind::Opens {
                    self.crowd.own(packet.flow, number, reached);
                } else if reached != owner {
                    self.tally.broken(number, silent_for > IDLE_SECONDS * 1000);
                    self.crowd.leave(packet.flow, number);
                }
            }
            self.crowd.spoke(packet.flow, at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The claim: no change that leaves a flow's backend alive breaks it, but flows that were silent for longer than the
    /// idle time; and no more is remembered than flows that began in a slot that moved.
    #[test]
    fn no_change_breaks_a_flow_that_its_backend_could_have_kept() {
        let scale = Scale { seed: 1, flows: 1500, backends: 3, lru_entries: 16 };
        let report = simulate(&scale).unwrap();
        report.check().unwrap();
        let broken = |way| report.rows(way).map(|row| row.broken).sum::<u64>();
        assert!(
            broken("maglev") > 100 && broken("maglev+lru") > 50,
            "the simulation breaks nothing: {report}"
        );
        assert!(report.peak("lb") > 0, "nothing was ever in transition: {report}");
    }

    #[test]
    fn the_same_seed_gives_the_same_report() {
        let scale = Scale { seed: 7, flows: 60, backends: 2, lru_entries: 16 };
        let report = || simulate(&scale).unwrap().to_string();
        assert_eq!(report(), report());
    }
}
