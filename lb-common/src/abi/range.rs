//! Port ranges: services that answer to more than one port.

#[cfg(any(test, feature = "host"))]
use super::Ip as _;
use crate::wire::U16be;

/// Ports of an address or a prefix, and the service they belong to.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortRange {
    first: u16,
    last: u16,
    /// IP protocol; 0 where nothing is written.
    pub protocol: u8,
    reserved: [u8; 3],
    /// Place of the service's entry, behind the hashed part of the table.
    pub place: u32,
    reserved_end: u32,
}

plain!(PortRange, 16);

impl PortRange {
    /// The ports from `first` to `last`, both included.
    #[must_use]
    pub const fn new(first: u16, last: u16, protocol: u8, place: u32) -> Self {
        Self { first, last, protocol, reserved: [0; 3], place, reserved_end: 0 }
    }

    /// Whether a packet to this port is the service's.
    #[inline(always)]
    #[must_use]
    pub const fn contains(&self, port: U16be, protocol: u8) -> bool {
        let port = port.get();
        self.protocol == protocol && self.first <= port && port <= self.last
    }
}

/// What there is in the tables at all, so that what is not there need not be looked for.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contents(pub u32);

plain!(Contents, 4);

impl Contents {
    /// Some host has port ranges.
    pub const RANGES: Self = Self(1);
    /// Some hosts are prefixes.
    pub const PREFIXES: Self = Self(2);
    /// Some entries are endpoints.
    pub const ENDPOINTS: Self = Self(4);
    /// Some services keep clients' addresses in translating, so that answers to anybody may be theirs.
    pub const KEPT_CLIENTS: Self = Self(8);

    /// By which what is for nobody here may be an answer.
    pub const ANSWERS: Self = Self::ENDPOINTS.with(Self::KEPT_CLIENTS);

    /// Whether all of `other`'s parts are there.
    #[inline(always)]
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any of `other`'s parts is there.
    #[inline(always)]
    #[must_use]
    pub const fn has_any(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Both together.
    #[inline(always)]
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A prefix, as a longest-prefix-match map wants its key. The family comes first and counts to the prefix.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PrefixKey {
    /// Bits that count: those of `family`, and of the address.
    pub bits: u32,
    /// 4 or 6, in the first byte.
    pub family: [u8; 4],
    /// The address, zeros behind the prefix.
    pub address: super::Address,
}

plain!(PrefixKey, 24);

impl PrefixKey {
    /// Bits before the address.
    pub const FAMILY_BITS: u32 = 32;

    /// The first `bits` of an address.
    #[inline(always)]
    #[must_use]
    pub fn new<A: super::Ip>(address: A, bits: u8) -> Self {
        Self {
            bits: Self::FAMILY_BITS + u32::from(bits),
            family: [A::VERSION, 0, 0, 0],
            address: address.widen(),
        }
    }

    /// The key with fewer bits, as a map finds the prefixes of an address.
    #[cfg(any(test, feature = "host"))]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "an address has 128 bits at most")]
    pub fn shortened(&self, bits: u32) -> Self {
        let keep = bits.saturating_sub(Self::FAMILY_BITS) as u8;
        let address = super::Address(self.address.as_v6().masked(keep).0);
        Self { bits, address, ..*self }
    }

    /// What the bits count in, for a map whose keys are words.
    #[inline(always)]
    #[must_use]
    pub const fn to_words(&self) -> [u32; 5] {
        let super::Address([a, b, c, d]) = self.address;
        [u32::from_ne_bytes(self.family), a.raw(), b.raw(), c.raw(), d.raw()]
    }

    /// The whole address, to find the longest prefix that it is in.
    #[inline(always)]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "an address has 128 bits at most")]
    pub fn whole<A: super::Ip>(address: A) -> Self {
        Self::new(address, (size_of::<A>() * 8) as u8)
    }
}
