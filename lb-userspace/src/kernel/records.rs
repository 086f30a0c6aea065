//! The flow records of one address family: read, deleted, and walked through a bounded batch at a time.

use super::TableError;
use super::bpf::{self, Position};
use super::maps::{failed, is_missing, refused};
use aya::Pod;
use aya::maps::{HashMap, IterableMap as _, MapData, MapError};
use lb_common::abi::{Flow, FlowKey, Ip};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};

/// Records in one batch: some hundred kibibytes, read in well under a millisecond.
const BATCH: usize = 4096;

/// A flow's key as aya wants it.
#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
struct RawKey<A>(FlowKey<A>);

/// A record as aya wants it.
#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
struct RawFlow<A>(Flow<A>);

#[allow(unsafe_code, reason = "aya's marker says what ours says")]
// SAFETY: transparent over a type that is `Plain` for both families there are.
unsafe impl<A: Ip> Pod for RawKey<A> {}

#[allow(unsafe_code, reason = "aya's marker says what ours says")]
// SAFETY: as above.
unsafe impl<A: Ip> Pod for RawFlow<A> {}

/// The records of one family.
pub struct FlowRecords<A: Ip> {
    map: HashMap<MapData, RawKey<A>, RawFlow<A>>,
    name: &'static str,
}

impl<A: Ip> std::fmt::Debug for FlowRecords<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FlowRecords").field("map", &self.name).finish_non_exhaustive()
    }
}

impl<A: Ip> FlowRecords<A> {
    pub(super) fn take(object: &mut aya::Ebpf, name: &'static str) -> Result<Self, super::LoadError> {
        super::maps::take(object, name).map(|map| Self { map, name })
    }

    /// The record of one flow, if there is one.
    pub fn get(&self, key: &FlowKey<A>) -> Result<Option<Flow<A>>, TableError> {
        match self.map.get(&RawKey(*key), 0) {
            Ok(RawFlow(flow)) => Ok(Some(flow)),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(failed("read", self.name)(error)),
        }
    }

    /// Writes a record, for tests; in service only the kernel does.
    pub fn write(&mut self, key: &FlowKey<A>, flow: &Flow<A>) -> Result<(), TableError> {
        self.map.insert(RawKey(*key), RawFlow(*flow), 0).map_err(failed("write to", self.name))
    }

    /// Deletes a record; it may be gone already.
    pub fn delete(&mut self, key: &FlowKey<A>) -> Result<(), TableError> {
        match self.map.remove(&RawKey(*key)) {
            Err(error) if !is_missing(&error) => Err(failed("delete from", self.name)(error)),
            _ => Ok(()),
        }
    }

    /// Deletes all records, for tests.
    pub fn empty(&mut self) -> Result<(), TableError> {
        let keys =
            self.map.keys().collect::<Result<Vec<_>, _>>().map_err(failed("walk through", self.name))?;
        keys.into_iter().try_for_each(|RawKey(key)| self.delete(&key))
    }

    /// The next batch of records of a walk; `false` when it was the last. Records that live through the whole walk are
    /// seen exactly once, since the kernel goes bucket by bucket; others once or not at all.
    pub fn next(&self, walk: &mut FlowWalk<A>) -> Result<bool, TableError> {
        walk.next(self.map.map().fd().as_fd()).map_err(refused("walk through", self.name))
    }
}

/// A walk through the flow records, a bounded batch at a time.
#[derive(Debug)]
pub struct FlowWalk<A: Ip> {
    position: Position,
    keys: Vec<RawKey<A>>,
    flows: Vec<RawFlow<A>>,
    found: usize,
}

impl<A: Ip> Default for FlowWalk<A> {
    fn default() -> Self {
        Self {
            position: Position::default(),
            keys: vec![RawKey(FlowKey::default()); BATCH],
            flows: vec![RawFlow(Flow::default()); BATCH],
            found: 0,
        }
    }
}

impl<A: Ip> FlowWalk<A> {
    /// The batch read last.
    pub fn batch(&self) -> impl Iterator<Item = (FlowKey<A>, Flow<A>)> {
        self.keys.iter().zip(&self.flows).take(self.found).map(|(key, flow)| (key.0, flow.0))
    }

    fn next(&mut self, map: BorrowedFd<'_>) -> io::Result<bool> {
        let (found, next) = bpf::lookup(map, self.position, &mut self.keys, &mut self.flows)?;
        self.found = found;
        self.position = next.unwrap_or_default();
        Ok(next.is_some())
    }
}
