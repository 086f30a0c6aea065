//! Captures: which packets somebody wants to see, and what they are handed.
//!
//! Userspace writes the one filter; the kernel programs write records and what they counted. The packet's bytes follow
//! its record.

use super::{Address, BackendId, InsertRate, limits};
use crate::wire::U16be;

/// One end of a packet, and the addresses and ports that are wanted of it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaptureSide {
    /// 4 or 6; 0 for any packet, also those that are not IP.
    version: u8,
    /// IP protocol; 0 for any.
    protocol: u8,
    /// First and last port.
    ports: [u16; 2],
    reserved: u16,
    address: Address,
    mask: Address,
}

plain!(CaptureSide, 40);

impl CaptureSide {
    /// Whatever there is.
    pub const ANY: Self = Self {
        version: 0,
        protocol: 0,
        ports: [0, u16::MAX],
        reserved: 0,
        address: Address::UNSPECIFIED,
        mask: Address::UNSPECIFIED,
    };

    /// The addresses that have these bits where `mask` is set.
    #[must_use]
    pub const fn within(version: u8, address: Address, mask: Address) -> Self {
        Self { version, address, mask, ..Self::ANY }
    }

    /// Of these, the ports from `first` to `last`, both included.
    #[must_use]
    pub const fn ports(self, first: u16, last: u16) -> Self {
        Self { ports: [first, last], ..self }
    }

    /// Of these, the ones of one protocol.
    #[must_use]
    pub const fn protocol(self, protocol: u8) -> Self {
        Self { protocol, ..self }
    }

    /// Whether a packet is for it or from it.
    #[inline(always)]
    #[must_use]
    pub fn is_end_of(&self, ends: &CaptureEnds) -> bool {
        self.has(ends, (&ends.destination, ends.destination_port))
            || self.has(ends, (&ends.source, ends.source_port))
    }

    #[inline(always)]
    fn has(&self, ends: &CaptureEnds, (address, port): (&Address, U16be)) -> bool {
        let [first, last] = self.ports;
        (self.version == 0 || self.version == ends.version)
            && (self.protocol == 0 || self.protocol == ends.protocol)
            && first <= port.get()
            && port.get() <= last
            && self.holds(0, address)
            && self.holds(1, address)
            && self.holds(2, address)
            && self.holds(3, address)
    }

    #[inline(always)]
    #[allow(clippy::indexing_slicing, reason = "four words, and callers that name them")]
    fn holds(&self, word: usize, address: &Address) -> bool {
        address.0[word].raw() & self.mask.0[word].raw() == self.address.0[word].raw()
    }
}

/// Who a packet is from and for. All zero where that cannot be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CaptureEnds {
    /// 4 or 6.
    pub version: u8,
    /// IP protocol behind options and extension headers.
    pub protocol: u8,
    /// The sender's port; 0 for what has none.
    pub source_port: U16be,
    /// The receiver's port.
    pub destination_port: U16be,
    /// The sender.
    pub source: Address,
    /// The receiver.
    pub destination: Address,
}

/// Which packets are wanted, all of its parts together. All zero, as the map is at first, for none.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaptureFilter {
    /// A bit for each reason, the first reason's the lowest.
    pub reasons: u64,
    /// Bytes kept of each packet; 0 while nobody captures.
    pub snap: u32,
    /// Zero.
    pub reserved: u32,
    /// Senders.
    pub from: CaptureSide,
    /// Receivers.
    pub to: CaptureSide,
    /// The service's VIP, which its packets are for, or its replies from.
    pub vip: CaptureSide,
    /// A bit for each backend of the service: packets of theirs are the service's, too, whatever their addresses.
    pub backends: [u64; limits::BACKENDS as usize / 64],
}

plain!(CaptureFilter, 16 + 3 * 40 + limits::BACKENDS as usize / 8);

// A bit each.
const _: () = assert!(limits::REASONS <= 64);

impl CaptureFilter {
    /// Nothing.
    pub const NOTHING: Self = Self {
        reasons: 0,
        snap: 0,
        reserved: 0,
        from: CaptureSide::ANY,
        to: CaptureSide::ANY,
        vip: CaptureSide::ANY,
        backends: [0; limits::BACKENDS as usize / 64],
    };

    /// Every packet, and so many bytes of it.
    #[must_use]
    pub const fn everything(snap: u32) -> Self {
        Self { reasons: u64::MAX, snap, ..Self::NOTHING }
    }

    /// Takes the packets of a backend for the service's.
    pub fn add_backend(&mut self, id: BackendId) {
        if let Some(word) = self.backends.get_mut(usize::from(id.get() / 64)) {
            *word |= 1 << (id.get() % 64);
        }
    }

