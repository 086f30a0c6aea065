//! Packets of either family, for rows that say the same of both.

use super::build::{Ipv4, Network, Stack};
use super::ipv6::{End6, Ipv6};
use super::segment::Segment as _;
use std::net::{IpAddr, SocketAddr};

/// A packet of either family.
#[derive(Clone)]
pub(super) enum Ip {
    V4(Ipv4),
    V6(Ipv6),
}

/// What an ICMP error says.
#[derive(Clone, Copy)]
pub(super) enum Complaint {
    /// The port is unreachable.
    Port,
    /// The hops were used up on the way.
    Hops,
    /// The packet is bigger than this.
    TooBig(u16),
}

impl Complaint {
    /// Type, code and the four bytes behind the checksum.
    fn v4(self) -> (u8, u8, [u8; 4]) {
        match self {
            Self::Port => (3, 3, [0; 4]),
            Self::Hops => (11, 0, [0; 4]),
            Self::TooBig(mtu) => (3, 4, u32::from(mtu).to_be_bytes()),
        }
    }

    fn v6(self) -> (u8, u8, [u8; 4]) {
        match self {
            Self::Port => (1, 4, [0; 4]),
            Self::Hops => (3, 0, [0; 4]),
            Self::TooBig(mtu) => (2, 0, u32::from(mtu).to_be_bytes()),
        }
    }
}

/// Two ends of one family, which those of a packet are.
enum Ends {
    V4(([u8; 4], u16), ([u8; 4], u16)),
    V6(End6, End6),
}

/// Of ends of two families there is no packet; those that are not of the source's family become zero, which no row
/// expects.
fn ends(source: SocketAddr, destination: SocketAddr) -> Ends {
    match source.ip() {
        IpAddr::V4(from) => {
            Ends::V4((from.octets(), source.port()), (v4(destination.ip()), destination.port()))
        }
        IpAddr::V6(from) => {
            Ends::V6((from.octets(), source.port()), (v6(destination.ip()), destination.port()))
        }
    }
}

fn v4(address: IpAddr) -> [u8; 4] {
    if let IpAddr::V4(address) = address { address.octets() } else { [0; 4] }
}

fn v6(address: IpAddr) -> [u8; 16] {
    if let IpAddr::V6(address) = address { address.octets() } else { [0; 16] }
}

impl Ip {
    pub(super) fn tcp(source: SocketAddr, destination: SocketAddr, flags: u8, payload: &[u8]) -> Self {
        match ends(source, destination) {
            Ends::V4(source, destination) => Self::V4(Stack::tcp(source, destination, flags, payload)),
            Ends::V6(source, destination) => Self::V6(Ipv6::tcp(source, destination, flags, payload)),
        }
    }

    pub(super) fn udp(source: SocketAddr, destination: SocketAddr, payload: &[u8]) -> Self {
        match ends(source, destination) {
            Ends::V4(source, destination) => Self::V4(Stack::udp(source, destination, payload)),
            Ends::V6(source, destination) => Self::V6(Ipv6::udp(source, destination, payload)),
        }
    }

    /// A packet of a protocol that both families have.
    pub(super) fn raw(source: IpAddr, destination: IpAddr, protocol: u8, payload: &[u8]) -> Self {
        match source {
            IpAddr::V4(from) => Self::V4(Stack::raw(from.octets(), v4(destination), protocol, payload)),
            IpAddr::V6(from) => Self::V6(Ipv6::raw(from.octets(), v6(destination), protocol, payload)),
        }
    }

    /// An echo request.
    pub(super) fn ping(source: IpAddr, destination: IpAddr, code: u8, body: &[u8]) -> Self {
        match source {
            IpAddr::V4(from) => Self::V4(Stack::icmp(from.octets(), v4(destination), 8, code, body)),
            IpAddr::V6(from) => Self::V6(Ipv6::icmp(from.octets(), v6(destination), 128, code, body)),
        }
    }

    /// The reply to one.
    pub(super) fn pong(source: IpAddr, destination: IpAddr, body: &[u8]) -> Self {
        match source {
            IpAddr::V4(from) => Self::V4(Stack::icmp(from.octets(), v4(destination), 0, 0, body)),
            IpAddr::V6(from) => Self::V6(Ipv6::icmp(from.octets(), v6(destination), 129, 0, body)),
        }
    }

    /// An error that quotes the first `length` bytes of a packet.
    pub(super) fn error(
        (source, destination): (IpAddr, IpAddr),
        complaint: Complaint,
        about: &Self,
        length: usize,
    ) -> Self {
        let mut quoted = about.network_bytes();
        quoted.truncate(length);
        match source {
            IpAddr::V4(from) => {
                let (kind, code, rest) = complaint.v4();
                let body = [&rest[..], &quoted].concat();
                Self::V4(Stack::icmp(from.octets(), v4(destination), kind, code, &body))
            }
            IpAddr::V6(from) => {
                let (kind, code, rest) = complaint.v6();
                let body = [&rest[..], &quoted].concat();
                Self::V6(Ipv6::icmp(from.octets(), v6(destination), kind, code, &body))
            }
        }
    }

