//! Heads of HTTP/2: requests read as strictly as HTTP/1.1's, answers written. Pure.
//!
//! `h2` has refused by then what RFC 9113, section 8, calls malformed for its names, its pseudo-fields and the fields of a
//! connection. What is left is what becomes ambiguous only in HTTP/1.1, which a backend may speak.

use crate::l7::answer::Told;
use crate::l7::ask::{Facts, Method, Question};
use crate::l7::http1::{
    Authority, Framing, Limits, Refusal, Version, normalise, parse_authority, parse_length,
};
use crate::l7::message::{FieldSink, Request};
use crate::l7::respond::Failure;
use crate::l7::tls::base64;
use h2::ext::Protocol;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, COOKIE, EXPECT, HOST};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use std::borrow::Cow;
use std::net::SocketAddr;

/// The answer to a WebSocket's key, which HTTP/2 has not (RFC 8441, section 5).
const WEBSOCKET_ACCEPT: &str = "sec-websocket-accept";

/// What a request line has besides method and target: two spaces and a version.
const LINE: usize = "  HTTP/1.1".len();

/// A request's head, as it was understood.
#[derive(Debug)]
pub(super) struct Head<'a> {
    pub(super) method: &'a str,
    pub(super) authority: Authority,
    pub(super) path: Cow<'a, str>,
    pub(super) query: Option<&'a str>,
    pub(super) framing: Framing,
    pub(super) expects_continue: bool,
    /// What an extended CONNECT asks for.
    pub(super) protocol: Option<&'a [u8]>,
    grpc: bool,
}

/// Adds what HTTP/1.1 has and HTTP/2 has not, and puts together what only HTTP/2 parts. `random` is for a key.
pub(super) fn complete(parts: &mut Parts, random: u128) {
    join_cookies(&mut parts.headers);
    add_websocket_key(parts, random);
}

/// HTTP/1.1 has a key where HTTP/2 has none. Source: RFC 8441, section 5; RFC 6455, section 4.1.
fn add_websocket_key(parts: &mut Parts, random: u128) {
    if parts.extensions.get::<Protocol>().is_some()
        && let Ok(key) = HeaderValue::from_bytes(&base64(&random.to_be_bytes()))
    {
        parts.headers.insert("sec-websocket-key", key);
    }
}

/// Makes one field of the cookies that HTTP/2 lets a client part. Source: RFC 9113, section 8.2.3.
fn join_cookies(fields: &mut HeaderMap) {
    if fields.get_all(COOKIE).iter().nth(1).is_none() {
        return;
    }
    let crumbs: Vec<&[u8]> = fields.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    // Values without control characters, joined by `; `, are one.
    if let Ok(cookie) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        fields.insert(COOKIE, cookie);
    }
}

impl<'a> Head<'a> {
    /// Makes sense of a head. `has_ended`: no body follows.
    pub(super) fn understand(parts: &'a Parts, has_ended: bool, limits: &Limits) -> Result<Self, Failure> {
        let fields = &parts.headers;
        if fields.len() > limits.fields {
            return Err(Refusal::TooManyFields.into());
        }
        check_names(fields)?;
        if fields.values().any(|value| is_blank_around(value.as_bytes())) {
            return Err(Refusal::BlankAround.into());
        }
        let protocol = parts.extensions.get::<Protocol>().map(Protocol::as_str);
        let method = match (parts.method.as_str(), protocol) {
            ("CONNECT", Some("websocket")) => "GET",
            ("CONNECT", _) => return Err(Failure::Connect),
            (method, _) => method,
        };
        let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
        // As long as the request line would be that HTTP/1.1 has.
        if method.len() + target.len() + LINE > limits.line {
            return Err(Refusal::LineTooLong.into());
        }
        let (path, query) = split(method, target)?;
        let framing = framing(fields, has_ended || protocol.is_some())?;
        Ok(Self {
            method,
            authority: authority(parts)?,
            path,
            query,
            framing,
            expects_continue: expects_continue(fields)? && framing != Framing::NONE,
            protocol: protocol.map(str::as_bytes),
            grpc: is_grpc(parts),
        })
    }

    /// What routing and rules see of it.
    pub(super) fn question<'q>(
        &'q self,
        parts: &'q Parts,
        https: bool,
        client: SocketAddr,
    ) -> Question<'q, HeaderMap> {
        Question {
            request: Request {
                method: self.method,
                https,
                authority: &self.authority,
                path: &self.path,
                query: self.query,
                fields: &parts.headers,
                client,
            },
            upgrade: self.protocol,
            expects_continue: self.expects_continue,
            names_fields: false,
            text: b"",
        }
    }

    /// What the answer depends on.
    pub(super) fn facts(&self) -> Facts {
        Facts {
            version: Version::V11,
            framing: self.framing,
            method: if self.protocol.is_some() { Method::Once } else { Method::of(self.method) },
            keep_alive: true,
            upgrade: self.protocol.is_some(),
            grpc: self.grpc,
            authority: self.authority.shared_text(),
        }
    }
}

