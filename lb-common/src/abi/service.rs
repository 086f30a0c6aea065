//! Services: what a packet's destination is looked up in.
//!
//! The table is an open-addressed hash table in an array map, because an array lookup is inlined by the kernel (0.5 ns)
//! where a hash map costs 3–9 ns. Userspace builds it and keeps every key within [`limits::SERVICE_PROBES`] of its
//! first place.

use super::{Address, limits};
use crate::wire::{U16be, U32be};

/// Destination of a packet: address, port and protocol.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ServiceKey {
    /// Destination address.
    pub address: Address,
    /// Port, protocol and family in one word, from its lowest byte on: they are compared at once.
    tail: u32,
}

plain!(ServiceKey, 20);

impl ServiceKey {
    /// A key from its parts: port and protocol are 0 in the entry that marks one of the balancer's own addresses, and
    /// the family (4 or 6) is 0 in a vacant entry.
    #[inline(always)]
    #[must_use]
    pub const fn new(address: Address, port: U16be, protocol: u8, family: u8) -> Self {
        Self { address, tail: port.raw() as u32 | (protocol as u32) << 16 | (family as u32) << 24 }
    }

    /// The key of an IPv4 destination.
    #[inline(always)]
    #[must_use]
    pub const fn v4(address: U32be, port: U16be, protocol: u8) -> Self {
        Self::new(Address::v4(address), port, protocol, 4)
    }

    /// Destination port.
    #[inline(always)]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "a part of a word")]
    pub const fn port(&self) -> U16be {
        U16be::from_raw(self.tail as u16)
    }

    /// IP protocol.
    #[inline(always)]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "a part of a word")]
    pub const fn protocol(&self) -> u8 {
        (self.tail >> 16) as u8
    }

    /// IP version.
    #[inline(always)]
    #[must_use]
    pub const fn family(&self) -> u8 {
        (self.tail >> 24) as u8
    }

    /// The key that marks an address as the balancer's own, to which backends reply.
    #[inline(always)]
    #[must_use]
    pub const fn own_v4(address: U32be) -> Self {
        Self::v4(address, U16be::ZERO, 0)
    }

    /// Where the search for this key begins.
    #[inline(always)]
    #[must_use]
    pub const fn first_place(&self) -> u32 {
        let Address([a, b, c, d]) = self.address;
        let mut hash = a.raw().wrapping_mul(0x9e37_79b1);
        if self.family() != 4 {
            hash = (hash ^ b.raw()).wrapping_mul(0x85eb_ca77);
            hash = (hash ^ c.raw()).wrapping_mul(0xc2b2_ae3d);
            hash = (hash ^ d.raw()).wrapping_mul(0x27d4_eb2f);
        }
        hash = (hash ^ hash >> 15 ^ self.tail).wrapping_mul(0x85eb_ca77);
        (hash >> 16) & (limits::SERVICE_TABLE - 1)
    }

    /// Whether two keys are the same; for IPv4 the unused words are not compared.
    #[inline(always)]
    #[must_use]
    pub const fn matches(&self, other: &Self) -> bool {
        let (own, its) = (self.address.0, other.address.0);
        own[0].raw() == its[0].raw()
            && self.tail == other.tail
            && (self.family() == 4
                || (own[1].raw() == its[1].raw()
                    && own[2].raw() == its[2].raw()
                    && own[3].raw() == its[3].raw()))
    }
}

/// How a service's packets reach its backends.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// Not a service: an address of the balancer's own, to which backends reply.
    Own = 0,
    /// Full network address translation.
    Nat = 1,
    /// IP in IP towards the backend, which answers the client directly.
    DsrIpip = 2,
}

/// Switches of a service.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceFlags(pub u8);

plain!(ServiceFlags, 1);

impl ServiceFlags {
    /// Record every flow, also in slots that are not tracked.
    pub const TRACK_ALWAYS: Self = Self(1);
    /// Record no flow, also in slots that are tracked.
    pub const TRACK_NEVER: Self = Self(2);

    /// Whether all of `other`'s switches are on.
    #[inline(always)]
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// One entry of the service table: a key, and where the service's slots lie.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// What it answers to; family 0 marks a vacant entry.
    pub key: ServiceKey,
    /// Index of the first slot.
    pub first_slot: u32,
    /// Number of slots; 0 for an own address.
    pub slots: u32,
    forward: u8,
    /// Switches.
    pub flags: ServiceFlags,
    /// Number of the service, for events.
    pub id: u16,
    reserved: [u32; 8],
}

plain!(Service, 64);

impl Service {
    /// Nothing: what an unwritten entry is, and what ends a search.
    pub const VACANT: Self = Self {
        key: ServiceKey::new(Address::UNSPECIFIED, U16be::ZERO, 0, 0),
        first_slot: 0,
        slots: 0,
        forward: Forward::Own as u8,
        flags: ServiceFlags(0),
        id: 0,
        reserved: [0; 8],
    };

    /// A live entry.
    #[must_use]
    pub const fn new(
        key: ServiceKey,
        forward: Forward,
        id: u16,
        first_slot: u32,
        slots: u32,
        flags: ServiceFlags,
    ) -> Self {
        Self { key, first_slot, slots, forward: forward as u8, flags, id, reserved: [0; 8] }
    }

    /// Whether nothing is here, so that a search ends.
    #[inline(always)]
    #[must_use]
    pub const fn is_vacant(&self) -> bool {
        self.key.tail == 0
    }

    /// How packets reach the backends.
    #[inline(always)]
    #[must_use]
    pub const fn forward(&self) -> Forward {
        match self.forward {
            1 => Forward::Nat,
            2 => Forward::DsrIpip,
            _ => Forward::Own,
        }
    }

    /// Index of the slot for a hash: multiply and shift, since BPF code should not divide.
    #[inline(always)]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "the product's upper half is below `slots`")]
    pub const fn slot_index(&self, hash: u32) -> u32 {
        self.first_slot.wrapping_add(((hash as u64 * self.slots as u64) >> 32) as u32)
    }
}
