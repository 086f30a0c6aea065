//! Services: what a packet's destination is looked up in.
//!
//! The table is an open-addressed hash table in an array map, because an array lookup is inlined by the kernel (0.5 ns)
//! where a hash map costs 3–9 ns. Userspace builds it and keeps every key within [`limits::SERVICE_PROBES`] of its
//! first place. What one address and port lead to is found at once; port ranges and prefixes lead through the entry
//! of their [host](Forward::Host) and its [ranges](super::PortRange) to entries that lie behind the hashed part.

use super::address::{GOLDEN, MURMUR, RRMXMX, joined};
use super::{Address, Ip, limits};
use crate::wire::U16be;
#[cfg(any(test, feature = "host"))]
use crate::wire::U32be;

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

    /// The key of a destination.
    #[inline(always)]
    #[must_use]
    pub fn of<A: Ip>(address: A, port: U16be, protocol: u8) -> Self {
        Self::new(address.widen(), port, protocol, A::VERSION)
    }

    /// The key of what is known of an address whatever the port.
    #[inline(always)]
    #[must_use]
    pub fn host<A: Ip>(address: A) -> Self {
        Self::of(address, U16be::ZERO, 0)
    }

    /// The key of an IPv4 destination.
    #[cfg(any(test, feature = "host"))]
    #[must_use]
    pub fn v4(address: U32be, port: U16be, protocol: u8) -> Self {
        Self::of(address, port, protocol)
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

    /// Where the search for this key begins.
    #[inline(always)]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "the upper bits are kept")]
    pub const fn first_place(&self) -> u32 {
        (self.mixed() >> (u64::BITS - limits::SERVICE_TABLE.trailing_zeros())) as u32
    }

    /// A sum of products of its words. The hash of a flow goes on from here, so that a packet multiplies its destination once.
    #[inline(always)]
    #[must_use]
    pub const fn mixed(&self) -> u64 {
        let Address([a, b, c, d]) = self.address;
        let (front, back) =
            (a.raw() as u64 | (b.raw() as u64) << 32, c.raw() as u64 | (d.raw() as u64) << 32);
        let tail = self.tail as u64;
        if self.family() == 4 {
            (a.raw() as u64 | tail << 32).wrapping_mul(GOLDEN)
        } else {
            let ends = front.wrapping_mul(GOLDEN).wrapping_add(back.wrapping_mul(MURMUR));
            ends.wrapping_add(tail.wrapping_mul(RRMXMX))
        }
    }
}

/// How a service's packets reach its backends, or what else an entry is.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// No service: what is known of an address or a prefix.
    Host = 0,
    /// Full network address translation.
    Nat = 1,
    /// IP in IP towards the backend, which answers the client directly.
    DsrIpip = 2,
    /// The same in UDP (GUE, variant 1).
    DsrGue = 3,
    /// The backend's link-layer address: it holds the VIP and is on the same segment.
    DsrL2 = 4,
    /// Translation of the destination only; the balancer is the backends' gateway.
    Dnat = 5,
    /// To this host's own stack.
    Local = 6,
    /// No service: an endpoint that [`Forward::Dnat`] leads to; what it sends gets [`Service::other`] as its source.
    Endpoint = 7,
}

/// How a service's new flows are spread over its backends.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Select {
    /// By the hash of the flow.
    Flow = 0,
    /// By the hash of the client's address, or its first bits.
    Source = 1,
    /// In turn.
    RoundRobin = 2,
    /// The less loaded of two.
    LeastConnections = 3,
    /// By the server identifier in a QUIC connection identifier; by the flow's hash where there is none.
    Quic = 4,
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
    /// Of a host: the balancer's own address, to which backends reply.
    pub const OWN: Self = Self(4);
    /// Of a host: a VIP that answers echo requests.
    pub const PING: Self = Self(8);
    /// Of a host: a VIP, so that fragments for it are waited for.
    pub const VIP: Self = Self(16);
    /// Of a service with [`Forward::Nat`]: the client's address and port are kept, and only the destination is translated.
    pub const KEEPS_CLIENT: Self = Self(32);

    /// Whether all of `other`'s switches are on.
    #[inline(always)]
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets together.
    #[inline(always)]
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Where a service's slots lie, and how a hash picks one: the index of the first (22 bits), four bits unused, and how far a hash
/// is shifted (6 bits). One word, since a service that outgrows its slots gets others while packets come: with half of either,
/// hashes would lead to the slots of a neighbour.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct SlotPlace(u32);

plain!(SlotPlace, 4);

const _: () = assert!(limits::SLOTS <= 1 << SlotPlace::SHIFT_AT);

impl SlotPlace {
    /// Where the shift begins.
    const SHIFT_AT: u32 = 26;

    const fn new(first: u32, slots: u32) -> Self {
        let shift = if slots == 0 { 32 } else { 32 - slots.ilog2() };
        Self(first & (limits::SLOTS - 1) | shift << Self::SHIFT_AT)
    }

    #[inline(always)]
    const fn first(self) -> u32 {
        self.0 & (limits::SLOTS - 1)
    }

    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "no more bits than there are slots")]
    const fn index(self, hash: u32) -> u32 {
        self.first().wrapping_add((hash as u64 >> (self.0 >> Self::SHIFT_AT)) as u32)
    }
}

