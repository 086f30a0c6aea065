//! Which way a flow's packets go, told by the very function that the packet path picks slots by.

use std::net::{IpAddr, SocketAddr};

use lb_common::abi::{FlowKey, Ip, Slot};
use lb_common::datapath::slot_index;
use lb_common::wire::{Ports, U16be};

use super::{Planner, encode};
use crate::config::{Protocol, Vip};

/// A flow's place in the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its service.
    pub vip: Vip,
    /// Its slot, from 0 in the service.
    pub slot: u32,
    /// What stands there.
    pub word: Slot,
}

impl Planner {
    /// The service, planned with backends, that packets to this address are for.
    #[must_use]
    pub fn service_at(&self, to: SocketAddr, protocol: Protocol) -> Option<Vip> {
        self.state.service_of((to.ip(), to.port(), protocol)).map(|service| service.vip)
    }

    /// The place of a flow from one address to another; `None` if no service is there, or the addresses are of two families.
    #[must_use]
    pub fn place(&self, from: SocketAddr, to: SocketAddr, protocol: Protocol, seed: u64) -> Option<Place> {
        let (source, destination) = (encode::address(from.ip()), encode::address(to.ip()));
        let ports = Ports::new(U16be::new(from.port()), U16be::new(to.port()));
        let number = encode::number(protocol);
        match (from.ip(), to.ip()) {
            (IpAddr::V4(_), IpAddr::V4(_)) => {
                self.place_of(&FlowKey::new(source.as_v4(), destination.as_v4(), ports, number), seed)
            }
            (IpAddr::V6(_), IpAddr::V6(_)) => {
                self.place_of(&FlowKey::new(source.as_v6(), destination.as_v6(), ports, number), seed)
            }
            _ => None,
        }
    }

    fn place_of<A: Ip>(&self, key: &FlowKey<A>, seed: u64) -> Option<Place> {
        let service = self.state.service_of(encode::destination(key)?)?;
        let index = slot_index(&service.entry(), key, seed);
        let slot = index.checked_sub(service.first_slot)?;
        Some(Place { vip: service.vip, slot, word: service.slot(index)? })
    }
}
