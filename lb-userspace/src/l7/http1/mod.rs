//! HTTP/1.1 as bytes: heads and bodies in, values out, and back. Pure.
//!
//! ```text
//! bytes ─► Head ─► path(), host, framing ─► route …        Chunked ─► which bytes are data      Text ◄─ fields to write
//! ```
//!
//! Strict where two readers of the same bytes could differ (RFC 9112 section 11.2), for what is behind us may be such a
//! reader: what is refused here never reaches a backend. Each [`Refusal`] has a name and the rule it stands on.
//!
//! **Invariant**: a head is accepted only whole, and no shorter part of an accepted head is refused.

mod body;
mod chunked;
pub(super) mod date;
mod diagnose;
mod host;
mod lines;
mod path;
mod refusal;
mod request;
mod response;
mod target;
#[cfg(test)]
mod tests;
mod write;

pub use body::Framing;
pub(super) use body::{list, names_field, parse_length};
pub(super) use chunked::belongs_into_head;
pub use chunked::{Chunk, Chunked, MOST_TRAILERS, trailers};
pub use date::DateCache;
pub(crate) use date::civil;
pub use host::{Authority, parse_authority};
pub use lines::Limits;
pub use path::{behind_merged, merged, normalise};
pub use refusal::Refusal;
pub use request::{Head, Version};
pub use response::{Asked, ResponseHead};
pub use target::Form;
pub(crate) use write::reason;
pub use write::{CHUNK_END, LAST_CHUNK, Lines, Text, chunk_line, length_field, request_line, status_line};

use httparse::Header;
use std::mem::MaybeUninit;

/// Most fields that are parsed, whatever the limit: their table stands on the stack.
pub const MOST_FIELDS: usize = 128;

/// Where fields are noted while a head is read.
pub type Room<'b> = [MaybeUninit<Header<'b>>; MOST_FIELDS];

/// An empty [`Room`]. It costs nothing.
#[must_use]
pub const fn room<'b>() -> Room<'b> {
    [const { MaybeUninit::uninit() }; MOST_FIELDS]
}
