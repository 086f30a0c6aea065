//! TCP. Source: RFC 9293, section 3.1.

use super::{Ports, U16be, U32be};

/// Bytes of a header without options.
pub const LENGTH: usize = 20;
/// Where the data offset lies.
pub const DATA_OFFSET: usize = 12;
/// Where the control bits lie.
pub const FLAGS: usize = 13;
/// Where the checksum lies.
pub const CHECKSUM: usize = 16;

/// The header, without options.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Source and destination port.
    pub ports: Ports,
    /// Sequence number.
    pub sequence: U32be,
    /// Acknowledgment number.
    pub acknowledgment: U32be,
    /// Data offset in 32-bit words (4 bits) and reserved bits.
    pub data_offset: u8,
    /// Control bits.
    pub flags: Flags,
    /// Receive window.
    pub window: U16be,
    /// Checksum over pseudo-header, header and data.
    pub checksum: U16be,
    /// Urgent pointer.
    pub urgent: U16be,
}

plain!(Header, LENGTH);

impl Header {
    /// Bytes of the header with its options.
    #[inline(always)]
    #[must_use]
    pub const fn length(&self) -> usize {
        (self.data_offset as usize >> 4) << 2
    }
}

/// The control bits.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u8);

plain!(Flags, 1);

impl Flags {
    /// No bit set; what a packet without TCP counts as.
    pub const NONE: Self = Self(0);
    /// No more data from the sender.
    pub const FIN: Self = Self(0x01);
    /// Synchronise sequence numbers.
    pub const SYN: Self = Self(0x02);
    /// Reset the connection.
    pub const RST: Self = Self(0x04);
    /// The acknowledgment field counts.
    pub const ACK: Self = Self(0x10);

    /// Whether this packet asks for a new connection: SYN without ACK or RST.
    #[inline(always)]
    #[must_use]
    pub const fn opens(self) -> bool {
        self.0 & (Self::SYN.0 | Self::ACK.0 | Self::RST.0) == Self::SYN.0
    }

    /// Whether this packet takes a new connection: SYN with ACK, without FIN or RST.
    #[inline(always)]
    #[must_use]
    pub const fn accepts(self) -> bool {
        let asked = Self::SYN.0 | Self::ACK.0;
        self.0 & (asked | Self::FIN.0 | Self::RST.0) == asked
    }

    /// Whether the sender gives no more data.
    #[inline(always)]
    #[must_use]
    pub const fn finishes(self) -> bool {
        self.0 & Self::FIN.0 != 0
    }

    /// Whether the sender breaks the connection off.
    #[inline(always)]
    #[must_use]
    pub const fn resets(self) -> bool {
        self.0 & Self::RST.0 != 0
    }
}
