//! Fragments: what the first of a datagram's tells of the rest, which carry no ports.

use super::{Address, Ip, Ticks};
use crate::wire::{Ports, U32be};

/// Which datagram a fragment is of: in IPv4 its protocol tells, too (RFC 791, section 3.2), in IPv6 only the first fragment's counts
/// (RFC 8200, section 4.5).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FragmentKey {
    /// Sender.
    pub source: Address,
    /// Receiver.
    pub destination: Address,
    /// The datagram's number; 16 bits in IPv4.
    pub identification: U32be,
    protocol: u8,
    family: u8,
    reserved: u16,
}

plain!(FragmentKey, 40);

impl FragmentKey {
    /// A key of its parts.
    #[inline(always)]
    #[must_use]
    pub fn new<A: Ip>(source: A, destination: A, identification: U32be, protocol: u8) -> Self {
        Self {
            source: source.widen(),
            destination: destination.widen(),
            identification,
            protocol: if A::VERSION == 4 { protocol } else { 0 },
            family: A::VERSION,
            reserved: 0,
        }
    }
}

/// What the first fragment told.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fragment {
    /// The datagram's ports.
    pub ports: Ports,
    /// Its IP protocol, behind all headers.
    pub protocol: u32,
    /// When it came. A receiver gives a datagram up after some time (RFC 791: 15 s; Linux: 30 s), and numbers come again.
    pub seen: Ticks,
}

plain!(Fragment, 12);
