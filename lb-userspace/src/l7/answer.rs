//! From the bytes of a backend's answer to the head that the client is sent, without waiting.

use super::ask::{Ask, Facts, put_framing};
use super::http1::{
    Asked, Chunked, Framing, Limits, Lines, Refusal, ResponseHead, Text, Version, length_field, room,
    status_line,
};
use super::message::{FieldSink as _, Fields};
use super::respond::Failure;
use super::rewrite::{Named, ResponseContext, is_of_connection};
use httparse::Header;

/// Most heads that another may follow, for one request: they cost its backend little, and a client that reads none of them
/// memory here.
pub const MOST_INTERIM: u8 = 100;

/// Why more of them are none.
pub const TOO_MANY_INTERIM: Failure = Failure::BadAnswer(Refusal::TooManyInterim);

/// Room for what an answer's head has besides what came as text.
const ROOM: usize = 256;

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
    /// Whether the backend wants the connection to be logged in, which makes it this client's alone.
    pub is_private: bool,
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
    /// What it has for a date if the backend tells none.
    pub date: &'a str,
}

/// What a backend's answer says, whichever codec read it.
#[derive(Debug)]
pub struct Told<'a, F: ?Sized> {
    /// Its status.
    pub status: u16,
    /// Its fields.
    pub fields: &'a F,
    /// Where its body ends, as it comes.
    pub framing: Framing,
    /// The length that its body would have, were it sent.
    pub length_elsewhere: Option<u64>,
    /// What the connection is upgraded to, or has to be.
    pub upgrade: Option<&'a [u8]>,
    /// Whether its Connection, which HTTP/2 has not, names fields that must not go on.
    pub names_fields: bool,
    /// Its head as it came, where that is text.
    pub text: &'a [u8],
}

impl<F: Fields + ?Sized> Told<'_, F> {
    /// Whether the backend wants the connection to be logged in, not the request. That it has been shows by what it was sent.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.status == 401 && self.fields.all("www-authenticate").any(is_of_connection)
    }
}

/// Reads an answer from the bytes. `None`: they do not reach to the end of its head.
pub fn read<W>(bytes: &[u8], ask: &Ask<W>, towards: Towards<'_>) -> Result<Option<(usize, Answer)>, Failure> {
    parse(bytes, &ask.facts, |told, keeps_upstream| text(told, keeps_upstream, ask, towards))
}

/// Reads an answer from the bytes and hands it to `render`, with whether the backend takes another request on its connection.
pub fn parse<R>(
    bytes: &[u8],
    facts: &Facts,
    render: impl FnOnce(&Told<'_, [Header<'_>]>, bool) -> R,
) -> Result<Option<(usize, R)>, Failure> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let mut room = room();
    let asked = Asked { head: facts.is_head(), upgrade: facts.upgrade };
    let head = ResponseHead::parse(bytes, &mut room, asked, &Limits::BACKEND).map_err(Failure::BadAnswer)?;
    let Some(head) = head else { return Ok(None) };
    let rest = bytes.get(head.len..).unwrap_or_default();
    if head.framing == Framing::Chunked && !rest.is_empty() {
        // As long as nothing was sent on the client can be told.
        Chunked::new().next(rest).map_err(Failure::BadAnswer)?;
    }
    let told = Told {
        status: head.status,
        fields: head.fields,
        framing: head.framing,
        length_elsewhere: head.length_elsewhere,
        upgrade: head.upgrade,
        names_fields: head.names_fields,
        text: bytes.get(..head.len).unwrap_or_default(),
    };
    Ok(Some((head.len, render(&told, head.keep_alive))))
}

/// The answer as a client of HTTP/1.1 is sent it.
#[must_use]
pub fn text<W, F: Fields + ?Sized>(
    told: &Told<'_, F>,
    keeps_upstream: bool,
    ask: &Ask<W>,
    towards: Towards<'_>,
) -> Answer {
    let to = reframe(told.framing, ask.facts.version);
    let keeps_client = ask.facts.keep_alive && to != Framing::UntilClose;
    Answer {
        status: told.status,
        from: told.framing,
        to,
        keeps_upstream,
        is_private: told.is_private(),
        keeps_client,
        head: render(told, ask, towards, to, keeps_client),
    }
}

/// HTTP/1.0 knows no chunks; others need not lose their connection where the end is not told before.
const fn reframe(from: Framing, version: Version) -> Framing {
    match (from, version) {
        (Framing::Length(_), _) => from,
        (_, Version::V10) => Framing::UntilClose,
        (_, Version::V11) => Framing::Chunked,
    }
}

fn render<W, F: Fields + ?Sized>(
    head: &Told<'_, F>,
    ask: &Ask<W>,
    towards: Towards<'_>,
    to: Framing,
    keeps: bool,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(head.text.len() + ROOM);
    status_line(&mut out, head.status);
    let context = context(head, ask, towards);
    let mut lines = Lines::new(&mut out, head.text);
    ask.route.response.apply(head.fields, &context, &mut lines);
    lines.finish();
    put_length(&mut out, head, to, ask.facts.is_head());
    if head.status >= 200 {
        put_connection(&mut out, keeps, ask.facts.version);
    }
    Text(&mut out).end();
    out
}

/// What the answer's fields depend on.
pub(super) fn context<'a, W, F: Fields + ?Sized>(
    told: &Told<'a, F>,
    ask: &'a Ask<W>,
    towards: Towards<'a>,
) -> ResponseContext<'a> {
    ResponseContext {
        https: towards.https,
        authority: &ask.facts.authority,
        backends: &ask.upstreams.service.authorities,
        hsts: towards.hsts,
        date: (told.status >= 200).then_some(towards.date.as_bytes()),
        cookie: ask.set_cookie.as_deref().map(str::as_bytes),
        upgrade: told.upgrade,
        named: Named::by(told.fields, told.names_fields),
    }
}

/// The length that is told may be that of a body that is not sent; where HEAD was answered without one, nobody knows it (RFC 9110,
/// section 8.6).
fn put_length<F: ?Sized>(out: &mut Vec<u8>, head: &Told<'_, F>, to: Framing, is_head: bool) {
    match head.length_elsewhere {
        Some(length) => length_field(out, length),
        None if is_head => {}
        // Where there is no body by the status, none has a length either.
        None => put_framing(out, to, !matches!(head.status, 100..=199 | 204 | 304)),
    }
}

/// What a client must be told of the connection: what its version does not take for granted.
fn put_connection(out: &mut Vec<u8>, keeps: bool, version: Version) {
    match (keeps, version) {
        (false, _) => Text(out).put("connection", b"close"),
        (true, Version::V10) => Text(out).put("connection", b"keep-alive"),
        (true, Version::V11) => {}
    }
}
