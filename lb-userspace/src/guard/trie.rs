//! Builds the trie that the packet path walks through; see [`ListNode`] for how it lies.
//!
//! The most specific prefix that says something of a source decides. What the whole list has in common with a subtree is
//! handed down while it is built, so that nothing has to be looked back for.

use super::network::{Family, Network, mask};
use super::outline;
use lb_common::abi::{Address, Kind, List, ListEntry, ListNode, Origin};
use lb_common::wire::U32be;
use std::collections::BTreeMap;

/// What prefixes say. What is said twice of one holds together, but that an allowed one is not denied.
#[derive(Clone, Debug, Default)]
pub struct Marks(BTreeMap<Network, Origin>);

/// A prefix, and what it says.
pub(super) type Mark = (Network, Origin);

impl Marks {
    /// Notes that a prefix is so.
    pub fn add(&mut self, network: Network, origin: Origin) {
        let known = self.0.entry(network).or_default();
        *known = known.with(origin);
        if known.is(Origin::ALLOWED) {
            *known = known.without(Origin::DENIED).without(Origin::MARTIAN);
        }
    }

    /// Number of prefixes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is known of an address that lies in all of these prefixes and no other, the shortest first. The definition
    /// that the trie is tested by.
    #[must_use]
    pub fn origin(&self, address: Network) -> Origin {
        let covering = self.0.iter().filter(|(network, _)| {
            network.family == address.family && network.covers(address.start) && network.bits <= address.bits
        });
        covering.fold(Origin::default(), |origin, (_, said)| within(origin, *said))
    }

    /// The trie, its roots first, and its outline.
    #[must_use]
    pub fn build(&self) -> List {
        let mut trie = Trie { nodes: vec![ListNode::VACANT; ListNode::ROOTS as usize] };
        let [v4, v6] = [Family::V4, Family::V6].map(|family| self.of(family));
        trie.root(&v4, Block::ALL, Origin::default(), Roots::of(Family::V4));
        trie.root(&v6, Block::ALL, Origin::default(), Roots::of(Family::V6));
        List { nodes: trie.nodes, outline: outline::build(&v4) }
    }

    fn of(&self, family: Family) -> Vec<Mark> {
        let of_family = self.0.iter().filter(|(network, _)| network.family == family);
        of_family.map(|(network, origin)| (*network, *origin)).collect()
    }
}

/// What a prefix makes of what is known of those around it.
const fn within(around: Origin, said: Origin) -> Origin {
    if said.is(Origin::ALLOWED) {
        return around.without(Origin::DENIED).without(Origin::MARTIAN).with(said);
    }
    let overruled = said.is(Origin::DENIED) || said.is(Origin::MARTIAN);
    let around = if overruled { around.without(Origin::ALLOWED) } else { around };
    around.with(said)
}

/// The addresses that begin with these bits.
#[derive(Clone, Copy)]
pub(super) struct Block {
    pub(super) start: u128,
    pub(super) bits: u8,
}

impl Block {
    pub(super) const ALL: Self = Self { start: 0, bits: 0 };

    /// One of the sixteen blocks of four bits more.
    const fn part(self, number: u32) -> Self {
        let bits = self.bits + ListNode::BITS;
        Self { start: self.start | (number as u128) << (128 - bits as u32), bits }
    }
}

/// The nodes that addresses of one family begin at.
#[derive(Clone, Copy)]
struct Roots {
    first: usize,
    /// Bits of an address that tell them apart.
    bits: u8,
}

impl Roots {
    const fn of(family: Family) -> Self {
        match family {
            Family::V4 => Self { first: 0, bits: 16 },
            Family::V6 => Self { first: ListNode::ROOTS_V4 as usize, bits: 12 },
        }
    }

    fn place(self, start: u128) -> usize {
        self.first + usize::try_from(start >> (128 - u32::from(self.bits))).unwrap_or(0)
    }
}

struct Trie {
    nodes: Vec<ListNode>,
}

impl Trie {
    /// The roots of the block's addresses, by four bits more each time until there are enough.
    fn root(&mut self, marks: &[Mark], block: Block, around: Origin, roots: Roots) {
        let [first, last] = [block.start, block.start | !mask(block.bits)].map(|start| roots.place(start));
        if marks.is_empty() {
            let node = ListNode::new([ListEntry::new(Kind::Leaf(around)); 16]);
            self.nodes.get_mut(first..=last).into_iter().for_each(|nodes| nodes.fill(node));
        } else if block.bits < roots.bits {
            for (part, marks, around) in parts(marks, block, around) {
                self.root(&marks, part, around, roots);
            }
        } else {
            let entries = self.entries(marks, block, around);
            self.put(first, ListNode::new(entries));
        }
    }

