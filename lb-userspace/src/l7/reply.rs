//! Answers of our own: fixed ones, redirects and failures.

use super::ask::Facts;
use super::http1::{Framing, Text, Version, length_field, status_line};
use super::message::{FieldSink as _, Request};
use super::respond::Failure;
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

impl Reply {
    /// Bytes of its body.
    #[must_use]
    pub fn body_len(&self) -> u64 {
        let head = self.bytes.windows(4).position(|end| end == b"\r\n\r\n").map_or(0, |at| at + 4);
        (self.bytes.len() - head) as u64
    }
}

/// What a route says itself.
#[must_use]
pub fn fixed(answer: &Answer, facts: &Facts) -> Reply {
    write(answer.status, ("content-type", &answer.content_type), &answer.body, facts)
}

/// Where the client is sent.
#[must_use]
pub fn redirect<F: ?Sized>(redirect: &Redirect, request: &Request<'_, F>, facts: &Facts) -> Reply {
    let mut location = String::new();
    redirect.push_location(request, &mut location);
    write(redirect.status, ("location", location.as_bytes()), b"", facts)
}

/// Why there is no other answer.
#[must_use]
pub fn failure(failure: Failure, facts: &Facts, date: &str) -> Reply {
    let keeps = keeps(facts) && failure.keeps();
    let mut bytes = Vec::new();
    failure.write(keeps, facts.is_head(), date, &mut bytes);
    Reply { bytes, status: failure.status(), keeps }
}

/// Why there is no answer to what was no request; the connection ends.
#[must_use]
pub fn refusal(failure: Failure, date: &str) -> Reply {
    let mut bytes = Vec::new();
    failure.write(false, false, date, &mut bytes);
    Reply { bytes, status: failure.status(), keeps: false }
}

/// A body that nobody reads would be taken for the next request; and HTTP/1.0 would have to be told.
fn keeps(facts: &Facts) -> bool {
    facts.keep_alive && facts.framing == Framing::NONE && facts.version == Version::V11
}

fn write(status: u16, (name, value): (&str, &[u8]), body: &[u8], facts: &Facts) -> Reply {
    let mut bytes = Vec::with_capacity(256 + body.len());
    let keeps = keeps(facts);
    let has_body = !matches!(status, 204 | 304);
    status_line(&mut bytes, status);
    Text(&mut bytes).put(name, value);
    if has_body {
        length_field(&mut bytes, body.len() as u64);
    }
    if !keeps {
        Text(&mut bytes).put("connection", b"close");
    }
    Text(&mut bytes).end();
    if has_body && !facts.is_head() {
        bytes.extend_from_slice(body);
    }
    Reply { bytes, status, keeps }
}
