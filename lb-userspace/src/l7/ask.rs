//! From a request's bytes to what is done with it, without waiting: head, route, and the head that a backend is sent.

use super::account::{Account, AsSent};
use super::balance::{BackendId, key_of};
use super::deadline::Clock;
use super::http1::{Form, Framing, Head, Limits, Lines, Text, Version, length_field, request_line, room};
use super::http2;
use super::message::{FieldSink as _, Fields, Request};
use super::reply::{self, Reply};
use super::respond::Failure;
use super::rewrite::{Named, Peer, RequestContext};
use super::route::all_cookies;
use super::settings::{Action, Listener, Route};
use super::site::{Site, Upstreams};
use super::transport::Watch;
use crate::config::proxy::ClientLimits;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Room for what a request's head has besides what came as text: what is told of the client, mostly.
const ROOM: usize = 384;

/// What is to be done with a request.
#[derive(Debug)]
pub enum Verdict<W> {
    /// A backend is asked.
    Forward(Box<Ask<W>>),
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
    pub head: Rendered,
    /// The hash that its service balances by.
    pub key: u64,
    /// The value of the sticky cookie that it came with.
    pub cookie: Option<Box<[u8]>>,
    /// What binds the client to the backend that answers.
    pub set_cookie: Option<String>,
    /// What its answer depends on.
    pub facts: Facts,
    /// The tick at which the exchange has to be over.
    pub end: Option<u32>,
    /// Whether it may log in the connection that it is sent by, which is then this client's alone.
    pub is_private: bool,
    /// The backend with which the client has a connection of its own.
    pub own: Option<BackendId>,
    /// What a second service is asked besides.
    pub mirror: Option<Box<Self>>,
}

impl<W> Ask<W> {
    /// As much of a time as the exchange has left.
    #[must_use]
    pub fn within(&self, time: Duration, clock: &Clock) -> Duration {
        self.end.map_or(time, |end| time.min(clock.until(end)))
    }

    /// Whether a stream of the backend's connection is to become another protocol's.
    #[must_use]
    pub fn is_tunnel(&self) -> bool {
        matches!(&self.head, Rendered::Fields(request) if request.method() == http::Method::CONNECT)
    }

    /// Whether the exchange should be over.
    #[must_use]
    pub fn is_over(&self, clock: &Clock) -> bool {
        self.end.is_some_and(|end| end <= clock.now())
    }
}

/// The head of a request, as its backends are spoken to.
#[derive(Debug)]
pub enum Rendered {
    /// In HTTP/1.1.
    Text(Vec<u8>),
    /// In HTTP/2.
    Fields(Box<http::Request<()>>),
}

impl Rendered {
    /// Takes the text out of it.
    pub fn take_text(&mut self) -> Vec<u8> {
        std::mem::replace(self, Self::Text(Vec::new())).into_text()
    }

    fn into_text(self) -> Vec<u8> {
        if let Self::Text(text) = self { text } else { Vec::new() }
    }

    /// The text; none in HTTP/2.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        if let Self::Text(text) = self { text } else { b"" }
    }
}

/// What the answer to a request depends on.
#[derive(Clone, Debug)]
pub struct Facts {
    /// What the client speaks.
    pub version: Version,
    /// Where its body ends.
    pub framing: Framing,
    /// What its method means to us.
    pub method: Method,
    /// Whether the client may ask again on this connection.
    pub keep_alive: bool,
    /// Whether it wants to speak another protocol.
    pub upgrade: bool,
    /// Whether it is a call by gRPC, which is told of failures in its own words.
    pub grpc: bool,
    /// The host and port that it asked for, as the Host field has them.
    pub authority: Rc<str>,
}

/// What a method means to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// HEAD: the answer has no body. May be repeated.
    Head,
    /// Asking twice is as good as asking once (RFC 9110 section 9.2.2).
    Repeatable,
    /// Any other.
    Once,
}

impl Method {
    /// What the method of this name means.
    #[must_use]
    pub fn of(name: &str) -> Self {
        match name {
            "HEAD" => Self::Head,
            "GET" | "PUT" | "DELETE" | "OPTIONS" | "TRACE" => Self::Repeatable,
            _ => Self::Once,
        }
    }
}

impl Facts {
    /// Whether there is no body in the answer, whatever it says.
    #[must_use]
    pub fn is_head(&self) -> bool {
        self.method == Method::Head
    }