    /// The sixteen ways on from a block.
    fn entries(&mut self, marks: &[Mark], block: Block, around: Origin) -> [ListEntry; 16] {
        let mut entries = [ListEntry::default(); 16];
        for (entry, (part, marks, around)) in entries.iter_mut().zip(parts(marks, block, around)) {
            *entry = self.entry(&marks, part, around);
        }
        entries
    }

    /// Where one of them leads: to what is known at once, to a single prefix, or to a node.
    fn entry(&mut self, marks: &[Mark], block: Block, around: Origin) -> ListEntry {
        match marks {
            [] => ListEntry::new(Kind::Leaf(around)),
            [(network, said)] => {
                let lone = ListNode::lone(
                    (address(network.start), address(mask(network.bits))),
                    within(around, *said),
                    around,
                );
                ListEntry::new(Kind::Lone(self.push(lone)))
            }
            several => {
                let place = self.push(ListNode::VACANT);
                let entries = self.entries(several, block, around);
                self.put(place as usize, ListNode::new(entries));
                ListEntry::new(Kind::Node(place))
            }
        }
    }

    fn push(&mut self, node: ListNode) -> u32 {
        let place = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        self.nodes.push(node);
        place
    }

    fn put(&mut self, place: usize, node: ListNode) {
        if let Some(slot) = self.nodes.get_mut(place) {
            *slot = node;
        }
    }
}

/// The parts of a block: of each the prefixes that lie in it, and what those say that it lies in.
pub(super) fn parts(
    marks: &[Mark],
    block: Block,
    around: Origin,
) -> impl Iterator<Item = (Block, Vec<Mark>, Origin)> {
    let bits = block.bits + ListNode::BITS;
    let (wide, narrow): (Vec<Mark>, Vec<Mark>) = marks.iter().partition(|(network, _)| network.bits <= bits);
    (0..16).map(move |number| {
        let part = block.part(number);
        let over = wide.iter().filter(|(network, _)| network.covers(part.start));
        let around = over.fold(around, |around, (_, said)| within(around, *said));
        let from = narrow.partition_point(|(network, _)| network.start < part.start);
        let last = part.start | !mask(bits);
        let inside = narrow.iter().skip(from).take_while(|(network, _)| network.start <= last);
        (part, inside.copied().collect(), around)
    })
}

