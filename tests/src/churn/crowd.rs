//! The flows: when each speaks, and where it is at home in each way of sending it on.

use super::{IDLE_SECONDS, Packet, PacketKind};
use crate::packets::random::Random;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::SocketAddr;

/// Ways that are simulated.
const WAYS: usize = 4;

/// A packet whose time has come.
pub(super) struct Turn {
    pub(super) at: u32,
    pub(super) packet: Packet,
    /// Milliseconds since the flow's packet before.
    pub(super) silent_for: u32,
}

/// Where a flow is at home in one way; nowhere once it is over.
type Home = Option<Option<SocketAddr>>;

/// A flow that lives.
struct Flow {
    ends: u32,
    spoke: u32,
    homes: [Home; WAYS],
}

/// All flows.
pub(super) struct Crowd {
    flows: HashMap<u32, Flow>,
    agenda: BinaryHeap<Reverse<(u32, u32)>>,
    random: Random,
}

impl Crowd {
    /// So many flows that begin at random times before `end`.
    pub(super) fn new(flows: u32, end: u32, mut random: Random) -> Self {
        let mut begin = |flow| Reverse((below(&mut random, end), flow));
        let agenda = (0..flows).map(&mut begin).collect();
        Self { flows: HashMap::new(), agenda, random }
    }

    /// Flows that live now.
    pub(super) fn alive(&self) -> u64 {
        self.flows.len() as u64
    }

    /// The next packet before `until`.
    pub(super) fn next(&mut self, until: u32) -> Option<Turn> {
        let Reverse((at, number)) = self.agenda.peek().copied().filter(|Reverse((at, _))| *at < until)?;
        self.agenda.pop();
        let Some(flow) = self.flows.get(&number) else {
            return Some(self.begin(at, number));
        };
        let kind = if at >= flow.ends { PacketKind::Ends } else { PacketKind::Data };
        Some(Turn { at, packet: Packet { flow: number, kind }, silent_for: at - flow.spoke })
    }

    fn begin(&mut self, at: u32, number: u32) -> Turn {
        let ends = at + lifetime(&mut self.random);
        self.flows.insert(number, Flow { ends, spoke: at, homes: [Some(None); WAYS] });
        Turn { at, packet: Packet { flow: number, kind: PacketKind::Opens }, silent_for: 0 }
    }

    /// A flow sent what it had to send; it will again, if it is not over.
    pub(super) fn spoke(&mut self, number: u32, at: u32) {
        let Some(flow) = self.flows.get_mut(&number) else { return };
        let opened = flow.spoke == at && flow.ends > at;
        flow.spoke = at;
        if flow.ends <= at || flow.homes == [None; WAYS] {
            self.flows.remove(&number);
            return;
        }
        // The handshake's last packet follows at once.
        let pause = if opened { 1 } else { gap(&mut self.random) };
        let next = (at + pause).min(flow.ends.max(at + 1));
        self.agenda.push(Reverse((next, number)));
    }

    /// Where a flow is at home in a way; nothing if it is over there.
    pub(super) fn owner(&self, number: u32, way: usize) -> Home {
        self.flows.get(&number)?.homes[way]
    }

    /// A flow begins at this backend. Where nobody took it, it is over.
    pub(super) fn own(&mut self, number: u32, way: usize, home: Option<SocketAddr>) {
        if let Some(flow) = self.flows.get_mut(&number) {
            flow.homes[way] = home.map(Some);
        }
    }

    /// A flow is over in this way.
    pub(super) fn leave(&mut self, number: u32, way: usize) {
        self.own(number, way, None);
    }

    /// The flows of the dead are over.
    pub(super) fn bury(&mut self, is_dead: impl Fn(SocketAddr) -> bool) {
        for home in self.flows.values_mut().flat_map(|flow| &mut flow.homes) {
            if home.flatten().is_some_and(&is_dead) {
                *home = None;
            }
        }
    }
}

/// Which of so many balancers a router sends a flow to: a hash modulo their number, so that the loss of one moves most.
pub(super) fn spread(flow: u32, balancers: usize) -> usize {
    let hash = (u64::from(flow) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
    usize::try_from(hash).unwrap_or(0) % balancers
}

/// Half of the flows are short (ten seconds in the mean), half long (twenty minutes).
fn lifetime(random: &mut Random) -> u32 {
    let mean = if random.percent(50) { 10_000.0 } else { 1_200_000.0 };
    exponential(random, mean).max(10)
}

/// One of two hundred silences is longer than the idle time, up to three times as long; the others are thirty seconds in the
/// mean.
fn gap(random: &mut Random) -> u32 {
    let idle = IDLE_SECONDS * 1000;
    if random.below(200) == 0 {
        return idle + 2000 + below(random, 2 * idle);
    }
    exponential(random, 30_000.0).clamp(5, idle - 10_000)
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time of hours at most")]
fn exponential(random: &mut Random, mean: f64) -> u32 {
    let uniform = (f64::from(below(random, 1 << 24)) + 1.0) / f64::from(1u32 << 24);
    (-mean * uniform.ln()) as u32
}

fn below(random: &mut Random, bound: u32) -> u32 {
    u32::try_from(random.below(bound as usize)).unwrap_or(0)
}
