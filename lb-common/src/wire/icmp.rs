//! ICMP for IPv4. Source: RFC 792.

use super::{U16be, U32be};

/// Bytes of the header; in an error the offending packet's first bytes follow.
pub const LENGTH: usize = 8;
/// Where the checksum lies.
pub const CHECKSUM: usize = 2;

/// Type and code of "fragmentation needed and don't fragment set".
pub const FRAGMENTATION_NEEDED: U16be = U16be::new(0x0304);
/// Type and code of "port unreachable".
pub const PORT_UNREACHABLE: U16be = U16be::new(0x0303);
/// Type and code of "time to live exceeded in transit".
pub const TIME_EXCEEDED: U16be = U16be::new(0x0b00);

/// Type of an echo request.
pub const ECHO_REQUEST: u8 = 8;
/// Type of an echo reply.
pub const ECHO_REPLY: u8 = 0;

/// Whether a message of this type reports about a packet it quotes: unreachable, time exceeded, parameter problem.
#[inline(always)]
#[must_use]
pub const fn is_error(kind: u8) -> bool {
    matches!(kind, 3 | 11 | 12)
}

/// The header.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Message type.
    pub kind: u8,
    /// Code within the type.
    pub code: u8,
    /// Checksum over the whole message.
    pub checksum: U16be,
    /// Depends on the type; the next hop's MTU in "fragmentation needed" (RFC 1191).
    pub rest: U32be,
}

plain!(Header, LENGTH);
