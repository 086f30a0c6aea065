//! Answers of our own: fixed ones, redirects and failures. What they say is the same in every codec; [`Reply::text`] is how
//! HTTP/1.1 says it.

use super::ask::Facts;
use super::http1::{Framing, Text, Version, length_field, status_line};
use super::message::{FieldSink, Request};
use super::respond::Failure;
use super::rewrite::{Redirect, ResponseEdits};
use super::settings::Answer;

/// A whole answer.
#[derive(Debug)]
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// Whether the client may ask again on the connection.
    pub keeps: bool,
    /// Its fields, but for the length of its body.
    pub fields: Fields,
    /// Its body, which HEAD does not get; `None` where the status has none.
    pub body: Option<Vec<u8>>,
    /// Whether the body is not sent, but its length told.
    pub is_head: bool,
}

/// Fields of an answer.
#[derive(Debug, Default)]
pub struct Fields(Vec<(Box<str>, Box<[u8]>)>);

impl FieldSink for Fields {
    fn put(&mut self, name: &str, value: &[u8]) {
        self.0.push((name.into(), value.into()));
    }
}

impl Fields {
    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }
}

impl Reply {
    /// Bytes of its body.
    #[must_use]
    pub fn body_len(&self) -> u64 {
        let body = self.body.as_ref().filter(|_| !self.is_head);
        body.map_or(0, |body| body.len() as u64)
    }

    /// The same with these fields of the whole proxy and of the listener, where the answer does not say them itself.
    #[must_use]
    pub fn with(mut self, fields: [(&str, Option<&[u8]>); 2]) -> Self {
        for (name, value) in fields {
            let is_said = self.fields.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
            if let Some(value) = value.filter(|_| !is_said) {
                self.fields.put(name, value);
            }
        }
        self
    }
}

/// What a route says itself, at this date.
#[must_use]
pub fn fixed(answer: &Answer, edits: &ResponseEdits, facts: &Facts, date: &str) -> Reply {
    let edits = (Some(edits), date);
    say(answer.status, ("content-type", &answer.content_type), &answer.body, edits, facts)
}

/// Where the client is sent, by a route with these edits or by the listener itself, at this date.
#[must_use]
pub fn redirect<F: ?Sized>(
    redirect: &Redirect,
    edits: (Option<&ResponseEdits>, &str),
    request: &Request<'_, F>,
    facts: &Facts,
) -> Reply {
    let mut location = String::new();
    redirect.push_location(request, &mut location);
    say(redirect.status, ("location", location.as_bytes()), b"", edits, facts)
}

/// Why there is no other answer.
#[must_use]
pub fn failure(failure: Failure, facts: &Facts, date: &str) -> Reply {
    if facts.grpc {
        return grpc_failure(failure, date);
    }
    let keeps = keeps(facts) && failure.keeps();
    Reply { keeps, is_head: facts.is_head(), ..refusal(failure, date) }
}

/// The same to a client of gRPC, which takes nothing but trailers for it, and anything else for nonsense.
///
/// Source: "gRPC over HTTP2", responses, `Trailers-Only` (grpc/doc/PROTOCOL-HTTP2.md).
fn grpc_failure(failure: Failure, date: &str) -> Reply {
    let mut fields = Fields::default();
    fields.put("date", date.as_bytes());
    fields.put("content-type", b"application/grpc");
    fields.put("grpc-status", failure.grpc_status().as_bytes());
    fields.put("grpc-message", failure.body().trim_end().as_bytes());
    Reply { status: 200, keeps: true, fields, body: None, is_head: false }
}

/// Why there is no answer to what was no request; the connection ends.
#[must_use]
pub fn refusal(failure: Failure, date: &str) -> Reply {
    let mut fields = Fields::default();
    failure.put(date, &mut fields);
    let body = Some(failure.body().into_bytes());
    Reply { status: failure.status(), keeps: false, fields, body, is_head: false }
}

/// A body that nobody reads would be taken for the next request; and HTTP/1.0 would have to be told.
fn keeps(facts: &Facts) -> bool {
    facts.keep_alive && facts.framing == Framing::NONE && facts.version == Version::V11
}

fn say(
    status: u16,
    (name, value): (&str, &[u8]),
    body: &[u8],
    (edits, date): (Option<&ResponseEdits>, &str),
    facts: &Facts,
) -> Reply {
    let mut fields = Fields::default();
    if edits.is_none_or(ResponseEdits::adds_date) {
        fields.put("date", date.as_bytes());
    }
    match edits {
        Some(edits) => edits.edit_own((name, value), &mut fields),
        None => fields.put(name, value),
    }
    let body = (!matches!(status, 204 | 304)).then(|| body.to_vec());
    Reply { status, keeps: keeps(facts), fields, body, is_head: facts.is_head() }
}

impl Reply {
    /// The answer in HTTP/1.1.
    #[must_use]
    pub fn text(&self) -> Vec<u8> {
        let body = self.body.as_deref();
        let mut out = Vec::with_capacity(256 + body.map_or(0, <[u8]>::len));
        status_line(&mut out, self.status);
        if let Some(body) = body {
            length_field(&mut out, body.len() as u64);
        }
        self.fields.iter().for_each(|(name, value)| Text(&mut out).put(name, value));
        if !self.keeps {
            Text(&mut out).put("connection", b"close");
        }
        Text(&mut out).end();
        out.extend_from_slice(body.filter(|_| !self.is_head).unwrap_or_default());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_the_whole_proxy_stand_in_answers_that_do_not_say_them() {
        let mut fields = Fields::default();
        fields.put("Server", b"mine");
        let reply = Reply { status: 200, keeps: true, fields, body: Some(b"body".to_vec()), is_head: false };
        let reply = reply.with([("server", Some(b"lb")), ("strict-transport-security", Some(b"max-age=1"))]);
        assert_eq!(
            String::from_utf8(reply.text()).unwrap(),
            "HTTP/1.1 200 OK\r\ncontent-length: 4\r\nServer: mine\r\n\
             strict-transport-security: max-age=1\r\n\r\nbody"
        );
    }
}
