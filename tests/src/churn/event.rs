//! What happens, and when.

use super::pool::{Change, Host, Pool};
use crate::packets::random::Random;

/// What a broken flow is put down to: the last thing that happened before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A backend is added.
    Added,
    /// A backend is taken out of the configuration.
    Removed,
    /// A backend drains, or takes flows again.
    Drained,
    /// A backend dies, and comes back.
    Killed,
    /// A backend gets another weight.
    Reweighed,
    /// A backend dies and is back within seconds.
    Flapped,
    /// Several changes within a second.
    Burst,
    /// All backends are restarted, one after the other: drained, down, up, undrained.
    RollingRestart,
    /// One of the balancers is lost, or back, while no slot moves.
    BalancerLost,
    /// The same while slots move.
    BalancerLostMoving,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 10] = [
        Self::Added,
        Self::Removed,
        Self::Drained,
        Self::Killed,
        Self::Reweighed,
        Self::Flapped,
        Self::Burst,
        Self::RollingRestart,
        Self::BalancerLost,
        Self::BalancerLostMoving,
    ];

    /// The word in reports.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Drained => "drained",
            Self::Killed => "killed",
            Self::Reweighed => "re-weighed",
            Self::Flapped => "flapped",
            Self::Burst => "burst",
            Self::RollingRestart => "rolling-restart",
            Self::BalancerLost => "balancer-lost",
            Self::BalancerLostMoving => "balancer-lost-moving",
        }
    }
}

/// One thing that happens.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Pool(Change),
    Lose(usize),
    Regain(usize),
}

/// A step, when it happens (in milliseconds) and what it belongs to.
pub(super) type Timed = (u32, Kind, Step);

/// Between two changes.
const PAUSE: u32 = 20_000;
/// How often each change comes.
const ROUNDS: usize = 3;

/// Everything that happens in a simulation, in its order.
pub(super) fn timetable(pool: &Pool, random: &mut Random) -> Vec<Timed> {
    let mut table = Table { hosts: pool.members.keys().copied().collect(), steps: Vec::new(), now: 100_000 };
    table.lose(Kind::BalancerLost, 1);
    for _ in 0..ROUNDS {
        table.round(random);
    }
    table.rolling_restart();
    table.weigh(random);
    table.lose(Kind::BalancerLostMoving, 2);
    table.steps
}

struct Table {
    hosts: Vec<Host>,
    steps: Vec<Timed>,
    now: u32,
}

impl Table {
    fn after(&mut self, pause: u32, kind: Kind, step: Step) {
        self.steps.push((self.now, kind, step));
        self.now += pause;
    }

    fn one(&self, random: &mut Random) -> Host {
        *random.one_of(&self.hosts)
    }

    fn lose(&mut self, kind: Kind, balancer: usize) {
        self.after(60_000, kind, Step::Lose(balancer));
        self.after(60_000, kind, Step::Regain(balancer));
    }

    /// Each kind of change once.
    fn round(&mut self, random: &mut Random) {
        self.add();
        self.twice(random, Kind::Killed, PAUSE, [Change::Down, Change::Up]);
        self.weigh(random);
        self.twice(random, Kind::Drained, PAUSE, [Change::Drain, Change::Undrain]);
        self.twice(random, Kind::Flapped, 3000, [Change::Down, Change::Up]);
        self.remove(random);
        for change in [Change::Drain, Change::Undrain] {
            let host = self.one(random);
            self.after(200, Kind::Burst, Step::Pool(change(host)));
            let (host, weight) = (self.one(random), 1 + random.word(5));
            self.after(200, Kind::Burst, Step::Pool(Change::Weigh(host, weight)));
        }
        for host in self.hosts.clone() {
            self.after(0, Kind::Burst, Step::Pool(Change::Undrain(host)));
        }
        self.now += PAUSE;
    }

    fn add(&mut self) {
        let host = self.hosts.iter().max().copied().unwrap_or(0) + 1;
        self.hosts.push(host);
        self.after(PAUSE, Kind::Added, Step::Pool(Change::Add(host)));
    }

    fn remove(&mut self, random: &mut Random) {
        let host = self.one(random);
        self.hosts.retain(|other| *other != host);
        self.after(PAUSE, Kind::Removed, Step::Pool(Change::Remove(host)));
    }

    fn weigh(&mut self, random: &mut Random) {
        let change = Change::Weigh(self.one(random), 1 + random.word(5));
        self.after(PAUSE, Kind::Reweighed, Step::Pool(change));
    }

    fn twice(&mut self, random: &mut Random, kind: Kind, pause: u32, [first, then]: [fn(Host) -> Change; 2]) {
        let host = self.one(random);
        self.after(pause, kind, Step::Pool(first(host)));
        self.after(PAUSE, kind, Step::Pool(then(host)));
    }

    fn rolling_restart(&mut self) {
        let kind = Kind::RollingRestart;
        for host in self.hosts.clone() {
            self.after(8000, kind, Step::Pool(Change::Drain(host)));
            self.after(2000, kind, Step::Pool(Change::Down(host)));
            self.after(0, kind, Step::Pool(Change::Undrain(host)));
            self.after(2000, kind, Step::Pool(Change::Up(host)));
        }
    }
}
