//! Bytes that were read and are not used yet. An empty buffer has no memory of its own: it takes some when there is
//! something to read, from what other connections of the worker gave back.

use super::memory;
use std::cell::RefCell;
use std::io::IoSlice;

/// Room for a read: a record of TLS and its frame, twice. Larger ones read less often, but leave the cache.
const SIZE: usize = 32 << 10;
/// Rooms a worker keeps for the next read; what a burst took beyond goes back to the system.
const SPARES: usize = 64;

thread_local! {
    static SPARE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// A first-in, first-out run of bytes.
#[derive(Debug, Default)]
pub struct Buffer {
    room: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// The bytes, oldest first.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.room.get(self.start..self.end).unwrap_or_default()
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Room behind the bytes, never empty. What was read into it becomes part of them by [`commit`](Self::commit).
    pub fn room(&mut self) -> &mut [u8] {
        if self.room.is_empty() {
            self.room = SPARE.with_borrow_mut(Vec::pop).unwrap_or_else(|| vec![0; SIZE].into());
            memory::take(SIZE);
        }
        if self.end == self.room.len() {
            self.make_room();
        }
        self.room.get_mut(self.end..).unwrap_or_default()
    }

    fn make_room(&mut self) {
        if self.start > 0 {
            self.room.copy_within(self.start..self.end, 0);
        } else {
            let mut larger = vec![0; self.room.len() * 2];
            memory::take(self.room.len());
            larger.iter_mut().zip(self.room.iter()).for_each(|(new, old)| *new = *old);
            self.room = larger.into();
        }
        (self.start, self.end) = (0, self.end - self.start);
    }

    /// Takes in what was written to the first bytes of the room.
    pub fn commit(&mut self, count: usize) {
        self.end = (self.end + count).min(self.room.len());
    }

    /// Takes bytes in by copying them.
    pub fn extend(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = self.room();
            let (now, later) = bytes.split_at(bytes.len().min(room.len()));
            room.iter_mut().zip(now).for_each(|(new, old)| *new = *old);
            self.commit(now.len());
            bytes = later;
        }
    }

    /// Forgets the oldest bytes, and gives the memory back when none are left.
    pub fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
        if self.is_empty() {
            self.release();
        }
    }

    /// Gives the memory back if there are no bytes; for a room that was asked for in vain, too.
    pub fn release(&mut self) {
        if !self.is_empty() || self.room.is_empty() {
            return;
        }
        (self.start, self.end) = (0, 0);
        let room = std::mem::take(&mut self.room);
        memory::give_back(room.len());
        if room.len() == SIZE {
            // At the end of a thread there is nobody to keep it for.
            let _ = SPARE.try_with(|spare| {
                let mut spare = spare.borrow_mut();
                if spare.len() < SPARES {
                    spare.push(room);
                }
            });
        }
    }

    /// As many of the oldest bytes as a write may take.
    #[must_use]
    pub fn slice(&self, count: usize) -> IoSlice<'_> {
        IoSlice::new(self.bytes().get(..count).unwrap_or_default())
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.start = self.end;
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_in_the_order_in_which_they_came_in() {
        let mut buffer = Buffer::default();
        buffer.extend(b"one, two");
        buffer.consume(5);
        buffer.extend(b", three");
        assert_eq!(buffer.bytes(), b"two, three");
    }

    #[test]
    fn an_empty_buffer_holds_no_memory() {
        let mut buffer = Buffer::default();
        buffer.extend(b"x");
        buffer.consume(1);
        assert!(buffer.room.is_empty() && buffer.is_empty());
    }

    #[test]
    fn more_than_a_room_full_is_kept_whole() {
        let mut buffer = Buffer::default();
        let bytes: Vec<u8> = (0..SIZE * 3 + 7).map(|n| u8::try_from(n % 251).unwrap()).collect();
        buffer.extend(&bytes);
        assert_eq!(buffer.bytes(), bytes);
    }

    #[test]
    fn room_that_consumed_bytes_took_is_used_again() {
        let mut buffer = Buffer::default();
        buffer.extend(&vec![1; SIZE]);
        buffer.consume(SIZE - 1);
        buffer.extend(b"23");
        assert_eq!((buffer.bytes(), buffer.room.len()), (&b"\x0123"[..], SIZE));
    }
}
