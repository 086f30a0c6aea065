//! Lines of the flow table: a flow's key and its record on one cache line, two for IPv6, and the word that says whose
//! the line is.

use super::address::Ip;
use super::flow::{Flow, FlowKey};
use super::shared::Shared;
use crate::wire::{Ports, U32be, ipv6};
use core::cell::UnsafeCell;

/// What the word of a line says, in three parts that are changed apart from one another and at once.
///
/// Of the line itself: the flow's ports and protocol, and how far the line is on its way from vacant to live and back. Of
/// the line as a *home*, where the search for some keys begins: [`LineWord::LOCK`], and at which of its places keys of
/// its own lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineWord(pub u64);

impl LineWord {
    /// The ports of the key.
    const PORTS: u64 = 0xffff_ffff;
    /// The protocol of the key; zero while there is no key.
    const PROTOCOL: u64 = 0xff << 32;
    /// Somebody's. Set first and cleared last.
    pub const TAKEN: u64 = 1 << 40;
    /// The key is there, the record is being written.
    pub const RESERVED: u64 = 1 << 41;
    /// Key and record are there.
    pub const LIVE: u64 = 1 << 42;
    /// Was dead already when the daemon came by before.
    pub const RETIRED: u64 = 1 << 43;
    /// A key whose search begins here is being added.
    pub const LOCK: u64 = 1 << 44;
    /// Where the bits for the places begin; that of the home itself is not used.
    const PLACES: u32 = 48;

    /// What a key puts into the word.
    #[inline(always)]
    #[must_use]
    pub const fn of<A: Ip>(key: &FlowKey<A>) -> Self {
        Self(key.ports.word().raw() as u64 | (key.protocol() as u64) << 32)
    }

    /// Whether the line is live, and its key has these ports and this protocol.
    #[inline(always)]
    #[must_use]
    pub const fn is_live(self, key: Self) -> bool {
        self.0 & (Self::PORTS | Self::PROTOCOL | Self::LIVE) == key.0 | Self::LIVE
    }

    /// Whether there is a key with these ports and this protocol, whatever has become of its record.
    #[inline(always)]
    #[must_use]
    pub const fn is_keyed(self, key: Self) -> bool {
        self.key().0 == key.0
    }

    /// What the key put here.
    #[inline(always)]
    #[must_use]
    pub const fn key(self) -> Self {
        Self(self.0 & (Self::PORTS | Self::PROTOCOL))
    }

    /// Whether all of these bits are set.
    #[inline(always)]
    #[must_use]
    pub const fn has(self, bits: u64) -> bool {
        self.0 & bits == bits
    }

    /// Whether the line's flow was taken out of the table, and the line was not given back yet.
    #[inline(always)]
    #[must_use]
    pub const fn is_dead(self) -> bool {
        self.0 & Self::PROTOCOL != 0 && self.0 & (Self::LIVE | Self::RESERVED) == 0
    }

    /// Whether a key whose search begins here lies elsewhere.
    #[inline(always)]
    #[must_use]
    pub const fn strays(self) -> bool {
        self.0 >> Self::PLACES != 0
    }

    /// A bit for each place where a key of this home may be, the first of them for the home itself.
    #[inline(always)]
    #[must_use]
    pub const fn places(self) -> u64 {
        self.0 >> Self::PLACES | 1
    }

    /// The bit for a key of this home at this place.
    #[inline(always)]
    #[must_use]
    pub const fn stray(place: u32) -> u64 {
        1 << (Self::PLACES + place)
    }

    /// The same line, taken, but without a key.
    #[inline(always)]
    #[must_use]
    pub const fn without_key(self) -> Self {
        Self(self.0 & !(Self::PORTS | Self::PROTOCOL | Self::RETIRED))
    }
}

/// A line. Nothing but a change of its word tells one CPU what another did: whoever found a line taken by nobody and set
/// [`LineWord::TAKEN`] alone writes the addresses, and shows them by the ports and the protocol in the word.
#[repr(C, align(64))]
pub struct Line<A> {
    source: UnsafeCell<A>,
    destination: UnsafeCell<A>,
    word: Shared,
    flow: UnsafeCell<Flow<A>>,
}

const _: () = assert!(size_of::<Line<U32be>>() == 64 && size_of::<Line<ipv6::Address>>() == 128);

#[allow(unsafe_code, reason = "what several CPUs share is more than a type can say")]
// SAFETY: the key is written by one CPU only, before the word shows it, and not again before all who may have seen it are
// done (see `datapath::lines`). A record is numbers, each right by itself at any time, and handed out as a pointer.
unsafe impl<A: Ip> Sync for Line<A> {}

