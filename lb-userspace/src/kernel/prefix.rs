//! A prefix of addresses, of either family.

use lb_common::abi::PrefixKey;
use lb_common::wire::{U32be, ipv6};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The addresses that begin with the same bits. One address alone has all its bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    address: IpAddr,
    bits: u8,
}

impl Prefix {
    /// The prefix of this length that an address is in; a length beyond the address's means the address.
    #[must_use]
    pub fn new(address: IpAddr, bits: u8) -> Self {
        let bits = bits.min(width(address));
        Self { address: masked(address, bits), bits }
    }

    /// The first of its addresses.
    #[must_use]
    pub const fn address(self) -> IpAddr {
        self.address
    }

    /// How many bits its addresses share.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.bits
    }

    /// Whether there is more than one address in it.
    #[must_use]
    pub const fn is_wide(self) -> bool {
        self.bits < width(self.address)
    }

    /// Whether all of the other's addresses are in it.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        self.bits <= other.bits && masked(other.address, self.bits) == self.address
    }

    /// As the kernel programs' tries have it.
    #[must_use]
    pub fn key(self) -> PrefixKey {
        match self.address {
            IpAddr::V4(address) => PrefixKey::new(U32be::from(address.octets()), self.bits),
            IpAddr::V6(address) => PrefixKey::new(ipv6::Address::from(address.octets()), self.bits),
        }
    }
}

impl From<IpAddr> for Prefix {
    fn from(address: IpAddr) -> Self {
        Self::new(address, u8::MAX)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

const fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn masked(address: IpAddr, bits: u8) -> IpAddr {
    let dropped = u32::from(width(address) - bits);
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(dropped).unwrap_or_default();
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(dropped).unwrap_or_default();
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        let (address, bits) = text.split_once('/').unwrap();
        Prefix::new(address.parse().unwrap(), bits.parse().unwrap())
    }

    #[test]
    fn a_prefix_has_zeros_behind_its_bits() {
        let shown = ["203.0.113.77/24", "203.0.113.77/32", "9.9.9.9/0", "2001:db8::ffff/112", "fe80::1/0"];
        let shown = shown.map(|text| prefix(text).to_string());
        assert_eq!(shown, ["203.0.113.0/24", "203.0.113.77/32", "0.0.0.0/0", "2001:db8::/112", "::/0"]);
    }

    #[test]
    fn a_prefix_contains_itself_and_what_is_narrower_within_it() {
        let net = prefix("203.0.113.0/24");
        assert!(net.contains(net) && net.contains(prefix("203.0.113.9/32")));
        assert!(!net.contains(prefix("203.0.112.0/23")) && !net.contains(prefix("203.0.114.9/32")));
        assert!(!prefix("0.0.0.0/0").contains(prefix("::/0")));
    }

    #[test]
    fn an_address_alone_is_not_wide() {
        let alone = Prefix::from("2001:db8::1".parse::<IpAddr>().unwrap());
        assert!(!alone.is_wide() && alone.bits() == 128 && prefix("203.0.113.0/31").is_wide());
    }
}
