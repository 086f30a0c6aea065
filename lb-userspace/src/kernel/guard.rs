//! The guard's maps: rules, lists and blocks written, nothing read back.

use super::bpf;
use super::direct::Writer;
use super::maps::{Raw, failed, is_missing, refused, take, zero};
use super::{LoadError, TableError};
use aya::Ebpf;
use aya::maps::{Array, HashMap, IterableMap as _, MapData, MapError};
use lb_common::abi::{BlockKey, Bucket, BucketLine, GuardRule, GuardState, ListNode, Table, Ticks, limits};
use std::io;
use std::os::fd::AsFd as _;

pub(super) const LISTS: &str = "LISTS";
pub(super) const BLOCKS: &str = "BLOCKS";
pub(super) const BUCKETS: &str = "BUCKETS";
const BUDGETS: &str = "BUDGETS";

/// What the guard is told once, when it is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guarding {
    /// Nodes that a list may have. There is room for two lists.
    pub nodes: u32,
    /// Secret factors of the hash of sources.
    pub keys: [u64; 4],
    /// Whether any service may be answered for with SYN cookies.
    pub cookies: bool,
}

/// Handles of the guard's maps.
pub struct GuardMaps {
    writer: Writer,
    lists: Array<MapData, Raw<ListNode>>,
    blocks: HashMap<MapData, [u32; 4], Raw<Ticks>>,
    buckets: Array<MapData, Raw<BucketLine>>,
    budgets: Array<MapData, Raw<Bucket>>,
    /// What was last written there.
    current: GuardState,
}

impl GuardMaps {
    pub(super) fn take(object: &mut Ebpf, writer: Writer) -> Result<Self, LoadError> {
        Ok(Self {
            writer,
            lists: take(object, LISTS)?,
            blocks: take(object, BLOCKS)?,
            buckets: take(object, BUCKETS)?,
            budgets: take(object, BUDGETS)?,
            current: GuardState::default(),
        })
    }

    /// Writes the rule of a service.
    pub fn write_rule(&mut self, number: u32, rule: &GuardRule) -> Result<(), TableError> {
        self.write_rules(&[(number, *rule)])
    }

    /// Writes rules of services, at the price of one.
    pub fn write_rules(&mut self, rules: &[(u32, GuardRule)]) -> Result<(), TableError> {
        self.writer.write(Table::GuardRules, rules)
    }

    /// Nodes that a list may have.
    #[must_use]
    pub fn list_room(&self) -> usize {
        self.lists.len() as usize / 2
    }

    /// Puts a list in the place of the one in force. It is written where the one before that was, and then found at
    /// once: a packet, whose way takes less than a microsecond, sees one of them.
    pub fn write_list(&mut self, nodes: &[ListNode]) -> Result<(), TableError> {
        if nodes.len() > self.list_room() {
            let error = format!("{} nodes, and room for {}", nodes.len(), self.list_room());
            return Err(refused("write to", LISTS)(io::Error::new(io::ErrorKind::InvalidInput, error)));
        }
        let beside = if self.current.list == 0 { self.lists.len() / 2 } else { 0 };
        let (places, values): (Vec<u32>, Vec<_>) =
            (beside..).zip(nodes).map(|(place, node)| (place, Raw(*node))).unzip();
        bpf::update(self.lists.map().fd().as_fd(), &places, &values).map_err(refused("write to", LISTS))?;
        self.write_state(GuardState { list: beside, ..self.current })
    }

    /// Blocks an address until then, or for longer or shorter than before.
    pub fn block(&mut self, source: BlockKey, until: Ticks) -> Result<(), TableError> {
        let blocked = self.blocks.insert(source.to_words(), Raw(until), 0);
        blocked.map_err(failed("write to", BLOCKS))
    }

    /// Blocks an address no longer.
    pub fn unblock(&mut self, source: BlockKey) -> Result<(), TableError> {
        match self.blocks.remove(&source.to_words()) {
            Err(error) if !is_missing(&error) => Err(failed("delete from", BLOCKS)(error)),
            _ => Ok(()),
        }
    }

    /// Says how many addresses are blocked; nobody is looked up while there is none.
    pub fn write_block_count(&mut self, blocks: u32) -> Result<(), TableError> {
        self.write_state(GuardState { blocks, ..self.current })
    }

    /// Its words change one after the other, each right by itself.
    fn write_state(&mut self, state: GuardState) -> Result<(), TableError> {
        self.writer.write(Table::GuardState, &[(0, state)])?;
        self.current = state;
        Ok(())
    }

    /// Empties all of them but the lists, of which none is in force then; for tests.
    pub(super) fn reset(&mut self) -> Result<(), TableError> {
        if self.buckets.len() == 1 {
            return Ok(());
        }
        self.write_list(&[])?;
        let beside = self.current.list;
        let places: Vec<u32> = (beside..).take(self.list_room()).collect();
        let vacant = vec![Raw(ListNode::VACANT); places.len()];
        bpf::update(self.lists.map().fd().as_fd(), &places, &vacant).map_err(refused("write to", LISTS))?;
        self.write_block_count(0)?;
        self.writer.clear::<GuardRule>(Table::GuardRules, limits::GUARD_RULES)?;
        zero(&self.buckets, self.buckets.len()).map_err(refused("write to", BUCKETS))?;
        zero(&self.budgets, limits::GUARD_RULES).map_err(refused("write to", BUDGETS))?;
        let keys: Result<Vec<_>, MapError> = self.blocks.keys().collect();
        for key in keys.map_err(failed("read", BLOCKS))? {
            self.blocks.remove(&key).map_err(failed("delete from", BLOCKS))?;
        }
        Ok(())
    }
}