impl<A: Ip> Line<A> {
    /// A line of nobody.
    #[must_use]
    pub fn vacant() -> Self {
        Self {
            source: UnsafeCell::default(),
            destination: UnsafeCell::default(),
            word: Shared::default(),
            flow: UnsafeCell::new(Flow::default()),
        }
    }

    /// What there is to know of the line.
    #[inline(always)]
    pub fn word(&self) -> LineWord {
        LineWord(self.word.load())
    }

    /// Sets bits; gives the word before.
    #[inline(always)]
    pub fn set(&self, bits: u64) -> LineWord {
        LineWord(self.word.or(bits))
    }

    /// Clears bits; gives the word before.
    #[inline(always)]
    pub fn clear(&self, bits: u64) -> LineWord {
        LineWord(self.word.and(!bits))
    }

    /// Puts another word in the place of this one, and says whether it was that still.
    #[inline(always)]
    pub fn exchange(&self, before: LineWord, after: LineWord) -> bool {
        self.word.exchange(before.0, after.0)
    }

    /// Makes a reserved line live.
    #[inline(always)]
    pub fn publish(&self) {
        self.word.xor(LineWord::RESERVED | LineWord::LIVE);
    }

    /// Whether the line has the addresses of this key. The word tells of the rest.
    #[inline(always)]
    #[allow(unsafe_code, reason = "reads what is shared")]
    pub fn has_addresses(&self, key: &FlowKey<A>) -> bool {
        // SAFETY: nobody writes what the word shows, and what it does not show is not believed.
        let (source, destination) = unsafe { (*self.source.get(), *self.destination.get()) };
        source.is(key.source) && destination.is(key.destination)
    }

    /// Writes the addresses of a key. For whoever took the line.
    #[inline(always)]
    #[allow(unsafe_code, reason = "writes what is shared")]
    pub fn write_addresses(&self, key: &FlowKey<A>) {
        // SAFETY: nobody else writes to a line that this CPU took, and nobody believes what is not shown yet.
        unsafe {
            key.source.put(&mut *self.source.get());
            key.destination.put(&mut *self.destination.get());
        }
    }

    /// The key of a line with this word.
    #[must_use]
    #[allow(unsafe_code, reason = "reads what is shared")]
    #[allow(clippy::cast_possible_truncation, reason = "ports and protocol are parts of the word")]
    pub fn key(&self, word: LineWord) -> FlowKey<A> {
        // SAFETY: as in `has_addresses`.
        let (source, destination) = unsafe { (*self.source.get(), *self.destination.get()) };
        let ports = Ports::from_word(U32be::from_raw(word.0 as u32));
        FlowKey::new(source, destination, ports, (word.0 >> 32) as u8)
    }

    /// Where the record is. It is anybody's to write who found the line live.
    #[inline(always)]
    pub const fn flow(&self) -> *mut Flow<A> {
        self.flow.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::U16be;

    fn comes_back<A: Ip>(source: A, destination: A) {
        let key = FlowKey::new(source, destination, Ports::new(U16be::new(0x0102), U16be::new(0x0304)), 17);
        let line = Line::vacant();
        line.write_addresses(&key);
        line.set(LineWord::of(&key).0 | LineWord::TAKEN | LineWord::LOCK | LineWord::stray(15));
        assert_eq!(line.key(line.word()), key);
        assert!(line.has_addresses(&key) && !line.has_addresses(&key.reversed()));
    }

    #[test]
    fn a_key_comes_back_out_of_its_line() {
        comes_back(U32be::from([5, 6, 7, 8]), U32be::from([9, 10, 11, 12]));
        let address = |last| ipv6::Address([1, 2, 3, last].map(U32be::new));
        comes_back(address(4), address(5));
    }

    #[test]
    fn what_is_said_of_a_home_is_not_said_of_its_line() {
        let key = FlowKey::new(U32be::new(1), U32be::new(2), Ports::default(), 6);
        let home = LineWord(LineWord::LOCK | LineWord::stray(1) | LineWord::stray(15));
        assert!(home.strays() && !home.is_dead() && !home.is_keyed(LineWord::of(&key)));
        assert_eq!(home.places(), 1 << 15 | 0b11);
        let dead = LineWord(home.0 | LineWord::of(&key).0 | LineWord::TAKEN);
        assert!(dead.is_dead() && dead.is_keyed(LineWord::of(&key)) && !dead.is_live(LineWord::of(&key)));
        assert_eq!(dead.without_key(), LineWord(home.0 | LineWord::TAKEN));
    }
}
