//! What routing, balancing and header rules see of a request or a response, whichever codec read it.

use super::http1::Authority;
use std::net::SocketAddr;

/// Header fields in the order in which they came. A name may come more than once.
pub trait Fields {
    /// The name, as it was sent, and the value of each field.
    fn each(&self) -> impl Iterator<Item = (&str, &[u8])>;

    /// The value of the first field of this name, whatever the case.
    fn first(&self, name: &str) -> Option<&[u8]> {
        self.all(name).next()
    }

    /// The values of all fields of this name, whatever the case.
    fn all(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.each().filter(move |(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

impl Fields for [httparse::Header<'_>] {
    fn each(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.iter().map(|field| (field.name, field.value))
    }
}

impl Fields for http::HeaderMap {
    fn each(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.iter().map(|(name, value)| (name.as_str(), value.as_bytes()))
    }

    fn first(&self, name: &str) -> Option<&[u8]> {
        self.get(name).map(http::HeaderValue::as_bytes)
    }
}

/// Where fields go: HTTP/1.1's text or HTTP/2's list.
pub trait FieldSink {
    /// Appends a field.
    fn put(&mut self, name: &str, value: &[u8]);

    /// Appends a field that is in no head which came.
    #[inline]
    fn add(&mut self, name: &str, value: &[u8]) {
        self.put(name, value);
    }
}

/// A request's head, its framing taken away.
#[derive(Debug)]
pub struct Request<'a, F: ?Sized> {
    /// The method, as it was sent: methods have a case (RFC 9110 section 9.1).
    pub method: &'a str,
    /// Whether the client came by TLS.
    pub https: bool,
    /// The host and port asked for, by the target, the Host field or `:authority`.
    pub authority: &'a Authority,
    /// The path, as it was sent, from its `/` on; `*` for OPTIONS of the whole server.
    pub path: &'a str,
    /// What stands behind `?`, as it was sent.
    pub query: Option<&'a str>,
    /// Its header fields.
    pub fields: &'a F,
    /// Who sent it: the peer, or whom a trusted PROXY header names.
    pub client: SocketAddr,
}

impl<F: ?Sized> Request<'_, F> {
    /// The host asked for, in lower case, without port and brackets; empty where an HTTP/1.0 request names none.
    #[must_use]
    pub fn host(&self) -> &str {
        self.authority.host()
    }
}