/// Source: "gRPC over HTTP2", requests (grpc/doc/PROTOCOL-HTTP2.md).
fn is_grpc(parts: &Parts) -> bool {
    let kind = || parts.headers.get(CONTENT_TYPE).map_or(&[][..], HeaderValue::as_bytes);
    parts.method == http::Method::POST && kind().starts_with(b"application/grpc")
}

/// What the answer to a request depends on that was not understood.
pub(super) fn facts_of_refused(parts: &Parts) -> Facts {
    Facts {
        version: Version::V11,
        framing: Framing::NONE,
        method: Method::of(parts.method.as_str()),
        keep_alive: true,
        upgrade: false,
        grpc: is_grpc(parts),
        authority: "".into(),
    }
}

/// Refuses the one byte in names that is none of a token's and that `http` lets pass. Source: RFC 9110, section 5.6.2.
pub(in crate::l7) fn check_names(fields: &HeaderMap) -> Result<(), Refusal> {
    let is_token = |name: &HeaderName| !name.as_str().contains('"');
    if fields.keys().all(is_token) { Ok(()) } else { Err(Refusal::FieldName) }
}

fn is_blank_around(value: &[u8]) -> bool {
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    is_blank(value.first()) || is_blank(value.last())
}

fn split<'a>(method: &str, target: &'a str) -> Result<(Cow<'a, str>, Option<&'a str>), Refusal> {
    if target == "*" && method == "OPTIONS" {
        return Ok((Cow::Borrowed("*"), None));
    }
    if !target.starts_with('/') {
        return Err(Refusal::TargetForm);
    }
    if target.bytes().any(|byte| !byte.is_ascii_graphic()) {
        return Err(Refusal::Target);
    }
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    Ok((normalise(path)?, query))
}

/// Who is asked: `:authority`, else Host; if both are there they agree. Source: RFC 9113, section 8.3.1.
fn authority(parts: &Parts) -> Result<Authority, Refusal> {
    if parts.uri.scheme_str().is_some_and(|scheme| !matches!(scheme, "http" | "https")) {
        return Err(Refusal::Scheme);
    }
    let mut hosts = parts.headers.get_all(HOST).iter();
    let field = hosts.next().map(|host| parse_authority(host.as_bytes())).transpose()?;
    if hosts.next().is_some() {
        return Err(Refusal::HostRepeated);
    }
    let pseudo = parts.uri.authority().map(|authority| parse_authority(authority.as_str().as_bytes()));
    match (pseudo.transpose()?, field) {
        (Some(pseudo), Some(field)) if pseudo != field => Err(Refusal::HostDisagrees),
        (pseudo, field) => pseudo.or(field).ok_or(Refusal::HostMissing),
    }
}

fn framing(fields: &HeaderMap, has_ended: bool) -> Result<Framing, Refusal> {
    let mut lengths = fields.get_all(CONTENT_LENGTH).iter();
    let length = lengths.next().map(|value| parse_length(value.as_bytes())).transpose()?;
    if lengths.next().is_some() {
        return Err(Refusal::ContentLengthRepeated);
    }
    match length {
        Some(1..) if has_ended => Err(Refusal::LengthDisagrees),
        _ if has_ended => Ok(Framing::NONE),
        Some(length) => Ok(Framing::Length(length)),
        None => Ok(Framing::Chunked),
    }
}

fn expects_continue(fields: &HeaderMap) -> Result<bool, Refusal> {
    match fields.get(EXPECT) {
        None => Ok(false),
        Some(value) if value.as_bytes().eq_ignore_ascii_case(b"100-continue") => Ok(true),
        Some(_) => Err(Refusal::Expectation),
    }
}

/// A list of fields as they go into a stream.
#[derive(Debug, Default)]
pub(super) struct List(pub(super) HeaderMap);

impl FieldSink for List {
    /// A value that HTTP/2 cannot have is left out: there is none that was parsed or configured.
    fn put(&mut self, name: &str, value: &[u8]) {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value))
            && name != WEBSOCKET_ACCEPT
        {
            self.0.append(name, value);
        }
    }
}

impl List {
    /// With room for so many fields: a map that grows moves them all, and one that is too large costs as much to come by.
    pub(super) fn with_room_for(fields: usize) -> Self {
        Self(HeaderMap::with_capacity(fields))
    }

    /// An answer of these fields.
    pub(super) fn answer(self, status: u16) -> Response<()> {
        let mut answer = Response::new(());
        *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
        *answer.headers_mut() = self.0;
        answer
    }

    /// The length of a body.
    pub(super) fn put_length(&mut self, length: u64) {
        self.0.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }

