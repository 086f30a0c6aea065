//! Writing heads.

use crate::l7::message::FieldSink;

/// A head as text.
#[derive(Debug)]
pub struct Text<'a>(pub &'a mut Vec<u8>);

impl FieldSink for Text<'_> {
    fn put(&mut self, name: &str, value: &[u8]) {
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b": ");
        self.0.extend_from_slice(value);
        self.0.extend_from_slice(b"\r\n");
    }
}

impl Text<'_> {
    /// Appends a field whose value is a number.
    pub fn put_number(&mut self, name: &str, number: u64) {
        let mut digits = [b'0'; 20];
        let mut left = number;
        let mut first = digits.len();
        for (place, digit) in digits.iter_mut().enumerate().rev() {
            *digit = b'0' + u8::try_from(left % 10).unwrap_or(0);
            left /= 10;
            first = place;
            if left == 0 {
                break;
            }
        }
        self.put(name, digits.get(first..).unwrap_or_default());
    }
}

/// Appends a status line.
pub fn status_line(out: &mut Vec<u8>, status: u16) {
    let reason = http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    out.extend_from_slice(b"HTTP/1.1 ");
    let digits = [status / 100 % 10, status / 10 % 10, status % 10];
    out.extend(digits.iter().map(|&digit| b'0' + u8::try_from(digit).unwrap_or(0)));
    out.push(b' ');
    out.extend_from_slice(reason.unwrap_or("Unknown").as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Appends the line before a chunk of so many bytes.
pub fn chunk_line(out: &mut Vec<u8>, bytes: usize) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let significant = (usize::BITS - bytes.leading_zeros()).div_ceil(4).max(1);
    for place in (0..significant).rev() {
        out.push(DIGITS.get(bytes >> (place * 4) & 0xf).copied().unwrap_or(b'0'));
    }
    out.extend_from_slice(b"\r\n");
}
