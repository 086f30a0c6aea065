//! Flows: what is remembered of a connection.

use super::BackendId;
use super::ServiceKey;
use super::address::{Ip, RRMXMX, address_difference};
use crate::wire::checksum::{Change, Difference};
use crate::wire::ethernet::Addresses;
use crate::wire::vlan::Tags;
use crate::wire::{Ports, U32be, ipv6, tcp};

/// A point in time, in ticks of the kernel's clock (`jiffies`), modulo 2³².
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ticks(pub u32);

plain!(Ticks, 4);

impl Ticks {
    /// So many ticks earlier.
    #[must_use]
    pub const fn before(self, ticks: u32) -> Self {
        Self(self.0.wrapping_sub(ticks))
    }

    /// So many ticks later.
    #[must_use]
    pub const fn after(self, ticks: u32) -> Self {
        Self(self.0.wrapping_add(ticks))
    }

    /// Ticks since an earlier point; right across one wrap.
    #[inline(always)]
    #[must_use]
    pub const fn since(self, earlier: Self) -> u32 {
        self.0.wrapping_sub(earlier.0)
    }

    /// Ticks since a point that another CPU may have noted; 0 if that lies a little ahead, as it may where this CPU read the
    /// clock first and looked last.
    ///
    /// Only a little, at most [`Self::AHEAD`]: if half of the clock's round were taken for the future, what rested for some
    /// weeks would stand still for as many.
    #[inline(always)]
    #[must_use]
    pub const fn passed_since(self, noted: Self) -> u32 {
        let ticks = self.since(noted);
        if ticks > u32::MAX - Self::AHEAD { 0 } else { ticks }
    }

    /// How far ahead another CPU's note may lie, one to ten seconds by the kernel's tick: far longer than a program runs, also on
    /// a virtual CPU that is taken away for a while.
    const AHEAD: u32 = 1 << 10;
}

/// A packet's addresses, ports and protocol, as it arrives. `A` is the address: [`U32be`] or [`ipv6::Address`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FlowKey<A> {
    /// Sender.
    pub source: A,
    /// Receiver.
    pub destination: A,
    /// Sender's and receiver's port.
    pub ports: Ports,
    protocol: u32,
}

plain!(FlowKey<U32be>, 16);
plain!(FlowKey<ipv6::Address>, 40);

impl<A: Ip> FlowKey<A> {
    /// A key from its parts.
    #[inline(always)]
    pub const fn new(source: A, destination: A, ports: Ports, protocol: u8) -> Self {
        Self { source, destination, ports, protocol: protocol as u32 }
    }

    /// IP protocol.
    #[inline(always)]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "made of eight bits")]
    pub const fn protocol(&self) -> u8 {
        self.protocol as u8
    }

    /// The key of packets the other way.
    #[inline(always)]
    #[must_use]
    pub const fn reversed(&self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
            ports: self.ports.reversed(),
            protocol: self.protocol,
        }
    }

    /// The flow's hash: the same on every host with the same seed. The upper bits are the best mixed.
    ///
    /// A sum of products, which need not wait for one another, folded and multiplied once more: what comes of it is what
    /// every later step of a packet's way waits for. Constants from Source: Pelle Evensen's rrmxmx and the golden ratio;
    /// uniformity is tested in this file.
    #[inline(always)]
    #[must_use]
    pub fn hash(&self, seed: u64) -> u32 {
        let to = ServiceKey::of(self.destination, self.ports.destination(), self.protocol());
        Self::hash_to(&to, self.source, self.ports, seed)
    }

    /// The hash of a flow to what its packets were looked up by: that lookup's product is taken over.
    #[inline(always)]
    #[must_use]
    pub fn hash_to(to: &ServiceKey, source: A, ports: Ports, seed: u64) -> u32 {
        let rest = u64::from(ports.word().raw()).wrapping_mul(PORTS);
        finish(source.mix_source().wrapping_add(rest).wrapping_add(seed), to.mixed())
    }

    /// The hash of the sender's address alone, or of its first `bits` bits.
    #[inline(always)]
    #[must_use]
    pub fn source_hash(&self, seed: u64, bits: u8) -> u32 {
        finish(self.source.masked(bits).mix_source(), seed)
    }
}

