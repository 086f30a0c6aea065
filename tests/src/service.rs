//! The config file of a daemon under test, as values.

use std::fmt::{self, Display, Formatter, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::family::Family;
use crate::topology::VIPS;

/// How a service forwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forward {
    /// Full NAT.
    Nat,
    /// NAT of the destination only.
    Dnat,
    /// To the link address of a backend on the same segment.
    DsrL2,
    /// IP in IP, with the reply going straight from backend to client.
    DsrIpip,
    /// The same in UDP.
    DsrGue,
    /// To the stack of the balancer's own host.
    Local,
}

impl Forward {
    /// The port on which backends serve what clients ask for on `port`. Only NAT can change it, so here it always does.
    #[must_use]
    pub fn backend_port(self, port: u16) -> u16 {
        match self {
            Self::Nat | Self::Dnat => port + 8000,
            Self::DsrL2 | Self::DsrIpip | Self::DsrGue | Self::Local => port,
        }
    }

    /// Whether backends answer clients themselves, as the VIP.
    #[must_use]
    pub fn is_direct(self) -> bool {
        matches!(self, Self::DsrL2 | Self::DsrIpip | Self::DsrGue)
    }

    /// Whether a packet to a backend travels within another one.
    #[must_use]
    pub fn encapsulates(self) -> bool {
        matches!(self, Self::DsrIpip | Self::DsrGue)
    }

    /// Whether a backend sees the client's address.
    #[must_use]
    pub fn keeps_the_client(self) -> bool {
        self != Self::Nat
    }

    /// Bytes in front of a packet to a backend whose address is of `family`.
    #[must_use]
    pub fn overhead(self, family: Family) -> usize {
        match self {
            Self::DsrIpip => family.header_bytes(),
            Self::DsrGue => family.header_bytes() + UDP_HEADER_BYTES,
            _ => 0,
        }
    }
}

/// Bytes of a UDP header.
const UDP_HEADER_BYTES: usize = 8;

impl Display for Forward {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Nat => "nat",
            Self::Dnat => "dnat",
            Self::DsrL2 => "dsr-l2",
            Self::DsrIpip => "dsr-ipip",
            Self::DsrGue => "dsr-gue",
            Self::Local => "local",
        })
    }
}

/// What a standard service speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// HTTP, checked by `GET /healthz`.
    Http,
    /// A TCP echo, checked by connecting.
    Tcp,
    /// A UDP echo, checked by connecting to the TCP echo beside it.
    Udp,
    /// UDP to a port on which no backend listens, and which nobody checks.
    Closed,
}

impl Kind {
    /// Every standard service.
    pub const ALL: [Self; 4] = [Self::Http, Self::Tcp, Self::Udp, Self::Closed];

    /// Those whose backends are checked.
    pub const CHECKED: [Self; 3] = [Self::Http, Self::Tcp, Self::Udp];

    /// The service's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "web",
            Self::Tcp => "echo",
            Self::Udp => "datagrams",
            Self::Closed => "closed",
        }
    }

    /// The port clients ask for.
    #[must_use]
    pub fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Tcp => 7000,
            Self::Udp => 7001,
            Self::Closed => 7002,
        }
    }

    /// The IPv4 address clients ask for.
    #[must_use]
    pub fn vip(self) -> SocketAddr {
        self.at(Family::V4)
    }

    /// The address of a family that clients ask for.
    #[must_use]
    pub fn at(self, family: Family) -> SocketAddr {
        SocketAddr::new(VIPS.of(family), self.port())
    }

    /// The standard service of this kind for clients of `family`.
    #[must_use]
    pub fn service(self, forward: Forward, family: Family, backends: &[Share]) -> Service {
        let port = forward.backend_port(self.port());
        let place = |share: &Share| Backend {
            name: share.name.clone(),
            address: SocketAddr::new(share.address, port).to_string(),
            weight: share.weight,
            options: Vec::new(),
        };
        Service {
            name: self.name().to_owned(),
            vip: self.at(family).to_string(),
            protocol: self.protocol(),
            forward,
            options: vec![format!("health = {}", self.health(forward))],
            backends: backends.iter().map(place).collect(),
        }
    }

    fn protocol(self) -> &'static str {
        match self {
            Self::Http | Self::Tcp => "tcp",
            Self::Udp | Self::Closed => "udp",
        }
    }

    fn health(self, forward: Forward) -> String {
        match self {
            Self::Http => paced("http = \"/healthz\""),
            Self::Tcp => paced("tcp = true"),
            Self::Udp => paced(&format!("tcp = true, port = {}", forward.backend_port(Self::Tcp.port()))),
            Self::Closed => UNCHECKED.to_owned(),
        }
    }
}

