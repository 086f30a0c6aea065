//! The guard's tables: a hundred thousand prefixes, and every guard on.

use crate::paths::CLIENT;
use anyhow::Result;
use lb_common::abi::{GuardFlags, GuardRule, Origin, Rate, SourceMask};
use lb_userspace::guard::martians;
use lb_userspace::guard::network::Network;
use lb_userspace::guard::trie::Marks;
use lb_userspace::kernel::Tables;
use lb_userspace::kernel::guard::Guarding;
use std::net::IpAddr;

/// A source that a prefix of 24 bits denies.
pub(crate) const DENIED: [u8; 4] = [192, 0, 2, 77];

/// Prefixes of the lists, most of them of 24 bits.
const PREFIXES: u32 = 100_000;
const SECOND: u32 = 250;

/// Room for a list twice as long.
pub(crate) const fn guarding() -> Guarding {
    Guarding { nodes: 1 << 19, keys: [0x9e37_79b9_7f4a_7c15, 3, 5, 7], cookies: false }
}

/// Writes the lists, and the rules of the two services: everything on, and a packet a source but no more.
pub(crate) fn furnish(tables: &mut Tables, [guarded, rated]: [u32; 2]) -> Result<()> {
    tables.guard.write_list(&lists().build())?;
    let many = Rate::new(1_000_000_000, 2_000_000, SECOND);
    let mask = SourceMask::new(32, 64);
    tables.guard.write_rule(guarded, &GuardRule::new(GuardFlags(0xff), mask, [many; 3]))?;
    let one = Rate::new(0, 1, SECOND);
    Ok(tables.guard.write_rule(rated, &GuardRule::new(GuardFlags(0xff), mask, [one, many, many]))?)
}

fn lists() -> Marks {
    let mut marks = Marks::default();
    martians::networks(false).for_each(|network| marks.add(network, Origin::MARTIAN));
    for (address, origin) in [(DENIED, Origin::DENIED), (CLIENT.0, Origin::ALLOWED)] {
        if let Some(network) = Network::new(IpAddr::from(address), 24) {
            marks.add(network, origin);
        }
    }
    for number in 0..PREFIXES {
        let address = IpAddr::from(number.wrapping_mul(0x9e37_79b1).to_be_bytes());
        let bits = if number % 4 == 0 { 32 } else { 24 };
        if let Some(network) = Network::new(address, bits) {
            marks.add(network, Origin::DENIED);
        }
    }
    marks
}
