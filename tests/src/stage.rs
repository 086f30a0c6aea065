//! A whole stage: house, backends and daemon, ready for traffic.

use std::fmt::{self, Display, Formatter};
use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::daemon::{Daemon, Mode, status_of, status_of_service};
use crate::family::Family;
use crate::fleet::{Fleet, name};
use crate::service::{Forward, Kind, Service, Share, config};
use crate::topology::{House, LINK, Layout, PATH_MTU, VIPS};
use crate::traffic::http;
use crate::traffic::tally::Tally;

/// What varies between stages.
#[derive(Debug, Clone, Copy)]
pub struct Set {
    /// How services forward.
    pub forward: Forward,
    /// How the daemon attaches.
    pub mode: Mode,
    /// How the house is wired.
    pub layout: Layout,
    /// The family of the VIP.
    pub clients: Family,
    /// The family of the backends' addresses in the config.
    pub backends: Family,
}

impl Set {
    /// The same with other families.
    #[must_use]
    pub const fn families(self, clients: Family, backends: Family) -> Self {
        Self { clients, backends, ..self }
    }

    /// The same with another layout.
    #[must_use]
    pub const fn laid_out(self, layout: Layout) -> Self {
        Self { layout, ..self }
    }

    /// What clients ask for.
    #[must_use]
    pub fn vip(self, kind: Kind) -> SocketAddr {
        kind.at(self.clients)
    }
}

impl Display for Set {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let families = match (self.clients, self.backends) {
            (Family::V4, Family::V4) => "",
            (Family::V6, Family::V6) => "v6::",
            (Family::V4, Family::V6) => "4in6::",
            (Family::V6, Family::V4) => "6in4::",
        };
        let wiring = match self.layout {
            Layout::Routed => "",
            Layout::Distant => "::distant",
            Layout::OneArmed => "::one-armed",
            Layout::DistantOneArmed => "::distant-one-armed",
        };
        write!(formatter, "{}::{families}{}{wiring}", self.forward, self.mode.word())
    }
}

/// A house in which everything runs. Ends in the order of its fields.
#[derive(Debug)]
pub struct Stage {
    /// The balancer.
    pub daemon: Daemon,
    /// The backends.
    pub fleet: Fleet,
    /// Where both live.
    pub house: House,
    /// What it was built from.
    pub set: Set,
}

impl Stage {
    /// Builds a stage with a backend for each of `weights`, all serving every [`Kind`], and waits until all are up.
    /// A backend of weight 0 runs, but the config does not know it yet.
    pub fn build(set: Set, weights: &[u16]) -> Result<Self> {
        let stage = Self::furnish(set, weights.len(), |house| config(&services(set, house, weights)))?;
        stage.wait_until_up(weights)?;
        Ok(stage)
    }

    /// Builds a stage with `backends` backends and a daemon with the config that `write` gives, and does not wait for
    /// any backend.
    pub fn furnish(set: Set, backends: usize, write: impl FnOnce(&House) -> String) -> Result<Self> {
        let backends = u8::try_from(backends).context("a house of so many backends")?;
        Self::within(House::build(set.layout, backends)?, set, write)
    }

    /// The same in a house that was built before.
    pub fn within(house: House, set: Set, write: impl FnOnce(&House) -> String) -> Result<Self> {
        if set.forward.is_direct() {
            house.backends_own(VIPS)?;
        }
        if !set.forward.encapsulates() {
            // What is only rewritten must fit the client's side as it is.
            house.backends.iter().try_for_each(|host| host.namespace.mtu(LINK, PATH_MTU))?;
        }
        if set.mode.is_tc() {
            house.offload()?;
        }
        let fleet = Fleet::start(&house, set.forward, set.mode)?;
        let text = write(&house);
        let daemon = Daemon::start_with(&house.balancer, &house.interfaces, set.mode, &text)?;
        Ok(Self { daemon, fleet, house, set })
    }