/// Source: Knuth's MMIX, its linear congruential generator.
const PORTS: u64 = 0x5851_f42d_4c95_7f2d;

#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "the upper half is kept")]
const fn finish(mixed: u64, seed: u64) -> u32 {
    let sum = mixed.wrapping_add(seed);
    ((sum ^ sum >> 32).wrapping_mul(RRMXMX) >> 32) as u32
}

/// What kind of record a flow has.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowKind {
    /// Says which backend the flow belongs to, nothing more.
    Pinned = 0,
    /// Client to backend: carries the translation.
    Forward = 1,
    /// Backend to client: carries the translation back.
    Reply = 2,
}

/// What was seen of a flow in one direction.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowState(pub u8);

plain!(FlowState, 1);

impl FlowState {
    /// The sender gives no more data.
    pub const FINISHED: Self = Self(1);
    /// The sender broke the connection off.
    pub const RESET: Self = Self(2);
    /// A packet that does not open a connection was seen.
    pub const ESTABLISHED: Self = Self(4);

    /// Whether all of `other`'s bits are set.
    #[inline(always)]
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether this direction ended.
    #[inline(always)]
    #[must_use]
    pub const fn is_closing(self) -> bool {
        self.0 & (Self::FINISHED.0 | Self::RESET.0) != 0
    }

    /// The state after a packet with these control bits.
    ///
    /// A SYN says nothing: anybody can send it. Its answer leaves the direction open. Who goes on after a reset did not send that
    /// one, or has a new connection: so a reset stands for a FIN before it, too, which was then the old one's.
    #[inline(always)]
    #[must_use]
    pub const fn after(self, flags: tcp::Flags) -> Self {
        if flags.opens() {
            return self;
        }
        if flags.accepts() {
            return Self::ESTABLISHED;
        }
        if flags.resets() {
            return Self(Self::ESTABLISHED.0 | Self::RESET.0);
        }
        let finished = if flags.finishes() { Self::FINISHED.0 } else { 0 };
        Self(self.0 & !Self::RESET.0 | Self::ESTABLISHED.0 | finished)
    }
}

/// Where a packet leaves to: link-layer addresses, interface and tags.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hop {
    /// The next hop's and our own link-layer address.
    pub link: Addresses,
    /// Interface to send by.
    pub ifindex: u32,
    /// Tags to send with.
    pub tags: Tags,
}

plain!(Hop, 24);

impl Hop {
    /// Nowhere: no interface has the number 0.
    pub const NONE: Self = Self { link: Addresses::NONE, ifindex: 0, tags: Tags::NONE };

    /// Whether it leads nowhere.
    #[inline(always)]
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.ifindex == 0
    }

    /// Whether packets leave without tags.
    #[inline(always)]
    #[must_use]
    pub const fn is_untagged(&self) -> bool {
        self.tags.count() == 0
    }
}

/// A flow record: which backend, and the finished translation. A NAT flow has two, one for each direction.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow<A> {
    /// Source the packet leaves with.
    pub source: A,
    /// Destination the packet leaves with.
    pub destination: A,
    /// Ports the packet leaves with.
    pub ports: Ports,
    /// What the new addresses do to a header checksum.
    pub address_difference: Difference,
    /// What the new addresses and ports do to a TCP or UDP checksum.
    pub difference: Difference,
    /// The backend.
    pub backend: BackendId,
    kind: u8,
    /// What was seen in this direction.
    pub state: FlowState,
    /// When a packet was last seen in this direction, late by at most [`Flow::GRAIN`].
    pub last_seen: Ticks,
    /// The way back to the client, learnt from its packets. Replies take it.
    pub way_back: Hop,
}

plain!(Flow<U32be>, 48);
plain!(Flow<ipv6::Address>, 72);

impl<A: Ip> Flow<A> {
    /// Ticks between two writes of `last_seen`, so that a busy flow does not dirty its cache line for every packet:
    /// a quarter of a second at 250 Hz.
    pub const GRAIN: u32 = 64;

    /// What the record is for.
    #[inline(always)]
    #[must_use]
    pub const fn kind(&self) -> FlowKind {
        match self.kind {
            1 => FlowKind::Forward,
            2 => FlowKind::Reply,
            _ => FlowKind::Pinned,
        }
    }

