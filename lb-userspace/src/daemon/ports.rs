//! Which ports NAT uses, and which the daemon's own probes use, so that neither takes the other's answers.

use crate::config::NatPorts;
use std::ops::RangeInclusive;

/// The ports below are for services.
const LOWEST: u16 = 1024;
/// NAT wants at least this many ports; fewer would be exhausted by connections that just closed.
const ENOUGH: usize = 20_000;
/// Probes get these where NAT has to share the host's ephemeral ports.
const PROBES: RangeInclusive<u16> = 64_512..=u16::MAX;

/// Who uses which ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ports {
    /// For the packet path: first port and count, twice.
    pub(super) nat: [u16; 4],
    /// Source ports of probes; `None`: the kernel's choice is outside NAT's ports anyway.
    pub(super) probes: Option<RangeInclusive<u16>>,
    /// What the operator should know.
    pub(super) warning: Option<String>,
}

/// Divides the ports, given the host's ephemeral range.
pub(super) fn divide(wanted: &NatPorts, ephemeral: &RangeInclusive<u16>) -> Ports {
    match wanted {
        NatPorts::Auto => {
            beside(ephemeral).unwrap_or_else(|| sharing(&(LOWEST..=PROBES.start() - 1), ephemeral))
        }
        NatPorts::Range(range) if are_apart(range, ephemeral) => {
            Ports { nat: two_ranges(&[range.clone()]), probes: None, warning: None }
        }
        NatPorts::Range(range) => sharing(range, ephemeral),
    }
}

/// All ports outside the ephemeral range, if those are enough.
fn beside(ephemeral: &RangeInclusive<u16>) -> Option<Ports> {
    let below = LOWEST..=ephemeral.start().saturating_sub(1);
    let above = ephemeral.end().saturating_add(1)..=u16::MAX;
    let above = if *ephemeral.end() == u16::MAX { 1..=0 } else { above };
    let enough = below.len() + above.len() >= ENOUGH;
    enough.then(|| Ports { nat: two_ranges(&[below, above]), probes: None, warning: None })
}

/// A range that overlaps the ephemeral one: probes keep out of it.
fn sharing(range: &RangeInclusive<u16>, ephemeral: &RangeInclusive<u16>) -> Ports {
    let below = LOWEST..=range.start().saturating_sub(1);
    let above = if *range.end() == u16::MAX { 1..=0 } else { range.end() + 1..=u16::MAX };
    let probes = if above.len() >= below.len() { above } else { below };
    let warning = format!(
        "NAT uses ports {}-{} and the host's own connections ports {}-{} (net.ipv4.ip_local_port_range): a connection of \
         this host to a backend may meet a translated one on the same port; narrow one of the two",
        range.start(),
        range.end(),
        ephemeral.start(),
        ephemeral.end()
    );
    Ports {
        nat: two_ranges(&[range.clone()]),
        probes: (!probes.is_empty()).then_some(probes),
        warning: Some(warning),
    }
}

fn are_apart(one: &RangeInclusive<u16>, other: &RangeInclusive<u16>) -> bool {
    one.end() < other.start() || other.end() < one.start()
}

fn two_ranges(ranges: &[RangeInclusive<u16>]) -> [u16; 4] {
    let words = |at: usize| {
        let range = ranges.get(at).filter(|range| !range.is_empty());
        range.map_or([0, 0], |range| [*range.start(), u16::try_from(range.len()).unwrap_or(u16::MAX)])
    };
    let ([first, count], [second, second_count]) = (words(0), words(1));
    [first, count, second, second_count]
}

/// The host's ephemeral ports; the kernel's default range where it cannot be read.
pub(super) fn ephemeral() -> RangeInclusive<u16> {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut numbers = text.split_whitespace().filter_map(|word| word.parse().ok());
    match (numbers.next(), numbers.next()) {
        (Some(first), Some(last)) => first..=last,
        _ => 32_768..=60_999,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nat_keeps_beside_the_usual_ephemeral_range() {
        let ports = divide(&NatPorts::Auto, &(32_768..=60_999));
        assert_eq!(ports.nat, [1024, 31_744, 61_000, 4536]);
        assert_eq!((ports.probes, ports.warning), (None, None));
    }

    #[test]
    fn a_wide_ephemeral_range_is_shared_and_probes_keep_out() {
        let ports = divide(&NatPorts::Auto, &(10_000..=65_000));
        assert_eq!(ports.nat, [1024, 63_488, 0, 0]);
        assert_eq!(ports.probes, Some(64_512..=65_535));
        assert!(ports.warning.is_some_and(|warning| warning.contains("10000-65000")));
    }

    #[test]
    fn a_chosen_range_apart_from_the_ephemeral_one_needs_no_warning() {
        let ports = divide(&NatPorts::Range(2000..=9999), &(32_768..=60_999));
        assert_eq!((ports.nat, ports.probes, ports.warning), ([2000, 8000, 0, 0], None, None));
    }

    #[test]
    fn a_chosen_range_that_overlaps_leaves_probes_the_larger_rest() {
        let ports = divide(&NatPorts::Range(40_000..=65_535), &(32_768..=60_999));
        assert_eq!(ports.probes, Some(1024..=39_999));
        let ports = divide(&NatPorts::Range(1024..=65_535), &(32_768..=60_999));
        assert_eq!((ports.nat, ports.probes), ([1024, 64_512, 0, 0], None));
    }

    #[test]
    fn ranges_that_reach_the_last_port_do_not_wrap() {
        let ports = divide(&NatPorts::Auto, &(40_000..=65_535));
        assert_eq!(ports.nat, [1024, 38_976, 0, 0]);
        let ports = divide(&NatPorts::Auto, &(1024..=30_000));
        assert_eq!(ports.nat, [0, 0, 30_001, 35_535]);
    }
}