    /// The standard services, with those backends whose weight is not 0.
    #[must_use]
    pub fn services(&self, weights: &[u16]) -> Vec<Service> {
        services(self.set, &self.house, weights)
    }

    /// What clients ask for.
    #[must_use]
    pub fn vip(&self, kind: Kind) -> SocketAddr {
        self.set.vip(kind)
    }

    /// Starts the daemon anew with `text` for a config, after a kill: for what a reload cannot change.
    pub fn restart(self, text: &str) -> Result<Self> {
        let Self { daemon, fleet, house, set } = self;
        let daemon = daemon.crash_and_start(&house.balancer, &house.interfaces, set.mode, text)?;
        Ok(Self { daemon, fleet, house, set })
    }

    /// Waits until `holds` says so of the status.
    pub fn wait_until(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Result<Value> {
        self.daemon.wait_until(what, holds)
    }

    /// Waits until every standard service's backends are up.
    pub fn wait_until_up(&self, weights: &[u16]) -> Result<()> {
        let configured =
            || weights.iter().enumerate().filter(|(_, weight)| **weight > 0).map(|(index, _)| index);
        Kind::CHECKED.iter().try_for_each(|kind| {
            configured().try_for_each(|index| self.wait_for(*kind, index, "up").map(drop))
        })
    }

    /// Waits until the status says that the backend at `index` is `state`, and gives the moment.
    pub fn wait_for(&self, kind: Kind, index: usize, state: &str) -> Result<Instant> {
        self.daemon.wait_for(kind.name(), &name(index), state)
    }

    /// Who answers each of `connections` new connections of the client; all of them must be answered.
    pub fn who_answers(&self, connections: usize) -> Result<Tally> {
        self.house.client.run(|| (0..connections).map(|_| http::who(self.vip(Kind::Http))).collect())
    }

    /// What the first backend serves at `path`, fetched past the daemon's programs: by the balancer's own stack.
    pub fn directly(&self, path: &str) -> Result<Vec<u8>> {
        let server = self.first_server()?;
        Ok(self.house.balancer.run(|| http::get(server, path))?.body)
    }

    /// Where the first backend serves HTTP: its own address, not the VIP.
    pub fn first_server(&self) -> Result<SocketAddr> {
        let host = self.house.backends.first().context("a house without backends")?;
        let port = self.set.forward.backend_port(Kind::Http.port());
        Ok(SocketAddr::new(host.addresses.of(self.set.backends), port))
    }

    /// `SERVICE/BACKEND` as the command line wants it.
    #[must_use]
    pub fn path(kind: Kind, index: usize) -> String {
        format!("{}/{}", kind.name(), name(index))
    }
}

/// The part of `status` about a service.
pub fn service(status: &Value, kind: Kind) -> Result<&Value> {
    status_of_service(status, kind.name())
}

/// The part of `status` about a backend.
pub fn backend(status: &Value, kind: Kind, index: usize) -> Result<&Value> {
    status_of(status, kind.name(), &name(index))
}

/// Packets counted for a reason.
#[must_use]
pub fn counted(status: &Value, reason: &str) -> u64 {
    let reasons = status["reasons"].as_array().into_iter().flatten();
    reasons.filter(|one| one["reason"] == reason).filter_map(|one| one["packets"].as_u64()).sum()
}

/// The standard services of a house, with those backends whose weight is not 0.
#[must_use]
pub fn services(set: Set, house: &House, weights: &[u16]) -> Vec<Service> {
    let shares = shares(house, set.backends, weights);
    Kind::ALL.map(|kind| kind.service(set.forward, set.clients, &shares)).into()
}

/// The share of every backend whose weight is not 0.
#[must_use]
pub fn shares(house: &House, family: Family, weights: &[u16]) -> Vec<Share> {
    let described = house.backends.iter().zip(weights).enumerate();
    described
        .filter(|(_, (_, weight))| **weight > 0)
        .map(|(index, (host, weight))| Share {
            name: name(index),
            address: host.addresses.of(family),
            weight: *weight,
        })
        .collect()
}
