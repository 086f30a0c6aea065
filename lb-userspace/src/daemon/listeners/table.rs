//! From rules to what the kernel program looks up. Pure.

use crate::config::Protocol;
use crate::kernel::Prefix;
use lb_common::abi::{ListenPorts, ListenerId, Listening, PrefixKey, limits};
use lb_common::wire::protocol;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;

/// What lands on a listener: all that reaches this host's stack for these ports of these addresses. Of two rules for the
/// same destination the one with the longer prefix decides, then the one with fewer ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenRule {
    /// The service's addresses.
    pub prefix: Prefix,
    /// The service's ports.
    pub ports: RangeInclusive<u16>,
    /// The service's protocol.
    pub protocol: Protocol,
    /// Where the listener waits. `None` leaves to the stack's own search what a wider rule would take.
    pub listener: Option<SocketAddr>,
}

/// A listener: where a socket waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerKey {
    /// Its protocol.
    pub protocol: Protocol,
    /// Where clients on this host would connect to it.
    pub address: SocketAddr,
}

impl fmt::Display for ListenerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.protocol)
    }
}

impl ListenRule {
    /// The listener, if the rule names one.
    #[must_use]
    pub fn key(&self) -> Option<ListenerKey> {
        let address = self.listener?;
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        Some(ListenerKey { protocol: self.protocol, address })
    }

    fn to_ports(&self, listener: ListenerId) -> ListenPorts {
        let protocol = match self.protocol {
            Protocol::Tcp => protocol::TCP,
            Protocol::Udp => protocol::UDP,
        };
        ListenPorts::new((*self.ports.start(), *self.ports.end()), protocol, listener)
    }
}

/// Families of packets that are meant for a listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Families {
    pub(super) v4: bool,
    pub(super) v6: bool,
}

/// The listeners that the rules name.
pub(super) fn name(rules: &[ListenRule]) -> BTreeMap<ListenerKey, Families> {
    let mut named: BTreeMap<_, Families> = BTreeMap::new();
    for (rule, key) in rules.iter().filter_map(|rule| Some((rule, rule.key()?))) {
        let families = named.entry(key).or_default();
        families.v4 |= rule.prefix.address().is_ipv4();
        families.v6 |= rule.prefix.address().is_ipv6();
    }
    named
}

/// More port ranges meet than one lookup goes through.
#[derive(Debug, thiserror::Error)]
#[error(
    "more than {} port ranges of local services are in force at {prefix}, those of the prefixes around it included; join some",
    limits::RANGE_PROBES
)]
pub(super) struct Crowded {
    prefix: Prefix,
}

/// The table of these rules; `place` tells the places of listeners.
pub(super) fn build(
    rules: &[ListenRule],
    place: impl Fn(&ListenerKey) -> Option<ListenerId>,
) -> Result<HashMap<PrefixKey, Listening>, Crowded> {
    let place = |rule: &ListenRule| rule.key().and_then(|key| place(&key)).unwrap_or(ListenerId::STACK);
    let prefixes: BTreeSet<Prefix> = rules.iter().map(|rule| rule.prefix).collect();
    let listening = |prefix: Prefix| {
        let ranges: Vec<_> = around(rules, prefix).map(|rule| rule.to_ports(place(rule))).collect();
        Ok((prefix.key(), Listening::new(&ranges).ok_or(Crowded { prefix })?))
    };
    prefixes.into_iter().map(listening).collect()
}