/// A host's share of a standard service.
#[derive(Debug, Clone)]
pub struct Share {
    /// The backend's name, which its replies also tell.
    pub name: String,
    /// Where it serves.
    pub address: IpAddr,
    /// Its share.
    pub weight: u16,
}

/// `[[service.backend]]`.
#[derive(Debug, Clone)]
pub struct Backend {
    /// Its name, which its replies also tell.
    pub name: String,
    /// Where it serves: an address, with or without a port.
    pub address: String,
    /// Its share.
    pub weight: u16,
    /// Further lines.
    pub options: Vec<String>,
}

/// `[[service]]`.
#[derive(Debug, Clone)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// What clients ask for: an address or a prefix, and a port, a range of ports or `*`.
    pub vip: String,
    /// `tcp` or `udp`.
    pub protocol: &'static str,
    /// How it forwards.
    pub forward: Forward,
    /// Further lines.
    pub options: Vec<String>,
    /// Who serves.
    pub backends: Vec<Backend>,
}

/// The value of `health` that checks nothing.
pub const UNCHECKED: &str = "\"none\"";

/// Time between two probes. Short, for tests that wait for several.
pub const INTERVAL: Duration = Duration::from_millis(200);
/// How long a probe may take.
pub const PROBE_TIMEOUT: Duration = Duration::from_millis(100);
/// Failed probes in a row that take a backend out.
pub const FALL: u32 = 2;
/// Good probes in a row that bring it back.
pub const RISE: u32 = 2;

impl Display for Service {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let Self { name, vip, protocol, forward, .. } = self;
        writeln!(formatter, "[[service]]\nname = \"{name}\"\nvip = \"{vip}\"")?;
        writeln!(formatter, "protocol = \"{protocol}\"\nforward = \"{forward}\"")?;
        self.options.iter().try_for_each(|line| writeln!(formatter, "{line}"))?;
        self.backends.iter().try_for_each(|backend| write!(formatter, "{backend}"))
    }
}

impl Display for Backend {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let Self { name, address, weight, options } = self;
        writeln!(formatter, "  [[service.backend]]\n  name = \"{name}\"")?;
        writeln!(formatter, "  addr = \"{address}\"\n  weight = {weight}")?;
        options.iter().try_for_each(|line| writeln!(formatter, "  {line}"))
    }
}

impl Service {
    /// The service with one more line.
    #[must_use]
    pub fn with(mut self, line: impl Into<String>) -> Self {
        self.options.push(line.into());
        self
    }
}

/// A health check at the pace of the suites; without jitter, so that a bound on time is exact.
fn paced(check: &str) -> String {
    let pace =
        format!("interval = \"{INTERVAL:?}\", timeout = \"{PROBE_TIMEOUT:?}\", rise = {RISE}, fall = {FALL}");
    format!("{{ {check}, {pace}, jitter = \"0%\" }}")
}

/// The config file with `services`.
#[must_use]
pub fn config(services: &[Service]) -> String {
    services.iter().fold(String::new(), |mut text, service| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{service}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_written_as_an_operator_would() {
        let share = Share { name: "web1".into(), address: [10, 20, 1, 2].into(), weight: 3 };
        let service = Kind::Http.service(Forward::Nat, Family::V4, &[share]);
        let expected = r#"[[service]]
name = "web"
vip = "203.0.113.10:80"
protocol = "tcp"
forward = "nat"
health = { http = "/healthz", interval = "200ms", timeout = "100ms", rise = 2, fall = 2, jitter = "0%" }
  [[service.backend]]
  name = "web1"
  addr = "10.20.1.2:8080"
  weight = 3

"#;
        assert_eq!(config(&[service]), expected);
    }

    #[test]
    fn ipv6_addresses_stand_in_brackets() {
        let share = Share { name: "web1".into(), address: VIPS.v6.into(), weight: 1 };
        let text = config(&[Kind::Udp.service(Forward::DsrGue, Family::V6, &[share])]);
        assert!(text.contains("vip = \"[2001:db8:f::10]:7001\""), "{text}");
        assert!(text.contains("addr = \"[2001:db8:f::10]:7001\""), "{text}");
    }
}
