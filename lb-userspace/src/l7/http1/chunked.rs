//! Reading a chunked body, piece by piece.

use super::{Framing, Refusal};

/// Bytes of a line that tells a chunk's size, its extensions included.
const LINE: usize = 256;
/// Bytes of a trailer section.
const TRAILER: usize = 8 << 10;

/// Where in a chunked body we are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Chunked {
    /// At the line that tells a chunk's size.
    #[default]
    Size,
    /// Within a chunk; so much of it is to come.
    Data(u64),
    /// At the line end behind a chunk's data.
    DataEnd,
    /// At the trailer section.
    Trailer,
    /// Behind it.
    End,
}

/// What the bytes at hand begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// Nothing that can be told yet.
    Partial,
    /// So many bytes that say where data is; they are no data.
    Frame(usize),
    /// So many bytes of data.
    Data(usize),
    /// The trailer section with the empty line that ends it, so many bytes: the body has ended.
    End(usize),
}

impl Chunked {
    /// Looks at the bytes that follow what was told before, and moves on.
    pub fn next(&mut self, bytes: &[u8]) -> Result<Chunk, Refusal> {
        match *self {
            Self::Size => self.size(bytes),
            Self::Data(left) => Ok(self.data(left, bytes.len())),
            Self::DataEnd => match bytes {
                [b'\r', b'\n', ..] => {
                    *self = Self::Size;
                    Ok(Chunk::Frame(2))
                }
                [] | [b'\r'] => Ok(Chunk::Partial),
                _ => Err(Refusal::Chunk),
            },
            Self::Trailer => self.trailer(bytes),
            Self::End => Ok(Chunk::End(0)),
        }
    }

    fn size(&mut self, bytes: &[u8]) -> Result<Chunk, Refusal> {
        let Some(end) = bytes.iter().take(LINE).position(|&byte| byte == b'\n') else {
            return if bytes.len() < LINE { Ok(Chunk::Partial) } else { Err(Refusal::Chunk) };
        };
        let line = bytes.get(..end).and_then(|line| line.strip_suffix(b"\r")).ok_or(Refusal::Chunk)?;
        let size = parse_size(line).ok_or(Refusal::Chunk)?;
        *self = if size == 0 { Self::Trailer } else { Self::Data(size) };
        Ok(Chunk::Frame(end + 1))
    }

    fn data(&mut self, left: u64, at_hand: usize) -> Chunk {
        if at_hand == 0 {
            return Chunk::Partial;
        }
        let now = usize::try_from(left).unwrap_or(usize::MAX).min(at_hand);
        let left = left - now as u64;
        *self = if left == 0 { Self::DataEnd } else { Self::Data(left) };
        Chunk::Data(now)
    }

    fn trailer(&mut self, bytes: &[u8]) -> Result<Chunk, Refusal> {
        if bytes.starts_with(b"\r\n") {
            *self = Self::End;
            return Ok(Chunk::End(2));
        }
        let end = bytes.windows(4).take(TRAILER).position(|window| window == b"\r\n\r\n");
        match end {
            Some(end) => {
                *self = Self::End;
                Ok(Chunk::End(end + 4))
            }
            None if bytes.len() < TRAILER => Ok(Chunk::Partial),
            None => Err(Refusal::Trailer),
        }
    }

    /// How a body is framed that is read by this.
    #[must_use]
    pub const fn framing() -> Framing {
        Framing::Chunked
    }
}

/// Hexadecimal digits; extensions behind `;` are of no meaning to us but must be no control characters.
fn parse_size(line: &[u8]) -> Option<u64> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, rest) = line.split_at(digits);
    let rest = rest.trim_ascii_start();
    let is_clean = rest.iter().all(|&byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f));
    if digits.len() > 15 || !(rest.is_empty() || rest.starts_with(b";")) || !is_clean {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}
