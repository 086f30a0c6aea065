//! Where a source is from, by the lists; see [`Outline`] and [`ListNode`] for how they lie.

use super::GuardTables;
use crate::abi::{Address, Ip, Kind, ListEntry, ListNode, Origin, Outline};

/// Steps behind the roots that an IPv4 address has bits for.
const STEPS_V4: u32 = 3;
/// Those of the first half of an IPv6 address.
const STEPS_HIGH: u32 = 12;
/// Those of the other half.
const STEPS_LOW: u32 = 16;

/// What the list in force knows of a source by its network, unless the trie has to be asked: [`origin`].
#[inline(always)]
pub fn outlined<A: Ip>(tables: &impl GuardTables, source: A) -> Option<Origin> {
    if A::VERSION != 4 {
        return None;
    }
    let address = source.widen().as_v4();
    tables.outline(Outline::place(address)).origin(address)
}

/// What the trie in force knows of a source.
#[inline(always)]
pub fn origin<A: Ip>(tables: &impl GuardTables, source: A) -> Origin {
    let first = tables.guard_state().list;
    let Address([a, b, c, d]) = source.widen();
    let high = u64::from(a.get()) << 32 | u64::from(b.get());
    let Some(root) = tables.list_node(first + root::<A>(high)) else { return Origin::default() };
    let found = if A::VERSION == 4 {
        walk::<STEPS_V4>(tables, first, root.entry((high >> 44) as u32), high << 20)
    } else {
        let half = walk::<STEPS_HIGH>(tables, first, root.entry((high >> 48) as u32), high << 16);
        walk::<STEPS_LOW>(tables, first, half, u64::from(c.get()) << 32 | u64::from(d.get()))
    };
    match found.kind() {
        Kind::Leaf(origin) => origin,
        Kind::Lone(place) => match tables.list_node(first + place) {
            Some(lone) if A::VERSION == 4 => lone.origin_v4(a),
            Some(lone) => lone.origin_v6([a, b, c, d]),
            None => Origin::default(),
        },
        Kind::Node(_) => Origin::default(),
    }
}

/// The root of an address: the first of its bits.
#[inline(always)]
const fn root<A: Ip>(high: u64) -> u32 {
    if A::VERSION == 4 { (high >> 48) as u32 } else { ListNode::ROOTS_V4 + (high >> 52) as u32 }
}

/// From node to node, by four bits a step, until there is something else.
#[inline(always)]
fn walk<const STEPS: u32>(
    tables: &impl GuardTables,
    first: u32,
    mut entry: ListEntry,
    mut bits: u64,
) -> ListEntry {
    for _ in 0..STEPS {
        let Kind::Node(place) = entry.kind() else { break };
        let Some(node) = tables.list_node(first + place) else { break };
        entry = node.entry((bits >> 60) as u32);
        bits <<= ListNode::BITS;
    }
    entry
}
