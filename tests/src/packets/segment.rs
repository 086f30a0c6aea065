//! What of a TCP segment can be changed, whichever IP is around it.

/// Where a segment's checksum lies.
pub(super) const CHECKSUM: usize = 16;

/// A packet that carries a TCP segment.
pub trait Segment: Sized {
    /// The segment.
    fn segment(&mut self) -> &mut Vec<u8>;
    /// With the checksum as it is right now, which covers IP's addresses.
    #[must_use]
    fn summed(self) -> Self;

    /// TCP options of a multiple of four bytes.
    #[must_use]
    fn tcp_options(mut self, options: &[u8]) -> Self {
        let words = u8::try_from((20 + options.len()) / 4).unwrap_or(0xf);
        self.segment().splice(12..=12, [words << 4]);
        self.segment().splice(20..20, options.iter().copied());
        self.summed()
    }

    /// Other sequence and acknowledgment numbers.
    #[must_use]
    fn numbered(mut self, (sequence, acknowledgment): (u32, u32)) -> Self {
        self.segment().splice(4..12, [sequence, acknowledgment].map(u32::to_be_bytes).concat());
        self.summed()
    }

    /// Another window.
    #[must_use]
    fn window(mut self, window: u16) -> Self {
        self.segment().splice(14..16, window.to_be_bytes());
        self.summed()
    }
}
