//! The tallies of one configuration. A name keeps its counts through reloads for as long as a configuration has it.

use super::{BackendCounts, PerWorker, RouteCounts};
use crate::config::proxy::Proxy;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

/// What all workers answered by one route of one listener.
pub type RouteTally = Arc<PerWorker<RouteCounts>>;
/// What all workers had of one backend.
pub type BackendTally = Arc<PerWorker<BackendCounts>>;

/// All tallies, by the names in the configuration.
#[derive(Debug, Default)]
pub struct Tallies {
    workers: usize,
    /// By listener and route, see [`Tallies::NONE`] and [`Tallies::OWN`].
    routes: BTreeMap<(String, String), RouteTally>,
    /// By service and address: a backend that is only renamed stays what it is.
    backends: BTreeMap<(String, SocketAddr), BackendTally>,
}

impl Tallies {
    /// Stands for a route where a request had none. No name is like it.
    pub const NONE: &str = "";
    /// The route to a listener's own service. No name is like it.
    pub const OWN: &str = "*";

    /// What a configuration needs, with what was counted before.
    #[must_use]
    pub fn follow(config: &Proxy, former: Option<&Self>) -> Self {
        let workers = former
            .map_or_else(|| usize::try_from(config.worker_count()).unwrap_or(1), |former| former.workers);
        let route = |key: (String, String)| {
            let before = former.and_then(|former| former.routes.get(&key)).map(Arc::clone);
            (key, before.unwrap_or_else(|| Arc::new(PerWorker::new(workers))))
        };
        let backend = |key: (String, SocketAddr)| {
            let before = former.and_then(|former| former.backends.get(&key)).map(Arc::clone);
            (key, before.unwrap_or_else(|| Arc::new(PerWorker::new(workers))))
        };
        let backends = config
            .services
            .iter()
            .flat_map(|service| service.backends.iter().map(|backend| (service.name.clone(), backend.addr)));
        Self {
            workers,
            routes: config
                .listeners
                .iter()
                .flat_map(|listener| routes(config, &listener.name))
                .map(route)
                .collect(),
            backends: backends.map(backend).collect(),
        }
    }

    /// Of a route of a listener. What no configuration names counts for itself.
    #[must_use]
    pub fn route(&self, listener: &str, route: &str) -> RouteTally {
        let found = self.routes.get(&(listener.to_owned(), route.to_owned()));
        found.map_or_else(|| Arc::new(PerWorker::new(self.workers)), Arc::clone)
    }

    /// Of a backend of a service.
    #[must_use]
    pub fn backend(&self, service: &str, addr: SocketAddr) -> BackendTally {
        let found = self.backends.get(&(service.to_owned(), addr));
        found.map_or_else(|| Arc::new(PerWorker::new(self.workers)), Arc::clone)
    }

    /// All routes: listener, route, and what was answered.
    pub fn routes(&self) -> impl Iterator<Item = (&str, &str, &PerWorker<RouteCounts>)> {
        self.routes.iter().map(|((listener, route), tally)| (&**listener, &**route, &**tally))
    }
}

/// The routes of a listener by the names that they are counted under.
fn routes(config: &Proxy, listener: &str) -> impl Iterator<Item = (String, String)> {
    let is_its = |names: &[String]| names.is_empty() || names.iter().any(|name| name == listener);
    let named = config.routes.iter().filter(move |route| is_its(&route.listeners)).map(|route| &*route.name);
    let all = named.chain([Tallies::NONE, Tallies::OWN]);
    all.map(|route| (listener.to_owned(), route.to_owned())).collect::<Vec<_>>().into_iter()
}
