//! 802.1Q and 802.1ad tags. Source: IEEE 802.1Q, clause 9.

use super::{U16be, ethernet};

/// Bytes of a tag.
pub const LENGTH: usize = 4;

/// What follows a tag's type: the tag control information, and the type of what the tag wraps.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// Priority (3 bits), drop eligible (1), VLAN identifier (12).
    pub control: U16be,
    /// Type of the wrapped payload.
    pub ethertype: U16be,
}

plain!(Tag, 4);

/// The tags of a frame: none, one, or two (`QinQ`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tags {
    /// Type of the first tag; zero without one.
    kind: U16be,
    /// Type of the second tag; zero without one.
    second_kind: U16be,
    /// Control information of the first tag.
    pub first: U16be,
    /// Control information of the second tag.
    pub second: U16be,
}

plain!(Tags, 8);

impl Tags {
    /// An untagged frame's.
    pub const NONE: Self =
        Self { kind: U16be::ZERO, second_kind: U16be::ZERO, first: U16be::ZERO, second: U16be::ZERO };

    /// One tag with its type.
    #[inline(always)]
    #[must_use]
    pub const fn one(kind: U16be, control: U16be) -> Self {
        Self { kind, first: control, ..Self::NONE }
    }

    /// The tags with another one inside.
    #[inline(always)]
    #[must_use]
    pub const fn around(self, kind: U16be, control: U16be) -> Self {
        Self { second_kind: kind, second: control, ..self }
    }

    /// The tags an operator's VLAN numbers stand for: 802.1Q, and 802.1ad around it if there are two. Zero is no tag.
    #[inline(always)]
    #[must_use]
    pub const fn of(first: U16be, second: U16be) -> Self {
        match (first.raw(), second.raw()) {
            (0, _) => Self::NONE,
            (_, 0) => Self::one(ethernet::VLAN, first),
            _ => Self::one(ethernet::SERVICE_VLAN, first).around(ethernet::VLAN, second),
        }
    }

    /// How many there are.
    #[inline(always)]
    #[must_use]
    pub const fn count(self) -> usize {
        (self.kind.raw() != 0) as usize + (self.second_kind.raw() != 0) as usize
    }

    /// Type of the first tag.
    #[inline(always)]
    #[must_use]
    pub const fn kind(self) -> U16be {
        self.kind
    }

    /// Type of the second tag.
    #[inline(always)]
    #[must_use]
    pub const fn second_kind(self) -> U16be {
        self.second_kind
    }
}
