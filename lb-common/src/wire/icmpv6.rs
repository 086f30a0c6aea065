//! ICMP for IPv6. Source: RFC 4443. The header has the shape of [`super::icmp::Header`].

use super::U16be;

/// Type and code of "packet too big"; the MTU is in the header's last word.
pub const PACKET_TOO_BIG: U16be = U16be::new(0x0200);
/// Type and code of "port unreachable".
pub const PORT_UNREACHABLE: U16be = U16be::new(0x0104);
/// Type and code of "hop limit exceeded in transit".
pub const TIME_EXCEEDED: U16be = U16be::new(0x0300);
/// Type of an echo request.
pub const ECHO_REQUEST: u8 = 128;
/// Type of an echo reply.
pub const ECHO_REPLY: u8 = 129;

/// Whether a message of this type reports about a packet it quotes.
#[inline(always)]
#[must_use]
pub const fn is_error(kind: u8) -> bool {
    kind >= 1 && kind <= 4
}