    /// What the sender of a segment is told whose connection is not known: a reset where it acknowledges something.
    pub(super) fn reset(source: SocketAddr, destination: SocketAddr) -> Self {
        const RST: u8 = 4;
        let numbers = (2_000_000, 0);
        Self::tcp(source, destination, RST, b"").map(
            |packet| packet.numbered(numbers).window(0).identification(0),
            |packet| packet.numbered(numbers).window(0),
        )
    }

    /// What we tell a sender of its packet: it quotes all headers of the network, and eight bytes more.
    pub(super) fn told(about: &Self, complaint: Complaint) -> Self {
        let (source, destination) = about.addresses();
        match Self::error((destination, source), complaint, about, about.header_bytes() + 8) {
            Self::V4(message) => Self::V4(message.class(0xc0).identification(0)),
            Self::V6(message) => Self::V6(message.class(0xc0)),
        }
    }

    pub(super) fn hops(self, hops: u8) -> Self {
        self.map(|packet| packet.ttl(hops), |packet| packet.hops(hops))
    }

    /// Source and destination.
    fn addresses(&self) -> (IpAddr, IpAddr) {
        match self {
            Self::V4(packet) => packet.addresses(),
            Self::V6(packet) => packet.addresses(),
        }
    }

    /// Bytes in front of the transport header.
    fn header_bytes(&self) -> usize {
        match self {
            Self::V4(packet) => packet.header_bytes(),
            Self::V6(packet) => packet.header_bytes(),
        }
    }

    /// Hops that the packet may still take.
    pub(super) fn hops_left(&self) -> u8 {
        match self {
            Self::V4(packet) => packet.ttl_of(),
            Self::V6(packet) => packet.hops_of(),
        }
    }

    /// The protocol of what it carries.
    pub(super) fn transport(&self) -> u8 {
        match self {
            Self::V4(packet) => packet.protocol_of(),
            Self::V6(packet) => packet.protocol_of(),
        }
    }

    pub(super) fn class(self, class: u8) -> Self {
        self.map(|packet| packet.class(class), |packet| packet.class(class))
    }

    /// Without a UDP checksum.
    pub(super) fn unsummed(self) -> Self {
        self.map(Ipv4::unsummed, Ipv6::unsummed)
    }

    /// With what a family has between its header and the transport: IPv4 options, or IPv6 destination options.
    pub(super) fn with_options(self) -> Self {
        let content = [1, 4, 0, 0, 0, 0];
        let extended = |packet: Ipv6| packet.extended(super::ipv6::DESTINATION_OPTIONS, &content);
        self.map(|packet| packet.options(&[1; 8]), extended)
    }

    fn map(self, of_v4: impl FnOnce(Ipv4) -> Ipv4, of_v6: impl FnOnce(Ipv6) -> Ipv6) -> Self {
        match self {
            Self::V4(packet) => Self::V4(of_v4(packet)),
            Self::V6(packet) => Self::V6(of_v6(packet)),
        }
    }

    /// The packet in two fragments of the datagram with this number.
    pub(super) fn pieces(&self, identification: u16, bytes: usize) -> [Self; 2] {
        match self {
            Self::V4(packet) => packet.pieces(identification, bytes).map(Self::V4),
            Self::V6(packet) => packet.pieces(identification.into(), bytes).map(Self::V6),
        }
    }

    /// The packet in an outer header.
    pub(super) fn within(&self, source: IpAddr, destination: IpAddr) -> Self {
        let protocol = if matches!(self, Self::V4(_)) { 4 } else { 41 };
        self.tunnelled((source, destination), protocol, self.network_bytes())
    }

    /// The packet in outer headers of UDP and IP.
    pub(super) fn within_udp(&self, source: SocketAddr, destination: SocketAddr) -> Self {
        let inner = self.network_bytes();
        let length = u16::try_from(8 + inner.len()).unwrap_or(u16::MAX);
        let udp = [source.port(), destination.port(), length, 0].map(u16::to_be_bytes).concat();
        self.tunnelled((source.ip(), destination.ip()), 17, [udp, inner].concat())
    }

    fn tunnelled(&self, (source, destination): (IpAddr, IpAddr), protocol: u8, payload: Vec<u8>) -> Self {
        let class = match self {
            Self::V4(packet) => packet.class_of(),
            Self::V6(packet) => packet.class_of(),
        };
        match source {
            IpAddr::V4(from) => {
                Self::V4(Ipv4::tunnel((from.octets(), v4(destination)), protocol, class, payload))
            }
            IpAddr::V6(from) => {
                Self::V6(Ipv6::tunnel((from.octets(), v6(destination)), protocol, class, payload))
            }
        }
    }
}

impl Network for Ip {
    fn ethertype(&self) -> u16 {
        match self {
            Self::V4(packet) => packet.ethertype(),
            Self::V6(packet) => packet.ethertype(),
        }
    }

    fn network_bytes(&self) -> Vec<u8> {
        match self {
            Self::V4(packet) => packet.network_bytes(),
            Self::V6(packet) => packet.network_bytes(),
        }
    }
}
