//! The fields of a request on their way to a backend.

use super::names::Names;
use super::peer::Peer;
use super::scheme::begins_so;
use super::{Constants, taken_out};
use crate::config::proxy::{Edits, Forwarded};
use crate::l7::http1::{belongs_into_head, list, names_field};
use crate::l7::message::{FieldSink, Fields, Request};

/// What is to be done with a field of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Treatment {
    /// It is of this hop, or nobody's business.
    Drop,
    /// It says which fields are of this hop.
    Connection,
    /// `trailers` may pass.
    Te,
    /// It may log in the connection that it passes on.
    Credentials,
    /// Believed of a trusted proxy alone, and passed on as it is.
    Believed,
    /// The same; what it says is replaced if it is not there.
    Own(Own),
}

/// Fields that this proxy writes unless a trusted one has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Own {
    For,
    Proto,
    Host,
    Port,
    Forwarded,
    RequestId,
}

impl Own {
    const ALL: [Self; 6] = [Self::For, Self::Proto, Self::Host, Self::Port, Self::Forwarded, Self::RequestId];

    const fn name(self) -> &'static str {
        match self {
            Self::For => "x-forwarded-for",
            Self::Proto => "x-forwarded-proto",
            Self::Host => "x-forwarded-host",
            Self::Port => "x-forwarded-port",
            Self::Forwarded => "forwarded",
            Self::RequestId => "x-request-id",
        }
    }

    /// Whether this proxy adds to what another wrote, rather than leave it.
    const fn is_list(self) -> bool {
        matches!(self, Self::For | Self::Forwarded)
    }

    /// What others have written, for a list that goes on.
    fn earlier<'a, F: Fields + ?Sized>(
        self,
        fields: &F,
        there: Owns,
        scratch: &'a mut String,
    ) -> &'a mut String {
        scratch.clear();
        if there.has(self) {
            fields.all(self.name()).for_each(|value| add_to_list(value, scratch));
        }
        scratch
    }

    const fn is_set(self, forwarded: Forwarded) -> bool {
        match self {
            Self::For | Self::Proto | Self::Host | Self::Port => forwarded.has_x(),
            Self::Forwarded => forwarded.has_standard(),
            Self::RequestId => true,
        }
    }
}

/// A set of [`Own`].
#[derive(Clone, Copy, Debug, Default)]
struct Owns(u8);

impl Owns {
    const fn has(self, own: Own) -> bool {
        self.0 & (1 << own as u8) != 0
    }

    const fn add(&mut self, own: Own) {
        self.0 |= 1 << own as u8;
    }
}

/// Fields of one hop (RFC 9110, section 7.6.1), framing, what is said anew, and what must not be believed of anybody: `Proxy`, which CGI programs take
/// for the variable `HTTP_PROXY`.
const DROPPED: [&str; 11] = [
    "host",
    "expect",
    "content-length",
    "transfer-encoding",
    "keep-alive",
    "upgrade",
    "proxy",
    "proxy-connection",
    "proxy-authorization",
    "proxy-authenticate",
    "http2-settings",
];

/// Further fields by which proxies tell of clients, or of what they asked for: servers that go by those (IIS, and frameworks that were
/// made for it) would answer for another path than the one that was routed.
const BELIEVED: [&str; 8] = [
    "x-real-ip",
    "x-forwarded-server",
    "x-forwarded-scheme",
    "x-forwarded-ssl",
    "x-forwarded-prefix",
    "x-forwarded-by",
    "x-original-url",
    "x-rewrite-url",
];

/// Names under which certificates of clients are told, whether this listener asks for any or not.
const CERTIFICATES: [&str; 2] = ["client-cert", "client-cert-chain"];

/// A route's changes to requests, compiled.
#[derive(Debug)]
pub struct RequestEdits {
    names: Names<Treatment>,
    set: Owns,
    constants: Constants,
    via: Box<[u8]>,
}

