//! IPv6. Source: RFC 8200, sections 3 and 4.

use super::{U16be, U32be};

/// Bytes of the header.
pub const LENGTH: usize = 40;
/// Where the bytes behind the header are counted.
pub const PAYLOAD_LENGTH: usize = 4;
/// Where the next header's number lies.
pub const NEXT_HEADER: usize = 6;
/// Where the hop limit lies.
pub const HOP_LIMIT: usize = 7;
/// Where the source address lies.
pub const SOURCE: usize = 8;
/// Where the destination address lies.
pub const DESTINATION: usize = 24;
/// The smallest MTU a link may have (RFC 8200, section 5).
pub const MINIMUM_MTU: u16 = 1280;

/// An address.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Address(pub [U32be; 4]);

plain!(Address, 16);

impl From<[u8; 16]> for Address {
    #[allow(clippy::cast_possible_truncation, reason = "the address is cut into words")]
    fn from(bytes: [u8; 16]) -> Self {
        let word = |at: usize| U32be::new((u128::from_be_bytes(bytes) >> (96 - 32 * at)) as u32);
        Self([word(0), word(1), word(2), word(3)])
    }
}

/// The header as the ten words it is drawn in.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header([U32be; 10]);

plain!(Header, LENGTH);

impl Header {
    /// A header of its parts; the flow label is a hash of what must take one path (RFC 6438).
    #[inline(always)]
    #[must_use]
    pub const fn new(
        (source, destination): (Address, Address),
        next_header: u8,
        hop_limit: u8,
        payload_length: u16,
        (traffic_class, flow_label): (u8, u32),
    ) -> Self {
        let Address([a, b, c, d]) = source;
        let Address([e, f, g, h]) = destination;
        Self([
            U32be::new(0x6000_0000 | (traffic_class as u32) << 20 | flow_label & 0x000f_ffff),
            U32be::new((payload_length as u32) << 16 | (next_header as u32) << 8 | hop_limit as u32),
            a,
            b,
            c,
            d,
            e,
            f,
            g,
            h,
        ])
    }

    /// Whether this is version 6.
    #[inline(always)]
    #[must_use]
    pub const fn is_valid(&self) -> bool {
        self.0[0].get() >> 28 == 6
    }

    /// Differentiated services and ECN (RFC 2474, RFC 3168).
    #[inline(always)]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "a part of a word")]
    pub const fn traffic_class(&self) -> u8 {
        (self.0[0].get() >> 20) as u8
    }

    /// Bytes behind the header.
    #[inline(always)]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "a part of a word")]
    pub const fn payload_length(&self) -> u16 {
        (self.0[1].get() >> 16) as u16
    }

    /// What follows the header: a protocol or an extension header.
    #[inline(always)]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "a part of a word")]
    pub const fn next_header(&self) -> u8 {
        (self.0[1].get() >> 8) as u8
    }

    /// Hops the packet may still take.
    #[inline(always)]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "a part of a word")]
    pub const fn hop_limit(&self) -> u8 {
        self.0[1].get() as u8
    }

    /// Source address.
    #[inline(always)]
    #[must_use]
    pub const fn source(&self) -> Address {
        Address([self.0[2], self.0[3], self.0[4], self.0[5]])
    }

    /// Destination address.
    #[inline(always)]
    #[must_use]
    pub const fn destination(&self) -> Address {
        Address([self.0[6], self.0[7], self.0[8], self.0[9]])
    }

    /// The header with other addresses.
    #[inline(always)]
    #[must_use]
    pub const fn readdressed(&self, source: Address, destination: Address) -> Self {
        let Address([a, b, c, d]) = source;
        let Address([e, f, g, h]) = destination;
        Self([self.0[0], self.0[1], a, b, c, d, e, f, g, h])
    }

    /// The header with another traffic class.
    #[inline(always)]
    #[must_use]
    pub const fn with_traffic_class(&self, class: u8) -> Self {
        let [first, second, a, b, c, d, e, f, g, h] = self.0;
        let first = U32be::new(first.get() & 0xf00f_ffff | (class as u32) << 20);
        Self([first, second, a, b, c, d, e, f, g, h])
    }

    /// The header with another hop limit.
    #[inline(always)]
    #[must_use]
    pub const fn with_hop_limit(&self, hop_limit: u8) -> Self {
        let [first, second, a, b, c, d, e, f, g, h] = self.0;
        Self([first, U32be::new(second.get() & !0xff | hop_limit as u32), a, b, c, d, e, f, g, h])
    }

    /// The header after a hop. The hop limit must be at least one.
    #[inline(always)]
    #[must_use]
    pub const fn one_hop_on(&self) -> Self {
        let [first, second, a, b, c, d, e, f, g, h] = self.0;
        Self([first, U32be::new(second.get().wrapping_sub(1)), a, b, c, d, e, f, g, h])
    }
}

/// An extension header that says how long it is (RFC 6564), or the fragment header (RFC 8200, section 4.5).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension {
    /// What follows.
    pub next_header: u8,
    /// Length in units of eight bytes, the first eight not counted; reserved in a fragment header.
    pub length: u8,
    /// A fragment's offset in units of eight bytes (13 bits), and whether more follow (the last bit).
    pub offset: U16be,
    /// A fragment's identification.
    pub identification: U32be,
}

plain!(Extension, 8);

/// The fragment header's number.
pub const FRAGMENT: u8 = 44;

/// Extension headers that can be walked over: hop-by-hop options, routing, fragment and destination options. The rest
/// (authentication, mobility, host identity) belong to packets that nobody may rewrite. Source: IANA, "IPv6 Extension
/// Header Types".
#[inline(always)]
#[must_use]
pub const fn is_extension(next_header: u8) -> bool {
    const ALL: u64 = 1 | 1 << 43 | 1 << FRAGMENT | 1 << 60;
    next_header < 64 && ALL >> next_header & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_lie_where_rfc_8200_draws_them() {
        let (source, destination) = (Address::from([1; 16]), Address::from([2; 16]));
        let header = Header::new((source, destination), 6, 64, 0x1234, (0xb8, 0x000a_bcde));
        assert!(header.is_valid());
        assert_eq!((header.traffic_class(), header.payload_length()), (0xb8, 0x1234));
        assert_eq!((header.next_header(), header.hop_limit()), (6, 64));
        assert_eq!((header.source(), header.destination()), (source, destination));
        let next = header.readdressed(destination, source).one_hop_on();
        assert_eq!((next.source(), next.destination(), next.hop_limit()), (destination, source, 63));
        assert_eq!(next.payload_length(), 0x1234);
    }
}
