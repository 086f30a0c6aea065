//! From a request's bytes to what is done with it, without waiting: head, route, and the head that a backend is sent.

use super::failure::Failure;
use super::http1::{Framing, Head, Text, Version};
use super::message::{FieldSink as _, Fields, Request};
use super::reply::{self, Reply};
use super::rewrite::{Peer, RequestContext};
use super::settings::{Action, Listener, Route};
use super::site::{Site, Upstreams};
use super::transport::Watch;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

/// What is to be done with a request.
#[derive(Debug)]
pub enum Verdict<W> {
    /// A backend is asked.
    Forward(Ask<W>),
    /// It is answered at once.
    Reply(Reply),
}

/// A request for a backend.
#[derive(Debug)]
pub struct Ask<W> {
    /// Its route.
    pub route: Arc<Route>,
    /// The service it is for.
    pub upstreams: Rc<Upstreams<W>>,
    /// What a backend is sent.
    pub head: Vec<u8>,
    /// What its answer depends on.
    pub facts: Facts,
}

/// What the answer to a request depends on.
#[derive(Clone, Debug)]
pub struct Facts {
    /// What the client speaks.
    pub version: Version,
    /// Where its body ends.
    pub framing: Framing,
    /// Whether it asked for the head alone.
    pub is_head: bool,
    /// Whether asking twice is as good as asking once (RFC 9110 section 9.2.2).
    pub is_idempotent: bool,
    /// Whether the client may ask again on this connection.
    pub keep_alive: bool,
    /// Whether it wants to speak another protocol.
    pub upgrade: bool,
    /// The host that it asked for.
    pub host: Box<str>,
    /// The port that it asked for.
    pub port: Option<u16>,
}

/// Who asks, and where.
#[derive(Debug)]
pub struct Asker<'a> {
    /// The listener that was connected to.
    pub listener: &'a Listener,
    /// The client's address.
    pub client: IpAddr,
    /// What backends are told of it.
    pub peer: &'a Peer,
    /// Whether it came by TLS.
    pub https: bool,
    /// Whether it may ask again after this request.
    pub keeps: bool,
    /// Bits drawn for this request.
    pub random: u128,
}

/// Reads a request from the bytes and decides what becomes of it. `None`: the bytes do not reach to the end of its head.
pub fn read<W: Watch>(
    site: &Site<W>,
    asker: &Asker<'_>,
    bytes: &[u8],
) -> Result<Option<(usize, Verdict<W>)>, Failure> {
    let mut room = [httparse::EMPTY_HEADER; 128];
    let limits = (&asker.listener.config.limits).into();
    let Some(head) = Head::parse(bytes, &mut room, &limits)? else { return Ok(None) };
    let request = Request {
        method: head.method,
        https: asker.https,
        host: &head.host,
        port: head.port,
        path: head.path,
        query: head.query,
        fields: head.fields,
        client: (asker.client, 0).into(),
    };
    Ok(Some((head.len, decide(site, asker, &request, &head))))
}

fn decide<W: Watch>(
    site: &Site<W>,
    asker: &Asker<'_>,
    request: &Request<'_, [httparse::Header<'_>]>,
    head: &Head<'_, '_>,
) -> Verdict<W> {
    let facts = facts(head, asker.keeps);
    if let Some(redirect) = &asker.listener.redirect {
        return Verdict::Reply(reply::redirect(redirect, request, &facts));
    }
    let Some(route) = asker.listener.route(request) else {
        return Verdict::Reply(reply::failure(Failure::NoRoute, &facts));
    };
    let shares = match &route.action {
        Action::Forward(shares) => shares,
        Action::Redirect(redirect) => return Verdict::Reply(reply::redirect(redirect, request, &facts)),
        Action::Respond(answer) => return Verdict::Reply(reply::fixed(answer, &facts)),
    };
    let random = u32::try_from(asker.random & u128::from(u32::MAX)).unwrap_or(0);
    match shares.pick(random).and_then(|service| site.upstreams(service)) {
        Some(upstreams) => Verdict::Forward(Ask {
            head: render(asker, request, head, route, upstreams.service.config.host.as_deref()),
            route: Arc::clone(route),
            upstreams: Rc::clone(upstreams),
            facts,
        }),
        None => Verdict::Reply(reply::failure(Failure::NoRoute, &facts)),
    }
}

fn facts(head: &Head<'_, '_>, keeps: bool) -> Facts {
    Facts {
        version: head.version,
        framing: head.framing,
        is_head: head.method == "HEAD",
        is_idempotent: matches!(head.method, "GET" | "HEAD" | "PUT" | "DELETE" | "OPTIONS" | "TRACE"),
        keep_alive: head.keep_alive && keeps,
        upgrade: head.upgrade,
        host: head.host.as_ref().into(),
        port: head.port,
    }
}

fn render(
    asker: &Asker<'_>,
    request: &Request<'_, [httparse::Header<'_>]>,
    head: &Head<'_, '_>,
    route: &Route,
    host: Option<&str>,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(head.len + 320);
    let mut scratch = String::new();
    push_request_line(&mut out, request, route, &mut scratch);
    let context = RequestContext {
        peer: asker.peer,
        host: route.host.as_deref().or(host),
        random: asker.random,
        upgrade: if head.upgrade { Fields::first(request.fields, "upgrade") } else { None },
        http2: false,
    };
    let mut sink = Text(&mut out);
    route.request.apply(request, &context, &mut scratch, &mut sink);
    put_framing(&mut sink, head.framing, Fields::first(request.fields, "content-length").is_some());
    out.extend_from_slice(b"\r\n");
    out
}

fn push_request_line<F: ?Sized>(out: &mut Vec<u8>, request: &Request<'_, F>, route: &Route, scratch: &mut String) {
    out.extend_from_slice(request.method.as_bytes());
    out.push(b' ');
    match &route.path {
        Some(edit) if request.path.starts_with('/') => {
            edit.push(request.path, scratch);
            out.extend_from_slice(scratch.as_bytes());
        }
        _ => out.extend_from_slice(request.path.as_bytes()),
    }
    if let Some(query) = request.query {
        out.push(b'?');
        out.extend_from_slice(query.as_bytes());
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
}

/// How the body behind a head is framed. `is_told` says whether a length of 0 is to be told.
pub(super) fn put_framing(sink: &mut Text<'_>, framing: Framing, is_told: bool) {
    match framing {
        Framing::Chunked => sink.put("transfer-encoding", b"chunked"),
        Framing::Length(length) if is_told || length > 0 => sink.put_number("content-length", length),
        Framing::Length(_) | Framing::UntilClose => {}
    }
}
