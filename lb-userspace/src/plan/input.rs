//! What a plan is made from, all of it values: the model, health, drains, ways to backends, and what was seen of flows.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use lb_common::abi::BackendId;

use crate::config::{Backend, Encap, Forward, Service, Vip};
use crate::health::HealthState;
use crate::kernel::NextHop;

/// A backend's identity: what its flows see of it. Names are for people and may change without moving a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BackendKey {
    /// The service it serves. One server of two services is two backends.
    pub service: Vip,
    /// Where it listens.
    pub addr: SocketAddr,
}

impl BackendKey {
    /// The identity of a configured backend.
    #[must_use]
    pub fn of(service: &Service, backend: &Backend) -> Self {
        Self { service: service.vip, addr: backend.addr }
    }
}

/// The wanted state of the world.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// The configured services.
    pub services: &'a [Service],
    /// Seed of the selection: the same on all hosts of a fleet.
    pub seed: u64,
    /// Verdicts on backends of services with a health check; a backend without one has not been asked yet.
    pub health: &'a HashMap<BackendKey, HealthState>,
    /// Backends drained by command, besides those that the configuration drains.
    pub drained: &'a BTreeSet<BackendKey>,
    /// Whether VIPs answer echo requests.
    pub ping: bool,
    /// Where outer headers come from.
    pub encap: Encap,
    /// The ways that are known. A backend without one can be sent nothing.
    pub next_hops: &'a HashMap<IpAddr, NextHop>,
}

impl Inputs<'_> {
    /// The state of a configured backend.
    #[must_use]
    pub fn state(&self, service: &Service, backend: &Backend) -> BackendState {
        let key = BackendKey::of(service, backend);
        let asked = self.health.get(&key).copied().unwrap_or(HealthState::Unknown);
        // What nobody checks is taken for healthy once it can be reached at all.
        let on_link = service.forward == Forward::DsrL2;
        let reachable = self.next_hops.get(&backend.addr.ip()).is_some_and(|hop| hop.on_link || !on_link);
        let unchecked = if reachable { HealthState::Up } else { HealthState::Unknown };
        let health = if service.health.is_some() { asked } else { unchecked };
        BackendState::new(health, backend.drain || self.drained.contains(&key))
    }
}

impl Inputs<'_> {
    /// Where the sources of outer headers towards a backend begin, if they are drawn from a range.
    pub(super) fn outer_source(&self, service: &Service, backend: &Backend) -> Option<IpAddr> {
        let spreads = service.forward.encapsulates() && self.encap.spread;
        spreads.then(|| match backend.addr {
            SocketAddr::V4(_) => self.encap.source_v4.0.into(),
            SocketAddr::V6(_) => self.encap.source_v6.0.into(),
        })
    }
}

/// What a backend may be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BackendState {
    /// Healthy: new flows and old ones.
    Up,
    /// Does not answer: nothing. Its flows are given to others, since they could only time out.
    Down,
    /// Taken out by the operator and not known to be down: keeps the flows it has, gets no new ones.
    Draining,
    /// Not asked yet: keeps the flows it may have from before a restart, gets no new ones until the first probe passes.
    Unknown,
}

impl BackendState {
    const fn new(health: HealthState, drained: bool) -> Self {
        match health {
            HealthState::Down => Self::Down,
            HealthState::Up | HealthState::Unknown if drained => Self::Draining,
            HealthState::Up => Self::Up,
            HealthState::Unknown => Self::Unknown,
        }
    }

    /// Whether it takes part in the selection.
    #[must_use]
    pub const fn takes_new_flows(self) -> bool {
        matches!(self, Self::Up)
    }

    /// Whether flows it has may stay with it.
    #[must_use]
    pub const fn keeps_flows(self) -> bool {
        !matches!(self, Self::Down)
    }

    /// The word for logs, tables and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Draining => "draining",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for BackendState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What was seen of the flows in one walk through the flow table.
#[derive(Clone, Copy)]
pub struct Observations<'a> {
    /// When the walk began. It says nothing about slots that were moved later.
    pub taken_at: Instant,
    /// How long ago a packet last took the settled path of a slot; `None` for never.
    pub last_use: &'a dyn Fn(u32) -> Option<Duration>,
    /// Flows by slot, of those whose record names another backend than the slot's current one (see
    /// [`super::Planner::slot_of`]).
    pub strays: &'a HashMap<u32, u64>,
    /// Flows by the backend that their record names.
    pub by_backend: &'a HashMap<BackendId, u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_backend_is_down_even_while_it_drains() {
        use HealthState::{Down, Unknown, Up};
        let table = [
            ((Up, false), "up"),
            ((Up, true), "draining"),
            ((Unknown, false), "unknown"),
            ((Unknown, true), "draining"),
            ((Down, false), "down"),
            ((Down, true), "down"),
        ];
        for ((health, drained), state) in table {
            assert_eq!(BackendState::new(health, drained).to_string(), state);
        }
    }
}
