//! Writing heads and chunks.

use super::lines::offset;
use crate::l7::message::FieldSink;
use std::ops::Range;

/// What stands behind a chunk's data.
pub const CHUNK_END: &[u8] = b"\r\n";
/// The end of a chunked body without trailers. With some: `0`, the end of a line, the fields, an empty line.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// A head as text. Whoever puts fields has seen to it that they are some: parsed, or checked with the configuration.
#[derive(Debug)]
pub struct Text<'a>(pub &'a mut Vec<u8>);

impl FieldSink for Text<'_> {
    #[inline]
    fn put(&mut self, name: &str, value: &[u8]) {
        let out = &mut *self.0;
        out.reserve(name.len() + value.len() + 4);
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }
}

impl Text<'_> {
    /// Ends the head.
    pub fn end(self) {
        self.0.extend_from_slice(b"\r\n");
    }
}

/// The same, for fields of which most stand in a head that was read: lines that go on as they came are copied together.
#[derive(Debug)]
pub struct Lines<'a> {
    out: &'a mut Vec<u8>,
    source: &'a [u8],
    /// Lines of the source that are to be copied next.
    run: Range<usize>,
}

impl<'a> Lines<'a> {
    /// Fields that follow what is in `out`, most of them out of `source`.
    #[must_use]
    pub const fn new(out: &'a mut Vec<u8>, source: &'a [u8]) -> Self {
        Self { out, source, run: 0..0 }
    }

    /// Writes what is still to be copied.
    pub fn finish(mut self) {
        self.copy_run();
    }

    /// Puts a field that does not stand behind the one before, or not as it is to be written.
    #[inline(never)]
    fn put_apart(&mut self, line: Option<Range<usize>>, name: &str, value: &[u8]) {
        self.copy_run();
        match line {
            Some(line) => self.run = line,
            None => Text(self.out).put(name, value),
        }
    }

    fn copy_run(&mut self) {
        if !self.run.is_empty() {
            self.out.extend_from_slice(self.source.get(std::mem::take(&mut self.run)).unwrap_or_default());
        }
    }

    /// Where the source has the field, if it has it as [`Text`] would write it.
    #[inline]
    fn line(&self, name: &str, value: &[u8]) -> Option<Range<usize>> {
        let (start, length) = (offset(self.source, name.as_bytes()), name.len() + value.len() + 4);
        let line = self.source.get(start..)?.get(..length)?;
        let behind = line.get(name.len()..)?;
        let is_as_written =
            behind.starts_with(b": ") && offset(behind, value) == 2 && behind.ends_with(b"\r\n");
        is_as_written.then_some(start..start + length)
    }
}

impl FieldSink for Lines<'_> {
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "a field whose name is known is written by a few moves")]
    fn add(&mut self, name: &str, value: &[u8]) {
        self.copy_run();
        Text(self.out).put(name, value);
    }

    #[inline]
    fn put(&mut self, name: &str, value: &[u8]) {
        match self.line(name, value) {
            Some(line) if line.start == self.run.end => self.run.end = line.end,
            line => self.put_apart(line, name, value),
        }
    }
}

/// Appends a request line.
pub fn request_line(out: &mut Vec<u8>, method: &str, path: &str, query: Option<&str>) {
    out.extend_from_slice(method.as_bytes());
    out.push(b' ');
    out.extend_from_slice(path.as_bytes());
    if let Some(query) = query {
        out.push(b'?');
        out.extend_from_slice(query.as_bytes());
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
}

/// Appends a status line.
pub fn status_line(out: &mut Vec<u8>, status: u16) {
    if status == 200 {
        return out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    push_decimal(out, status.into());
    out.push(b' ');
    out.extend_from_slice(reason(status).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// The phrase that goes with a status; empty for those that nobody has registered.
pub(crate) fn reason(status: u16) -> &'static str {
    let status = http::StatusCode::from_u16(status).ok();
    status.and_then(|status| status.canonical_reason()).unwrap_or_default()
}

/// Appends a Content-Length field.
pub fn length_field(out: &mut Vec<u8>, length: u64) {
    out.extend_from_slice(b"content-length: ");
    push_decimal(out, length);
    out.extend_from_slice(b"\r\n");
}

fn push_decimal(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends the line before a chunk of so many bytes. 0 ends the body: what follows are trailers.
pub fn chunk_line(out: &mut Vec<u8>, bytes: usize) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let significant = (usize::BITS - bytes.leading_zeros()).div_ceil(4).max(1);
    for place in (0..significant).rev() {
        out.push(DIGITS[bytes >> (place * 4) & 0xf]);
    }
    out.extend_from_slice(b"\r\n");
}
