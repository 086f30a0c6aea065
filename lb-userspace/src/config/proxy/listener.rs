//! Where clients connect.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::super::model::{Choice, words};
use super::{AccessLog, Network};

/// `[[listener]]`: sockets and what holds for whoever connects to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Unique name.
    pub name: String,
    /// At least one; no two listeners share one.
    pub addresses: Vec<SocketAddr>,
    /// How clients are answered by TLS; `None` speaks plain HTTP.
    pub tls: Option<Tls>,
    /// Whether HTTP/2 is spoken: offered by ALPN with TLS, by prior knowledge without. Default true with TLS, false without.
    pub http2: bool,
    /// From whom a PROXY header is taken, and then required. Default nobody.
    pub proxy_protocol: Vec<Network>,
    /// How its requests are logged. Default as `[proxy]` says, and that not at all.
    pub access_log: Option<AccessLog>,
    /// What one client may take.
    pub limits: ClientLimits,
    /// How long one client may take.
    pub deadlines: ClientDeadlines,
    /// The service of all requests that no route takes.
    pub service: Option<String>,
    /// The port of `https://` that everything is redirected to in place of an answer.
    pub redirect_to_https: Option<u16>,
    /// What `Strict-Transport-Security` says; only with TLS. Default none.
    pub hsts: Option<Hsts>,
    /// Line of its header, from 1. No part of its identity: leave it out when comparing.
    pub line: usize,
}

/// How TLS is spoken to clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// At least one. Which is shown is decided by the names in them; the first is shown to who asks for none of them.
    pub certificates: Vec<CertificateFiles>,
    /// The oldest version. Default TLS 1.2.
    pub min_version: TlsVersion,
    /// What is asked of clients. Default nothing.
    pub client: Option<ClientCertificates>,
    /// Whether sessions are resumed by tickets. Default true.
    pub tickets: bool,
}

/// The files of one certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CertificateFiles {
    /// The chain in PEM, the server's own first.
    pub cert: PathBuf,
    /// Its private key in PEM.
    pub key: PathBuf,
    /// An OCSP response in DER to staple.
    pub ocsp: Option<PathBuf>,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TlsVersion {
    /// `1.2`
    V12,
    /// `1.3`
    V13,
}
words!(TlsVersion { V12 = "1.2", V13 = "1.3" });

/// What is asked of clients with certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificates {
    /// PEM of the authorities that are believed.
    pub ca: PathBuf,
    /// Whether a client without one is refused. Default true.
    pub required: bool,
    /// The field that tells backends of the certificate. Default `client-cert`. Source: RFC 9440, section 2.2.
    pub field: String,
}

impl ClientCertificates {
    /// The standard's name. Source: RFC 9440, section 2.2.
    pub(in crate::config) const FIELD: &str = "client-cert";
}

/// What one client may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientLimits {
    /// Bytes of a request's head. Default 32 KiB.
    pub head: u32,
    /// Bytes of the request line. Default 8 KiB.
    pub line: u32,
    /// Fields of a request. Default 100.
    pub fields: u16,
    /// Connections at a time, of all clients; 0 is no bound. Default 0.
    pub connections: u32,
    /// Connections at a time of one address; 0 is no bound. Default 0.
    pub connections_per_address: u32,
    /// Requests of one connection, after which it is closed; 0 is no bound. Default 0.
    pub requests: u32,
}

impl ClientLimits {
    /// What a client may take if nothing is said.
    pub const DEFAULT: Self = Self {
        head: 32 << 10,
        line: 8 << 10,
        fields: 100,
        connections: 0,
        connections_per_address: 0,
        requests: 0,
    };
}

/// How long one client may take. `None` is as long as it likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientDeadlines {
    /// For the PROXY header and the TLS handshake together. Default 10 s.
    pub handshake: Duration,
    /// From the first byte of a head to its last. Default 10 s.
    pub head: Duration,
    /// Between two pieces of a body. Default 30 s.
    pub body: Duration,
    /// From an answer to the next request. Default 60 s.
    pub idle: Duration,
    /// For taking a piece of an answer. Default 30 s.
    pub send: Duration,
    /// Bytes that pay back a second of `body` or `send`; 0 where each piece stands for itself. Default 240.
    pub min_rate: u32,
    /// For a whole exchange. Default none.
    pub request: Option<Duration>,
}

impl ClientDeadlines {
    /// How long a client may take if nothing is said.
    pub const DEFAULT: Self = Self {
        handshake: Duration::from_secs(10),
        head: Duration::from_secs(10),
        body: Duration::from_secs(30),
        idle: Duration::from_mins(1),
        send: Duration::from_secs(30),
        min_rate: 240,
        request: None,
    };
}

/// What `Strict-Transport-Security` says. Source: RFC 6797, section 6.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hsts {
    /// How long browsers shall remember. Default 365 days.
    pub max_age: Duration,
    /// Whether it holds for names below this one. Default false.
    pub subdomains: bool,
    /// Whether it asks to be put into browsers. Default false.
    pub preload: bool,
}

impl Hsts {
    /// A year, for this name alone.
    pub const DEFAULT: Self =
        Self { max_age: Duration::from_hours(365 * 24), subdomains: false, preload: false };
}
