//! The flow records of one address family, in memory that the kernel programs and the daemon share: read, taken out, and
//! walked through a bounded batch at a time. What may be done to a line is said in [`lb_common::datapath::lines`].

use super::maps::refused;
use super::memory::Memory;
use super::{LoadError, TableError};
use lb_common::abi::{Flow, FlowKey, Ip, Line};
use lb_common::datapath::Refused;
use lb_common::datapath::lines::{self, Lines};
use std::io;
use std::ops::Range;

/// Lines in one batch: a mebibyte or two, read in well under a millisecond.
const BATCH: u32 = 16_384;

/// The records of one family.
#[derive(Debug)]
pub struct FlowRecords<A: Ip> {
    memory: Memory<Line<A>>,
    mask: u32,
    /// Seed of the flow hash.
    seed: u64,
    name: &'static str,
}

impl<A: Ip> Lines<A> for FlowRecords<A> {
    fn mask(&self) -> u32 {
        self.mask
    }

    fn line(&self, number: u32) -> Option<&Line<A>> {
        self.memory.values().get(number as usize)
    }
}

impl<A: Ip> FlowRecords<A> {
    pub(super) fn take(
        object: &mut aya::Ebpf,
        name: &'static str,
        (lines, seed): (u32, u64),
    ) -> Result<Self, LoadError> {
        let memory = Memory::take(object, name, lines)?;
        Ok(Self { memory, mask: lines - 1, seed, name })
    }

    /// The record of one flow, if there is one.
    #[must_use]
    pub fn get(&self, key: &FlowKey<A>) -> Option<Flow<A>> {
        lines::find(self, key, key.hash(self.seed)).map(read)
    }

    /// Writes a record, for tests; in service only the kernel does.
    pub fn write(&self, key: &FlowKey<A>, flow: &Flow<A>) -> Result<(), TableError> {
        let hash = key.hash(self.seed);
        if let Some(line) = lines::find(self, key, hash) {
            write(line, flow);
            return Ok(());
        }
        let full = |_: Refused| refused("write to", self.name)(io::ErrorKind::StorageFull.into());
        let number = lines::reserve(self, key, hash).map_err(full)?;
        if let Some(line) = self.line(number) {
            write(line, flow);
            line.publish();
        }
        Ok(())
    }

    /// Takes a record out; it may be gone already.
    pub fn delete(&self, key: &FlowKey<A>) {
        lines::remove(self, key, key.hash(self.seed));
    }

    /// Takes all records out, for tests, while no packets come.
    pub fn empty(&mut self) {
        self.memory.clear();
    }

    /// The next batch of records of a walk; `false` when it was the last. Records that live through the whole walk are
    /// seen exactly once, since none ever moves; others once or not at all.
    pub fn next(&self, walk: &mut FlowWalk<A>) -> bool {
        let numbers = walk.next..walk.next.saturating_add(BATCH).min(self.mask + 1);
        let live = numbers.clone().filter_map(|number| self.entry(number));
        walk.batch = live.collect();
        let more = numbers.end <= self.mask;
        walk.next = if more { numbers.end } else { 0 };
        walk.seen = numbers;
        more
    }

    /// The key and the record of a live line.
    fn entry(&self, number: u32) -> Option<(FlowKey<A>, Flow<A>)> {
        let line = self.line(number)?;
        let word = line.word();
        word.is_live(word.key()).then(|| (line.key(word), read(line)))
    }

    /// Gives lines among those of a walk's last batch back, if nobody can be looking at them any more: they were dead
    /// already when the walk before came by.
    pub fn reclaim(&self, walk: &FlowWalk<A>) {
        walk.seen.clone().for_each(|number| lines::reclaim(self, number, |key| key.hash(self.seed)));
    }
}

#[allow(unsafe_code, reason = "the kernel programs write what is read here")]
fn read<A: Ip>(line: &Line<A>) -> Flow<A> {
    // SAFETY: the pointer is to the line's own record, which is plain numbers; they may change meanwhile.
    unsafe { line.flow().read_volatile() }
}

#[allow(unsafe_code, reason = "the kernel programs read what is written here")]
fn write<A: Ip>(line: &Line<A>, flow: &Flow<A>) {
    // SAFETY: as for reading.
    unsafe { line.flow().write_volatile(*flow) };
}

/// A walk through the flow records, a bounded batch at a time.
#[derive(Debug)]
pub struct FlowWalk<A: Ip> {
    next: u32,
    seen: Range<u32>,
    batch: Vec<(FlowKey<A>, Flow<A>)>,
}

impl<A: Ip> Default for FlowWalk<A> {
    fn default() -> Self {
        Self { next: 0, seen: 0..0, batch: Vec::new() }
    }
}

impl<A: Ip> FlowWalk<A> {
    /// The batch read last.
    pub fn batch(&self) -> impl Iterator<Item = (FlowKey<A>, Flow<A>)> {
        self.batch.iter().copied()
    }
}
