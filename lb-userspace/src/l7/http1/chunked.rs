//! Reading a chunked body, piece by piece, without copying it.

use super::Refusal;
use super::diagnose::diagnose_section;
use super::lines::ends_by_crlf;
use httparse::{EMPTY_HEADER, Header, Status};

/// Bytes of a line that tells a chunk's size, its extensions included: nobody uses these, some attack by them.
const LINE: usize = 256;
/// Bytes of a trailer section.
const TRAILER: usize = 8 << 10;
/// Most trailer fields: gRPC sends three, checksums one.
pub const MOST_TRAILERS: usize = 32;
/// Hexadecimal digits of a size: 60 bits.
const SIZE_DIGITS: usize = 15;
/// Bytes of framing that a body may have beyond its due: it is read for nothing. Of each chunk, [`CHUNK_DUE`] and as much again as
/// its data are due.
const OVERHEAD: u64 = 16 << 10;
/// Framing that each chunk needs, and some more.
const CHUNK_DUE: u64 = 16;

/// Where in a chunked body we are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chunked {
    at: At,
    overhead: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    /// The line that tells a chunk's size.
    #[default]
    Size,
    /// A chunk's data; so much of it is to come.
    Data(u64),
    /// The line end behind a chunk's data.
    DataEnd,
    /// The trailer section.
    Trailer,
    /// Behind it.
    End,
}

/// What the bytes at hand begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// Nothing that can be told yet: more bytes are needed.
    Partial,
    /// So many bytes that say where data is. They are no data, and not to be passed on: framing is written anew.
    Frame(usize),
    /// So many bytes of data.
    Data(usize),
    /// So many bytes of a trailer section with the empty line that ends it: the body has ended. [`trailers`] reads them.
    End(usize),
}

impl Chunked {
    /// At the beginning of a body.
    #[must_use]
    pub const fn new() -> Self {
        Self { at: At::Size, overhead: 0 }
    }

    /// Looks at the bytes that follow what was told before, and moves on.
    pub fn next(&mut self, bytes: &[u8]) -> Result<Chunk, Refusal> {
        match self.at {
            At::Size => self.size(bytes),
            At::Data(left) => Ok(self.data(left, bytes.len())),
            At::DataEnd => self.data_end(bytes),
            At::Trailer => self.trailer(bytes),
            At::End => Ok(Chunk::End(0)),
        }
    }

    /// Whether the body has ended.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        matches!(self.at, At::End)
    }

    fn size(&mut self, bytes: &[u8]) -> Result<Chunk, Refusal> {
        let Some(end) = bytes.iter().take(LINE).position(|&byte| byte == b'\n') else {
            return check_unfinished(bytes).map(|()| Chunk::Partial);
        };
        let size = parse_size_line(bytes.get(..end).unwrap_or_default())?;
        self.count_overhead(end as u64, size)?;
        self.at = if size == 0 { At::Trailer } else { At::Data(size) };
        Ok(Chunk::Frame(end + 1))
    }

    fn count_overhead(&mut self, line: u64, size: u64) -> Result<(), Refusal> {
        self.overhead = (self.overhead + line).saturating_sub(CHUNK_DUE.saturating_add(size));
        if self.overhead > OVERHEAD { Err(Refusal::ChunkOverhead) } else { Ok(()) }
    }

    fn data(&mut self, left: u64, at_hand: usize) -> Chunk {
        if at_hand == 0 {
            return Chunk::Partial;
        }
        let now = usize::try_from(left).unwrap_or(usize::MAX).min(at_hand);
        let left = left - now as u64;
        self.at = if left == 0 { At::DataEnd } else { At::Data(left) };
        Chunk::Data(now)
    }

    fn data_end(&mut self, bytes: &[u8]) -> Result<Chunk, Refusal> {
        match bytes {
            [] | [b'\r'] => Ok(Chunk::Partial),
            [b'\r', b'\n', ..] => {
                self.at = At::Size;
                Ok(Chunk::Frame(2))
            }
            [b'\n', ..] => Err(Refusal::BareLf),
            _ => Err(Refusal::ChunkEnd),
        }
    }

    fn trailer(&mut self, bytes: &[u8]) -> Result<Chunk, Refusal> {
        let mut room = [EMPTY_HEADER; MOST_TRAILERS];
        match parse_trailers(bytes, &mut room)? {
            Some((len, _)) => {
                self.at = At::End;
                Ok(Chunk::End(len))
            }
            None => Ok(Chunk::Partial),
        }
    }
}

