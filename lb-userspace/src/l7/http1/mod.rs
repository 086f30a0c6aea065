//! HTTP/1.1 as bytes: heads and bodies in, values out, and back. Pure.
//!
//! Strict where two readers of the same bytes could differ (RFC 9112 section 11.2), for what is behind us may be such a
//! reader: what is refused here never reaches a backend.

mod body;
mod chunked;
mod refusal;
mod request;
mod response;
mod write;

pub use body::Framing;
pub use chunked::{Chunk, Chunked};
pub use refusal::Refusal;
pub use request::{Head, Limits, Version};
pub use response::ResponseHead;
pub use write::{Text, chunk_line, status_line};
