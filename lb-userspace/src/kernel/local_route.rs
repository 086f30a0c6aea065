//! Routes that make prefixes addresses of this host, so that its stack takes their packets: what
//! `ip route add local PREFIX dev lo` does.
//!
//! They bear a number of their own as their origin, and only routes that bear it are ever removed. What makes a prefix local
//! already is left as it is.

use super::dump::dump;
use super::{NetlinkError, Prefix};
use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::SockaddrStorage;
use rtnetlink::RouteMessageBuilder;
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use std::io;
use std::net::IpAddr;

/// The origin of these routes; `ip route show table local proto 108` lists them. Nobody else is known to use it.
const ORIGIN: u8 = 108;
/// The table of the host's own addresses (`RT_TABLE_LOCAL`, include/uapi/linux/rtnetlink.h).
const LOCAL_TABLE: u8 = 255;
/// Index of the loopback in every namespace (`LOOPBACK_IFINDEX`, `include/net/net_namespace.h`).
const LOOPBACK: u32 = 1;

/// Why a prefix was not made local.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// The operator's prefix.
    #[error(
        "{prefix} has the whole of {network} in it, where this host's neighbours are; as addresses of this host they could \
         not be reached any more. Name a narrower prefix, or add the route yourself: `ip route add local {prefix} dev lo`"
    )]
    Neighbours {
        /// What was to be local.
        prefix: Prefix,
        /// A network this host is in.
        network: Prefix,
    },
    /// The kernel would not tell of this host's addresses.
    #[error("cannot list this host's addresses")]
    Addresses(#[source] io::Error),
    /// The kernel would not.
    #[error("cannot make {prefix} local; add the route yourself: `ip route add local {prefix} dev lo`")]
    Refused {
        /// What was to be local.
        prefix: Prefix,
        /// The kernel's answer.
        #[source]
        source: NetlinkError,
    },
}

/// Makes a prefix local, unless such a route is there.
pub fn add(prefix: Prefix) -> Result<(), RouteError> {
    let networks = networks().map_err(RouteError::Addresses)?;
    if let Some(network) = networks.into_iter().find(|network| prefix.contains(*network)) {
        return Err(RouteError::Neighbours { prefix, network });
    }
    let flags = NLM_F_CREATE | NLM_F_EXCL;
    match request(RouteNetlinkMessage::NewRoute(route(prefix)), flags) {
        Err(error) if error.raw_os_error() != Some(libc::EEXIST) => {
            Err(RouteError::Refused { prefix, source: NetlinkError::new("add a route")(error) })
        }
        _ => Ok(()),
    }
}

/// Takes the route away that [`add`] made; there may be none.
pub fn remove(prefix: Prefix) -> Result<(), NetlinkError> {
    match request(RouteNetlinkMessage::DelRoute(route(prefix)), 0) {
        Err(error) if error.raw_os_error() != Some(libc::ESRCH) => {
            Err(NetlinkError::new("remove a route")(error))
        }
        _ => Ok(()),
    }
}

/// The prefixes that such routes make local now, also those that a daemon left which was killed.
pub fn list() -> Result<Vec<Prefix>, NetlinkError> {
    let of_family = |family| {
        let header = RouteHeader {
            address_family: family,
            table: LOCAL_TABLE,
            protocol: RouteProtocol::Other(ORIGIN),
            ..RouteHeader::default()
        };
        let mut question = RouteMessage::default();
        question.header = header;
        dump(RouteNetlinkMessage::GetRoute(question)).map_err(NetlinkError::new("list the local routes"))
    };
    let answers = [of_family(AddressFamily::Inet)?, of_family(AddressFamily::Inet6)?];
    Ok(answers.iter().flatten().filter_map(ours).collect())
}

/// The prefix of a route of ours.
fn ours(answer: &RouteNetlinkMessage) -> Option<Prefix> {
    let RouteNetlinkMessage::NewRoute(route) = answer else { return None };
    let is_ours = route.header.protocol == RouteProtocol::Other(ORIGIN) && route.header.table == LOCAL_TABLE;
    let destination = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(address)) => Some(IpAddr::from(*address)),
        RouteAttribute::Destination(RouteAddress::Inet6(address)) => Some(IpAddr::from(*address)),
        _ => None,
    })?;
    is_ours.then(|| Prefix::new(destination, route.header.destination_prefix_length))
}

fn route(prefix: Prefix) -> RouteMessage {
    let described = |message: RouteMessageBuilder<IpAddr>| {
        message
            .output_interface(LOOPBACK)
            .table_id(LOCAL_TABLE.into())
            .protocol(RouteProtocol::Other(ORIGIN))
            .scope(RouteScope::Host)
            .kind(RouteType::Local)
            .build()
    };
    // A prefix is never longer than its address, which is all that may be refused here.
    let message = RouteMessageBuilder::<IpAddr>::new();
    message.destination_prefix(prefix.address(), prefix.bits()).map(described).unwrap_or_default()
}

/// Asks for a change, and waits for the kernel's answer, which it has at once.
fn request(message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut request = NetlinkMessage::from(message);
    request.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    let (answer, _) = socket.recv_from_full()?;
    match NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer).map_err(io::Error::other)?.payload {
        NetlinkPayload::Error(error) if error.code.is_some() => Err(error.to_io()),
        _ => Ok(()),
    }
}

/// The networks with other hosts in them that this host's addresses are in.
fn networks() -> io::Result<Vec<Prefix>> {
    let addresses = getifaddrs()?.filter(|address| !address.flags.contains(InterfaceFlags::IFF_LOOPBACK));
    Ok(addresses.filter_map(|address| network(&address)).filter(|network| network.is_wide()).collect())
}

fn network(interface: &InterfaceAddress) -> Option<Prefix> {
    let [address, mask] = [interface.address.as_ref()?, interface.netmask.as_ref()?].map(ip);
    let bits = match mask? {
        IpAddr::V4(mask) => mask.to_bits().leading_ones(),
        IpAddr::V6(mask) => mask.to_bits().leading_ones(),
    };
    Some(Prefix::new(address?, u8::try_from(bits).ok()?))
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = || address.as_sockaddr_in().map(|address| address.ip().into());
    v4().or_else(|| address.as_sockaddr_in6().map(|address| address.ip().into()))
}
