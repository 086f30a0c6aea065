//! The guard's maps: rules, lists and blocks written, nothing read back.

use super::bpf;
use super::direct::Writer;
use super::maps::{Raw, failed, is_missing, refused, take, zero};
use super::{LoadError, TableError};
use aya::Ebpf;
use aya::maps::{Array, HashMap, IterableMap as _, MapData, MapError};
use lb_common::abi::{
    BlockKey, Bucket, BucketLine, GuardRule, GuardState, List, ListNode, Outline, Table, Ticks, limits,
};
use std::os::fd::AsFd as _;
use std::{io, iter};

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
    /// The outline as it is, as far as it was written; all of it is unknown after a failure.
    outline: Option<Vec<Outline>>,
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
            outline: Some(Vec::new()),
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

    /// Puts a list in the place of the one in force. What its outline says otherwise is left to the trie meanwhile.
    pub fn write_list(&mut self, list: &List) -> Result<(), TableError> {
        if list.nodes.len() > self.list_room() {
            let error = format!("{} nodes, and room for {}", list.nodes.len(), self.list_room());
            return Err(refused("write to", LISTS)(io::Error::new(io::ErrorKind::InvalidInput, error)));
        }
        let before = self.outline.take();
        let changes = changes(before.as_deref(), &list.outline);
        let unsure: Vec<_> =
            changes.iter().map(|(place, [old, new])| (*place, old.unsure_beside(*new))).collect();
        self.writer.write(Table::GuardOutline, &unsure)?;
        self.write_nodes(&list.nodes)?;
        let sure: Vec<_> = changes.iter().map(|(place, [_, new])| (*place, *new)).collect();
        self.writer.write(Table::GuardOutline, &sure)?;
        self.outline = Some(list.outline.clone());
        Ok(())
    }

    /// Writes a trie where the one before that in force was. Then it is found at once: a packet, whose way takes less than
    /// a microsecond, sees one of them.
    fn write_nodes(&mut self, nodes: &[ListNode]) -> Result<(), TableError> {
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

    /// Empties all of them but the lists, which stay in force until others are written; for tests.
    pub(super) fn reset(&mut self) -> Result<(), TableError> {
        if self.buckets.len() == 1 {
            return Ok(());
        }
        self.write_block_count(0)?;
        self.writer.clear::<GuardRule>(Table::GuardRules, 0..limits::GUARD_RULES)?;
        zero(&self.buckets, self.buckets.len()).map_err(refused("write to", BUCKETS))?;
        zero(&self.budgets, limits::GUARD_RULES).map_err(refused("write to", BUDGETS))?;
        let keys: Result<Vec<_>, MapError> = self.blocks.keys().collect();
        for key in keys.map_err(failed("read", BLOCKS))? {
            self.blocks.remove(&key).map_err(failed("delete from", BLOCKS))?;
        }
        Ok(())
    }
}

/// The words of an outline that change, as they are and as they are to be; all of them where nobody knows what they are,
/// so that the trie is asked of each first.
fn changes(before: Option<&[Outline]>, after: &[Outline]) -> Vec<(u32, [Outline; 2])> {
    let places = 0..Outline::WORDS;
    match before {
        Some(before) => {
            let pairs = places.zip(whole(before).zip(whole(after)));
            pairs
                .filter(|(_, (old, new))| old != new)
                .map(|(place, (old, new))| (place, [old, new]))
                .collect()
        }
        None => places.zip(whole(after)).map(|(place, new)| (place, [Outline::UNSURE, new])).collect(),
    }
}

/// An outline with the words behind it, which say nothing.
fn whole(outline: &[Outline]) -> impl Iterator<Item = Outline> {
    outline.iter().copied().chain(iter::repeat(Outline::default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb_common::abi::Origin;

    #[test]
    fn an_outline_changes_where_two_lists_differ_and_everywhere_after_a_failure() {
        let denied = Outline::all(Origin::DENIED);
        let (before, after) = ([denied, denied], [denied, Outline::default(), denied]);
        assert_eq!(
            changes(Some(&before), &after),
            [(1, [denied, Outline::default()]), (2, [Outline::default(), denied])]
        );
        let unknown = changes(None, &after);
        assert_eq!(unknown.len(), Outline::WORDS as usize);
        assert!(unknown.iter().all(|(_, [old, new])| old.unsure_beside(*new) == Outline::UNSURE));
    }
}