    /// Notes a packet: its time, and for TCP its control bits. A SYN after this direction's end keeps nothing: until the other side
    /// answers it, it may be sent in vain, or by anybody.
    #[inline(always)]
    pub const fn note(&mut self, flags: tcp::Flags, now: Ticks) {
        let state = self.state.after(flags);
        if state.0 != self.state.0 {
            self.state = state;
        }
        if now.since(self.last_seen) >= Self::GRAIN && !(flags.opens() && state.is_closing()) {
            self.last_seen = now;
        }
    }

    /// A record that only names a backend.
    #[inline(always)]
    #[must_use]
    pub fn pinned(backend: BackendId, now: Ticks) -> Self {
        Self { backend, last_seen: now, ..Self::default() }
    }

    /// Writes over the record what [`Flow::pinned`] makes, where it lies.
    #[inline(always)]
    pub fn pin(&mut self, backend: BackendId, now: Ticks) {
        A::default().put(&mut self.source);
        A::default().put(&mut self.destination);
        self.ports = Ports::default();
        self.address_difference = Difference::default();
        self.difference = Difference::default();
        self.backend = backend;
        self.kind = FlowKind::Pinned as u8;
        self.state = FlowState(0);
        self.last_seen = now;
        self.way_back = Hop::default();
    }

    /// Writes over the record what [`Flow::translation`] makes, where it lies.
    #[inline(always)]
    pub fn translate(
        &mut self,
        kind: FlowKind,
        arriving: &FlowKey<A>,
        leaving: &FlowKey<A>,
        (backend, way_back): (BackendId, Hop),
        now: Ticks,
    ) {
        let addresses = address_difference(
            (arriving.source, arriving.destination),
            (leaving.source, leaving.destination),
        );
        let all = addresses.sum().subtract_long(arriving.ports.word()).add_long(leaving.ports.word());
        leaving.source.put(&mut self.source);
        leaving.destination.put(&mut self.destination);
        self.ports = leaving.ports;
        self.address_difference = addresses;
        self.difference = all.difference();
        self.backend = backend;
        self.kind = kind as u8;
        self.state = FlowState(0);
        self.last_seen = now;
        self.way_back = way_back;
    }

    /// A record that turns packets with the key `arriving` into packets with the key `leaving`.
    #[inline(always)]
    #[must_use]
    pub fn translation(
        kind: FlowKind,
        arriving: &FlowKey<A>,
        leaving: &FlowKey<A>,
        (backend, way_back): (BackendId, Hop),
        now: Ticks,
    ) -> Self {
        let mut flow = Self::default();
        flow.translate(kind, arriving, leaving, (backend, way_back), now);
        flow
    }

    /// What the translation does to a TCP or UDP checksum.
    #[inline(always)]
    #[must_use]
    pub const fn change(&self, protocol: u8) -> Change {
        Change {
            all: self.difference,
            addresses: self.address_difference,
            is_optional: protocol == crate::wire::protocol::UDP,
        }
    }

