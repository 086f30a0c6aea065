//! What the guard does for a service.

use super::{Origin, Rate};
use crate::abi::Ip;
use crate::wire::U32be;

/// The guards that are on.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GuardFlags(pub u32);

plain!(GuardFlags, 4);

impl GuardFlags {
    /// Sources that the lists deny.
    pub const LISTS: Self = Self(Origin::DENIED.0);
    /// Control bits and ports that no sender means.
    pub const MALFORMED: Self = Self(2);
    /// Sources that nobody can have.
    pub const MARTIANS: Self = Self(Origin::MARTIAN.0);
    /// Sources that are a VIP, or the packet's own destination.
    pub const LAND: Self = Self(Origin::VIP.0);
    /// Sources that are blocked for a time.
    pub const BLOCKS: Self = Self(16);
    /// Packets of one source.
    pub const SOURCE_PACKETS: Self = Self(32);
    /// New flows of one source.
    pub const SOURCE_FLOWS: Self = Self(64);
    /// New flows of all sources.
    pub const SERVICE_FLOWS: Self = Self(128);
    /// SYNs above the new flows of all sources are answered with cookies.
    pub const SYN_COOKIES: Self = Self(256);

    /// Those of what the lists know that a packet is stopped for: both say the same by the same bits, but what is allowed.
    #[inline(always)]
    #[must_use]
    pub const fn stopping(self, origin: Origin) -> Origin {
        Origin(self.0 & origin.without(Origin::ALLOWED).0)
    }

    /// Those that ask the list where a source is from.
    pub const BY_ORIGIN: Self = Self::LISTS.with(Self::MARTIANS).with(Self::LAND).with(Self::BLOCKS);
    /// Those that ask a source's buckets.
    pub const BY_SOURCE: Self = Self::SOURCE_PACKETS.with(Self::SOURCE_FLOWS);

    /// Whether any of `other`'s guards is on.
    #[inline(always)]
    #[must_use]
    pub const fn any(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Both sets together.
    #[inline(always)]
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The bits of an address that tell one source from another.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceMask {
    v4: U32be,
    v6: [U32be; 4],
}

plain!(SourceMask, 20);

impl SourceMask {
    /// The first bits of either family's addresses.
    #[must_use]
    pub fn new(v4_bits: u8, v6_bits: u8) -> Self {
        let all = U32be::from_raw(u32::MAX);
        let v6 = crate::wire::ipv6::Address([all; 4]).masked(v6_bits);
        Self { v4: all.masked(v4_bits), v6: v6.0 }
    }

    /// What is left of a source, as words.
    #[inline(always)]
    #[must_use]
    pub fn of<A: Ip>(&self, source: A) -> [u32; 4] {
        let words = source.widen().0;
        if A::VERSION == 4 {
            return [words[0].raw() & self.v4.raw(), 0, 0, 0];
        }
        let [a, b, c, d] = words;
        let [e, f, g, h] = self.v6;
        [a.raw() & e.raw(), b.raw() & f.raw(), c.raw() & g.raw(), d.raw() & h.raw()]
    }
}

/// The rule of one service: one cache line.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GuardRule {
    /// Which guards are on; none lets every packet go on.
    pub flags: GuardFlags,
    /// What one source is.
    pub mask: SourceMask,
    /// Packets of one source.
    pub source_packets: Rate,
    /// New flows of one source.
    pub source_flows: Rate,
    /// New flows of all sources.
    pub service_flows: Rate,
    reserved: u32,
}

plain!(GuardRule, 64);

impl GuardRule {
    /// Lets every packet go on.
    pub const UNGUARDED: Self = Self {
        flags: GuardFlags(0),
        mask: SourceMask { v4: U32be::ZERO, v6: [U32be::ZERO; 4] },
        source_packets: Rate::NONE,
        source_flows: Rate::NONE,
        service_flows: Rate::NONE,
        reserved: 0,
    };

    /// A rule of its parts.
    #[must_use]
    pub const fn new(
        flags: GuardFlags,
        mask: SourceMask,
        [source_packets, source_flows, service_flows]: [Rate; 3],
    ) -> Self {
        Self { flags, mask, source_packets, source_flows, service_flows, reserved: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ipv6;

    #[test]
    fn what_the_lists_know_stops_where_its_guard_is_on() {
        let known = Origin::DENIED.with(Origin::MARTIAN).with(Origin::ALLOWED);
        assert_eq!(GuardFlags::LISTS.stopping(known), Origin::DENIED);
        assert_eq!(GuardFlags::MARTIANS.with(GuardFlags::LAND).stopping(known), Origin::MARTIAN);
        let all = known.with(Origin::VIP);
        let of_others = [GuardFlags::MALFORMED, GuardFlags::BLOCKS, GuardFlags::BY_SOURCE];
        assert!(of_others.into_iter().all(|flags| flags.stopping(all) == Origin(0)));
    }

    #[test]
    fn a_source_is_the_first_bits_of_its_address() {
        let mask = SourceMask::new(24, 64);
        let v4 = |last| mask.of(U32be::from([192, 0, 2, last]));
        assert_eq!(v4(1), v4(255));
        assert_ne!(v4(1), mask.of(U32be::from([192, 0, 3, 1])));
        let v6 = |network: u128, host: u128| {
            mask.of(ipv6::Address::from((0x2001_0db8 << 96 | network << 64 | host).to_be_bytes()))
        };
        assert_eq!(v6(1, 1), v6(1, u128::from(u64::MAX)));
        assert_ne!(v6(1, 1), v6(2, 1));
    }
}
