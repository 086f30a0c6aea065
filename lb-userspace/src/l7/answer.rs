//! From the bytes of a backend's answer to the head that the client is sent, without waiting.

use super::ask::{Ask, put_framing};
use super::failure::Failure;
use super::http1::{Framing, Refusal, ResponseHead, Text, Version, status_line};
use super::message::Fields;
use super::reply::put_connection;
use super::rewrite::ResponseContext;

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

impl Answer {
    /// Whether another follows: 1xx, but for the change to another protocol.
    #[must_use]
    pub const fn is_interim(&self) -> bool {
        matches!(self.status, 100..=199) && self.status != 101
    }
}

/// Where the answer goes.
#[derive(Clone, Copy, Debug)]
pub struct Towards<'a> {
    /// Whether the client came by TLS.
    pub https: bool,
    /// What its listener says of `Strict-Transport-Security`.
    pub hsts: Option<&'a [u8]>,
}

/// Reads an answer from the bytes. `None`: they do not reach to the end of its head.
pub fn read<W>(bytes: &[u8], ask: &Ask<W>, towards: Towards<'_>) -> Result<Option<(usize, Answer)>, Failure> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let mut room = [httparse::EMPTY_HEADER; 128];
    let head = ResponseHead::parse(bytes, &mut room, ask.facts.is_head).map_err(Failure::BadAnswer)?;
    let Some(head) = head else { return Ok(None) };
    if head.status == 101 && !ask.facts.upgrade {
        return Err(Failure::BadAnswer(Refusal::StatusLine));
    }
    let to = reframe(head.framing, ask.facts.version);
    let keeps_client = ask.facts.keep_alive && to != Framing::UntilClose;
    let answer = Answer {
        status: head.status,
        from: head.framing,
        to,
        keeps_upstream: head.keep_alive,
        keeps_client,
        head: render(&head, ask, towards, to, keeps_client),
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

fn render<W>(head: &ResponseHead<'_, '_>, ask: &Ask<W>, towards: Towards<'_>, to: Framing, keeps: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(head.len + 128);
    status_line(&mut out, head.status);
    let context = ResponseContext {
        https: towards.https,
        host: &ask.facts.host,
        port: ask.facts.port,
        backends: &ask.upstreams.service.authorities,
        hsts: towards.hsts,
        cookie: None,
        upgrade: if head.status == 101 { Fields::first(head.fields, "upgrade") } else { None },
    };
    let mut sink = Text(&mut out);
    ask.route.response.apply(head.fields, &context, &mut String::new(), &mut sink);
    put_length(&mut sink, head, to);
    if head.status >= 200 {
        put_connection(&mut sink, keeps, ask.facts.version);
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// The length that is told may be that of a body that is not sent, as to HEAD (RFC 9110 section 8.6).
fn put_length(sink: &mut Text<'_>, head: &ResponseHead<'_, '_>, to: Framing) {
    use super::message::FieldSink as _;
    match (to, Fields::first(head.fields, "content-length")) {
        (Framing::Length(_), Some(length)) if head.status >= 200 && head.status != 204 => {
            sink.put("content-length", length);
        }
        (Framing::Length(_), _) => {}
        _ => put_framing(sink, to, false),
    }
}
