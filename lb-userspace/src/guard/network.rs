//! Prefixes of either family, in the shape that a trie is built from.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Which addresses a prefix is one of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// A prefix. They are ordered so that one comes before all that lie in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network {
    /// Its addresses' family.
    pub family: Family,
    /// Its bits, from the highest on, with zeros behind them.
    pub start: u128,
    /// How many they are.
    pub bits: u8,
}

impl Network {
    /// The prefix of so many bits that an address is in; `None` if an address has fewer.
    #[must_use]
    pub fn new(address: IpAddr, bits: u8) -> Option<Self> {
        let (family, whole, most) = match address {
            IpAddr::V4(address) => (Family::V4, u128::from(u32::from(address)) << 96, 32),
            IpAddr::V6(address) => (Family::V6, u128::from(address), 128),
        };
        (bits <= most).then(|| Self { family, start: whole & mask(bits), bits })
    }

    /// The prefix of an address alone.
    #[must_use]
    pub fn host(address: IpAddr) -> Self {
        let (family, start, bits) = match address {
            IpAddr::V4(address) => (Family::V4, u128::from(u32::from(address)) << 96, 32),
            IpAddr::V6(address) => (Family::V6, u128::from(address), 128),
        };
        Self { family, start, bits }
    }

    /// Whether an address with these bits is in it.
    #[must_use]
    pub const fn covers(&self, bits: u128) -> bool {
        (bits ^ self.start) & mask(self.bits) == 0
    }

    /// Its first address.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        match self.family {
            Family::V4 => IpAddr::V4(Ipv4Addr::from(u32::try_from(self.start >> 96).unwrap_or(0))),
            Family::V6 => IpAddr::V6(Ipv6Addr::from(self.start)),
        }
    }
}

/// The first `bits` bits.
#[must_use]
pub const fn mask(bits: u8) -> u128 {
    match bits {
        0 => 0,
        bits => u128::MAX << (128 - bits as u32),
    }
}
