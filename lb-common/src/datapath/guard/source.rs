//! How much comes from one source: two buckets each, in a table of cache lines that forgets whoever was silent longest.
//!
//! A source is known by 32 bits of a hash with secret factors, so that nobody can aim at another's buckets.

use super::{GuardTables, Reason, Seen};
use crate::abi::{GuardFlags, GuardRule, Ip, Ticks, limits};

/// Source: Austin Appleby, the third Murmur hash, 64-bit finisher.
const MURMUR: u64 = 0xff51_afd7_ed55_8ccd;

/// Takes a packet out of its source's buckets; a reason if one is empty. Each service counts by itself.
#[inline(always)]
pub(super) fn exhausted<A: Ip>(
    tables: &impl GuardTables,
    rule: &GuardRule,
    (service, seen): (u32, &impl Seen<A>),
    now: Ticks,
) -> Option<Reason> {
    let hash = hash::<A>(|word| tables.guard_key(word), rule.mask.of(seen.source()?), service);
    let mut line = tables.buckets((hash >> INDEX_SHIFT) as u32)?;
    let buckets = line.of(tag(hash), now);
    buckets.settle(&rule.source_packets, &rule.source_flows, now);
    if rule.flags.any(GuardFlags::SOURCE_PACKETS) && !buckets.admits_packet(&rule.source_packets) {
        return Some(Reason::SourceRate);
    }
    let is_one_more = rule.flags.any(GuardFlags::SOURCE_FLOWS) && seen.form()?.opens();
    (is_one_more && !buckets.admits_flow(&rule.source_flows)).then_some(Reason::SourceNewFlows)
}

/// The first bits of a hash are the line's number.
const INDEX_SHIFT: u32 = u64::BITS - limits::BUCKET_LINES.trailing_zeros();

/// Others tell the sources of a line apart; 0 is for nobody.
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "a part of a word")]
const fn tag(hash: u64) -> u32 {
    match (hash >> 8) as u32 {
        0 => 1,
        tag => tag,
    }
}

/// Source: Lemire and Kaser, "Strongly universal string hashing is fast" (2014), the multilinear family.
#[inline(always)]
fn hash<A: Ip>(key: impl Fn(usize) -> u64, words: [u32; 4], service: u32) -> u64 {
    let first = u64::from(words[0]) | u64::from(service) << 32;
    let mut sum = first.wrapping_mul(key(0));
    if A::VERSION != 4 {
        sum = sum.wrapping_add(u64::from(words[1]).wrapping_mul(key(1)));
        sum = sum.wrapping_add(u64::from(words[2]).wrapping_mul(key(2)));
        sum = sum.wrapping_add(u64::from(words[3]).wrapping_mul(key(3)));
    }
    (sum ^ sum >> 32).wrapping_mul(MURMUR)
}