fn address(bits: u128) -> Address {
    let word = |place: u32| U32be::new(u32::try_from(bits >> (96 - 32 * place) & 0xffff_ffff).unwrap_or(0));
    Address([word(0), word(1), word(2), word(3)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb_common::datapath::guard::{origin, outlined};
    use lb_common::datapath::{HostGuard, HostTables};
    use lb_common::wire::ipv6;
    use proptest::prelude::*;
    use std::net::IpAddr;

    fn walked(tables: &HostTables, address: Network) -> Origin {
        match address.address() {
            IpAddr::V4(v4) => origin(tables, U32be::from(v4.octets())),
            IpAddr::V6(v6) => origin(tables, ipv6::Address::from(v6.octets())),
        }
    }

    fn outline_of(tables: &HostTables, address: Network) -> Option<Origin> {
        match address.address() {
            IpAddr::V4(v4) => outlined(tables, U32be::from(v4.octets())),
            IpAddr::V6(v6) => outlined(tables, ipv6::Address::from(v6.octets())),
        }
    }

    fn tables(marks: &Marks) -> HostTables {
        let guard = HostGuard { lists: marks.build(), ..HostGuard::default() };
        HostTables { guard, ..HostTables::default() }
    }

    fn network(family: Family, bits: u128, length: u8) -> Network {
        match family {
            Family::V4 => {
                let length = length % 33;
                Network { family, start: bits & mask(length), bits: length }
            }
            Family::V6 => {
                let length = length % 129;
                Network { family, start: bits & mask(length), bits: length }
            }
        }
    }

    /// Prefixes that lie in one another often: few bits are drawn, and one of few addresses is begun from.
    fn any_network() -> impl Strategy<Value = Network> {
        let few = prop_oneof![Just(0u128), Just(0x2001_0db8_u128 << 96), Just(u128::MAX), any::<u128>()];
        (any::<bool>(), few, 0u32..128, 0u8..129).prop_map(|(v6, bits, turned, length)| {
            network(if v6 { Family::V6 } else { Family::V4 }, bits ^ 1u128 << turned, length)
        })
    }

    fn any_origin() -> impl Strategy<Value = Origin> {
        prop_oneof![
            Just(Origin::DENIED),
            Just(Origin::ALLOWED),
            Just(Origin::MARTIAN),
            Just(Origin::VIP),
            Just(Origin::DENIED.with(Origin::ALLOWED)),
        ]
    }

    proptest! {
        #[test]
        fn a_walk_finds_what_the_definition_says(
            said in prop::collection::vec((any_network(), any_origin()), 0..60),
            asked in prop::collection::vec((any_network(), 0u32..128), 40),
        ) {
            let mut marks = Marks::default();
            for (network, origin) in &said {
                marks.add(*network, *origin);
            }
            let tables = tables(&marks);
            let near = said.iter().flat_map(|(network, _)| (0..128).step_by(7).map(|bit| (*network, bit)));
            for (network, turned) in asked.iter().copied().chain(near) {
                let whole = match network.family { Family::V4 => 32, Family::V6 => 128 };
                let bits = (network.start ^ 1u128 << turned) & mask(whole);
                let host = Network { start: bits, bits: whole, ..network };
                prop_assert_eq!(walked(&tables, host), marks.origin(host), "{:?}", host);
                let outlined = outline_of(&tables, host);
                prop_assert!(outlined.is_none_or(|known| known == marks.origin(host)), "{:?}", host);
            }
        }
    }

    fn host(text: &str) -> Network {
        Network::host(text.parse().unwrap())
    }

    fn prefix(text: &str, bits: u8) -> Network {
        Network::new(text.parse().unwrap(), bits).unwrap()
    }

    #[test]
    fn the_most_specific_prefix_decides_and_allow_wins_a_tie() {
        let mut marks = Marks::default();
        marks.add(prefix("10.0.0.0", 8), Origin::DENIED);
        marks.add(prefix("10.1.0.0", 16), Origin::ALLOWED);
        marks.add(prefix("10.1.2.0", 24), Origin::DENIED);
        marks.add(prefix("10.1.2.3", 32), Origin::DENIED);
        marks.add(prefix("10.1.2.3", 32), Origin::ALLOWED);
        let tables = tables(&marks);
        let known = |text| walked(&tables, host(text));
        assert_eq!(known("10.9.0.1"), Origin::DENIED);
        assert_eq!(known("10.1.9.1"), Origin::ALLOWED);
        assert_eq!(known("10.1.2.9"), Origin::DENIED);
        assert_eq!(known("10.1.2.3"), Origin::ALLOWED);
        assert_eq!((known("11.0.0.1"), known("::a01:203")), (Origin::default(), Origin::default()));
    }

    #[test]
    fn the_outline_knows_whole_networks_and_leaves_the_rest_to_the_trie() {
        let mut marks = Marks::default();
        marks.add(prefix("10.0.0.0", 8), Origin::DENIED);
        marks.add(prefix("10.1.2.0", 24), Origin::ALLOWED);
        marks.add(prefix("10.1.3.64", 26), Origin::ALLOWED);
        marks.add(prefix("240.0.0.0", 4), Origin::MARTIAN);
        let tables = tables(&marks);
        let known = |text| outline_of(&tables, host(text));
        assert_eq!(known("10.255.255.255"), Some(Origin::DENIED));
        assert_eq!(known("10.1.2.3"), Some(Origin::ALLOWED));
        assert_eq!(["10.1.3.1", "10.1.3.65", "250.1.1.1", "2001:db8::1"].map(known), [None; 4]);
        assert_eq!(["9.255.255.255", "11.0.0.0"].map(known), [Some(Origin::default()); 2]);
    }

    #[test]
    fn a_prefix_of_no_bits_is_everybody() {
        let mut marks = Marks::default();
        marks.add(prefix("0.0.0.0", 0), Origin::DENIED);
        let tables = tables(&marks);
        assert_eq!(walked(&tables, host("255.255.255.255")), Origin::DENIED);
        assert_eq!(walked(&tables, host("2001:db8::1")), Origin::default());
    }

    #[test]
    fn a_hundred_thousand_prefixes_take_no_more_than_three_nodes_each() {
        let scattered = |number: u64| u128::from(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)) << 64;
        for (family, bits) in [(Family::V4, 24), (Family::V4, 32), (Family::V6, 48), (Family::V6, 64)] {
            let mut marks = Marks::default();
            for number in 0..100_000 {
                marks.add(network(family, scattered(number), bits), Origin::DENIED);
            }
            let nodes = marks.build().nodes.len();
            assert!(nodes < ListNode::ROOTS as usize + 3 * marks.len(), "{family:?}/{bits}: {nodes}");
            println!("{family:?}/{bits}: {nodes} nodes for {} prefixes", marks.len());
        }
    }
}
