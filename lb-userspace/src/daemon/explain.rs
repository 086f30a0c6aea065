//! `explain` of packets.

use super::balancer::Balancer;
use crate::config::{Protocol, Service};
use crate::control::{ExplainOrder, Explanation, PacketExplanation};
use lb_common::abi::BackendId;
use std::net::SocketAddr;

/// Refuses what no packet can be. An unspecified client is none.
fn require_one_family(to: SocketAddr, client: SocketAddr) -> Result<(), String> {
    if client.ip().is_unspecified() || client.is_ipv4() == to.is_ipv4() {
        return Ok(());
    }
    let family = |address: SocketAddr| if address.is_ipv4() { "IPv4" } else { "IPv6" };
    Err(format!(
        "a packet is of one family, and the client {} is {} where {to} is {}: name a client of the other family",
        client.ip(),
        family(client),
        family(to)
    ))
}

impl Balancer {
    /// Tells which way a request or a packet goes.
    pub(super) async fn explain(&self, order: &ExplainOrder) -> Result<Explanation, String> {
        match order.target.split_once("://") {
            Some((protocol @ ("tcp" | "udp"), to)) => {
                let protocol = if protocol == "udp" { Protocol::Udp } else { Protocol::Tcp };
                let to =
                    to.trim_end_matches('/').parse().map_err(|_| format!("`{to}` is not ADDRESS:PORT"))?;
                require_one_family(to, order.client)?;
                Ok(Explanation::Packets(Box::new(self.explain_packets(to, protocol, order.client))))
            }
            _ => Ok(Explanation::Http(Box::new(self.front.explain(order, &self.config.services).await?))),
        }
    }

    fn explain_packets(&self, to: SocketAddr, protocol: Protocol, from: SocketAddr) -> PacketExplanation {
        let covers = |service: &&Service| {
            let vip = &service.vip;
            vip.protocol == protocol && vip.covers(to.ip()) && (vip.port..=vip.last_port).contains(&to.port())
        };
        let vip = self.planner.service_at(to, protocol);
        let services = &self.config.services;
        let planned = services.iter().find(|service| Some(service.vip) == vip);
        let Some(service) = planned.or_else(|| services.iter().find(covers)) else {
            let outcome = "packets for no service pass untouched, to whoever else is on this host".to_owned();
            return PacketExplanation { outcome, ..PacketExplanation::default() };
        };
        let told = PacketExplanation {
            service: Some(service.name.clone()),
            forward: Some(service.forward.to_string()),
            select: Some(service.select.to_string()),
            ..PacketExplanation::default()
        };
        if planned.is_none() {
            return PacketExplanation {
                outcome: "handed to this host's own sockets".to_owned(),
                select: None,
                ..told
            };
        }
        self.with_place(told, service, (from, to, protocol))
    }

    fn with_place(
        &self,
        told: PacketExplanation,
        service: &Service,
        (from, to, protocol): (SocketAddr, SocketAddr, Protocol),
    ) -> PacketExplanation {
        let views = self.planner.backends(service.vip);
        let name = |id: BackendId| {
            let key = views.iter().find(|view| view.id == id).map(|view| view.key)?;
            Some(self.names(&key).1)
        };
        let slots = |slots: usize| u32::try_from(slots).unwrap_or(u32::MAX);
        let backends =
            views.iter().map(|view| (self.names(&view.key).1, view.state.to_string(), slots(view.slots)));
        let place = self.planner.place(from, to, protocol, self.loaded_with.seed);
        // Where no client is named, its address is that of no family's client.
        let place = place.filter(|_| !from.ip().is_unspecified());
        let (current, settled) =
            place.map_or((None, None), |place| (name(place.word.current()), name(place.word.settled())));
        let outcome = match (&place, &current) {
            (None, _) => "name a client's address and port with --client to learn its slot",
            (Some(_), None) => "nobody has the slot: new flows are dropped",
            (Some(_), Some(_)) if !service.select.needs_records() => {
                "flows that begin now go to the backend of their slot"
            }
            (Some(_), Some(_)) => "flows that begin now are spread in turn or by load, not by their slot",
        };
        let moving = place.is_some_and(|place| place.word.is_tracked()) && settled != current;
        PacketExplanation {
            slot: place.map(|place| place.slot),
            backend: current.filter(|_| !service.select.needs_records()),
            settled: settled.filter(|_| moving),
            outcome: outcome.to_owned(),
            backends: backends.collect(),
            ..told
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_of_the_other_family_is_refused() {
        let [v4, v6, nobody] =
            ["192.0.2.7:1", "[2001:db8::7]:1", "0.0.0.0:0"].map(|text| text.parse().unwrap());
        assert_eq!(require_one_family(v4, v4), Ok(()));
        assert_eq!(require_one_family(v6, nobody), Ok(()));
        let said = require_one_family(v6, v4).unwrap_err();
        assert!(said.contains("the client 192.0.2.7 is IPv4 where [2001:db8::7]:1 is IPv6"), "{said}");
    }
}
