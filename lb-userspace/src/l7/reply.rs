//! Answers of our own: fixed ones, redirects and failures. They tell nothing of us or of backends.

use super::ask::Facts;
use super::failure::Failure;
use super::http1::{Framing, Text, Version, status_line};
use super::message::{FieldSink as _, Request};
use super::rewrite::Redirect;
use super::settings::Answer;

/// A whole answer.
#[derive(Debug)]
pub struct Reply {
    /// Head and body.
    pub bytes: Vec<u8>,
    /// Its status.
    pub status: u16,
    /// Whether the client may ask again on the connection.
    pub keeps: bool,
}

/// What a route says itself.
#[must_use]
pub fn fixed(answer: &Answer, facts: &Facts) -> Reply {
    write(answer.status, &answer.body, facts.is_head, keeps(facts), facts.version, |sink| {
        sink.put("content-type", &answer.content_type);
    })
}

/// Where the client is sent.
#[must_use]
pub fn redirect<F: ?Sized>(redirect: &Redirect, request: &Request<'_, F>, facts: &Facts) -> Reply {
    let mut location = String::new();
    redirect.push_location(request, &mut location);
    write(redirect.status, b"", facts.is_head, keeps(facts), facts.version, |sink| {
        sink.put("location", location.as_bytes());
    })
}

/// Why there is no other answer.
#[must_use]
pub fn failure(failure: Failure, facts: &Facts) -> Reply {
    tell(failure, facts.is_head, keeps(facts) && failure.keeps(), facts.version)
}

/// Why there is no answer to what was no request; the connection ends.
#[must_use]
pub fn refusal(failure: Failure) -> Reply {
    tell(failure, false, false, Version::V11)
}

fn tell(failure: Failure, is_head: bool, keeps: bool, version: Version) -> Reply {
    let status = failure.status();
    let reason = http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    let body = format!("{status} {}\n", reason.unwrap_or_default());
    write(status, body.as_bytes(), is_head, keeps, version, |sink| {
        sink.put("content-type", b"text/plain");
        sink.put("cache-control", b"no-store");
        if status == 503 {
            sink.put("retry-after", b"1");
        }
    })
}

/// A body that nobody reads would be taken for the next request.
fn keeps(facts: &Facts) -> bool {
    facts.keep_alive && facts.framing == Framing::NONE
}

fn write(
    status: u16,
    body: &[u8],
    is_head: bool,
    keeps: bool,
    version: Version,
    fields: impl FnOnce(&mut Text<'_>),
) -> Reply {
    let mut bytes = Vec::with_capacity(256 + body.len());
    status_line(&mut bytes, status);
    let mut sink = Text(&mut bytes);
    fields(&mut sink);
    if !matches!(status, 204 | 304) {
        sink.put_number("content-length", body.len() as u64);
    }
    put_connection(&mut sink, keeps, version);
    bytes.extend_from_slice(b"\r\n");
    if !is_head && !matches!(status, 204 | 304) {
        bytes.extend_from_slice(body);
    }
    Reply { bytes, status, keeps }
}

/// What a client must be told of the connection: what its version does not take for granted.
pub(super) fn put_connection(sink: &mut Text<'_>, keeps: bool, version: Version) {
    match (keeps, version) {
        (false, _) => sink.put("connection", b"close"),
        (true, Version::V10) => sink.put("connection", b"keep-alive"),
        (true, Version::V11) => {}
    }
}