    /// The key of the opposite direction's record: what a packet with this record's answer is replied to with.
    #[inline(always)]
    #[must_use]
    pub const fn opposite(&self, protocol: u8) -> FlowKey<A> {
        FlowKey::new(self.source, self.destination, self.ports, protocol).reversed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::U16be;

    fn key(n: u32) -> FlowKey<U32be> {
        let ports = Ports::new(U16be::new((n % 50_000) as u16), U16be::new(80));
        FlowKey::new(U32be::new(0x0a00_0000 + n / 50_000), U32be::new(0xcb00_710a), ports, 6)
    }

    /// The same flow of the other family.
    fn key_v6(n: u32) -> FlowKey<ipv6::Address> {
        let of = |address: U32be| ipv6::Address([U32be::new(0x2001_0db8), U32be::ZERO, U32be::ZERO, address]);
        let key = key(n);
        FlowKey::new(of(key.source), of(key.destination), key.ports, 6)
    }

    /// Chi square of half a million hashes over 1,021 slots: 1,020 degrees of freedom, mean 1,020, deviation 45.
    fn chi_square(hash: impl Fn(u32) -> u32) -> f64 {
        let (slots, flows) = (1021u64, 500_000u32);
        let mut counts = vec![0u32; 1021];
        for n in 0..flows {
            let slot = (u64::from(hash(n)) * slots) >> 32;
            counts[usize::try_from(slot).unwrap()] += 1;
        }
        let expected = f64::from(flows) / 1021.0;
        counts.iter().map(|c| (f64::from(*c) - expected).powi(2) / expected).sum()
    }

    #[test]
    fn neighbouring_flows_spread_evenly_over_slots() {
        let seed = 0x1234_5678;
        let by_source = |n: u32| {
            let source = U32be::new(0x0a00_0000 + n);
            FlowKey::new(source, U32be::ZERO, Ports::default(), 6).source_hash(seed, 32)
        };
        let all =
            [chi_square(|n| key(n).hash(seed)), chi_square(|n| key_v6(n).hash(seed)), chi_square(by_source)];
        assert!(all.iter().all(|chi| (800.0..1250.0).contains(chi)), "chi squares {all:?}");
    }

    #[test]
    fn clients_of_one_prefix_have_one_source_hash() {
        let hash = |n: u32, bits| key(n * 50_000).source_hash(1, bits);
        assert_eq!(hash(1, 24), hash(200, 24));
        assert_ne!(hash(1, 32), hash(200, 32));
    }

    #[test]
    fn a_flow_closes_by_fin_or_reset() {
        let state = FlowState::default().after(tcp::Flags(0x18));
        assert!(!state.is_closing());
        assert!(state.after(tcp::Flags::FIN).is_closing() && state.after(tcp::Flags::RST).is_closing());
    }

    #[test]
    fn a_syn_changes_nothing() {
        let open = FlowState::default().after(tcp::Flags::ACK);
        let ended = [tcp::Flags::FIN, tcp::Flags::RST].map(|end| open.after(end));
        for state in [FlowState::default(), open, ended[0], ended[1]] {
            assert_eq!(state.after(tcp::Flags::SYN), state);
        }
    }

    #[test]
    fn a_reset_is_over_with_the_next_packet_and_a_fin_is_not() {
        let open = FlowState::default().after(tcp::Flags::ACK);
        assert_eq!(open.after(tcp::Flags::RST).after(tcp::Flags::ACK), open);
        assert!(open.after(tcp::Flags::FIN).after(tcp::Flags::ACK).is_closing());
        let both = open.after(tcp::Flags::FIN).after(tcp::Flags::RST);
        assert!(both.is_closing() && !both.after(tcp::Flags::ACK).is_closing());
        let at_once = tcp::Flags(tcp::Flags::FIN.0 | tcp::Flags::RST.0);
        assert_eq!(open.after(at_once).after(tcp::Flags::ACK), open);
    }

    #[test]
    fn a_syn_after_an_end_keeps_nothing() {
        let mut flow = Flow::<U32be>::pinned(BackendId::NONE, Ticks(0));
        flow.note(tcp::Flags::SYN, Ticks(100));
        flow.note(tcp::Flags::RST, Ticks(200));
        flow.note(tcp::Flags::SYN, Ticks(300));
        assert_eq!(flow.last_seen, Ticks(200));
        flow.note(tcp::Flags::ACK, Ticks(300));
        assert_eq!(flow.last_seen, Ticks(300));
    }

    #[test]
    fn who_ended_a_flow_and_accepts_another_has_it_open() {
        let accepts = tcp::Flags(tcp::Flags::SYN.0 | tcp::Flags::ACK.0);
        let ended = FlowState::default().after(tcp::Flags::RST);
        assert_eq!(ended.after(accepts), FlowState::ESTABLISHED);
    }

    #[test]
    fn time_is_noted_at_most_once_a_grain() {
        let mut flow = Flow::<U32be>::pinned(BackendId::NONE, Ticks(u32::MAX - 3));
        flow.note(tcp::Flags::ACK, Ticks(10));
        assert_eq!(flow.last_seen, Ticks(u32::MAX - 3));
        flow.note(tcp::Flags::ACK, Ticks(60));
        assert_eq!(flow.last_seen, Ticks(60));
    }
}