/// The rules in force for a prefix, the narrower first.
fn around(rules: &[ListenRule], prefix: Prefix) -> impl Iterator<Item = &ListenRule> {
    let mut around: Vec<_> = rules.iter().filter(|rule| rule.prefix.contains(prefix)).collect();
    around.sort_by_key(|rule| (Reverse(rule.prefix.bits()), rule.ports.len()));
    around.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb_common::datapath::find_listener;
    use lb_common::wire::{U16be, U32be, ipv6};
    use proptest::prelude::*;
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    fn rule(
        prefix: &str,
        bits: u8,
        ports: RangeInclusive<u16>,
        protocol: Protocol,
        port: Option<u16>,
    ) -> ListenRule {
        let listener = port.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        ListenRule { prefix: Prefix::new(prefix.parse().unwrap(), bits), ports, protocol, listener }
    }

    /// Listeners have the place of their port.
    fn build(rules: &[ListenRule]) -> Result<HashMap<PrefixKey, Listening>, Crowded> {
        super::build(rules, |key| Some(ListenerId::from_bits(key.address.port())))
    }

    fn find(
        table: &HashMap<PrefixKey, Listening>,
        address: IpAddr,
        port: u16,
        protocol: Protocol,
    ) -> Option<u16> {
        let port = U16be::new(port);
        let protocol = if protocol == Protocol::Tcp { protocol::TCP } else { protocol::UDP };
        let found = match address {
            IpAddr::V4(address) => find_listener(table, (U32be::from(address.octets()), port), protocol),
            IpAddr::V6(address) => {
                find_listener(table, (ipv6::Address::from(address.octets()), port), protocol)
            }
        };
        found.map(ListenerId::get)
    }

    #[test]
    fn an_address_goes_before_its_prefix_and_a_port_before_its_range() {
        let rules = [
            rule("203.0.113.0", 24, 0..=65_535, Protocol::Tcp, Some(1)),
            rule("203.0.113.0", 24, 8000..=8099, Protocol::Tcp, Some(2)),
            rule("203.0.113.9", 32, 8000..=8999, Protocol::Tcp, Some(3)),
            rule("203.0.113.9", 32, 8080..=8080, Protocol::Tcp, Some(4)),
            rule("203.0.113.9", 32, 22..=22, Protocol::Tcp, None),
            rule("203.0.113.9", 32, 53..=53, Protocol::Udp, Some(5)),
        ];
        let table = build(&rules).unwrap();
        let at = |last: u8, port| find(&table, Ipv4Addr::new(203, 0, 113, last).into(), port, Protocol::Tcp);
        assert_eq!([at(7, 80), at(7, 8080), at(7, 22)], [Some(1), Some(2), Some(1)]);
        assert_eq!([at(9, 80), at(9, 8000), at(9, 8080)], [Some(1), Some(3), Some(4)]);
        assert_eq!([at(9, 22), at(9, 53)], [None, Some(1)]);
        let udp = find(&table, Ipv4Addr::new(203, 0, 113, 9).into(), 53, Protocol::Udp);
        assert_eq!(udp, Some(5));
    }

    #[test]
    fn more_ranges_around_an_address_than_fit_are_refused_with_its_name() {
        let wide = (0..10).map(|port| rule("10.0.0.0", 8, port..=port, Protocol::Tcp, Some(1)));
        let narrow = (0..7).map(|port| rule("10.1.0.0", 16, port..=port, Protocol::Tcp, Some(2)));
        let error = build(&wide.chain(narrow).collect::<Vec<_>>()).unwrap_err();
        assert!(error.to_string().contains("10.1.0.0/16"), "{error}");
    }

    #[test]
    fn a_listener_is_named_once_with_the_families_it_must_take() {
        let rules = [
            rule("203.0.113.9", 32, 80..=80, Protocol::Tcp, Some(1)),
            rule("2001:db8::", 64, 80..=80, Protocol::Tcp, Some(1)),
            rule("203.0.113.9", 32, 80..=80, Protocol::Udp, Some(1)),
            rule("203.0.113.9", 32, 22..=22, Protocol::Tcp, None),
        ];
        let named: Vec<_> =
            name(&rules).into_iter().map(|(key, families)| (key.to_string(), families)).collect();
        let [both, v4] = [Families { v4: true, v6: true }, Families { v4: true, v6: false }];
        assert_eq!(named, [("127.0.0.1:1/tcp".to_owned(), both), ("127.0.0.1:1/udp".to_owned(), v4)]);
    }

    fn any_rule() -> impl Strategy<Value = ListenRule> {
        let v4 = (0u32..4, 0u8..=32)
            .prop_map(|(low, bits)| Prefix::new(Ipv4Addr::from_bits(0xcb00_7100 | low).into(), bits));
        let v6 = (0u128..4, 0u8..=128)
            .prop_map(|(low, bits)| Prefix::new(Ipv6Addr::from_bits(0xfd << 120 | low).into(), bits));
        let protocol = prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp)];
        let ports = (0u16..4, 0u16..4).prop_map(|(first, more)| first..=first + more);
        (prop_oneof![v4, v6], ports, protocol, prop::option::of(1u16..9)).prop_map(
            |(prefix, ports, protocol, port)| {
                let listener = port.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
                ListenRule { prefix, ports, protocol, listener }
            },
        )
    }

    proptest! {
        /// The same question put to the rules themselves.
        #[test]
        fn the_table_answers_as_the_rules_do(
            rules in prop::collection::vec(any_rule(), 0..12), low in 0u32..5, port in 0u16..9, is_v4: bool, is_tcp: bool
        ) {
            let v6 = Ipv6Addr::from_bits(0xfd << 120 | u128::from(low));
            let address = if is_v4 { Ipv4Addr::from_bits(0xcb00_7100 | low).into() } else { IpAddr::from(v6) };
            let protocol = if is_tcp { Protocol::Tcp } else { Protocol::Udp };
            let fits = |rule: &&ListenRule| {
                rule.prefix.contains(address.into()) && rule.protocol == protocol && rule.ports.contains(&port)
            };
            let narrowest = rules.iter().filter(fits).min_by_key(|rule| {
                (Reverse(rule.prefix.bits()), rule.ports.len())
            });
            let wanted = narrowest.and_then(|rule| rule.listener).map(|listener| listener.port());
            let table = build(&rules).unwrap();
            prop_assert_eq!(find(&table, address, port, protocol), wanted);
        }
    }
}