    /// Whether the request can be sent again without harm, and is at hand to be sent: it has no body.
    #[must_use]
    pub fn is_repeatable(&self) -> bool {
        self.method != Method::Once && self.framing == Framing::NONE
    }
}

/// Who asks, and where.
#[derive(Debug)]
pub struct Asker<'a> {
    /// The listener that was connected to.
    pub listener: &'a Listener,
    /// The client.
    pub client: SocketAddr,
    /// What backends are told of it.
    pub peer: &'a Peer,
    /// Whether it came by TLS.
    pub https: bool,
    /// Whether it may ask again after this request.
    pub keeps: bool,
    /// Bits drawn for this request.
    pub random: u128,
    /// What answers of our own have for a date.
    pub date: &'a str,
}

/// A request as it was understood, whichever codec read it.
#[derive(Debug)]
pub struct Question<'a, F: ?Sized> {
    /// What routing and rules see of it.
    pub request: Request<'a, F>,
    /// The protocol that it would rather speak.
    pub upgrade: Option<&'a [u8]>,
    /// Whether the client waits for 100 (Continue).
    pub expects_continue: bool,
    /// Whether its Connection, which HTTP/2 has not, names fields that must not go on.
    pub names_fields: bool,
    /// Its head as it came, where that is text.
    pub text: &'a [u8],
}

/// Reads a request from the bytes and decides what becomes of it. `None`: the bytes do not reach to the end of its head.
pub fn read<W: Watch>(
    site: &Site<W>,
    asker: &Asker<'_>,
    account: &mut Account,
    bytes: &[u8],
) -> Result<Option<(usize, Verdict<W>)>, Failure> {
    let mut room = room();
    let limits = limits(&asker.listener.config.limits);
    let Some(head) = Head::parse(bytes, &mut room, &limits)? else { return Ok(None) };
    account.read(&AsSent::by(&head), asker.peer, asker.random);
    let facts = facts(&head, asker.keeps);
    let verdict = understand(site, asker, account, (&head, &facts)).unwrap_or_else(|failure| {
        account.failed(failure);
        Verdict::Reply(reply::failure(failure, &facts, asker.date))
    });
    Ok(Some((head.len, verdict)))
}

/// What a client may send, as heads are read.
pub(super) fn limits(limits: &ClientLimits) -> Limits {
    let size = |value: u32| usize::try_from(value).unwrap_or(usize::MAX);
    Limits {
        head: size(limits.head),
        line: size(limits.line),
        field: size(limits.head) / 2,
        fields: limits.fields.into(),
        ..Limits::DEFAULT
    }
}

fn understand<W: Watch>(
    site: &Site<W>,
    asker: &Asker<'_>,
    account: &mut Account,
    (head, facts): (&Head<'_, '_>, &Facts),
) -> Result<Verdict<W>, Failure> {
    if head.form == Form::Authority {
        return Err(Failure::Connect);
    }
    let path = head.path()?;
    let request = Request {
        method: head.method,
        https: asker.https,
        authority: &head.authority,
        path: &path,
        query: head.query,
        fields: head.fields,
        client: asker.client,
    };
    let (upgrade, expects_continue, names_fields) = (head.upgrade, head.expects_continue, head.names_fields);
    let question = Question { request, upgrade, expects_continue, names_fields, text: head.text() };
    decide(site, asker, account, (&question, facts))
}

