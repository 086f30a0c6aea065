//! Wire formats, one protocol a file, and the [`Packet`] trait.
//!
//! Header structs are [`Plain`]: what is read is what lies in the packet. Fields of more than one byte are [`U16be`]
//! or [`U32be`], so byte order is a type. Their alignment is natural (2 or 4): packed structs would become byte loads
//! and shifts on BPF.

#[macro_use]
mod packet;
mod be;

pub mod checksum;
pub mod ethernet;
pub mod icmp;
pub mod ipv4;
pub mod tcp;
pub mod udp;
pub mod vlan;

pub use be::{U16be, U32be};
#[cfg(feature = "host")]
pub use packet::Buffer;
pub use packet::{Packet, Plain};

/// IP protocol numbers. Source: IANA, "Assigned Internet Protocol Numbers".
pub mod protocol {
    /// Internet Control Message Protocol.
    pub const ICMP: u8 = 1;
    /// IPv4 in an outer header (RFC 2003).
    pub const IPIP: u8 = 4;
    /// Transmission Control Protocol.
    pub const TCP: u8 = 6;
    /// User Datagram Protocol.
    pub const UDP: u8 = 17;
}

/// Source and destination port, which TCP and UDP both have first.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// The sender's port.
    pub source: U16be,
    /// The receiver's port.
    pub destination: U16be,
}

plain!(Ports, 4);
