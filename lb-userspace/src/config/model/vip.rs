//! What clients connect to.

use super::Protocol;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A virtual address, or a prefix of them, and its ports: what clients connect to. Shown as `203.0.113.10:80`,
/// `203.0.113.0/24:8000-8099` or `[2001:db8::10]:*`, for UDP with `/udp` behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Vip {
    /// A unicast address; of a prefix the first one.
    pub addr: IpAddr,
    /// Bits of the prefix: all of them for a single address.
    pub bits: u8,
    /// The first port, from 1.
    pub port: u16,
    /// The last port.
    pub last_port: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
}

impl Vip {
    /// One port of one address.
    #[must_use]
    pub const fn new(addr: IpAddr, port: u16, protocol: Protocol) -> Self {
        Self { addr, bits: whole(addr), port, last_port: port, protocol }
    }

    /// Whether it is a single address.
    #[must_use]
    pub const fn is_address(&self) -> bool {
        self.bits == whole(self.addr)
    }

    /// Whether it is one port of a single address, which the packet path finds at once.
    #[must_use]
    pub const fn is_exact(&self) -> bool {
        self.is_address() && self.port == self.last_port
    }

    /// Whether an address is in it.
    #[must_use]
    pub fn covers(&self, addr: IpAddr) -> bool {
        first_of(addr, self.bits) == Some(self.addr)
    }

    /// Where a backend listens whose entry says `addr`, in the shape of a VIP: on its own port, or else on all of these.
    #[must_use]
    pub const fn endpoint(&self, addr: SocketAddr) -> Self {
        let own = Self::new(addr.ip(), addr.port(), self.protocol);
        match addr.port() {
            0 => Self { port: self.port, last_port: self.last_port, ..own },
            _ => own,
        }
    }

    /// Whether both are of the same addresses and protocol, and some port is of both.
    #[must_use]
    pub fn meets(&self, other: &Self) -> bool {
        let places = |vip: &Self| (vip.addr, vip.bits, vip.protocol);
        places(self) == places(other) && self.port <= other.last_port && other.port <= self.last_port
    }

    /// Whether packets to this address and port are for it.
    #[must_use]
    pub fn takes(&self, (addr, port, protocol): (IpAddr, u16, Protocol)) -> bool {
        self.protocol == protocol && (self.port..=self.last_port).contains(&port) && self.covers(addr)
    }
}

/// Bits of a whole address.
pub(in crate::config) const fn whole(addr: IpAddr) -> u8 {
    if addr.is_ipv4() { 32 } else { 128 }
}

/// The first address of the prefix of this length that `addr` is in; `None` if the family has no such length.
#[must_use]
pub(in crate::config) fn first_of(addr: IpAddr, bits: u8) -> Option<IpAddr> {
    let behind = u32::from(whole(addr).checked_sub(bits)?);
    Some(match addr {
        IpAddr::V4(addr) => {
            Ipv4Addr::from_bits(addr.to_bits() & u32::MAX.checked_shl(behind).unwrap_or(0)).into()
        }
        IpAddr::V6(addr) => {
            Ipv6Addr::from_bits(addr.to_bits() & u128::MAX.checked_shl(behind).unwrap_or(0)).into()
        }
    })
}

impl fmt::Display for Vip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slash = if self.is_address() { String::new() } else { format!("/{}", self.bits) };
        match self.addr {
            IpAddr::V4(addr) => write!(f, "{addr}{slash}:")?,
            IpAddr::V6(addr) => write!(f, "[{addr}{slash}]:")?,
        }
        match (self.port, self.last_port) {
            (1, u16::MAX) => f.write_str("*")?,
            (first, last) if first == last => write!(f, "{first}")?,
            (first, last) => write!(f, "{first}-{last}")?,
        }
        match self.protocol {
            Protocol::Tcp => Ok(()),
            Protocol::Udp => f.write_str("/udp"),
        }
    }
}
