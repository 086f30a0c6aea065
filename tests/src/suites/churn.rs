//! Two thousand live connections through twenty changes in a row: none breaks but those of the one backend that is killed.

use std::env;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::routed;
use crate::daemon::Mode;
use crate::fleet::name;
use crate::runner::Case;
use crate::service::{Forward, Kind, config};
use crate::stage::{Set, Stage, shares};
use crate::topology::House;
use crate::traffic::crowd::{Crowd, Member, make_room};

const BACKENDS: usize = 6;
const CHANGES: usize = 20;
/// Connections from before the first change, and those that are begun after each.
const EARLY: usize = 1600;
const LATE: usize = 20;
/// The change at which a backend is killed, in the midst of the others.
const KILL: usize = 9;
/// From one change to the next, so that connections are asked on between them.
const SPACING: Duration = Duration::from_millis(400);
/// What the machine may lose of a crowd at its gathering: nothing.
const SEED: &str = "LB_TEST_SEED";
const MAX_WEIGHT: u64 = 4;

/// The cases of this suite.
pub(super) fn cases() -> Vec<Case> {
    super::cases(
        "churn",
        &[routed(Forward::Nat, Mode::Native), routed(Forward::DsrIpip, Mode::Native)],
        &[("two_thousand_connections_live_through_twenty_changes", live_through)],
    )
}

/// What the operator wants of each backend.
#[derive(Clone, Debug)]
struct Wish {
    weights: [u16; BACKENDS],
    drained: [bool; BACKENDS],
}

/// A change of one thing.
#[derive(Debug, Clone, Copy)]
enum Change {
    Weigh(usize, u16),
    Remove(usize),
    Drain(usize),
    Undrain(usize),
    Kill(usize),
}

impl Wish {
    /// Whether a backend takes new connections.
    fn takes(&self, index: usize) -> bool {
        self.weights[index] > 0 && !self.drained[index]
    }

    /// At least two must still take new connections without the backend at `index`.
    fn spares(&self, index: usize) -> bool {
        (0..BACKENDS).filter(|other| *other != index && self.takes(*other)).count() >= 2
    }

    fn choose(&self, random: &mut Random) -> Change {
        let index = random.below(BACKENDS as u64);
        let weight = u16::try_from(1 + random.below(MAX_WEIGHT)).unwrap_or(1);
        match random.below(3) {
            0 if self.weights[index] > 0 && self.spares(index) => Change::Remove(index),
            1 if self.takes(index) && self.spares(index) => Change::Drain(index),
            _ if self.drained[index] && self.weights[index] > 0 => Change::Undrain(index),
            _ => Change::Weigh(index, weight),
        }
    }

    fn apply(&mut self, stage: &mut Stage, change: Change) -> Result<()> {
        match change {
            Change::Weigh(index, weight) => self.weights[index] = weight,
            Change::Remove(index) => (self.weights[index], self.drained[index]) = (0, false),
            Change::Drain(index) => {
                self.drained[index] = true;
                return stage.daemon.drain(&Stage::path(Kind::Http, index));
            }
            Change::Undrain(index) => {
                self.drained[index] = false;
                return stage.daemon.undrain(&Stage::path(Kind::Http, index));
            }
            Change::Kill(index) => return stage.fleet.kill(index).map(drop),
        }
        stage.daemon.reload_text(&text(stage.set, &stage.house, &self.weights))
    }
}

fn live_through(set: Set) -> Result<()> {
    make_room()?;
    let mut random = Random::from_environment();
    let told = random.0;
    let mut wish = Wish { weights: [2, 1, 1, 1, 0, 0], drained: [false; BACKENDS] };
    let start = wish.weights;
    let mut stage = Stage::furnish(set, BACKENDS, |house| text(set, house, &start))?;
    (0..BACKENDS)
        .filter(|index| start[*index] > 0)
        .try_for_each(|index| stage.wait_for(Kind::Http, index, "up").map(drop))?;
    let crowd = Crowd::gather(&stage.house.client, stage.vip(Kind::Http), EARLY)?;
    let mut history = Vec::new();
    let killed = random.below(start.iter().filter(|weight| **weight > 0).count() as u64);
    for number in 0..CHANGES {
        let began = Instant::now();
        let change = if number == KILL { Change::Kill(killed) } else { wish.choose(&mut random) };
        wish.apply(&mut stage, change).with_context(|| format!("change {number}: {change:?}"))?;
        history.push(change);
        crowd.grow(LATE);
        thread::sleep(SPACING.saturating_sub(began.elapsed()));
    }
    // Every member has asked after the last change, those that had just asked before it included.
    thread::sleep(SPACING);
    let members = crowd.disperse()?;
    judge(&members, &name(killed)).with_context(|| format!("{SEED}={told}, the changes: {history:?}"))
}

fn judge(members: &[Member], killed: &str) -> Result<()> {
    let expected = EARLY + CHANGES * LATE;
    ensure!(members.len() == expected, "{} connections of {expected} were begun", members.len());
    let broken = |member: &&Member| member.broken.is_some();
    // One that was never answered may have gone to the killed one before it was known to be dead.
    let (lost, needless): (Vec<&Member>, Vec<&Member>) =
        members.iter().filter(broken).partition(|member| member.backend == killed || member.answers == 0);
    ensure!(needless.is_empty(), "{} broke needlessly, as {:?}", needless.len(), needless.first());
    let of_killed = members.iter().filter(|member| member.backend == killed).count();
    ensure!(of_killed > 0, "the killed backend had no connection");
    let unanswered = lost.iter().filter(|member| member.answers == 0).count();
    ensure!(unanswered <= LATE, "{unanswered} connections were never answered, as {:?}", lost.first());
    Ok(())
}

fn text(set: Set, house: &House, weights: &[u16]) -> String {
    config(&[Kind::Http.service(set.forward, set.clients, &shares(house, set.backends, weights))])
}

/// A stream of numbers that a seed tells wholly. Source: Steele, Lea and Flood, "Fast splittable pseudorandom number
/// generators", OOPSLA 2014 (`SplitMix64`).
struct Random(u64);

impl Random {
    fn from_environment() -> Self {
        Self(env::var(SEED).ok().and_then(|seed| seed.parse().ok()).unwrap_or(1))
    }

    fn below(&mut self, bound: u64) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ mixed >> 31) % bound.max(1)).unwrap_or_default()
    }
}
