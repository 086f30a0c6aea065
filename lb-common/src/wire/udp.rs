//! UDP. Source: RFC 768.

use super::{Ports, U16be};

/// Bytes of the header.
pub const LENGTH: usize = 8;
/// Where the length of header and data lies.
pub const DATAGRAM_LENGTH: usize = 4;
/// Where the checksum lies.
pub const CHECKSUM: usize = 6;

/// The header.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Source and destination port.
    pub ports: Ports,
    /// Bytes of header and data.
    pub length: U16be,
    /// Checksum over pseudo-header, header and data; zero means the sender made none.
    pub checksum: U16be,
}

plain!(Header, LENGTH);

/// A UDP checksum after a rewrite: "none" stays none, and a computed zero is sent as all ones.
#[inline(always)]
#[must_use]
pub const fn update_checksum(checksum: U16be, difference: super::checksum::Difference) -> U16be {
    if checksum.raw() == 0 {
        return checksum;
    }
    let updated = super::checksum::update(checksum, difference);
    if updated.raw() == 0 { U16be::from_raw(0xffff) } else { updated }
}
