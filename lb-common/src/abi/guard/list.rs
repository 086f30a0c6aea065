//! Prefix lists: a trie over the bits of a source, four at a time behind the first twenty of IPv4 and sixteen of IPv6.
//!
//! The kernel's own trie for prefixes takes a step a bit and a cache miss a step. Here a node is one cache line, and a
//! subtree that holds a single prefix is a record of that prefix, so that most sources are found after two or three.
//!
//! A list is an array of nodes. The first [`ListNode::ROOTS_V4`] stand for the first bits of IPv4 addresses, the
//! [`ListNode::ROOTS_V6`] behind them for those of IPv6. Places are counted from the list's first node, so that a list is
//! the same wherever it lies.

#[cfg(feature = "host")]
use super::Outline;
use crate::abi::Address;
use crate::wire::U32be;
#[cfg(feature = "host")]
use std::vec::Vec;

/// What is known of a source.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Origin(pub u32);

plain!(Origin, 4);

impl Origin {
    /// A list denies it.
    pub const DENIED: Self = Self(1);
    /// A list allows it.
    pub const ALLOWED: Self = Self(2);
    /// Nobody has such an address.
    pub const MARTIAN: Self = Self(4);
    /// It is a VIP.
    pub const VIP: Self = Self(8);

    /// Whether all of `other` is so.
    #[inline(always)]
    #[must_use]
    pub const fn is(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both together.
    #[inline(always)]
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The one without the other.
    #[inline(always)]
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

/// One of sixteen ways on from a node. Zero says that nothing is known, as an unwritten one should.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListEntry(u32);

plain!(ListEntry, 4);

/// What an entry leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The answer.
    Leaf(Origin),
    /// The node at a place, and four bits more.
    Node(u32),
    /// A single prefix, recorded at a place.
    Lone(u32),
}

impl ListEntry {
    const NODE: u32 = 1 << 30;
    const LONE: u32 = 1 << 31;
    const PLACE: u32 = Self::NODE - 1;

    /// An entry of this kind.
    #[must_use]
    pub const fn new(kind: Kind) -> Self {
        match kind {
            Kind::Leaf(origin) => Self(origin.0),
            Kind::Node(place) => Self(place & Self::PLACE | Self::NODE),
            Kind::Lone(place) => Self(place & Self::PLACE | Self::LONE),
        }
    }

    /// What it leads to.
    #[inline(always)]
    #[must_use]
    pub const fn kind(self) -> Kind {
        if self.0 & Self::NODE != 0 {
            Kind::Node(self.0 & Self::PLACE)
        } else if self.0 & Self::LONE != 0 {
            Kind::Lone(self.0 & Self::PLACE)
        } else {
            Kind::Leaf(Origin(self.0))
        }
    }
}

/// Sixteen ways on, or the record of a single prefix: a cache line either way.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListNode([u32; 16]);

plain!(ListNode, 64);

impl ListNode {
    /// Nodes for the first sixteen bits of IPv4 addresses, which tell twenty apart: then a hundred thousand prefixes are
    /// mostly one behind a root, and found after two nodes.
    pub const ROOTS_V4: u32 = 1 << 16;
    /// Nodes for the first twelve bits of IPv6 addresses.
    pub const ROOTS_V6: u32 = 1 << 12;
    /// All of them.
    pub const ROOTS: u32 = Self::ROOTS_V4 + Self::ROOTS_V6;
    /// Bits that a node tells apart.
    pub const BITS: u8 = 4;

    /// A node without anything known.
    pub const VACANT: Self = Self([0; 16]);

    /// A node with these ways on.
    #[must_use]
    pub fn new(entries: [ListEntry; 16]) -> Self {
        Self(entries.map(|entry| entry.0))
    }

    /// The record of a prefix, and what is known in and beside it.
    #[must_use]
    pub const fn lone((address, mask): (Address, Address), inside: Origin, beside: Origin) -> Self {
        let (Address([a, b, c, d]), Address([e, f, g, h])) = (address, mask);
        let mut words = [0; 16];
        [words[0], words[1], words[2], words[3]] = [a.raw(), b.raw(), c.raw(), d.raw()];
        [words[4], words[5], words[6], words[7]] = [e.raw(), f.raw(), g.raw(), h.raw()];
        (words[8], words[9]) = (inside.0, beside.0);
        Self(words)
    }

    /// The way on by four bits.
    #[inline(always)]
    #[must_use]
    pub const fn entry(&self, bits: u32) -> ListEntry {
        ListEntry(self.0[bits as usize & 15])
    }

    /// Of a record: what is known of an IPv4 address.
    #[inline(always)]
    #[must_use]
    pub const fn origin_v4(&self, source: U32be) -> Origin {
        if (source.raw() ^ self.0[0]) & self.0[4] == 0 { Origin(self.0[8]) } else { Origin(self.0[9]) }
    }

    /// Of a record: what is known of an IPv6 address.
    #[inline(always)]
    #[must_use]
    pub const fn origin_v6(&self, [a, b, c, d]: [U32be; 4]) -> Origin {
        let words = &self.0;
        let differ = (a.raw() ^ words[0]) & words[4]
            | (b.raw() ^ words[1]) & words[5]
            | (c.raw() ^ words[2]) & words[6]
            | (d.raw() ^ words[3]) & words[7];
        if differ == 0 { Origin(words[8]) } else { Origin(words[9]) }
    }
}

/// A whole list, as userspace builds it. The two parts say the same, the outline for IPv4 alone.
#[cfg(feature = "host")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    /// The trie's nodes, the roots first; what lies behind them is vacant.
    pub nodes: Vec<ListNode>,
    /// What is said of whole networks; nothing of those behind it.
    pub outline: Vec<Outline>,
}
