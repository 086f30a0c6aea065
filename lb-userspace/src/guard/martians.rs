//! Addresses that no packet from outside comes from.

use super::network::Network;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Those that are no unicast address of another host's, whatever the network. Private ones are left alone: a balancer's
/// clients may well have them.
///
/// Source: RFC 6890, where "Source" is false or the address a host's own; RFC 1112, sections 4 and 7; RFC 4291, section 2.
const NEVER_V4: [([u8; 4], u8); 4] =
    [([0, 0, 0, 0], 8), ([127, 0, 0, 0], 8), ([224, 0, 0, 0], 4), ([240, 0, 0, 0], 4)];
const NEVER_V6: [([u16; 8], u8); 4] = [
    ([0, 0, 0, 0, 0, 0, 0, 0], 128),
    ([0, 0, 0, 0, 0, 0, 0, 1], 128),
    ([0, 0, 0, 0, 0, 0xffff, 0, 0], 96),
    ([0xff00, 0, 0, 0, 0, 0, 0, 0], 8),
];

/// Those that are not to be met on the Internet, either. Source: RFC 6890 and the registries that it set up, where
/// "Globally Reachable" is false.
const BOGON_V4: [([u8; 4], u8); 10] = [
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 168, 0, 0], 16),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
];
const BOGON_V6: [([u16; 8], u8); 5] = [
    ([0x100, 0, 0, 0, 0, 0, 0, 0], 64),
    ([0x2001, 2, 0, 0, 0, 0, 0, 0], 48),
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32),
    ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7),
    ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10),
];

/// The prefixes of martians; with `bogons` those that are none on a private network, too.
pub fn networks(bogons: bool) -> impl Iterator<Item = Network> {
    let (more_v4, more_v6) = if bogons { (&BOGON_V4[..], &BOGON_V6[..]) } else { (&[][..], &[][..]) };
    let v4 = NEVER_V4.iter().chain(more_v4);
    let v6 = NEVER_V6.iter().chain(more_v6);
    let v4 = v4.map(|(octets, bits)| (IpAddr::V4(Ipv4Addr::from(*octets)), *bits));
    v4.chain(v6.map(|(words, bits)| (IpAddr::V6(Ipv6Addr::from(*words)), *bits)))
        .filter_map(|(address, bits)| Network::new(address, bits))
}
