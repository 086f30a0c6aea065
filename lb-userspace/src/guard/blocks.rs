//! Addresses that are blocked for a time, and why. The kernel knows when each ends; the reasons are kept here.

use lb_common::abi::limits;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// The longest time: the kernel compares ends on a clock of 32 bits.
pub const LONGEST: Duration = Duration::from_hours(24 * 7);
/// The longest reason that is kept, in bytes.
pub const LONGEST_REASON: usize = 200;

/// Why an address was not blocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// As many are blocked as may be.
    #[error("{} addresses are blocked, which is the most there may be", limits::BLOCKS)]
    Full,
    /// Nothing, or more than a week.
    #[error("a block lasts from 1s to {} days", LONGEST.as_secs() / 86_400)]
    Duration,
    /// The reason is too long.
    #[error("a reason has at most {LONGEST_REASON} bytes")]
    Reason,
    /// An allow list names the address.
    #[error("the address is allowed by a list, and what is allowed is never blocked")]
    Allowed,
}

/// A block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// When it is over.
    pub until: Instant,
    /// What it is for.
    pub reason: String,
}

/// All blocks.
#[derive(Clone, Debug, Default)]
pub struct Blocks(BTreeMap<IpAddr, Block>);

impl Blocks {
    /// Blocks an address, or changes its block.
    pub fn add(
        &mut self,
        address: IpAddr,
        lasting: Duration,
        reason: &str,
        now: Instant,
    ) -> Result<(), Refused> {
        if lasting < Duration::from_secs(1) || lasting > LONGEST {
            return Err(Refused::Duration);
        }
        if reason.len() > LONGEST_REASON {
            return Err(Refused::Reason);
        }
        if self.0.len() >= limits::BLOCKS as usize && !self.0.contains_key(&address) {
            return Err(Refused::Full);
        }
        self.0.insert(address, Block { until: now + lasting, reason: reason.to_owned() });
        Ok(())
    }

    /// Ends a block; whether there was one.
    pub fn remove(&mut self, address: IpAddr) -> bool {
        self.0.remove(&address).is_some()
    }

    /// Takes away those that are over, and tells which they were.
    pub fn sweep(&mut self, now: Instant) -> Vec<IpAddr> {
        let over: Vec<IpAddr> =
            self.0.iter().filter(|(_, block)| block.until <= now).map(|(address, _)| *address).collect();
        for address in &over {
            self.0.remove(address);
        }
        over
    }

    /// All of them by address.
    pub fn iter(&self) -> impl Iterator<Item = (&IpAddr, &Block)> {
        self.0.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    fn address(number: u32) -> IpAddr {
        IpAddr::from(number.to_be_bytes())
    }

    #[test]
    fn a_block_ends_when_its_time_is_over_and_not_before() {
        let (mut blocks, now) = (Blocks::default(), Instant::now());
        blocks.add(address(1), MINUTE, "scan", now).unwrap();
        blocks.add(address(2), 2 * MINUTE, "", now).unwrap();
        assert!(blocks.sweep(now + Duration::from_millis(59_999)).is_empty());
        assert_eq!(blocks.sweep(now + MINUTE), [address(1)]);
        assert_eq!(blocks.len(), 1);
        assert!(blocks.remove(address(2)) && !blocks.remove(address(2)) && blocks.is_empty());
    }

    #[test]
    fn blocking_again_changes_the_end() {
        let (mut blocks, now) = (Blocks::default(), Instant::now());
        blocks.add(address(1), MINUTE, "first", now).unwrap();
        blocks.add(address(1), 3 * MINUTE, "again", now).unwrap();
        assert!(blocks.sweep(now + 2 * MINUTE).is_empty());
        assert_eq!(blocks.iter().next().map(|(_, block)| block.reason.as_str()), Some("again"));
    }

    #[test]
    fn there_are_so_many_and_no_more() {
        let (mut blocks, now) = (Blocks::default(), Instant::now());
        for number in 0..limits::BLOCKS {
            blocks.add(address(number), MINUTE, "", now).unwrap();
        }
        assert_eq!(blocks.add(address(limits::BLOCKS), MINUTE, "", now), Err(Refused::Full));
        assert_eq!(blocks.add(address(0), 2 * MINUTE, "", now), Ok(()), "one that is there may change");
        assert_eq!(blocks.sweep(now + MINUTE).len(), limits::BLOCKS as usize - 1);
    }

    #[test]
    fn a_block_lasts_a_second_to_a_week_and_says_why_briefly() {
        let (mut blocks, now) = (Blocks::default(), Instant::now());
        assert_eq!(blocks.add(address(1), Duration::ZERO, "", now), Err(Refused::Duration));
        assert_eq!(blocks.add(address(1), LONGEST + MINUTE, "", now), Err(Refused::Duration));
        assert_eq!(blocks.add(address(1), MINUTE, &"x".repeat(201), now), Err(Refused::Reason));
        assert!(blocks.is_empty());
    }
}
