//! What the watching task remembers: the neighbours that the answers go through.

use super::super::nexthop::{self, Links, Neighbour, NeighbourKey, NextHopError, Route};
use super::request::{look_for, request_links, request_neighbours, request_routes};
use super::{NetlinkError, NextHops};
use rtnetlink::Handle;
use rtnetlink::packet_core::NetlinkPayload;
use rtnetlink::packet_route::RouteNetlinkMessage;
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Time between two requests for a neighbour that does not answer: the kernel's own rate (`retrans_time_ms`).
const RETRY: Duration = Duration::from_secs(1);

/// What is remembered from one answer to the next.
#[derive(Default)]
pub(super) struct Known {
    /// Neighbours that the current answers go through, with the last address they had.
    hops: HashMap<NeighbourKey, Option<[u8; 6]>>,
    /// Those of them that must be looked for, with the time they last were.
    missing: HashMap<NeighbourKey, Option<Instant>>,
}

impl Known {
    /// Asks the kernel for everything and puts the answers together.
    pub(super) async fn resolve(
        &mut self,
        requests: &Handle,
        addresses: &BTreeSet<IpAddr>,
    ) -> Result<(Links, NextHops), NetlinkError> {
        let links = request_links(requests).await?;
        let routes = request_routes(requests, addresses).await?;
        let neighbours = request_neighbours(requests).await?;
        self.update(&routes, &neighbours);
        self.look_for_missing(requests).await;
        let answer = |(address, route): (IpAddr, Result<Route, NextHopError>)| {
            let answer = route.and_then(|route| nexthop::build(&route, &links, self.hop(&route)));
            (address, answer)
        };
        let answers = routes.into_iter().map(answer).collect();
        Ok((links, answers))
    }

    /// When to look for a missing neighbour again; never, if none is missing.
    pub(super) async fn retry(&self) {
        match self.missing.values().flatten().min() {
            Some(asked) => sleep_until(*asked + RETRY).await,
            None => std::future::pending().await,
        }
    }

    fn hop(&self, route: &Route) -> Option<[u8; 6]> {
        self.hops.get(&route.neighbour()).copied().flatten()
    }

    /// Takes over the neighbours' addresses. One that the kernel forgot, or asks for again, keeps its old address until
    /// the kernel has asked in vain: the kernel forgets neighbours that it does not itself send to.
    fn update(
        &mut self,
        routes: &HashMap<IpAddr, Result<Route, NextHopError>>,
        neighbours: &HashMap<NeighbourKey, Neighbour>,
    ) {
        let keys: BTreeSet<_> = routes.values().flatten().map(Route::neighbour).collect();
        let old = std::mem::take(&mut self.hops);
        let asked = std::mem::take(&mut self.missing);
        for key in keys {
            let remembered = old.get(&key).copied().flatten();
            let (address, is_missing) = match neighbours.get(&key) {
                Some(Neighbour::At(address)) => (Some(*address), false),
                Some(Neighbour::Silent) => (None, true),
                Some(Neighbour::Asked) | None => (remembered, true),
            };
            self.hops.insert(key, address);
            if is_missing {
                self.missing.insert(key, asked.get(&key).copied().flatten());
            }
        }
    }

    /// Asks the kernel to look for the missing neighbours, for each at most once in [`RETRY`].
    async fn look_for_missing(&mut self, requests: &Handle) {
        let now = Instant::now();
        for ((index, address), asked) in &mut self.missing {
            if asked.is_some_and(|asked| now < asked + RETRY) {
                continue;
            }
            *asked = Some(now);
            if let Err(error) = look_for(requests, *index, *address).await {
                tracing::debug!(%address, index, %error, "cannot look for the neighbour");
            }
        }
    }

    /// Whether a notice may change an answer. Of neighbours only those that answers go through count, since a busy
    /// network has notices of others all the time.
    pub(super) fn may_change_by(&self, notice: &NetlinkPayload<RouteNetlinkMessage>) -> bool {
        match notice {
            NetlinkPayload::InnerMessage(
                RouteNetlinkMessage::NewNeighbour(message) | RouteNetlinkMessage::DelNeighbour(message),
            ) => Neighbour::parse(message).is_some_and(|(key, state)| self.may_change(key, state)),
            NetlinkPayload::InnerMessage(_) | NetlinkPayload::Overrun(_) => true,
            _ => false,
        }
    }

    fn may_change(&self, key: NeighbourKey, state: Neighbour) -> bool {
        match (self.hops.get(&key), state) {
            (None, _) => false,
            (Some(old), Neighbour::At(address)) => *old != Some(address) || self.missing.contains_key(&key),
            (Some(_), _) => true,
        }
    }
}