/// Finds the route of a request, and what becomes of it there.
pub fn decide<W: Watch, F: Fields + ?Sized>(
    site: &Site<W>,
    asker: &Asker<'_>,
    account: &mut Account,
    (question, facts): (&Question<'_, F>, &Facts),
) -> Result<Verdict<W>, Failure> {
    let request = &question.request;
    if let Some(redirect) = &asker.listener.redirect {
        return Ok(Verdict::Reply(reply::redirect(redirect, (None, asker.date), request, facts)));
    }
    let route = asker.listener.route(request).ok_or(Failure::NoRoute)?;
    account.routed(route);
    let shares = match &route.action {
        Action::Forward(shares) => shares,
        Action::Redirect(redirect) => {
            let edits = (Some(&*route.response), asker.date);
            return Ok(Verdict::Reply(reply::redirect(redirect, edits, request, facts)));
        }
        Action::Respond(answer) => {
            return Ok(Verdict::Reply(reply::fixed(answer, &route.response, facts, asker.date)));
        }
    };
    if let (Some(limit), Framing::Length(length)) = (route.body_limit, facts.framing)
        && length > limit
    {
        return Err(Failure::BodyTooLong);
    }
    let random = u32::try_from(asker.random & u128::from(u32::MAX)).unwrap_or(0);
    let service = shares.pick(random).and_then(|service| site.upstreams(service));
    let upstreams = service.ok_or(Failure::NoRoute)?;
    let mut ask = ask(asker, question, (route, upstreams), facts)?;
    // Of a connection that becomes another protocol's there can be no copy.
    let second = route.mirror.filter(|_| !facts.upgrade).and_then(|service| site.upstreams(service));
    if let Some(second) = second {
        ask.mirror = Some(self::ask(asker, question, (route, second), facts)?);
    }
    Ok(Verdict::Forward(ask))
}

fn ask<W: Watch, F: Fields + ?Sized>(
    asker: &Asker<'_>,
    question: &Question<'_, F>,
    (route, upstreams): (&Arc<Route>, &Rc<Upstreams<W>>),
    facts: &Facts,
) -> Result<Box<Ask<W>>, Failure> {
    let request = &question.request;
    let config = &upstreams.service.config;
    // Of HTTP/1.0; an empty Host, which HTTP/1.1 would have, is refused by many servers.
    let unnamed = request.host().is_empty().then_some(config.name.as_str());
    let (head, is_private) = if config.http2 {
        let (head, is_private) = http2::request(asker, question, facts.framing, route, config)?;
        (Rendered::Fields(Box::new(head)), is_private)
    } else {
        let host = config.host.as_deref().or(unnamed);
        let (head, is_private) = render(asker, question, facts.framing, route, host);
        (Rendered::Text(head), is_private)
    };
    Ok(Box::new(Ask {
        head,
        route: Arc::clone(route),
        upstreams: Rc::clone(upstreams),
        key: key_of(&config.balance, request),
        cookie: config.sticky.as_ref().and_then(|sticky| sticky_value(request.fields, &sticky.cookie)),
        set_cookie: None,
        facts: facts.clone(),
        end: None,
        is_private,
        own: None,
        mirror: None,
    }))
}

pub(super) fn sticky_value<F: Fields + ?Sized>(fields: &F, name: &str) -> Option<Box<[u8]>> {
    all_cookies(fields, name).next().map(Into::into)
}

fn facts(head: &Head<'_, '_>, keeps: bool) -> Facts {
    Facts {
        version: head.version,
        framing: head.framing,
        method: Method::of(head.method),
        keep_alive: head.keep_alive && keeps,
        upgrade: head.upgrade.is_some(),
        grpc: false,
        authority: head.authority.shared_text(),
    }
}

/// The head that a backend is sent, and whether it may log in the whole connection.
pub(super) fn render<F: Fields + ?Sized>(
    asker: &Asker<'_>,
    question: &Question<'_, F>,
    framing: Framing,
    route: &Route,
    host: Option<&str>,
) -> (Vec<u8>, bool) {
    let request = &question.request;
    let mut out = Vec::with_capacity(question.text.len() + ROOM);
    let mut scratch = String::new();
    let path = rewritten(request.path, route, &mut scratch);
    request_line(&mut out, request.method, path, request.query);
    let context = RequestContext {
        peer: asker.peer,
        host: route.host.as_deref().or(host),
        random: asker.random,
        upgrade: question.upgrade,
        named: Named::by(request.fields, question.names_fields),
        http2: false,
    };
    let mut lines = Lines::new(&mut out, question.text);
    let is_private = route.request.apply(request, &context, &mut scratch, &mut lines);
    lines.finish();
    if question.expects_continue {
        Text(&mut out).put("expect", b"100-continue");
    }
    put_framing(&mut out, framing, request.fields.first("content-length").is_some());
    Text(&mut out).end();
    (out, is_private)
}

/// The path as the backend is asked for it.
pub(super) fn rewritten<'a>(path: &'a str, route: &Route, scratch: &'a mut String) -> &'a str {
    match &route.path {
        Some(edit) if path.starts_with('/') => {
            edit.push(path, scratch);
            scratch
        }
        _ => path,
    }
}

/// How the body behind a head is framed. `is_told` says whether a length of 0 is to be told.
pub(super) fn put_framing(out: &mut Vec<u8>, framing: Framing, is_told: bool) {
    match framing {
        Framing::Chunked => Text(out).put("transfer-encoding", b"chunked"),
        Framing::Length(length) if is_told || length > 0 => length_field(out, length),
        Framing::Length(_) | Framing::UntilClose => {}
    }
}
