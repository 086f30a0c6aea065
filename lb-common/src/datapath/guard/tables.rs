//! What the guard looks things up in, beside the balancer's tables.

use crate::abi::{BlockKey, Bucket, BucketLine, GuardRule, GuardState, ListNode, Ticks};
use crate::datapath::Tables;
use core::ops::DerefMut;

/// The guard's tables. Buckets are changed in place by several CPUs at once, so all take `&self`.
pub trait GuardTables: Tables {
    /// Buckets to take from. Let go of them before others are asked for.
    type Buckets<'a>: DerefMut<Target = BucketLine>
    where
        Self: 'a;
    /// A service's budget of new flows.
    type Budget<'a>: DerefMut<Target = Bucket>
    where
        Self: 'a;

    /// Secret factors of the hash of sources; odd.
    fn guard_keys(&self) -> [u64; 4];
    /// Which list is in force, and whether anybody is blocked.
    fn guard_state(&self) -> GuardState;
    /// The rule of a service.
    fn guard_rule(&self, number: u32) -> Option<&GuardRule>;
    /// A node of the lists.
    fn list_node(&self, place: u32) -> Option<&ListNode>;
    /// When the block of an address ends.
    fn blocked_until(&self, source: &BlockKey) -> Option<Ticks>;
    /// The line of buckets with this number.
    fn buckets(&self, line: u32) -> Option<Self::Buckets<'_>>;
    /// The budget of a service.
    fn budget(&self, number: u32) -> Option<Self::Budget<'_>>;
}
