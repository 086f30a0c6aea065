//! Lines: how long they may be and how they end.

use super::Refusal;
use httparse::Header;

/// Empty lines that are passed over before a head, for some clients send one behind a body (RFC 9112, section 2.2).
const BLANK_LINES: usize = 2;

/// What a head may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the whole head.
    pub head: usize,
    /// Bytes of the request line or status line.
    pub line: usize,
    /// Bytes of one field line.
    pub field: usize,
    /// Fields; [`MOST_FIELDS`](super::MOST_FIELDS) at most.
    pub fields: usize,
    /// Whether lines may end by LF alone, which a reader may take for an end (RFC 9112, section 2.2).
    pub takes_lf: bool,
}

impl Limits {
    /// What a client may send if nothing is said.
    pub const DEFAULT: Self = Self {
        // Some single sign-on systems fill 16 KiB with cookies.
        head: 32 << 10,
        // RFC 9112, section 3, asks for 8,000 bytes at least.
        line: 8 << 10,
        // One cookie field as large as a browser sends it.
        field: 16 << 10,
        // Browsers send about 20; chains of proxies add some.
        fields: 100,
        // Two readers that do not agree on it see two requests in one.
        takes_lf: false,
    };

    /// What a backend may send: it is ours, so only runaways are stopped.
    pub const BACKEND: Self = Self {
        head: 64 << 10,
        line: 8 << 10,
        field: 32 << 10,
        fields: super::MOST_FIELDS,
        // Scripts that write their heads by hand end lines so. Clients are sent CR and LF.
        takes_lf: true,
    };

    /// Refuses a head of which this much is there and no end in sight.
    pub(super) fn check_unfinished(&self, text: &[u8]) -> Result<(), Refusal> {
        if line_is_longer(text, self.line) {
            Err(Refusal::LineTooLong)
        } else if text.len() > self.head {
            Err(Refusal::HeadTooLarge)
        } else {
            Ok(())
        }
    }

    /// Refuses a head that is too large, has too long lines, or lines that end by LF alone and may not, which the parser lets pass. A
    /// field's name stands right behind the end of the line before, so that two bytes are looked at for each.
    pub(super) fn check_lines(&self, head: &[u8], fields: &[Header<'_>]) -> Result<(), Refusal> {
        let (mut start, mut most) = (0, (self.line, Refusal::LineTooLong));
        for field in fields {
            let end = offset(head, field.name.as_bytes());
            self.check_line(head.get(start..end), most)?;
            (start, most) = (end, (self.field, Refusal::FieldTooLong));
        }
        let lines = self.strip_end(head)?;
        self.check_line(lines.get(start..), most)?;
        if head.len() > self.head { Err(Refusal::HeadTooLarge) } else { Ok(()) }
    }

    /// Refuses a line that does not end as it should, or has more than so many bytes before its end.
    #[inline]
    fn check_line(&self, line: Option<&[u8]>, (most, too_long): (usize, Refusal)) -> Result<(), Refusal> {
        let line = self.strip_end(line.unwrap_or_default())?;
        if line.len() > most { Err(too_long) } else { Ok(()) }
    }

    /// What stands before the end of a line.
    #[inline]
    fn strip_end<'b>(&self, line: &'b [u8]) -> Result<&'b [u8], Refusal> {
        match line.strip_suffix(b"\r\n") {
            None if self.takes_lf => line.strip_suffix(b"\n").ok_or(Refusal::BareLf),
            stripped => stripped.ok_or(Refusal::BareLf),
        }
    }
}

/// Where a part of `whole` begins in it; of what is no part of it, a place that it has not.
pub(super) fn offset(whole: &[u8], part: &[u8]) -> usize {
    (part.as_ptr().addr()).wrapping_sub(whole.as_ptr().addr())
}

fn line_is_longer(text: &[u8], limit: usize) -> bool {
    text.len() > limit + 2 && !text.iter().take(limit + 2).any(|&byte| byte == b'\n')
}

/// How many bytes of empty lines stand before the head. The parser would pass over any number, by LF alone too.
pub(super) fn blank_lines(bytes: &[u8]) -> Result<usize, Refusal> {
    if !matches!(bytes.first(), Some(b'\r' | b'\n')) {
        return Ok(0);
    }
    let blank = bytes.chunks_exact(2).take(BLANK_LINES).take_while(|pair| *pair == b"\r\n").count() * 2;
    match bytes.get(blank..) {
        Some([b'\r', b'\n', ..]) => Err(Refusal::BlankLines),
        Some([b'\n', ..]) => Err(Refusal::BareLf),
        Some([b'\r', _, ..]) => Err(Refusal::BareCr),
        _ => Ok(blank),
    }
}

/// Whether each LF has a CR before it.
pub(super) fn ends_by_crlf(text: &[u8]) -> bool {
    text.split_inclusive(|&byte| byte == b'\n').all(|line| !line.ends_with(b"\n") || line.ends_with(b"\r\n"))
}
