//! Where in an incoming HTTP/1.1 body we are, and which of the bytes at hand are its data.

use super::buffer::Buffer;
use super::http1::{Chunk, Chunked, Framing, Refusal};

/// A body that comes in.
#[derive(Debug)]
pub(super) struct Framed(At);

#[derive(Debug)]
enum At {
    Length(u64),
    Chunked(Chunked),
    UntilClose,
    Ended,
}

/// What the bytes at hand begin with.
#[derive(Debug)]
pub(super) enum Part {
    /// Nothing that can be told: more bytes are needed, unless the body [has ended](Framed::has_ended).
    More,
    /// So many bytes of data. They are counted as taken, and stay where they are.
    Data(usize),
    /// The end of a chunked body: its trailer section, with the empty line behind it.
    End(Vec<u8>),
}

impl Framed {
    /// A body that is framed so, from its beginning.
    pub(super) const fn new(framing: Framing) -> Self {
        Self(match framing {
            Framing::Length(0) => At::Ended,
            Framing::Length(length) => At::Length(length),
            Framing::Chunked => At::Chunked(Chunked::new()),
            Framing::UntilClose => At::UntilClose,
        })
    }

    /// Whether all of it was found.
    pub(super) const fn has_ended(&self) -> bool {
        matches!(self.0, At::Ended)
    }

    /// The connection has ended. Whether that is how this body ends.
    pub(super) const fn end_of_connection(&mut self) -> bool {
        let is_end = matches!(self.0, At::UntilClose);
        if is_end {
            self.0 = At::Ended;
        }
        is_end
    }

    /// Finds what of the buffer comes next. Takes framing out of it.
    pub(super) fn next(&mut self, input: &mut Buffer) -> Result<Part, Refusal> {
        match &mut self.0 {
            At::Ended => Ok(Part::More),
            At::UntilClose => Ok(data(input.len())),
            At::Length(left) => {
                let now = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= now as u64;
                if *left == 0 {
                    self.0 = At::Ended;
                }
                Ok(data(now))
            }
            At::Chunked(_) => self.next_chunk(input),
        }
    }

    fn next_chunk(&mut self, input: &mut Buffer) -> Result<Part, Refusal> {
        while let At::Chunked(chunked) = &mut self.0 {
            match chunked.next(input.bytes())? {
                Chunk::Partial => break,
                Chunk::Frame(count) => input.consume(count),
                Chunk::Data(count) => return Ok(Part::Data(count)),
                Chunk::End(count) => {
                    let trailer = input.bytes().get(..count).unwrap_or_default().to_vec();
                    input.consume(count);
                    self.0 = At::Ended;
                    return Ok(Part::End(trailer));
                }
            }
        }
        Ok(Part::More)
    }
}

const fn data(count: usize) -> Part {
    if count == 0 { Part::More } else { Part::Data(count) }
}
