//! Orders: what the daemon writes to the tables that the kernel programs address directly.
//!
//! The kernel hands such a table to userspace as one value of a map, to be written whole. So the daemon runs a program
//! that writes words to their places; the orders are the packet it is run over.

use crate::wire::Packet;

/// A table that is addressed directly.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// The service table.
    Services = 0,
    /// The backend records.
    Backends = 1,
    /// The slot words.
    Slots = 2,
    /// What there is in the tables.
    Contents = 3,
    /// The guard's rules.
    GuardRules = 4,
    /// What the guard has beside them.
    GuardState = 5,
    /// Its lists in outline.
    GuardOutline = 6,
    /// Bytes of an IP packet that every interface takes.
    CommonMtu = 7,
    /// Interfaces that a native program may send to.
    Reachable = 8,
}

impl Table {
    /// All tables.
    pub const ALL: [Self; 9] = [
        Self::Services,
        Self::Backends,
        Self::Slots,
        Self::Contents,
        Self::GuardRules,
        Self::GuardState,
        Self::GuardOutline,
        Self::CommonMtu,
        Self::Reachable,
    ];

    /// The table with this number.
    #[inline(always)]
    #[must_use]
    pub const fn numbered(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::Services),
            1 => Some(Self::Backends),
            2 => Some(Self::Slots),
            3 => Some(Self::Contents),
            4 => Some(Self::GuardRules),
            5 => Some(Self::GuardState),
            6 => Some(Self::GuardOutline),
            7 => Some(Self::CommonMtu),
            8 => Some(Self::Reachable),
            _ => None,
        }
    }
}

/// A word and its place, counted in words.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// Where it goes.
    pub place: u32,
    /// What goes there.
    pub word: u32,
}

plain!(Order, 8);

impl Order {
    /// Orders in one packet at most: with what the kernel keeps free around a packet, they fit a page of 4 KiB.
    pub const MOST: usize = 400;
    /// Bytes of the table's number before them, and of nothing: a packet has an Ethernet header at least.
    pub const HEADER: usize = 16;

    /// The order with this number of a packet, if it has so many.
    #[inline(always)]
    pub fn of(packet: &impl Packet, number: usize) -> Option<Self> {
        packet.read(Self::HEADER + number * size_of::<Self>())
    }
}