/// The fields of a trailer section that [`Chunk::End`] has told of.
pub fn trailers<'b, 'f>(
    bytes: &'b [u8],
    room: &'f mut [Header<'b>; MOST_TRAILERS],
) -> Result<&'f [Header<'b>], Refusal> {
    Ok(parse_trailers(bytes, room)?.map_or(&[][..], |(_, fields)| fields))
}

type Section<'b, 'f> = (usize, &'f [Header<'b>]);

fn parse_trailers<'b, 'f>(
    bytes: &'b [u8],
    room: &'f mut [Header<'b>; MOST_TRAILERS],
) -> Result<Option<Section<'b, 'f>>, Refusal> {
    let text = bytes.get(..TRAILER.min(bytes.len())).unwrap_or_default();
    let (len, fields) = match httparse::parse_headers(text, room) {
        Ok(Status::Complete(section)) => section,
        Ok(Status::Partial) if bytes.len() < TRAILER => return Ok(None),
        Ok(Status::Partial) | Err(httparse::Error::TooManyHeaders) => return Err(Refusal::TrailerTooLarge),
        Err(_) => return Err(diagnose_section(text, Refusal::ObsFold).unwrap_or(Refusal::FieldName)),
    };
    if !ends_by_crlf(text.get(..len).unwrap_or_default()) {
        return Err(Refusal::BareLf);
    }
    Ok(Some((len, fields)))
}

/// Fields by which messages are framed, routed, authorised or read: behind a body they mean nothing, and are left out rather than
/// believed by a reader who merges them with the head. Source: RFC 9110, section 6.5.1.
pub(in crate::l7) fn belongs_into_head(name: &str) -> bool {
    const FORBIDDEN: [&str; 18] = [
        "authorization",
        "cache-control",
        "connection",
        "content-encoding",
        "content-length",
        "content-range",
        "content-type",
        "cookie",
        "expect",
        "host",
        "keep-alive",
        "max-forwards",
        "proxy-authorization",
        "set-cookie",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    FORBIDDEN.iter().any(|forbidden| name.eq_ignore_ascii_case(forbidden))
}

/// Refuses the beginning of a size line that cannot become one.
fn check_unfinished(bytes: &[u8]) -> Result<(), Refusal> {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    match bytes.get(digits) {
        _ if digits > SIZE_DIGITS => Err(Refusal::ChunkTooLarge),
        Some(_) if digits == 0 => Err(Refusal::ChunkSize),
        _ if bytes.len() >= LINE => Err(Refusal::ChunkLineTooLong),
        _ => Ok(()),
    }
}

/// A size, and behind `;` extensions, which mean nothing to us; all of a line but its LF.
fn parse_size_line(line: &[u8]) -> Result<u64, Refusal> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, rest) = line.split_at(digits);
    if digits.is_empty() {
        return Err(Refusal::ChunkSize);
    }
    if digits.len() > SIZE_DIGITS {
        return Err(Refusal::ChunkTooLarge);
    }
    check_extensions(rest.strip_suffix(b"\r").ok_or(Refusal::BareLf)?)?;
    let value = |digit: u8| u64::from(char::from(digit).to_digit(16).unwrap_or(0));
    Ok(digits.iter().fold(0, |size, &digit| size << 4 | value(digit)))
}

/// White space is for recipients to pass over where an extension follows, and nowhere else (RFC 9112, section 7.1.1).
fn check_extensions(rest: &[u8]) -> Result<(), Refusal> {
    if rest.is_empty() {
        return Ok(());
    }
    if !rest.trim_ascii_start().starts_with(b";") {
        return Err(Refusal::ChunkSize);
    }
    let mut bytes = rest.iter();
    match bytes.find(|&&byte| byte.is_ascii_control() && byte != b'\t') {
        None => Ok(()),
        Some(b'\r') => Err(Refusal::BareCr),
        Some(_) => Err(Refusal::ChunkExtension),
    }
}
