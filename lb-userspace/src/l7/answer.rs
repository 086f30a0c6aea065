//! From the bytes of a backend's answer to the head that the client is sent, without waiting.

use super::ask::{Facts, is_hop_by_hop};
use super::failure::Failure;
use super::http1::{Framing, ResponseHead, Text, Version, status_line};
use super::message::{FieldSink as _, Fields};

/// An answer's head, as the client is sent it.
#[derive(Debug)]
pub struct Answer {
    /// The head.
    pub head: Vec<u8>,
    /// Its status.
    pub status: u16,
    /// Where its body ends, as it comes.
    pub from: Framing,
    /// Where its body ends, as it goes.
    pub to: Framing,
    /// Whether the backend takes another request on its connection.
    pub keeps_upstream: bool,
    /// Whether the client may send another on its own.
    pub keeps_client: bool,
}

/// Reads an answer from the bytes. `None`: they do not reach to the end of its head.
pub fn read(bytes: &[u8], facts: &Facts, keeps_client: bool) -> Result<Option<(usize, Answer)>, Failure> {
    let mut room = [httparse::EMPTY_HEADER; 128];
    let head = ResponseHead::parse(bytes, &mut room, facts.is_head).map_err(Failure::BadAnswer)?;
    let Some(head) = head else { return Ok(None) };
    if head.status == 101 && !facts.upgrade {
        return Err(Failure::BadAnswer(super::http1::Refusal::StatusLine));
    }
    let to = reframe(head.framing, facts.version);
    let keeps_client = keeps_client && to != Framing::UntilClose;
    let answer = Answer {
        status: head.status,
        from: head.framing,
        to,
        keeps_upstream: head.keep_alive,
        keeps_client,
        head: render(&head, facts, to, keeps_client),
    };
    Ok(Some((head.len, answer)))
}

/// HTTP/1.0 knows no chunks; others need not lose their connection where the end is not told before.
const fn reframe(from: Framing, version: Version) -> Framing {
    match (from, version) {
        (Framing::Length(_), _) => from,
        (_, Version::V10) => Framing::UntilClose,
        (_, Version::V11) => Framing::Chunked,
    }
}

fn render(head: &ResponseHead<'_, '_>, facts: &Facts, to: Framing, keeps: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(head.len + 96);
    status_line(&mut out, head.status);
    let mut sink = Text(&mut out);
    for (name, value) in Fields::each(head.fields) {
        if !is_hop_by_hop(name) && !name.eq_ignore_ascii_case("server") {
            sink.put(name, value);
        }
    }
    if to == Framing::Chunked {
        sink.put("transfer-encoding", b"chunked");
    }
    if head.status == 101 {
        if let Some(protocol) = Fields::first(head.fields, "upgrade") {
            sink.put("upgrade", protocol);
        }
        sink.put("connection", b"upgrade");
    } else if head.status >= 200 {
        if !keeps {
            sink.put("connection", b"close");
        } else if facts.version == Version::V10 {
            sink.put("connection", b"keep-alive");
        }
    }
    out.extend_from_slice(b"\r\n");
    out
}
