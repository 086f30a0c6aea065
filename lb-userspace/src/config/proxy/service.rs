//! Who answers requests.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::super::model::{Check, Choice, words};

/// `[[service]]` with `kind = "http"`: backends and how requests reach them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Unique among all services.
    pub name: String,
    /// How requests are spread. Default [`Balance::P2c`].
    pub balance: Balance,
    /// The cookie that binds a client to its backend. Default none.
    pub sticky: Option<Sticky>,
    /// How backends are probed; `None` takes every backend for healthy. Default: TCP connect.
    pub health: Option<Check>,
    /// Exchanges at a time with one backend, shared out evenly over the workers; 0, the default, is no bound.
    pub max_connections: u32,
    /// Where requests wait when all backends are full.
    pub queue: Queue,
    /// How long a backend that came up takes to get its whole share; zero, the default, gives it at once.
    pub slow_start: Duration,
    /// Connections that are kept for the next request.
    pub pool: Pool,
    /// How long a backend may take.
    pub deadlines: UpstreamDeadlines,
    /// What is tried again, and how often.
    pub retries: Retries,
    /// When a backend that answers badly is left out for a while. `None` never.
    pub outliers: Option<Outliers>,
    /// How TLS is spoken to backends; `None` speaks plain HTTP.
    pub tls: Option<UpstreamTls>,
    /// The PROXY header that connections to backends begin with; default none.
    pub proxy_protocol: Option<ProxyHeader>,
    /// Whether HTTP/2 is spoken to backends. Default false.
    pub http2: bool,
    /// What the Host field says to backends; `None`, the default, what the client said.
    pub host: Option<String>,
    /// At least one. Names and addresses are unique within the service.
    pub backends: Vec<Backend>,
    /// Line of its header, from 1. No part of its identity: leave it out when comparing.
    pub line: usize,
}

/// One server of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Name, unique within the service.
    pub name: String,
    /// Where it listens, its port never 0.
    pub addr: SocketAddr,
    /// Its share of requests relative to the others', 1 to 1000. Default 1.
    pub weight: u16,
    /// Whether it gets no new requests but those bound to it by a cookie. Default false.
    pub drain: bool,
}

/// The word for how requests are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum BalanceWord {
    P2c,
    RoundRobin,
    LeastConnections,
    IpHash,
    Hash,
}
words!(BalanceWord {
    P2c = "p2c-ewma",
    RoundRobin = "round-robin",
    LeastConnections = "least-connections",
    IpHash = "ip-hash",
    Hash = "hash",
});

/// How requests are spread over backends.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Balance {
    /// `p2c-ewma`: of two drawn at random, the one that would answer sooner by latency and load.
    P2c,
    /// `round-robin`: in turn, by weight.
    RoundRobin,
    /// `least-connections`: to who has the fewest exchanges by weight.
    LeastConnections,
    /// `ip-hash`: by the client's address.
    IpHash,
    /// `hash`: by a part of the request.
    Hash(HashOn),
}

impl Balance {
    /// Its word in the configuration.
    #[must_use]
    pub fn word(&self) -> String {
        let word = match self {
            Self::P2c => BalanceWord::P2c,
            Self::RoundRobin => BalanceWord::RoundRobin,
            Self::LeastConnections => BalanceWord::LeastConnections,
            Self::IpHash => BalanceWord::IpHash,
            Self::Hash(_) => BalanceWord::Hash,
        };
        word.to_string()
    }
}

/// The part of a request that a hash is of. Where it is missing, the client's address stands in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HashOn {
    /// `path`, without the query.
    Path,
    /// `host`
    Host,
    /// `header:NAME`; the name in lower case.
    Header(String),
    /// `cookie:NAME`
    Cookie(String),
    /// `query:NAME`
    Query(String),
}

/// A cookie that binds a client to its backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sticky {
    /// Its name. Default `lb`.
    pub cookie: String,
    /// How long browsers keep it; `None`, the default, until they are closed.
    pub max_age: Option<Duration>,
}

impl Sticky {
    pub(in crate::config) const COOKIE: &str = "lb";
}

/// Where requests wait when all backends are full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Requests that may wait in each worker. Default 128.
    pub length: u32,
    /// How long each may wait. Default 1 s.
    pub timeout: Duration,
}

impl Queue {
    /// Some waiting is better than an error, a long queue is not.
    pub const DEFAULT: Self = Self { length: 128, timeout: Duration::from_secs(1) };
}

/// Connections that are kept for the next request, of each worker to each backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Most that are kept idle. Default 1,000; 0 keeps none.
    pub idle: u32,
    /// How long one is kept idle. Default 30 s.
    pub idle_timeout: Duration,
    /// Requests after which one is closed; 0, the default, is no bound.
    pub requests: u32,
    /// Age at which one is closed after its exchange; `None`, the default, at none.
    pub lifetime: Option<Duration>,
}

impl Pool {
    /// Enough for a busy worker; shorter than what servers keep them for.
    pub const DEFAULT: Self =
        Self { idle: 1000, idle_timeout: Duration::from_secs(30), requests: 0, lifetime: None };
}

/// How long a backend may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpstreamDeadlines {
    /// For the connection, its TLS handshake included. Default 2 s.
    pub connect: Duration,
    /// From the end of a request to the first byte of the answer. Default 60 s.
    pub first_byte: Duration,
    /// Between two pieces of an answer, or of an upgraded connection. Default 60 s.
    pub idle: Duration,
}

impl UpstreamDeadlines {
    /// What most servers can live with.
    pub const DEFAULT: Self = Self {
        connect: Duration::from_secs(2),
        first_byte: Duration::from_mins(1),
        idle: Duration::from_mins(1),
    };
}

/// What is tried again: only what is safe to, on another backend if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries {
    /// Most retries of one request. Default 2; 0 never.
    pub count: u8,
    /// Retries in percent of requests. Default 20.
    pub budget: u8,
    /// Retries a second that are allowed besides, in each worker. Default 10.
    pub reserve: u16,
    /// Whether idempotent requests are tried again that were answered 502, 503 or 504. Default false.
    pub on_status: bool,
}

impl Retries {
    /// The budget of Finagle: a fifth of the requests, and ten a second.
    pub const DEFAULT: Self = Self { count: 2, budget: 20, reserve: 10, on_status: false };
}

/// When a backend is left out for a while by what it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outliers {
    /// Failures in a row: no connection, no answer, or a status of 5xx. Default 5.
    pub failures: u16,
    /// Latency, as times the median of the service's, that counts as an outlier's; `None`, the default, none does.
    pub latency: Option<u16>,
    /// How long it is left out the first time; twice, three times as long the next. Default 30 s.
    pub eject: Duration,
    /// Share of the backends in percent that may be left out at a time. Default 50.
    pub most: u8,
}

impl Outliers {
    /// Patient with a single failure, quick with a broken backend.
    pub const DEFAULT: Self = Self { failures: 5, latency: None, eject: Duration::from_secs(30), most: 50 };
}

/// How TLS is spoken to backends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamTls {
    /// PEM of the authorities that are believed; `None`: those of the system.
    pub ca: Option<PathBuf>,
    /// The name that is asked for and that the certificate must have; `None`: the backend's address.
    pub sni: Option<String>,
    /// Chain and key to show to backends that ask for it.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// Whether certificates are checked. Default true.
    pub verify: bool,
}

/// A version of the PROXY header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxyHeader {
    /// `v1`, a line of text.
    V1,
    /// `v2`, binary.
    V2,
}
words!(ProxyHeader { V1 = "v1", V2 = "v2" });
