//! What backends are told of a connection, written once for all its requests.

use std::fmt::Write as _;
use std::net::IpAddr;

use crate::config::proxy::Network;

/// A connection's client, as forwarding fields say it.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address as text.
    pub(super) address: Box<str>,
    /// The port it connected to, as text.
    pub(super) port: Box<str>,
    /// Whether it came by TLS.
    pub(super) https: bool,
    /// Whether it is a proxy whose forwarding fields are believed.
    pub(super) trusted: bool,
    /// The field that tells of its certificate, and what it says.
    pub(super) certificate: Option<(Box<str>, Box<[u8]>)>,
}

impl Peer {
    /// A client at `client` that connected to `port`. `trusted` are the networks of proxies that are believed: the address they
    /// are compared with is that of the socket's other end or, with a PROXY header, the one that the header names.
    #[must_use]
    pub fn new(client: IpAddr, port: u16, https: bool, trusted: &[Network]) -> Self {
        let client = client.to_canonical();
        Self {
            address: client.to_string().into(),
            port: port.to_string().into(),
            https,
            trusted: trusted.iter().any(|network| network.covers(client)),
            certificate: None,
        }
    }

    /// With a certificate that was checked: the field and its value, such as the DER between colons in base 64 (RFC 9440).
    #[must_use]
    pub fn with_certificate(mut self, field: &str, value: &[u8]) -> Self {
        self.certificate = Some((field.into(), value.into()));
        self
    }

    /// Its address as text.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Whether it is a proxy whose forwarding fields are believed.
    #[must_use]
    pub const fn is_trusted(&self) -> bool {
        self.trusted
    }

    pub(super) const fn scheme(&self) -> &'static str {
        if self.https { "https" } else { "http" }
    }

    /// Its element of `Forwarded`, with the host that was asked for. Source: RFC 7239, sections 4 and 6.
    pub(super) fn push_element(&self, authority: &str, out: &mut String) {
        let address = &self.address;
        // Writing to a String cannot fail.
        _ = if address.contains(':') {
            write!(out, "for=\"[{address}]\"")
        } else {
            write!(out, "for={address}")
        };
        if !authority.is_empty() {
            out.extend([";host=\"", authority, "\""]);
        }
        _ = write!(out, ";proto={}", self.scheme());
    }
}