/// What a request's fields depend on besides themselves.
#[derive(Debug)]
pub struct RequestContext<'a> {
    /// Its connection.
    pub peer: &'a Peer,
    /// What the Host field says in place of what the client said: the route's `host`, else the service's, else for a client that
    /// named none the service's name.
    pub host: Option<&'a str>,
    /// Bits for a new request identifier.
    pub random: u128,
    /// What the connection is upgraded to, such as `websocket`.
    pub upgrade: Option<&'a [u8]>,
    /// What its Connection names.
    pub named: Named<'a>,
    /// Whether the backend is spoken to by HTTP/2, which has `:authority` and no Host, and where `te: trailers` may pass.
    pub http2: bool,
}

impl RequestEdits {
    /// `certificates` are the names under which any listener tells of certificates; clients must not forge them.
    pub fn new<'a>(
        edits: &'a Edits,
        forwarded: Forwarded,
        via: &str,
        certificates: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let taken: Vec<&str> = taken_out(edits).collect();
        let names = taken.iter().copied().chain(DROPPED).chain(CERTIFICATES).chain(certificates);
        let names = names
            .map(|name| (name, Treatment::Drop))
            .chain(BELIEVED.map(|name| (name, Treatment::Believed)))
            .chain(Own::ALL.map(|own| (own.name(), Treatment::Own(own))))
            .chain([("connection", Treatment::Connection), ("te", Treatment::Te)])
            .chain([("authorization", Treatment::Credentials)]);
        let mut set = Owns::default();
        let own = Own::ALL.into_iter().filter(|own| own.is_set(forwarded) && !taken.contains(&own.name()));
        own.for_each(|own| set.add(own));
        Self {
            names: Names::new(names),
            set,
            constants: Constants::new(edits),
            via: format!("1.1 {via}").into_bytes().into(),
        }
    }

    /// Passes the fields of `request` on to `sink`, the changed and the new ones among them. `scratch` is space for values that
    /// have to be put together. Whether they may log in the whole connection that they are sent by.
    pub fn apply<F: Fields + ?Sized>(
        &self,
        request: &Request<'_, F>,
        context: &RequestContext<'_>,
        scratch: &mut String,
        sink: &mut impl FieldSink,
    ) -> bool {
        put_host(request, context, sink);
        let (there, is_private) = self.pass(request, context, sink);
        self.put_own(request, context, there, scratch, sink);
        if let Some(token) = context.upgrade {
            sink.add("connection", b"upgrade");
            sink.add("upgrade", token);
        }
        sink.add("via", &self.via);
        if let Some((name, value)) = &context.peer.certificate {
            sink.add(name, value);
        }
        self.constants.put(sink);
        is_private
    }

    /// Whether a field of this name may stand behind a body: none that says who the client is, or how the message is to be read.
    #[must_use]
    pub fn passes_behind(&self, name: &str) -> bool {
        self.names.find(name).is_none() && !belongs_into_head(name)
    }

    /// Passes on what came, and says which of its own fields a trusted proxy has written, and whether the connection may be logged
    /// in by it.
    fn pass<F: Fields + ?Sized>(
        &self,
        request: &Request<'_, F>,
        context: &RequestContext<'_>,
        sink: &mut impl FieldSink,
    ) -> (Owns, bool) {
        let (mut there, mut is_private) = (Owns::default(), false);
        for (name, value) in request.fields.each() {
            let treatment = self.names.find(name);
            let passes = match treatment {
                None => true,
                Some(Treatment::Credentials) => {
                    is_private |= begins_so(value);
                    true
                }
                Some(Treatment::Te) => {
                    put_te(value, context.http2, sink);
                    false
                }
                Some(Treatment::Believed) => context.peer.trusted,
                Some(Treatment::Own(own)) if context.peer.trusted && !context.named.has(name) => {
                    let first = !there.has(own);
                    there.add(own);
                    if own.is_list() { !self.set.has(own) } else { first }
                }
                Some(Treatment::Drop | Treatment::Connection | Treatment::Own(_)) => false,
            };
            if passes && !context.named.has(name) {
                sink.put(name, value);
            }
        }
        (there, is_private)
    }

    /// Puts the fields of this proxy's own; what is there already goes on, or has gone.
    fn put_own<F: Fields + ?Sized>(
        &self,
        request: &Request<'_, F>,
        context: &RequestContext<'_>,
        there: Owns,
        scratch: &mut String,
        sink: &mut impl FieldSink,
    ) {
        let (peer, authority) = (context.peer, request.authority.text());
        let is_due = |own: Own| self.set.has(own) && (own.is_list() || !there.has(own));
        if is_due(Own::For) {
            put_for(&peer.address, Own::For.earlier(request.fields, there, scratch), sink);
        }
        if is_due(Own::Proto) {
            sink.add(Own::Proto.name(), peer.scheme().as_bytes());
        }
        if is_due(Own::Host) && !authority.is_empty() {
            sink.add(Own::Host.name(), authority.as_bytes());
        }
        if is_due(Own::Port) {
            sink.add(Own::Port.name(), peer.port.as_bytes());
        }
        if is_due(Own::Forwarded) {
            let list = Own::Forwarded.earlier(request.fields, there, scratch);
            peer.push_element(authority, list);
            sink.add(Own::Forwarded.name(), list.as_bytes());
        }
        if is_due(Own::RequestId) {
            sink.add(Own::RequestId.name(), request_id(context.random).as_flattened());
        }
    }
}

