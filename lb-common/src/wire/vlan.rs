//! 802.1Q tags. Source: IEEE 802.1Q, clause 9.

use super::U16be;

/// Bytes of a tag.
pub const LENGTH: usize = 4;

/// What follows the 0x8100 type: the tag control information, and the type of what the tag wraps.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// Priority (3 bits), drop eligible (1), VLAN identifier (12).
    pub control: U16be,
    /// Type of the wrapped payload.
    pub ethertype: U16be,
}

plain!(Tag, 4);
