//! The validated configuration. Whoever holds one need not check anything again.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use super::bounds::{
    DEFAULT_FALL, DEFAULT_FLOWS, DEFAULT_INTERVAL, DEFAULT_JITTER, DEFAULT_RISE, DEFAULT_SEED,
    DEFAULT_STATUS, DEFAULT_TIMEOUT,
};

/// A whole configuration. [`Config::default`] is what an empty file means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The services, in the order of the file; names and VIPs are unique. At most [`MAX_SERVICES`](super::MAX_SERVICES).
    pub services: Vec<Service>,
    /// How full NAT uses the balancer's own address.
    pub nat: Nat,
    /// Sizes of the kernel's tables.
    pub limits: Limits,
    /// Seed of the selection hash: same seed, same table, same backend on every host.
    /// Default [`DEFAULT_SEED`], fixed so that hosts agree without being told.
    pub seed: u64,
    /// Whether the packet path logs rare events, for debugging. Default false: the counters tell the same for less.
    pub log_packets: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            services: Vec::new(),
            nat: Nat::default(),
            limits: Limits::default(),
            seed: DEFAULT_SEED,
            log_packets: false,
        }
    }
}

/// One service: a VIP and the backends behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Unique name, 1 to 63 of `A-Z a-z 0-9 _ . -`.
    pub name: String,
    /// Where clients connect; unique.
    pub vip: Vip,
    /// How packets reach the backends.
    pub forward: Forward,
    /// When a flow is recorded. Default [`Tracking::Auto`].
    pub tracking: Tracking,
    /// How long a flow may be silent before it is forgotten, 1 s to 24 h. Default 5 minutes.
    pub idle: Duration,
    /// How backends are probed; `None` takes every backend for healthy. Default: TCP connect, and none for UDP, where
    /// silence proves nothing.
    pub health: Option<Check>,
    /// At least one; names and addresses are unique within the service, and all are of the VIP's family.
    pub backends: Vec<Backend>,
    /// Line of the service's header in the file, from 1. No part of its identity: leave it out when comparing.
    pub line: usize,
}

/// A virtual address: what clients connect to. Shown as `203.0.113.10:80`, for UDP as `203.0.113.10:53/udp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Vip {
    /// A unicast address; in this version always IPv4.
    pub addr: IpAddr,
    /// 1 to 65535.
    pub port: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
}

impl fmt::Display for Vip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", SocketAddr::new(self.addr, self.port))?;
        match self.protocol {
            Protocol::Tcp => Ok(()),
            Protocol::Udp => f.write_str("/udp"),
        }
    }
}

/// A setting that is one of a few words.
pub(super) trait Choice: Copy + 'static {
    /// Every value with its word.
    const WORDS: &'static [(&'static str, Self)];
}

/// Implements [`Choice`], `Display` and a const list of the words from one list, so that the three cannot differ.
macro_rules! words {
    ($type:ty { $($variant:ident = $word:literal),+ $(,)? }) => {
        impl Choice for $type {
            const WORDS: &'static [(&'static str, Self)] = &[$(($word, <$type>::$variant)),+];
        }
        impl $type {
            pub(super) const CHOICES: &'static [&'static str] = &[$($word),+];
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self { $(<$type>::$variant => $word),+ })
            }
        }
    };
}

/// The transport protocol of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// `tcp`
    Tcp,
    /// `udp`
    Udp,
}
words!(Protocol { Tcp = "tcp", Udp = "udp" });

/// How packets reach a backend, and answers the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Forward {
    /// `nat`: both addresses rewritten, the balancer's own towards backends; answers come back through the balancer.
    Nat,
    /// `dsr-ipip`: the packet travels whole inside an outer IPv4 header; the backend answers the client directly.
    DsrIpip,
}
words!(Forward { Nat = "nat", DsrIpip = "dsr-ipip" });

/// When a flow is recorded in the flow table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tracking {
    /// `auto`: what is exact at the least cost. TCP flows born during a change, every UDP flow, every flow of `nat`.
    Auto,
    /// `always`: every flow.
    Always,
    /// `never`: no flow; a change of backends moves the flows of the slots it moves. Not with [`Forward::Nat`].
    Never,
}
words!(Tracking { Auto = "auto", Always = "always", Never = "never" });

/// One server of one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Name, unique within the service; same alphabet as a service's.
    pub name: String,
    /// Where it listens; unique within the service, and of the VIP's family.
    pub addr: SocketAddr,
    /// Share of new flows relative to the service's other backends, 1 to 1000. Default 1.
    pub weight: u16,
    /// Whether it is draining: it keeps the flows it has and gets no new ones. Default false.
    pub drain: bool,
}

/// How the backends of a service are probed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What a probe does. Default [`CheckKind::Tcp`].
    pub kind: CheckKind,
    /// Port to probe instead of the backend's own.
    pub port: Option<u16>,
    /// Time from one probe to the next, 10 ms to 1 h. Default 1 s.
    pub interval: Duration,
    /// Time after which a probe has failed, 1 ms to `interval`. Default 500 ms, or `interval` where that is shorter.
    pub timeout: Duration,
    /// Successes in a row that bring a backend up, 1 to 100. Default 2.
    pub rise: u32,
    /// Failures in a row that take a backend down, 1 to 100. Default 2.
    pub fall: u32,
    /// Percent by which an interval is shortened at random, 0 to 50. Default 10. Never lengthened, so that a dead
    /// backend is found within `interval × fall`.
    pub jitter: u8,
}

impl Default for Check {
    fn default() -> Self {
        Self {
            kind: CheckKind::Tcp,
            port: None,
            interval: DEFAULT_INTERVAL,
            timeout: DEFAULT_TIMEOUT,
            rise: DEFAULT_RISE,
            fall: DEFAULT_FALL,
            jitter: DEFAULT_JITTER,
        }
    }
}

/// What a probe does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckKind {
    /// Healthy when a TCP connection is accepted.
    Tcp,
    /// Healthy when `GET path` answers with a status in the range.
    Http {
        /// Path with query, printable ASCII without spaces, starting with `/`.
        path: String,
        /// Statuses that count as healthy. Default 200 alone.
        status: StatusRange,
        /// The `Host` header; `None` sends the backend's address.
        host: Option<String>,
    },
}

/// A range of HTTP statuses, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusRange {
    /// Lowest status of the range, from 200.
    pub first: u16,
    /// Highest status of the range, to 599.
    pub last: u16,
}

impl StatusRange {
    /// Whether `status` is in the range.
    #[must_use]
    pub fn contains(self, status: u16) -> bool {
        (self.first..=self.last).contains(&status)
    }
}

impl Default for StatusRange {
    fn default() -> Self {
        Self { first: DEFAULT_STATUS, last: DEFAULT_STATUS }
    }
}

impl fmt::Display for StatusRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { self.first.fmt(f) } else { write!(f, "{}-{}", self.first, self.last) }
    }
}

/// How full NAT uses the balancer's own address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nat {
    /// Source ports the balancer uses towards backends. Default [`NatPorts::Auto`].
    pub ports: NatPorts,
}

/// The balancer's own source ports for flows it translates. The host's own connections must not use them: an answer to a
/// port of this set is taken for an answer of a backend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NatPorts {
    /// All of 1024–65535 outside the host's `ip_local_port_range`, from which the host's own connections come.
    #[default]
    Auto,
    /// These ports, within 1024–65535.
    Range(RangeInclusive<u16>),
}

/// Sizes of the kernel's tables, reserved at start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Entries of the flow table, 1,024 to 16,777,216. Default 262,144.
    pub flows: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { flows: DEFAULT_FLOWS }
    }
}
