//! What frames a peer sends, read along as its bytes pass, and what they cost it.
//!
//! `h2` bounds what frames make it remember, not how many there may be that make it work for nothing.

use super::flood::Allowance;

/// Bytes of a frame's header. Source: RFC 9113, section 4.1.
const HEADER: usize = 9;
/// The flag of DATA and HEADERS that ends a stream. Source: RFC 9113, section 6.1.
const END_STREAM: u8 = 1;
/// Bytes of data below which `h2` counts what a frame costs besides.
const SMALL: usize = 256;
/// Small pieces of bodies that come before what came is passed on. With those of one read of `h2`'s, 8 KiB, these are fewer than the
/// two thousand that it holds of a client.
const CROWD: u32 = 512;

/// Where in a peer's frames we are, and what it may still spend.
#[derive(Debug)]
pub(super) struct Meter {
    header: [u8; HEADER],
    /// Bytes of the header that are there.
    have: usize,
    /// Bytes that belong to no header.
    skip: usize,
    came: u64,
    budget: Allowance,
    is_spent: bool,
    /// Small pieces of bodies since there were too many.
    small: u32,
}

impl Meter {
    /// Of a peer whose first frame follows so many bytes.
    pub(super) const fn new(preface: usize, now: u32) -> Self {
        Self {
            header: [0; HEADER],
            have: 0,
            skip: preface,
            came: 0,
            budget: Allowance::new(now),
            is_spent: false,
            small: 0,
        }
    }

    /// Whether the peer has asked for too much of nothing.
    pub(super) const fn is_spent(&self) -> bool {
        self.is_spent
    }

    /// Whether so many small pieces of bodies have come that they have to be passed on before there are more: `h2` ends a connection
    /// for which it holds too many. Told once.
    pub(super) const fn is_crowded(&mut self) -> bool {
        let is_crowded = self.small >= CROWD;
        if is_crowded {
            self.small = 0;
        }
        is_crowded
    }

    /// Bytes that came so far.
    pub(super) const fn came(&self) -> u64 {
        self.came
    }

    /// So many bytes were sent to the peer.
    pub(super) fn earn(&mut self, bytes: usize) {
        self.budget.earn(bytes);
    }

    /// These bytes came.
    pub(super) fn observe(&mut self, mut bytes: &[u8], now: u32) {
        self.came += bytes.len() as u64;
        while !bytes.is_empty() {
            if self.skip > 0 {
                let skipped = self.skip.min(bytes.len());
                self.skip -= skipped;
                bytes = bytes.get(skipped..).unwrap_or_default();
                continue;
            }
            let (part, rest) = bytes.split_at(bytes.len().min(HEADER - self.have));
            self.header.iter_mut().skip(self.have).zip(part).for_each(|(to, from)| *to = *from);
            self.have += part.len();
            bytes = rest;
            if self.have == HEADER {
                self.have = 0;
                self.frame(now);
            }
        }
    }

    fn frame(&mut self, now: u32) {
        let [high, middle, low, kind, flags, ..] = self.header;
        self.skip = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        self.small += u32::from(kind == 0 && self.skip < SMALL);
        let price = price(kind, flags, self.skip);
        if price > 0 && !self.budget.spend(price, now) {
            self.is_spent = true;
        }
    }
}

/// What a frame costs: the more, the more work it makes or undoes. Source of the numbers: RFC 9113, section 6.
const fn price(kind: u8, flags: u8, length: usize) -> u32 {
    match kind {
        // DATA that is none, and does not end anything either.
        0 => (length == 0 && flags & END_STREAM == 0) as u32,
        // HEADERS: how many streams there may be is bounded elsewhere.
        1 => 0,
        // RST_STREAM, for which a backend may have worked, and SETTINGS.
        3 | 4 => 4,
        // PING
        6 => 2,
        // PRIORITY, WINDOW_UPDATE, CONTINUATION, and what nobody knows.
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).unwrap();
        [&[0, 0, length, kind, flags, 0, 0, 0, 1], payload].concat()
    }

    /// How many of these frames are let pass, sent in pieces of so many bytes.
    fn let_pass(frame: &[u8], pieces: usize) -> usize {
        let mut meter = Meter::new(24, 0);
        meter.observe(&[0xff; 24], 0);
        let passes = |_: &usize| {
            frame.chunks(pieces).for_each(|piece| meter.observe(piece, 0));
            !meter.is_spent()
        };
        (0..5000).take_while(passes).count()
    }

    #[test]
    fn frames_that_do_nothing_are_bounded_however_they_are_cut() {
        for (kind, payload, most) in [
            (3, &[0; 4][..], 250),
            (4, &[], 250),
            (6, &[0; 8], 500),
            (2, &[0; 5], 1000),
            (99, &[7; 30], 1000),
        ] {
            let one = frame(kind, 0, payload);
            for pieces in [1, 2, 9, 10, one.len()] {
                assert_eq!(let_pass(&one, pieces), most, "type {kind} in pieces of {pieces}");
            }
        }
    }

    #[test]
    fn a_crowd_of_small_pieces_is_told_of_once() {
        let mut meter = Meter::new(0, 0);
        let mut crowded = |payload: &[u8]| {
            meter.observe(&frame(0, 0, payload), 0);
            meter.is_crowded()
        };
        assert_eq!((1..=2048).filter(|_| crowded(b"small")).count(), 4);
    }

    #[test]
    fn empty_data_is_bounded_and_requests_and_bodies_are_not() {
        assert_eq!(let_pass(&frame(0, 0, b""), 9), 1000);
        for frame in [frame(0, 0, b"body"), frame(0, END_STREAM, b""), frame(1, 4, b"head")] {
            assert_eq!(let_pass(&frame, 9), 5000);
        }
    }
}
