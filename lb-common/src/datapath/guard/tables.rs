//! What the guard looks things up in, beside the balancer's tables.

use crate::abi::{BlockKey, Bucket, BucketLine, GuardRule, GuardState, ListNode, Outline, Ticks};
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

    /// The secret factor of the hash of sources for a word of an address; odd.
    fn guard_key(&self, word: usize) -> u64;
    /// Which list is in force, and whether anybody is blocked: read where either is asked for.
    fn guard_state(&self) -> &GuardState;
    /// The rule of a service.
    fn guard_rule(&self, number: u32) -> Option<&GuardRule>;
    /// A node of the lists.
    fn list_node(&self, place: u32) -> Option<&ListNode>;
    /// A word of the lists' outline.
    fn outline(&self, place: u32) -> Outline;
    /// When the block of an address ends.
    fn blocked_until(&self, source: &BlockKey) -> Option<Ticks>;
    /// The line of buckets with this number.
    fn buckets(&self, line: u32) -> Option<Self::Buckets<'_>>;
    /// The budget of a service.
    fn budget(&self, number: u32) -> Option<Self::Budget<'_>>;
}
