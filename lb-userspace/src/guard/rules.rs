//! From the configuration's words to what the packet path goes by.

use super::lists::{self, ListError};
use super::martians;
use super::network::Network;
use super::trie::Marks;
use crate::config::{Config, Guard, ServiceGuard};
use lb_common::abi::{GuardFlags, GuardRule, ListNode, Origin, Rate, SourceMask};
use std::hash::{BuildHasher as _, RandomState};
use std::path::Path;

/// The rule of a service, on a clock with so many ticks a second. At once a source or a service may do what it may do in a
/// second.
#[must_use]
pub fn rule(guard: &ServiceGuard, second: u32) -> GuardRule {
    let mask = SourceMask::new(guard.source_v4, guard.source_v6);
    let rates = [guard.source_packets, guard.source_flows, guard.service_flows];
    GuardRule::new(flags(guard), mask, rates.map(|rate| Rate::new(rate, rate, second)))
}

fn flags(guard: &ServiceGuard) -> GuardFlags {
    let switches = [
        (guard.lists, GuardFlags::LISTS),
        (guard.martians, GuardFlags::MARTIANS),
        (guard.land, GuardFlags::LAND),
        (guard.malformed, GuardFlags::MALFORMED),
        (guard.blocks, GuardFlags::BLOCKS),
        (guard.source_packets > 0, GuardFlags::SOURCE_PACKETS),
        (guard.source_flows > 0, GuardFlags::SOURCE_FLOWS),
        (guard.service_flows > 0, GuardFlags::SERVICE_FLOWS),
        (guard.syn_cookies, GuardFlags::SYN_COOKIES),
    ];
    let on = switches.into_iter().filter(|(on, _)| *on);
    on.fold(GuardFlags::default(), |flags, (_, flag)| flags.with(flag))
}

/// Nodes to make room for, so that a list of so many prefixes fits: most take one or two, the most unlike ones more.
#[must_use]
pub const fn nodes(prefixes: u32) -> u32 {
    ListNode::ROOTS + prefixes.saturating_mul(2)
}

/// What is known of sources: the martians, the addresses that are VIPs, and the lists' prefixes.
pub fn marks(config: &Config) -> Result<Marks, ListError> {
    let mut marks = Marks::default();
    let guard = config.guard.clone().unwrap_or_default();
    martians::networks(guard.bogons).for_each(|network| marks.add(network, Origin::MARTIAN));
    // Clients may well have the other addresses of a prefix that is a VIP.
    let vips = config.services.iter().map(|service| service.vip).filter(crate::config::Vip::is_address);
    vips.for_each(|vip| marks.add(Network::host(vip.addr), Origin::VIP));
    let Guard { deny, allow, .. } = &guard;
    add(&mut marks, deny.as_deref(), Origin::DENIED)?;
    add(&mut marks, allow.as_deref(), Origin::ALLOWED)?;
    Ok(marks)
}

fn add(marks: &mut Marks, path: Option<&Path>, origin: Origin) -> Result<(), ListError> {
    let networks = path.map(lists::load).transpose()?.unwrap_or_default();
    for network in networks {
        marks.add(network, origin);
    }
    Ok(())
}

/// Factors that nobody can guess.
#[must_use]
pub fn draw_keys() -> [u64; 4] {
    [0u8, 1, 2, 3].map(|number| RandomState::new().hash_one(number) | 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb_common::abi::GuardFlags;

    #[test]
    fn a_rule_has_what_is_switched_on_and_rates_that_are_not_zero() {
        let guard = ServiceGuard { source_flows: 10, land: false, ..ServiceGuard::DEFAULT };
        let rule = rule(&guard, 250);
        assert!(rule.flags.any(GuardFlags::LISTS) && rule.flags.any(GuardFlags::SOURCE_FLOWS));
        assert!(!rule.flags.any(GuardFlags::LAND) && !rule.flags.any(GuardFlags::SOURCE_PACKETS));
        assert_eq!(super::rule(&ServiceGuard::OFF, 250).flags, GuardFlags::default());
    }
}