    /// Whether anybody captures.
    #[inline(always)]
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.snap != 0
    }

    /// Whether packets with the reason of this number are wanted.
    #[inline(always)]
    #[must_use]
    pub const fn has_reason(&self, reason: u8) -> bool {
        self.reasons >> (reason & 63) & 1 == 1
    }

    /// Whether a backend is one of the service's.
    #[inline(always)]
    #[must_use]
    #[allow(clippy::indexing_slicing, reason = "masked to the length; the kernel's programs must not panic")]
    pub const fn has_backend(&self, id: BackendId) -> bool {
        let word = (id.get() as usize / 64) & (limits::BACKENDS as usize / 64 - 1);
        self.backends[word] >> (id.get() % 64) & 1 == 1
    }

    /// Whether packets with these ends are wanted; of the service they are by their VIP if they are not anyhow.
    #[inline(always)]
    #[must_use]
    pub fn has_ends(&self, ends: &CaptureEnds, of_service: bool) -> bool {
        self.from.has(ends, (&ends.source, ends.source_port))
            && self.to.has(ends, (&ends.destination, ends.destination_port))
            && (of_service || self.vip.is_end_of(ends))
    }
}

/// A captured packet. As many of its bytes as were kept follow.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CaptureRecord {
    /// When, in nanoseconds of the kernel's monotonic clock.
    pub at_ns: u64,
    /// Interface it came by.
    pub arrived_by: u32,
    /// Interface it leaves by; 0 if it is not sent out.
    pub leaves_by: u32,
    /// Bytes it has, now that it was rewritten.
    pub length: u32,
    /// Bytes that were kept.
    pub kept: u32,
    /// The backend it goes to or comes from.
    pub backend: BackendId,
    /// The number of its reason.
    pub reason: u8,
    reserved: [u8; 5],
}

plain!(CaptureRecord, 32);

impl CaptureRecord {
    /// Writes down how the packet ended: for the reason of this number, steered to or from this backend, and sent out by
    /// this interface, if it is. What else there is to say is left as it was, to be written by who keeps the record.
    #[inline(always)]
    pub const fn end(&mut self, reason: u8, backend: BackendId, leaves_by: u32) {
        self.reason = reason;
        self.backend = backend;
        self.leaves_by = leaves_by;
    }
}

/// What one CPU captured, and how fast.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CaptureCount {
    /// Packets captured in this second.
    pub rate: InsertRate,
    /// Packets that the filter let through.
    pub wanted: u64,
    /// Those of them that were not captured, for the rate or for want of room.
    pub missed: u64,
}

plain!(CaptureCount, 24);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{U32be, protocol};

    fn id(number: u16) -> BackendId {
        BackendId::from_bits(number)
    }

    fn v4(address: u32) -> Address {
        Address::v4(U32be::new(address))
    }

    /// From 10.0.0.9:4000 to 192.0.2.1:80.
    const ENDS: CaptureEnds = CaptureEnds {
        version: 4,
        protocol: protocol::TCP,
        source_port: U16be::new(4000),
        destination_port: U16be::new(80),
        source: Address::v4(U32be::new(0x0a00_0009)),
        destination: Address::v4(U32be::new(0xc000_0201)),
    };

    #[test]
    fn an_unwritten_filter_wants_nothing_and_everything_includes_what_has_no_ends() {
        assert!(!CaptureFilter::NOTHING.is_on() && !CaptureFilter::NOTHING.has_reason(0));
        let all = CaptureFilter::everything(64);
        assert!(all.is_on() && (0..64).all(|reason| all.has_reason(reason)));
        assert!(all.has_ends(&CaptureEnds::default(), false) && all.has_ends(&ENDS, false));
    }

    #[test]
    fn addresses_ports_version_and_protocol_all_have_to_fit() {
        let whole = v4(u32::MAX);
        let side = CaptureSide::within(4, v4(0x0a00_0009), whole);
        let wants = |from| CaptureFilter { from, ..CaptureFilter::everything(64) }.has_ends(&ENDS, false);
        assert!(wants(side) && wants(side.ports(4000, 4000)) && wants(side.protocol(protocol::TCP)));
        assert!(!wants(side.ports(4001, 9000)) && !wants(side.protocol(protocol::UDP)));
        assert!(!wants(CaptureSide::within(4, v4(0x0a00_0008), whole)));
        assert!(wants(CaptureSide::within(4, v4(0x0a00_0000), v4(0xffff_ff00))));
        assert!(!wants(CaptureSide::within(6, v4(0x0a00_0009), whole)));
    }

    #[test]
    fn a_services_packets_are_for_its_vip_or_from_it_or_of_its_backends() {
        let mut filter = CaptureFilter::everything(64);
        filter.vip = CaptureSide::within(4, v4(0xc000_0201), v4(u32::MAX)).ports(80, 80);
        let reply = CaptureEnds {
            source: ENDS.destination,
            destination: ENDS.source,
            source_port: ENDS.destination_port,
            destination_port: ENDS.source_port,
            ..ENDS
        };
        let other = CaptureEnds { destination_port: U16be::new(81), ..ENDS };
        assert!(filter.has_ends(&ENDS, false) && filter.has_ends(&reply, false));
        assert!(!filter.has_ends(&other, false) && filter.has_ends(&other, true));
    }

    #[test]
    fn backends_are_told_apart_up_to_the_last() {
        let mut filter = CaptureFilter::everything(64);
        let records = u16::try_from(limits::BACKENDS).unwrap();
        let last = id(records - 1);
        for id in [id(1), id(64), last, id(0x7fff)] {
            filter.add_backend(id);
        }
        let found: std::vec::Vec<_> = (0..records).filter(|n| filter.has_backend(id(*n))).collect();
        assert_eq!(found, [1, 64, last.get()]);
    }
}
