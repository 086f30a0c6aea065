//! What the kernel says of a neighbour, found by ARP or by neighbour discovery.

use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use std::net::IpAddr;

/// A neighbour's place: the interface's index and the address.
pub type NeighbourKey = (u32, IpAddr);

/// What the kernel knows of a neighbour's link-layer address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kernel) enum Neighbour {
    /// Usable; perhaps not confirmed lately, which is for the health checks' traffic to do.
    At([u8; 6]),
    /// Being asked for.
    Asked,
    /// Asked for in vain.
    Silent,
}

impl Neighbour {
    /// The neighbour that a message describes; `None` if it is not one by IP, such as a bridge's.
    pub(in crate::kernel) fn parse(message: &NeighbourMessage) -> Option<(NeighbourKey, Self)> {
        let address = message.attributes.iter().find_map(parse_address)?;
        let state = match (message.header.state, message.attributes.iter().find_map(parse_link)) {
            (NeighbourState::Failed, _) => Self::Silent,
            (NeighbourState::Incomplete | NeighbourState::None, _) | (_, None) => Self::Asked,
            (_, Some(link)) => Self::At(link),
        };
        Some(((message.header.ifindex, address), state))
    }
}

const fn parse_address(attribute: &NeighbourAttribute) -> Option<IpAddr> {
    match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => Some(IpAddr::V4(*address)),
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(address)) => Some(IpAddr::V6(*address)),
        _ => None,
    }
}

fn parse_link(attribute: &NeighbourAttribute) -> Option<[u8; 6]> {
    match attribute {
        NeighbourAttribute::LinkLayerAddress(bytes) => bytes.as_slice().try_into().ok(),
        _ => None,
    }
}
