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
            Ports { nat: words([Some(range.clone()), None]), probes: None, warning: None }
        }
        NatPorts::Range(range) => sharing(range, ephemeral),
    }
}

/// All ports outside the ephemeral range, if those are enough.
fn beside(ephemeral: &RangeInclusive<u16>) -> Option<Ports> {
    let rest = [below(ephemeral), above(ephemeral)];
    let enough = count(rest[0].as_ref()) + count(rest[1].as_ref()) >= ENOUGH;
    enough.then(|| Ports { nat: words(rest), probes: None, warning: None })
}

/// A range that overlaps the ephemeral one: probes keep out of it.
fn sharing(range: &RangeInclusive<u16>, ephemeral: &RangeInclusive<u16>) -> Ports {
    let (below, above) = (below(range), above(range));
    let probes = if count(above.as_ref()) >= count(below.as_ref()) { above } else { below };
    let warning = format!(
        "NAT uses ports {}-{} and the host's own connections ports {}-{} (net.ipv4.ip_local_port_range): a connection of \
         this host to a backend may meet a translated one on the same port; narrow one of the two",
        range.start(),
        range.end(),
        ephemeral.start(),
        ephemeral.end()
    );
    Ports { nat: words([Some(range.clone()), None]), probes, warning: Some(warning) }
}

/// The ports below a range, down to the services'.
fn below(range: &RangeInclusive<u16>) -> Option<RangeInclusive<u16>> {
    let last = range.start().checked_sub(1)?;
    (last >= LOWEST).then_some(LOWEST..=last)
}

/// The ports above a range.
fn above(range: &RangeInclusive<u16>) -> Option<RangeInclusive<u16>> {
    range.end().checked_add(1).map(|first| first..=u16::MAX)
}

fn count(range: Option<&RangeInclusive<u16>>) -> usize {
    range.map_or(0, ExactSizeIterator::len)
}

fn are_apart(one: &RangeInclusive<u16>, other: &RangeInclusive<u16>) -> bool {
    one.end() < other.start() || other.end() < one.start()
}

/// As the packet path takes ranges: first port and count.
fn words(ranges: [Option<RangeInclusive<u16>>; 2]) -> [u16; 4] {
    let word = |range: Option<RangeInclusive<u16>>| {
        let first = range.as_ref().map_or(0, |range| *range.start());
        [first, u16::try_from(count(range.as_ref())).unwrap_or(u16::MAX)]
    };
    let [[first, length], [second, second_length]] = ranges.map(word);
    [first, length, second, second_length]
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
