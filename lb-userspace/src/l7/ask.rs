//! From a request's bytes to what is done with it, without waiting: head, route, and the head that a backend is sent.

use super::failure::Failure;
use super::http1::{Framing, Head, Text, Version};
use super::message::{FieldSink as _, Fields, Request};
use super::site::{Door, Service, Way};
use super::transport::Watch;
use std::io::Write as _;
use std::net::SocketAddr;
use std::rc::Rc;

/// A request that was understood.
#[derive(Debug)]
pub struct Ask<W> {
    /// Where its route leads.
    pub way: Rc<Way<W>>,
    /// The service it is for.
    pub service: Rc<Service<W>>,
    /// What a backend is sent.
    pub head: Vec<u8>,
    /// Where its body ends.
    pub framing: Framing,
    /// Facts that its answer depends on.
    pub facts: Facts,
}

/// What the answer to a request depends on.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// What the client speaks.
    pub version: Version,
    /// Whether it asked for the head alone.
    pub is_head: bool,
    /// Whether asking twice is as good as asking once (RFC 9110 section 9.2.2).
    pub is_idempotent: bool,
    /// Whether the client wants to ask again on this connection.
    pub keep_alive: bool,
    /// Whether it waits for 100 (Continue) before it sends the body.
    pub expects_continue: bool,
    /// Whether it wants to speak another protocol.
    pub upgrade: bool,
}

/// Who asks, and how.
#[derive(Clone, Copy, Debug)]
pub struct Asker {
    /// The client's address.
    pub client: SocketAddr,
    /// Whether it came by TLS.
    pub https: bool,
    /// A number drawn for this request.
    pub drawn: u32,
}

/// Reads a request from the bytes and decides where it goes. `None`: the bytes do not reach to the end of its head.
pub fn read<W: Watch>(door: &Door<W>, asker: &Asker, bytes: &[u8]) -> Result<Option<(usize, Ask<W>)>, Failure> {
    let mut room = [httparse::EMPTY_HEADER; 128];
    let Some(head) = Head::parse(bytes, &mut room, &door.limits)? else { return Ok(None) };
    let request = Request {
        method: head.method,
        https: asker.https,
        host: &head.host,
        port: head.port,
        path: head.path,
        query: head.query,
        fields: head.fields,
        client: asker.client,
    };
    let way = door.find(&request).ok_or(Failure::NoRoute)?;
    let service = way.service(asker.drawn).ok_or(Failure::NoRoute)?;
    let ask = Ask {
        way: Rc::clone(way),
        service: Rc::clone(service),
        head: render(&request, &head),
        framing: head.framing,
        facts: facts(&head),
    };
    Ok(Some((head.len, ask)))
}

fn facts(head: &Head<'_, '_>) -> Facts {
    Facts {
        version: head.version,
        is_head: head.method == "HEAD",
        is_idempotent: matches!(head.method, "GET" | "HEAD" | "PUT" | "DELETE" | "OPTIONS" | "TRACE"),
        keep_alive: head.keep_alive,
        expects_continue: head.expects_continue,
        upgrade: head.upgrade,
    }
}

fn render<F: Fields + ?Sized>(request: &Request<'_, F>, head: &Head<'_, '_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(head.len + 160);
    out.extend_from_slice(request.method.as_bytes());
    out.push(b' ');
    out.extend_from_slice(request.path.as_bytes());
    if let Some(query) = request.query {
        out.push(b'?');
        out.extend_from_slice(query.as_bytes());
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let mut sink = Text(&mut out);
    for (name, value) in request.fields.each() {
        if !is_hop_by_hop(name) {
            sink.put(name, value);
        }
    }
    if head.upgrade {
        if let Some(protocol) = request.fields.first("upgrade") {
            sink.put("upgrade", protocol);
            sink.put("connection", b"upgrade");
        }
    }
    match head.framing {
        Framing::Chunked => sink.put("transfer-encoding", b"chunked"),
        Framing::Length(_) | Framing::UntilClose => {}
    }
    // Writing to a vector does not fail.
    let _ = write!(out, "x-forwarded-for: {}\r\nx-forwarded-proto: {}\r\n\r\n", request.client.ip(), scheme(request.https));
    out
}

const fn scheme(https: bool) -> &'static str {
    if https { "https" } else { "http" }
}

/// Fields that are about this connection, or that we set ourselves.
pub(super) fn is_hop_by_hop(name: &str) -> bool {
    match name.len() {
        2 => name.eq_ignore_ascii_case("te"),
        7 => name.eq_ignore_ascii_case("upgrade") || name.eq_ignore_ascii_case("trailer"),
        10 => name.eq_ignore_ascii_case("connection") || name.eq_ignore_ascii_case("keep-alive"),
        15 => name.eq_ignore_ascii_case("x-forwarded-for"),
        16 => name.eq_ignore_ascii_case("proxy-connection"),
        17 => name.eq_ignore_ascii_case("transfer-encoding") || name.eq_ignore_ascii_case("x-forwarded-proto"),
        _ => false,
    }
}
