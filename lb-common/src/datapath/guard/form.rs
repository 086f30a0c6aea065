//! What a packet says of itself that no sender means.
//!
//! Source: RFC 9293, section 3.5; the combinations are those that pf's `scrub` and common nftables rule sets drop.

use super::Reason;
use crate::wire::{U16be, protocol, tcp};

/// Ports and control bits, with what is not known taken for harmless.
#[derive(Clone, Copy)]
pub(super) struct Form {
    is_from_port_zero: bool,
    /// The byte with the data offset, and the control bits; those of an ordinary segment where there are none.
    control: u16,
}

/// Bits of the data offset's byte that nobody has given a meaning. The fourth one is Accurate ECN's (RFC 9768).
const RESERVED: u16 = 0x0e00;
/// Those that say whether a segment can be: FIN, SYN, RST, PSH, ACK and URG.
const JUDGED: u16 = 0x3f;

/// A bit for each combination of [`JUDGED`].
#[allow(clippy::cast_possible_truncation, reason = "six bits")]
const POSSIBLE: u64 = {
    let (mut possible, mut flags) = (0, 0);
    while flags <= JUDGED {
        possible |= (is_possible(flags as u8) as u64) << flags;
        flags += 1;
    }
    possible
};

/// One of SYN, FIN and RST at most; and without ACK nothing but a SYN or an RST.
const fn is_possible(flags: u8) -> bool {
    let (fin, syn, rst) = (tcp::Flags::FIN.0, tcp::Flags::SYN.0, tcp::Flags::RST.0);
    let turns = flags & (fin | syn | rst);
    if flags & tcp::Flags::ACK.0 == 0 {
        return flags == syn || flags == rst;
    }
    turns.count_ones() <= 1
}

impl Form {
    /// Of a packet without ports.
    pub(super) const UNKNOWN: Self = Self { is_from_port_zero: false, control: tcp::Flags::ACK.0 as u16 };

    /// Of a packet with these.
    #[inline(always)]
    pub(super) fn of(protocol: u8, source: U16be, control: U16be) -> Self {
        let control = if protocol == protocol::TCP { control.get() } else { Self::UNKNOWN.control };
        Self { is_from_port_zero: source == U16be::ZERO, control }
    }

    /// Whether it asks for a new connection. Datagrams do not say so, and are bounded by number alone.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "the lower byte has them")]
    pub(super) fn opens(self) -> bool {
        tcp::Flags(self.control as u8).opens()
    }

    /// Whether it acknowledges something: what may be the answer to a cookie, if it is of no connection. Datagrams seem to,
    /// and are asked for no cookie.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "the lower byte has them")]
    pub(super) fn acknowledges(self) -> bool {
        let (acknowledges, resets) = (tcp::Flags::ACK.0, tcp::Flags::RST.0);
        self.control as u8 & (acknowledges | resets) == acknowledges
    }

    /// What is wrong with it.
    #[inline(always)]
    pub(super) fn fault(self) -> Option<Reason> {
        if self.control & RESERVED != 0 || POSSIBLE >> (self.control & JUDGED) & 1 == 0 {
            return Some(Reason::BadFlags);
        }
        self.is_from_port_zero.then_some(Reason::PortZero)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(control: u16) -> Option<Reason> {
        Form::of(protocol::TCP, U16be::new(1), U16be::new(control)).fault()
    }

    #[test]
    fn segments_of_real_connections_are_possible() {
        let ordinary = [0x02, 0x12, 0x10, 0x18, 0x11, 0x19, 0x30, 0x04, 0x14, 0x39];
        assert!(ordinary.into_iter().all(|flags| fault(0x5000 | flags).is_none()));
        // With ECN set up, and reduced; with the bit of Accurate ECN.
        assert!([0x50c2, 0x5052, 0x5090, 0x51c2].into_iter().all(|control| fault(control).is_none()));
    }

    #[test]
    fn segments_of_scanners_are_not() {
        let odd = [0x00, 0x01, 0x03, 0x06, 0x05, 0x08, 0x20, 0x29, 0x3f, 0x17, 0x15, 0x13, 0x0a, 0x22];
        assert!(odd.into_iter().all(|flags| fault(0x5000 | flags) == Some(Reason::BadFlags)));
        assert!([0x5202, 0x5410, 0x5810].into_iter().all(|control| fault(control).is_some()));
    }

    #[test]
    fn datagrams_have_no_control_bits() {
        let datagram = |port| Form::of(protocol::UDP, U16be::new(port), U16be::new(0x0e3f));
        assert_eq!((datagram(1).fault(), datagram(1).opens()), (None, false));
        assert_eq!(datagram(0).fault(), Some(Reason::PortZero));
    }
}