fn put_host<F: ?Sized>(request: &Request<'_, F>, context: &RequestContext<'_>, sink: &mut impl FieldSink) {
    if !context.http2 {
        sink.add("host", context.host.unwrap_or(request.authority.text()).as_bytes());
    }
}

/// Puts a client's address behind those of a list.
fn put_for(address: &str, list: &mut String, sink: &mut impl FieldSink) {
    if list.is_empty() {
        return sink.add(Own::For.name(), address.as_bytes());
    }
    list.push_str(address);
    sink.add(Own::For.name(), list.as_bytes());
}

/// What earlier proxies wrote; bytes that are no text are theirs to answer for, not ours to pass on.
fn add_to_list(value: &[u8], list: &mut String) {
    if let Some(text) = std::str::from_utf8(value).ok().filter(|text| !text.is_empty()) {
        list.push_str(text);
        list.push_str(", ");
    }
}

/// `te` may name `trailers` and nothing else, and in HTTP/1.1 would have to be named in Connection.
fn put_te(value: &[u8], http2: bool, sink: &mut impl FieldSink) {
    if http2 && list(value).any(|token| token.eq_ignore_ascii_case(b"trailers")) {
        sink.add("te", b"trailers");
    }
}

/// `example.org:8080`, `[2001:db8::1]`.
pub(super) fn push_authority(host: &str, port: Option<u16>, out: &mut String) {
    if host.contains(':') {
        out.extend(["[", host, "]"]);
    } else {
        out.push_str(host);
    }
    if let Some(port) = port {
        out.push(':');
        out.push_str(itoa::Buffer::new().format(port));
    }
}

/// A request identifier of these bits, in 32 hexadecimal digits.
#[must_use]
pub fn request_id(bits: u128) -> [[u8; 2]; 16] {
    bits.to_be_bytes().map(|byte| DIGITS[usize::from(byte)])
}

/// The two hexadecimal digits of each byte.
const DIGITS: [[u8; 2]; 256] = {
    let (mut digits, mut byte) = ([[0; 2]; 256], 0);
    while byte < 256 {
        digits[byte] = [b"0123456789abcdef"[byte >> 4], b"0123456789abcdef"[byte & 0xf]];
        byte += 1;
    }
    digits
};

/// The fields that Connection names. Seldom any.
#[derive(Debug, Default)]
pub struct Named<'a>(Vec<&'a [u8]>);

impl<'a> Named<'a> {
    /// By these fields, if there `are_some`, which shows when they are read.
    #[must_use]
    pub fn by<F: Fields + ?Sized>(fields: &'a F, are_some: bool) -> Self {
        if !are_some {
            return Self::default();
        }
        let options = fields.all("connection").flat_map(list);
        Self(options.filter(|option| names_field(option)).collect())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        !self.0.is_empty() && self.0.iter().any(|token| token.eq_ignore_ascii_case(name.as_bytes()))
    }
}
