//! Listeners: whose socket takes what the packet path leaves to this host's own stack.
//!
//! An address or a prefix has all its port ranges in one value of a trie, those of the prefixes around it included and
//! the narrower first. So one search and a short walk find the listener, and the kernel replaces a whole list at once.

use super::limits;
use crate::wire::U16be;

/// Place of a listener's socket in the kernel's map of sockets.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(u16);

impl ListenerId {
    /// No listener: the stack looks for a socket as it always does.
    pub const STACK: Self = Self(u16::MAX);

    /// A place below [`limits::LISTENERS`].
    #[must_use]
    pub const fn from_bits(place: u16) -> Self {
        Self(place)
    }

    /// The place.
    #[inline(always)]
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

/// Ports, and the listener that takes their connections or datagrams.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListenPorts {
    first: u16,
    last: u16,
    /// IP protocol; 0 where nothing is written.
    protocol: u8,
    reserved: u8,
    listener: u16,
}

plain!(ListenPorts, 8);

impl ListenPorts {
    /// The ports from `first` to `last`, both included.
    #[must_use]
    pub const fn new((first, last): (u16, u16), protocol: u8, listener: ListenerId) -> Self {
        Self { first, last, protocol, reserved: 0, listener: listener.get() }
    }

    #[inline(always)]
    const fn contains(self, protocol: u8, port: u16) -> bool {
        self.protocol == protocol && self.first <= port && port <= self.last
    }
}

/// What an address or a prefix listens on, the narrower range before the wider.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Listening([ListenPorts; limits::RANGE_PROBES as usize]);

plain!(Listening, 128);

impl Listening {
    /// These ranges in this order; `None` if there are more than fit.
    #[must_use]
    pub fn new(ranges: &[ListenPorts]) -> Option<Self> {
        let mut all = Self::default();
        all.0.get_mut(..ranges.len())?.copy_from_slice(ranges);
        Some(all)
    }

    /// The listener for a port, if one was named.
    #[inline(always)]
    #[must_use]
    pub fn find(&self, protocol: u8, port: U16be) -> Option<ListenerId> {
        for ports in &self.0 {
            if ports.contains(protocol, port.get()) {
                let listener = ListenerId(ports.listener);
                return (listener != ListenerId::STACK).then_some(listener);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::protocol::{TCP, UDP};

    #[test]
    fn the_first_range_that_fits_decides() {
        let [one, two] = [1, 2].map(ListenerId::from_bits);
        let ranges = [
            ListenPorts::new((80, 80), TCP, one),
            ListenPorts::new((22, 22), TCP, ListenerId::STACK),
            ListenPorts::new((0, u16::MAX), TCP, two),
        ];
        let listening = Listening::new(&ranges).unwrap();
        let find = |protocol, port| listening.find(protocol, U16be::new(port));
        assert_eq!([find(TCP, 80), find(TCP, 81), find(TCP, u16::MAX)], [Some(one), Some(two), Some(two)]);
        assert_eq!([find(TCP, 22), find(UDP, 80)], [None, None]);
    }

    #[test]
    fn more_ranges_than_fit_are_refused() {
        let full = [ListenPorts::default(); limits::RANGE_PROBES as usize];
        assert!(Listening::new(&full).is_some());
        assert!(Listening::new(&[full.as_slice(), &full[..1]].concat()).is_none());
    }
}