/// One entry of the service table: a key, and where the service's slots lie.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// What it answers to; family 0 marks a vacant entry.
    pub key: ServiceKey,
    /// Number of slots; 0 where there are no backends.
    pub slots: u32,
    /// Where the slots lie and how a hash picks one.
    place: SlotPlace,
    /// How it forwards, how it selects, its switches and its prefix bits: a word, since most services are alike in it.
    manner: u32,
    /// Of an endpoint: the VIP's address.
    pub other: Address,
    /// Of an endpoint: the VIP's port; 0 keeps the packet's.
    pub other_port: U16be,
    /// Destination port of outer UDP headers.
    pub gue_port: U16be,
    /// Number of the service: counts its turns, is part of the keys of its QUIC servers, and leads to the guard's rule.
    pub id: u16,
    /// Bytes of a server identifier in a QUIC connection identifier, 1 to 8.
    pub server_id_bytes: u8,
    reserved_middle: u8,
    /// Of a host: index of its first port range. The ranges of an address include those of the prefixes around it.
    pub first_range: u32,
    /// Of a host: number of its port ranges, at most [`limits::RANGE_PROBES`].
    pub ranges: u16,
    reserved_end: u16,
}

plain!(Service, 64);

/// The word of how a service forwards.
const fn manner(forward: Forward, flags: ServiceFlags) -> u32 {
    forward as u32 | (flags.0 as u32) << 16
}

impl Service {
    /// Nothing: what an unwritten entry is, and what ends a search.
    pub const VACANT: Self = Self {
        key: ServiceKey::new(Address::UNSPECIFIED, U16be::ZERO, 0, 0),
        slots: 0,
        place: SlotPlace(0),
        manner: 0,
        id: 0,
        other: Address::UNSPECIFIED,
        other_port: U16be::ZERO,
        gue_port: U16be::ZERO,
        server_id_bytes: 0,
        reserved_middle: 0,
        first_range: 0,
        ranges: 0,
        reserved_end: 0,
    };

    /// A service with its slots, selecting by the flow's hash.
    #[must_use]
    pub const fn new(
        key: ServiceKey,
        forward: Forward,
        id: u16,
        first_slot: u32,
        slots: u32,
        flags: ServiceFlags,
    ) -> Self {
        let place = SlotPlace::new(first_slot, slots);
        Self { key, slots, place, manner: manner(forward, flags), id, ..Self::VACANT }
    }

    /// What is known of an address.
    #[must_use]
    pub const fn host(key: ServiceKey, flags: ServiceFlags, (first_range, ranges): (u32, u16)) -> Self {
        Self { key, manner: manner(Forward::Host, flags), first_range, ranges, ..Self::VACANT }
    }

    /// An endpoint behind [`Forward::Dnat`], and the VIP that its packets come from.
    #[must_use]
    pub const fn endpoint(key: ServiceKey, (other, other_port): (Address, U16be)) -> Self {
        let (manner, id) = (Forward::Endpoint as u32, limits::GUARD_NONE);
        Self { key, manner, other, other_port, id, ..Self::VACANT }
    }

    /// The service with another way of spreading new flows.
    #[must_use]
    pub const fn selecting(self, select: Select) -> Self {
        Self { manner: self.manner & !0xff00 | (select as u32) << 8, ..self }
    }

    /// Whether packets are forwarded this way, flows spread by their hash, and tracked where their slots say so: as most
    /// services do it. One comparison tells.
    #[inline(always)]
    #[must_use]
    pub const fn is_common(&self, forward: Forward) -> bool {
        self.manner == forward as u32
    }

    /// Switches.
    #[inline(always)]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "a part of a word")]
    pub const fn flags(&self) -> ServiceFlags {
        ServiceFlags((self.manner >> 16) as u8)
    }

    /// Bits of the client's address that count for [`Select::Source`].
    #[inline(always)]
    #[must_use]
    pub const fn prefix_bits(&self) -> u8 {
        (self.manner >> 24) as u8
    }

    /// The entry with so many bits of the client's address that count.
    #[must_use]
    pub const fn with_prefix_bits(self, bits: u8) -> Self {
        Self { manner: self.manner & 0x00ff_ffff | (bits as u32) << 24, ..self }
    }

    /// How new flows are spread.
    #[inline(always)]
    #[must_use]
    pub const fn select(&self) -> Select {
        match self.manner >> 8 & 0xff {
            1 => Select::Source,
            2 => Select::RoundRobin,
            3 => Select::LeastConnections,
            4 => Select::Quic,
            _ => Select::Flow,
        }
    }

    /// Whether this is the entry with this key; for IPv4 the unused words are not compared. The entry's words are named from its
    /// beginning, which lies on a cache line, so that the compiler loads two of them at once.
    #[inline(always)]
    #[must_use]
    pub const fn answers_to(&self, key: &ServiceKey) -> bool {
        let Address([a, b, c, d]) = key.address;
        if key.tail != self.key.tail {
            return false;
        }
        if key.family() == 4 {
            return a.raw() == self.key.address.0[0].raw();
        }
        joined(a, b) == joined(self.key.address.0[0], self.key.address.0[1])
            && joined(c, d) == joined(self.key.address.0[2], self.key.address.0[3])
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
        match self.manner & 0xff {
            1 => Forward::Nat,
            2 => Forward::DsrIpip,
            3 => Forward::DsrGue,
            4 => Forward::DsrL2,
            5 => Forward::Dnat,
            6 => Forward::Local,
            7 => Forward::Endpoint,
            _ => Forward::Host,
        }
    }

    /// Index of the slot for a hash, by its upper bits. Where the slots are no power of two, as of services that take
    /// turns, those beyond it are left out.
    #[inline(always)]
    #[must_use]
    pub const fn slot_index(&self, hash: u32) -> u32 {
        self.place.index(hash)
    }

    /// Index of the first slot.
    #[inline(always)]
    #[must_use]
    pub const fn first_slot(&self) -> u32 {
        self.place.first()
    }
}
