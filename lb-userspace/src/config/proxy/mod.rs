//! The validated configuration of layer 7: where clients connect, which way their requests go, and who answers them.
//!
//! Whoever holds a [`Proxy`] need not check anything again: names are unique, every name that is referred to exists, regular
//! expressions compile, and a route has exactly one action.

mod listener;
mod log;
mod route;
mod service;

pub use listener::{
    CertificateFiles, ClientCertificates, ClientDeadlines, ClientLimits, Hsts, Listener, Tls, TlsVersion,
};
pub use log::{AccessLog, FormatError, LogErrors, LogField, LogFormat, LogPiece, LogTarget};
pub use route::{
    Action, Condition, Edits, Field, HostPattern, PathChange, PathPattern, Redirect, Respond, Route,
    RouteDeadlines, Share, Test, whole_match,
};
pub(super) use service::BalanceWord;
pub use service::{
    Backend, Balance, HashOn, Outliers, Pool, ProxyHeader, Queue, Retries, Service, Sticky,
    UpstreamDeadlines, UpstreamTls,
};

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use super::model::{Choice, first_of, words};

/// `[proxy]` and what it serves. [`Proxy::default`] is what a file says that has no listener: nothing is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// Worker threads, each with sockets and pools of its own. Default `None`: one a core.
    pub workers: Option<NonZeroU16>,
    /// How bytes are moved. Default [`Io::Auto`].
    pub io: Io,
    /// Bytes that buffers of all workers may take together, above which requests are shed. Default 256 MiB.
    pub memory: u64,
    /// Proxies in front of this one: whose forwarding fields, request identifiers and traces are believed. Default nobody.
    pub trusted: Vec<Network>,
    /// The fields that tell backends of the client. Default [`Forwarded::X`].
    pub forwarded: Forwarded,
    /// Fields of backends' answers that clients do not see, in lower case. Default [`Proxy::HIDDEN`].
    pub hide: Vec<String>,
    /// What the `Server` field of answers says; `None`, the default, sends none.
    pub server: Option<String>,
    /// What this proxy calls itself in `Via`. Default `lb`.
    pub via: String,
    /// How long requests may take to end at a stop or after a listener was removed. Default 30 s.
    pub drain: Duration,
    /// File of the secret that sticky cookies are signed with; `None`: one is drawn at start.
    pub secret: Option<PathBuf>,
    /// Where clients connect, in the order of the file. Names and addresses are unique.
    pub listeners: Vec<Listener>,
    /// Which way requests go, in the order of the file. Names are unique.
    pub routes: Vec<Route>,
    /// Who answers, in the order of the file. Names are unique among all services, those of layer 4 included.
    pub services: Vec<Service>,
}

impl Default for Proxy {
    fn default() -> Self {
        Self {
            workers: None,
            io: Io::Auto,
            memory: Self::MEMORY,
            trusted: Vec::new(),
            forwarded: Forwarded::X,
            hide: Self::HIDDEN.map(str::to_owned).to_vec(),
            server: None,
            via: Self::VIA.to_owned(),
            drain: Self::DRAIN,
            secret: None,
            listeners: Vec::new(),
            routes: Vec::new(),
            services: Vec::new(),
        }
    }
}

impl Proxy {
    /// What tells of a backend's software or address.
    pub const HIDDEN: [&str; 8] = [
        "server",
        "via",
        "x-powered-by",
        "x-aspnet-version",
        "x-aspnetmvc-version",
        "x-backend-server",
        "x-generator",
        "x-runtime",
    ];
    /// Room for some ten thousand busy connections, and little of a server's memory.
    pub(super) const MEMORY: u64 = 256 << 20;
    /// Longer than nearly every request, and shorter than what service managers wait before they kill.
    pub(super) const DRAIN: Duration = Duration::from_secs(30);
    pub(super) const VIA: &str = "lb";

    /// Whether there is anything to serve.
    #[must_use]
    pub fn is_used(&self) -> bool {
        !self.listeners.is_empty()
    }

    /// Worker threads that are asked for: one for each core that this process may use, unless the operator says otherwise.
    #[must_use]
    pub fn worker_count(&self) -> u32 {
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        u32::try_from(self.workers.map_or_else(cores, |count| count.get().into())).unwrap_or(u32::MAX)
    }

    /// The service of this name.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|service| service.name == name)
    }
}

/// How bytes are moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Io {
    /// `auto`: by `io_uring` where the kernel allows it, else by epoll.
    Auto,
    /// `io_uring`
    Uring,
    /// `epoll`
    Epoll,
}
words!(Io { Auto = "auto", Uring = "io_uring", Epoll = "epoll" });

/// The fields that tell a backend of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Forwarded {
    /// `x-forwarded`: X-Forwarded-For, -Proto, -Host and -Port, which most software reads.
    X,
    /// `forwarded`: the standard's own. Source: RFC 7239.
    Standard,
    /// `both`
    Both,
    /// `none`: neither; what clients send of them is removed all the same.
    None,
}
words!(Forwarded { X = "x-forwarded", Standard = "forwarded", Both = "both", None = "none" });

impl Forwarded {
    /// Whether X-Forwarded-* are set.
    #[must_use]
    pub const fn has_x(self) -> bool {
        matches!(self, Self::X | Self::Both)
    }

    /// Whether Forwarded is set.
    #[must_use]
    pub const fn has_standard(self) -> bool {
        matches!(self, Self::Standard | Self::Both)
    }
}

/// Addresses with the same first bits. Shown as `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    /// The first of them.
    pub addr: IpAddr,
    /// Bits they have in common; all for a single address.
    pub bits: u8,
}

impl Network {
    /// Whether an address is one of them; an IPv4 address in IPv6's clothes counts as what it is.
    #[must_use]
    pub fn covers(&self, addr: IpAddr) -> bool {
        let addr = addr.to_canonical();
        addr.is_ipv4() == self.addr.is_ipv4() && first_of(addr, self.bits) == Some(self.addr)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.bits)
    }
}
