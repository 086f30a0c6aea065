//! What was broken, by what, and in which way.

use super::event::Kind;
use super::{Scale, Way};
use std::collections::BTreeMap;
use std::fmt;

/// Counts as a simulation runs.
pub(super) struct Tally {
    names: Vec<&'static str>,
    now: Option<Kind>,
    /// Times that a kind of thing happened, and flows that lived at the time, at most.
    happened: BTreeMap<Kind, (u64, u64)>,
    broken: BTreeMap<(usize, Kind), Broken>,
    peaks: Vec<usize>,
    recorded: Vec<Option<u64>>,
}

#[derive(Clone, Copy, Default)]
struct Broken {
    all: u64,
    silent: u64,
}

impl Tally {
    pub(super) fn new(names: Vec<&'static str>) -> Self {
        let (peaks, recorded) = (vec![0; names.len()], vec![None; names.len()]);
        Self { names, now: None, happened: BTreeMap::new(), broken: BTreeMap::new(), peaks, recorded }
    }

    /// This happens now, to so many flows.
    pub(super) fn begin(&mut self, kind: Kind, flows: u64) {
        self.now = Some(kind);
        let (times, most) = self.happened.entry(kind).or_default();
        (*times, *most) = (*times + 1, flows.max(*most));
    }

    /// A flow was broken.
    pub(super) fn broken(&mut self, way: usize, silent: bool) {
        let Some(kind) = self.now else { return };
        let broken = self.broken.entry((way, kind)).or_default();
        broken.all += 1;
        broken.silent += u64::from(silent);
    }

    /// Looks at how much is remembered.
    pub(super) fn note_entries(&mut self, ways: &[Box<dyn Way>]) {
        for (number, way) in ways.iter().enumerate() {
            self.peaks[number] = self.peaks[number].max(way.entries());
            self.recorded[number] = way.recorded();
        }
    }

    pub(super) fn report(self, scale: &Scale) -> Report {
        let rows = Kind::ALL.into_iter().flat_map(|kind| {
            let (times, flows) = self.happened.get(&kind).copied().unwrap_or_default();
            let broken = &self.broken;
            self.names.iter().enumerate().map(move |(way, name)| {
                let Broken { all, silent } = broken.get(&(way, kind)).copied().unwrap_or_default();
                Row { way: name, kind, times, flows, broken: all, silent }
            })
        });
        let rows = rows.collect();
        let peaks = self.names.iter().copied().zip(self.peaks).zip(self.recorded);
        let ways = peaks.map(|((way, peak), recorded)| Memory { way, peak, recorded }).collect();
        Report { scale: *scale, rows, ways }
    }
}

/// What a simulation found.
#[derive(Clone, Debug)]
pub struct Report {
    /// What it was of.
    pub scale: Scale,
    /// A row for each kind of thing that happened and each way.
    pub rows: Vec<Row>,
    ways: Vec<Memory>,
}

/// Flows that one kind of thing broke in one way. Flows whose backend died are not among them.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The way.
    pub way: &'static str,
    /// What happened.
    pub kind: Kind,
    /// How often.
    pub times: u64,
    /// Flows that lived when it happened, at most.
    pub flows: u64,
    /// Flows that came to another backend than theirs, which was alive.
    pub broken: u64,
    /// Those of them that had been silent for longer than the idle time.
    pub silent: u64,
}

/// What a way remembered.
#[derive(Clone, Copy, Debug)]
struct Memory {
    way: &'static str,
    peak: usize,
    recorded: Option<u64>,
}

impl Report {
    /// The rows of one way.
    pub fn rows(&self, way: &str) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.way == way)
    }

    /// Flows that a way remembered at once, over all balancers, at most.
    #[must_use]
    pub fn peak(&self, way: &str) -> usize {
        self.ways.iter().find(|memory| memory.way == way).map_or(0, |memory| memory.peak)
    }

    /// Whether the claims hold; what does not.
    pub fn check(&self) -> Result<(), String> {
        let lost = |row: &&Row| row.kind != Kind::BalancerLostMoving && row.broken > row.silent;
        if let Some(row) = self.rows("lb").find(lost) {
            return Err(format!("seed {}: broken needlessly: {row:?}", self.scale.seed));
        }
        let remembered = |memory: &&Memory| memory.recorded.is_some_and(|most| memory.peak as u64 > most);
        match self.ways.iter().find(remembered) {
            Some(memory) => Err(format!("seed {}: more entries than recorded: {memory:?}", self.scale.seed)),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Scale { seed, flows, backends, lru_entries } = self.scale;
        writeln!(
            f,
            "{flows} flows, {backends} backends at first, seed {seed}, {lru_entries} entries a table of the LRU\n"
        )?;
        write!(f, "{:<22}{:>6}{:>9}", "broken needlessly by", "times", "flows")?;
        self.ways.iter().try_for_each(|memory| write!(f, "{:>20}", memory.way))?;
        for kind in Kind::ALL {
            let rows = || self.rows.iter().filter(move |row| row.kind == kind);
            let Some(first) = rows().next() else { continue };
            write!(f, "\n{:<22}{:>6}{:>9}", kind.label(), first.times, first.flows)?;
            rows().try_for_each(|row| write!(f, "{:>20}", of(row.broken, row.silent)))?;
        }
        write!(f, "\n{:<37}", "in all (of them silent)")?;
        for memory in &self.ways {
            let sum = |count: fn(&Row) -> u64| self.rows(memory.way).map(count).sum();
            write!(f, "{:>20}", of(sum(|row| row.broken), sum(|row| row.silent)))?;
        }
        write!(f, "\n{:<37}", "entries held at most")?;
        self.ways.iter().try_for_each(|memory| write!(f, "{:>20}", memory.peak))?;
        writeln!(f)
    }
}

fn of(broken: u64, silent: u64) -> String {
    if silent == 0 { broken.to_string() } else { format!("{broken} ({silent})") }
}
