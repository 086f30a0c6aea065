//! Answers of our own: fixed ones, redirects and failures.

use super::ask::Facts;
use super::http1::{Framing, Text, Version, length_field, status_line};
use super::message::{FieldSink as _, Request};
use super::respond::Failure;
use super::rewrite::{Redirect, ResponseEdits};
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

    /// The same with these fields of the whole proxy and of the listener, where the answer does not say them itself.
    #[must_use]
    pub fn with(mut self, fields: [(&str, Option<&[u8]>); 2]) -> Self {
        let first_line = 2 + self.bytes.windows(2).position(|two| two == b"\r\n").unwrap_or(0);
        let mut more = Vec::new();
        for (name, value) in fields {
            if let Some(value) = value.filter(|_| !self.has(name)) {
                Text(&mut more).put(name, value);
            }
        }
        self.bytes.splice(first_line..first_line, more);
        self
    }

    fn has(&self, name: &str) -> bool {
        let mut lines = self.bytes.split(|byte| *byte == b'\n').take_while(|line| *line != b"\r");
        lines.any(|line| {
            line.get(name.len()) == Some(&b':')
                && line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name.as_bytes()))
        })
    }
}

/// What a route says itself.
#[must_use]
pub fn fixed(answer: &Answer, edits: &ResponseEdits, facts: &Facts) -> Reply {
    write(answer.status, ("content-type", &answer.content_type), &answer.body, Some(edits), facts)
}

/// Where the client is sent, by a route with these edits or by the listener itself.
#[must_use]
pub fn redirect<F: ?Sized>(
    redirect: &Redirect,
    edits: Option<&ResponseEdits>,
    request: &Request<'_, F>,
    facts: &Facts,
) -> Reply {
    let mut location = String::new();
    redirect.push_location(request, &mut location);
    write(redirect.status, ("location", location.as_bytes()), b"", edits, facts)
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

fn write(
    status: u16,
    (name, value): (&str, &[u8]),
    body: &[u8],
    edits: Option<&ResponseEdits>,
    facts: &Facts,
) -> Reply {
    let mut bytes = Vec::with_capacity(256 + body.len());
    let keeps = keeps(facts);
    let has_body = !matches!(status, 204 | 304);
    status_line(&mut bytes, status);
    match edits {
        Some(edits) => edits.edit_own((name, value), &mut Text(&mut bytes)),
        None => Text(&mut bytes).put(name, value),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_the_whole_proxy_stand_in_answers_that_do_not_say_them() {
        let bytes = b"HTTP/1.1 200 OK\r\nServer: mine\r\n\r\nStrict-Transport-Security: no field\n".to_vec();
        let reply = Reply { bytes, status: 200, keeps: true };
        let reply = reply.with([("server", Some(b"lb")), ("strict-transport-security", Some(b"max-age=1"))]);
        assert_eq!(
            String::from_utf8(reply.bytes).unwrap(),
            "HTTP/1.1 200 OK\r\nstrict-transport-security: max-age=1\r\nServer: mine\r\n\r\n\
             Strict-Transport-Security: no field\n"
        );
    }
}
