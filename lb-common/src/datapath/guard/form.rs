//! What a packet says of itself that no sender means.
//!
//! Source: RFC 9293, section 3.5; the combinations are those that pf's `scrub` and common nftables rule sets drop.

use crate::wire::{U16be, protocol, tcp};

/// The byte with the data offset, and the control bits; those of an ordinary segment where there are none, or none known.
#[derive(Clone, Copy)]
pub(super) struct Form(u16);

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
    /// Of a packet without.
    pub(super) const UNKNOWN: Self = Self(tcp::Flags::ACK.0 as u16);

    /// Of a packet with these, if its protocol is one that has them.
    #[inline(always)]
    pub(super) const fn of(protocol: u8, control: U16be) -> Self {
        if protocol == protocol::TCP { Self(control.get()) } else { Self::UNKNOWN }
    }

    /// Whether it asks for a new connection. Datagrams do not say so, and are bounded by number alone.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "the lower byte has them")]
    pub(super) fn opens(self) -> bool {
        tcp::Flags(self.0 as u8).opens()
    }

    /// Whether it acknowledges something: what may be the answer to a cookie, if it is of no connection. Datagrams seem to,
    /// and are asked for no cookie.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "the lower byte has them")]
    pub(super) fn acknowledges(self) -> bool {
        let (acknowledges, resets) = (tcp::Flags::ACK.0, tcp::Flags::RST.0);
        self.0 as u8 & (acknowledges | resets) == acknowledges
    }

    /// Whether a sender may mean it.
    #[inline(always)]
    pub(super) const fn is_sound(self) -> bool {
        self.0 & RESERVED == 0 && POSSIBLE >> (self.0 & JUDGED) & 1 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_sound(control: u16) -> bool {
        Form::of(protocol::TCP, U16be::new(control)).is_sound()
    }

    #[test]
    fn segments_of_real_connections_are_possible() {
        let ordinary = [0x02, 0x12, 0x10, 0x18, 0x11, 0x19, 0x30, 0x04, 0x14, 0x39];
        assert!(ordinary.into_iter().all(|flags| is_sound(0x5000 | flags)));
        // With ECN set up, and reduced; with the bit of Accurate ECN.
        assert!([0x50c2, 0x5052, 0x5090, 0x51c2].into_iter().all(is_sound));
    }

    #[test]
    fn segments_of_scanners_are_not() {
        let odd = [0x00, 0x01, 0x03, 0x06, 0x05, 0x08, 0x20, 0x29, 0x3f, 0x17, 0x15, 0x13, 0x0a, 0x22];
        assert!(!odd.into_iter().any(|flags| is_sound(0x5000 | flags)));
        assert!(![0x5202, 0x5410, 0x5810].into_iter().any(is_sound));
    }

    #[test]
    fn datagrams_have_no_control_bits() {
        let datagram = Form::of(protocol::UDP, U16be::new(0x0e3f));
        assert!(datagram.is_sound() && !datagram.opens());
    }
}
