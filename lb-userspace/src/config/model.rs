//! The validated configuration. Whoever holds one need not check anything again.

mod check;
mod vip;
mod words;

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use super::bounds::{
    DEFAULT_CAPTURE_RATE, DEFAULT_CAPTURE_RING, DEFAULT_CAPTURE_SNAP, DEFAULT_FLOWS, DEFAULT_FRAGMENTS,
    DEFAULT_SEED,
};
use super::guard::{Guard, ServiceGuard};
use super::proxy::Proxy;

pub use check::{Check, CheckKind, StatusRange};
pub use vip::Vip;
pub(super) use vip::{first_of, whole};
pub(super) use words::{Choice, words};

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
    /// Whether echo requests to a VIP are answered where they arrive. Default true.
    pub ping: bool,
    /// Outer headers of services that encapsulate.
    pub encap: Encap,
    /// What the guard has in common for all services; none where there is no `[guard]`.
    pub guard: Option<Guard>,
    /// What the guard does for what goes to a VIP but to no port of it: what `[guard]` says for all services.
    pub host_guard: ServiceGuard,
    /// Where metrics are served, if they are. Default nowhere.
    pub metrics: Option<SocketAddr>,
    /// Whether packets may be captured, and how many.
    pub capture: Capture,
    /// Layer 7: listeners, routes and services with `kind = "http"`.
    pub proxy: Proxy,
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
            ping: true,
            encap: Encap::default(),
            guard: None,
            host_guard: ServiceGuard::OFF,
            metrics: None,
            capture: Capture::default(),
            proxy: Proxy::default(),
            log_packets: false,
        }
    }
}

impl Config {
    /// Whether anything is served by it: packets of services of layer 4, or connections to listeners.
    #[must_use]
    pub fn serves(&self) -> bool {
        !self.services.is_empty() || !self.proxy.listeners.is_empty()
    }

    /// Whether any service has a guard, or may be given one without a restart.
    #[must_use]
    pub fn is_guarded(&self) -> bool {
        self.guard.is_some() || self.services.iter().any(|service| service.guard != ServiceGuard::OFF)
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
    /// How new flows are spread over the backends. Default [`Select::Maglev`].
    pub select: Select,
    /// Destination port of outer UDP headers, for [`Forward::DsrGue`]. Default 6080.
    pub gue_port: u16,
    /// Bytes of a server identifier, for [`Select::Quic`]. Default 2.
    pub server_id_bytes: u8,
    /// The socket that gets the flows, for [`Forward::Local`]; none leaves them to whoever listens on the VIP itself.
    pub listener: Option<SocketAddr>,
    /// When a flow is recorded. Default [`Tracking::Auto`].
    pub tracking: Tracking,
    /// How long a flow may be silent before it is forgotten, 1 s to 24 h. Default 5 minutes.
    pub idle: Duration,
    /// How backends are probed; `None` takes every backend for healthy. Default: TCP connect, and none for UDP, where
    /// silence proves nothing.
    pub health: Option<Check>,
    /// What the guard does for it. Default: nothing, or what `[guard]` says.
    pub guard: ServiceGuard,
    /// At least one, but none of a [`Forward::Local`] service. Names and addresses are unique within the service. All are
    /// of the VIP's family, unless packets travel to them in an outer header.
    pub backends: Vec<Backend>,
    /// Line of the service's header in the file, from 1. No part of its identity: leave it out when comparing.
    pub line: usize,
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

/// What is spread over the backends of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `l4`: packets.
    L4,
    /// `http`: requests.
    Http,
}
words!(Kind { L4 = "l4", Http = "http" });

/// How packets reach a backend, and answers the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Forward {
    /// `nat`: both addresses rewritten, the balancer's own towards backends; answers come back through the balancer.
    Nat,
    /// `dnat`: the destination rewritten, the client's address kept; the balancer is the backends' gateway.
    Dnat,
    /// `dsr-l2`: sent to the backend's link-layer address; it holds the VIP, and answers the client directly.
    DsrL2,
    /// `dsr-ipip`: the packet travels whole inside an outer IP header; the backend answers the client directly.
    DsrIpip,
    /// `dsr-gue`: the same inside UDP.
    DsrGue,
    /// `local`: to this host's own stack.
    Local,
}
words!(Forward {
    Nat = "nat",
    Dnat = "dnat",
    DsrL2 = "dsr-l2",
    DsrIpip = "dsr-ipip",
    DsrGue = "dsr-gue",
    Local = "local",
});

impl Forward {
    /// Whether answers are known by the records of their flows, with this tracking: those of `nat`, and of a `dnat` that records
    /// every flow.
    #[must_use]
    pub const fn knows_answers_by_record(self, tracking: Tracking) -> bool {
        matches!((self, tracking), (Self::Nat, _) | (Self::Dnat, Tracking::Always))
    }

