//! What of a TCP segment can be changed, whichever IP is around it. The checksum covers IP's addresses, and is the packet's affair.

/// Where a segment's checksum lies.
pub(super) const CHECKSUM: usize = 16;

/// Puts in options of a multiple of four bytes.
pub(super) fn put_options(segment: &mut Vec<u8>, options: &[u8]) {
    let words = u8::try_from((20 + options.len()) / 4).unwrap_or(0xf);
    segment.splice(12..=12, [words << 4]);
    segment.splice(20..20, options.iter().copied());
}

/// Puts in other sequence and acknowledgment numbers.
pub(super) fn put_numbers(segment: &mut Vec<u8>, (sequence, acknowledgment): (u32, u32)) {
    segment.splice(4..12, [sequence, acknowledgment].map(u32::to_be_bytes).concat());
}

/// Puts in another window.
pub(super) fn put_window(segment: &mut Vec<u8>, window: u16) {
    segment.splice(14..16, window.to_be_bytes());
}