    /// The length that the answer tells, which may be that of a body that is not sent; where HEAD was answered without one, nobody
    /// knows it (RFC 9110, section 8.6).
    pub(super) fn put_told_length<F: ?Sized>(&mut self, told: &Told<'_, F>, is_head: bool) {
        match (told.length_elsewhere, told.framing) {
            (Some(length), _) => self.put_length(length),
            (None, Framing::Length(length)) if !is_head && !matches!(told.status, 100..=199 | 204 | 304) => {
                self.put_length(length);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    /// What becomes of a request for this target, with these fields and a body or none.
    fn understand(
        target: &str,
        fields: &[(&'static str, &str)],
        has_ended: bool,
    ) -> Result<Framing, Failure> {
        let mut request = Request::get(target);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        join_cookies(&mut parts.headers);
        Head::understand(&parts, has_ended, &LIMITS).map(|head| head.framing)
    }

    const LIMITS: Limits = Limits { fields: 5, line: 40, ..Limits::DEFAULT };
    const HERE: &str = "http://example.org/";

    #[test]
    fn a_body_is_as_long_as_it_is_told_or_as_long_as_it_comes() {
        assert_eq!(understand(HERE, &[], true), Ok(Framing::NONE));
        assert_eq!(understand(HERE, &[], false), Ok(Framing::Chunked));
        assert_eq!(understand(HERE, &[("content-length", "7")], false), Ok(Framing::Length(7)));
        assert_eq!(understand(HERE, &[("content-length", "0")], true), Ok(Framing::NONE));
    }

    #[test]
    fn a_target_is_no_longer_than_a_line_may_be() {
        let target = |length: usize| format!("/{}", "a".repeat(length - 1));
        assert_eq!(
            understand(&target(40 - "GET  HTTP/1.1".len()), &[("host", "a")], true),
            Ok(Framing::NONE)
        );
        let refused = understand(&target(41 - "GET  HTTP/1.1".len()), &[("host", "a")], true);
        assert_eq!(refused, Err(Refusal::LineTooLong.into()));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused_by_its_rule() {
        let rows: [(&[(&str, &str)], Refusal); 7] = [
            (&[("content-length", "7"), ("content-length", "7")], Refusal::ContentLengthRepeated),
            (&[("content-length", "7, 7")], Refusal::ContentLengthRepeated),
            (&[("content-length", "+7")], Refusal::ContentLength),
            (&[("host", "other.example")], Refusal::HostDisagrees),
            (&[("host", "example.org"), ("host", "example.org")], Refusal::HostRepeated),
            (&[("a", " b")], Refusal::BlankAround),
            (
                &[("a", "1"), ("b", "1"), ("c", "1"), ("d", "1"), ("e", "1"), ("f", "1")],
                Refusal::TooManyFields,
            ),
        ];
        for (fields, refusal) in rows {
            assert_eq!(understand(HERE, fields, false), Err(refusal.into()), "{fields:?}");
        }
        let early = understand(HERE, &[("content-length", "7")], true);
        assert_eq!(early, Err(Refusal::LengthDisagrees.into()));
        assert_eq!(understand("/", &[], true), Err(Refusal::HostMissing.into()));
        assert_eq!(understand("ftp://example.org/", &[], true), Err(Refusal::Scheme.into()));
    }

    #[test]
    fn a_name_that_http_lets_pass_and_is_no_token_is_refused() {
        let mut fields = HeaderMap::new();
        fields.insert(HeaderName::from_lowercase(b"a'b").unwrap(), HeaderValue::from_static("c"));
        assert_eq!(check_names(&fields), Ok(()));
        fields.insert(HeaderName::from_lowercase(b"a\"b").unwrap(), HeaderValue::from_static("c"));
        assert_eq!(check_names(&fields), Err(Refusal::FieldName));
    }

    #[test]
    fn the_host_field_may_say_what_the_authority_says() {
        assert_eq!(understand(HERE, &[("host", "Example.org")], true), Ok(Framing::NONE));
        assert_eq!(understand("/", &[("host", "example.org")], true), Ok(Framing::NONE));
    }

    #[test]
    fn cookies_are_joined_in_order() {
        let mut fields = HeaderMap::new();
        for crumb in ["a=1", "b=2"] {
            fields.append(COOKIE, HeaderValue::from_static(crumb));
        }
        join_cookies(&mut fields);
        assert_eq!(fields.get_all(COOKIE).iter().collect::<Vec<_>>(), ["a=1; b=2"]);
    }

    #[test]
    fn what_http_2_cannot_say_is_left_out() {
        let mut list = List::default();
        list.put("X-Field", b"kept");
        list.put("bad name", b"x");
        list.put("bad-value", b"a\nb");
        list.put("Sec-WebSocket-Accept", b"x");
        assert_eq!(list.0.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["x-field"]);
    }
}
