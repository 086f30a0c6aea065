//! What the guard goes by: rules of services, lists of prefixes, buckets of sources, blocked addresses.

mod bucket;
mod list;
mod outline;
mod rule;

pub use bucket::{Bucket, BucketLine, Rate, SourceBuckets};
#[cfg(feature = "host")]
pub use list::List;
pub use list::{Kind, ListEntry, ListNode, Origin};
pub use outline::Outline;
pub use rule::{GuardFlags, GuardRule, SourceMask};

use super::{Address, Ip};
use crate::wire::U32be;

/// What there is beside the rules.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GuardState {
    /// Where the list in force begins. A list is written beside the one it replaces, and this word then leads to it: a
    /// packet sees all of one or all of the other.
    pub list: u32,
    /// Number of blocked addresses; nobody is looked up while it is 0.
    pub blocks: u32,
}

plain!(GuardState, 8);

/// A blocked address of either family: IPv4 addresses as IPv6 writes them (RFC 4291, section 2.5.5.2), which no packet
/// has as its source.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct BlockKey([U32be; 4]);

plain!(BlockKey, 16);

impl BlockKey {
    /// The key of an address.
    #[inline(always)]
    #[must_use]
    pub fn of<A: Ip>(address: A) -> Self {
        let Address([a, b, c, d]) = address.widen();
        match A::VERSION {
            4 => Self([U32be::ZERO, U32be::ZERO, U32be::new(0xffff), a]),
            _ => Self([a, b, c, d]),
        }
    }

    /// As a map's key, made of words.
    #[inline(always)]
    #[must_use]
    pub const fn to_words(self) -> [u32; 4] {
        let [a, b, c, d] = self.0;
        [a.raw(), b.raw(), c.raw(), d.raw()]
    }
}