    /// Whether packets travel in an outer header, and so to backends of either family.
    #[must_use]
    pub const fn encapsulates(self) -> bool {
        matches!(self, Self::DsrIpip | Self::DsrGue)
    }

    /// Whether packets keep their destination, so that backends listen on the VIP's own port.
    #[must_use]
    pub const fn keeps_destination(self) -> bool {
        matches!(self, Self::DsrIpip | Self::DsrGue | Self::DsrL2)
    }
}

/// How new flows are spread over backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Select {
    /// `maglev`: by the hash of addresses and ports.
    Maglev,
    /// `source-hash`, `source-hash/24`: by the hash of the client's address, or of its first so many bits.
    SourceHash {
        /// Bits that count; all of them without a length.
        bits: u8,
    },
    /// `round-robin`: in turn.
    RoundRobin,
    /// `least-connections`: the less loaded of two backends picked by the hash.
    LeastConnections,
    /// `quic`: by the server identifier in the connection identifier, else as `maglev`.
    Quic,
}

impl Select {
    /// Whether a flow's backend cannot be told from its packets alone, so that every flow is recorded.
    #[must_use]
    pub const fn needs_records(self) -> bool {
        matches!(self, Self::RoundRobin | Self::LeastConnections)
    }
}

impl fmt::Display for Select {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Maglev => f.pad("maglev"),
            Self::SourceHash { bits: 128 } => f.pad("source-hash"),
            Self::SourceHash { bits } => write!(f, "source-hash/{bits}"),
            Self::RoundRobin => f.pad("round-robin"),
            Self::LeastConnections => f.pad("least-connections"),
            Self::Quic => f.pad("quic"),
        }
    }
}

/// Outer headers of services that encapsulate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encap {
    /// Whether sources are drawn from the prefixes below by the flow's hash, so that a backend's receive queues share the
    /// work; else the balancer's own address is the source. Default true.
    pub spread: bool,
    /// Sources of outer IPv4 headers. Default 172.16.0.0/16.
    pub source_v4: (Ipv4Addr, u8),
    /// Sources of outer IPv6 headers; the last 32 bits at most are drawn. Default `100::/64` (RFC 6666).
    pub source_v6: (Ipv6Addr, u8),
}

impl Encap {
    /// The bits of outer sources that are drawn, as they lie in memory: of an IPv4 address, and of an IPv6 address's last word.
    #[must_use]
    pub fn drawn(&self) -> [u32; 2] {
        let behind = |bits: u32| u32::MAX.checked_shr(bits).unwrap_or(0).to_be();
        if !self.spread {
            return [0; 2];
        }
        [behind(self.source_v4.1.into()), behind(u32::from(self.source_v6.1).saturating_sub(96))]
    }
}

impl Default for Encap {
    fn default() -> Self {
        Self {
            spread: true,
            source_v4: (Ipv4Addr::new(172, 16, 0, 0), 16),
            source_v6: (Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0), 64),
        }
    }
}

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
    /// Where it listens; unique within the service. Port 0 stands for the one the client asked for.
    pub addr: SocketAddr,
    /// What it calls itself in QUIC connection identifiers: the first bytes count.
    pub server_id: Option<[u8; 8]>,
    /// Share of new flows relative to the service's other backends, 1 to 1000. Default 1.
    pub weight: u16,
    /// Whether it is draining: it keeps the flows it has and gets no new ones. Default false.
    pub drain: bool,
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
    /// Entries of the flow table of each family, 1,024 to 16,777,216. Default 262,144.
    pub flows: u32,
    /// Datagrams in fragments that are remembered, 64 to 1,048,576. Default 16,384.
    pub fragments: u32,
    /// New entries of the flow table a second, over all CPUs, above which there are none; 0, the default, is no bound.
    pub new_flows: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { flows: DEFAULT_FLOWS, fragments: DEFAULT_FRAGMENTS, new_flows: 0 }
    }
}

/// Captures of packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capture {
    /// Whether there may be any. Default false.
    pub enabled: bool,
    /// Packets captured in a second at most, over all CPUs. Default 1,000.
    pub rate: u32,
    /// Bytes kept of a packet, 64 to 2,047. Default 256.
    pub snap: u32,
    /// Bytes of the buffer they wait in, a power of two. Default 1 MiB.
    pub ring: u32,
}

impl Default for Capture {
    fn default() -> Self {
        Self {
            enabled: false,
            rate: DEFAULT_CAPTURE_RATE,
            snap: DEFAULT_CAPTURE_SNAP,
            ring: DEFAULT_CAPTURE_RING,
        }
    }
}
