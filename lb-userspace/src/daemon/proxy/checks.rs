//! The health of the backends of layer 7.

use super::super::checks::params;
use crate::config::proxy::{Proxy, Service};
use crate::health::{self, HealthState, Params, Report, Transport};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;

/// How long an ending daemon waits for the probes under way.
const LAST_PROBES: Duration = Duration::from_secs(1);

/// A backend: its service's name and its address.
pub(in crate::daemon) type Key = (String, SocketAddr);

/// The checks that run, and their verdicts.
#[derive(Debug)]
pub(super) struct Checks {
    transport: Transport,
    reports: UnboundedSender<Report<Key>>,
    running: HashMap<Key, (Params, health::Handle)>,
    verdicts: HashMap<Key, HealthState>,
}

impl Checks {
    pub(super) fn new(transport: Transport, reports: UnboundedSender<Report<Key>>) -> Self {
        Self { transport, reports, running: HashMap::new(), verdicts: HashMap::new() }
    }

    /// Starts the checks that a configuration adds and ends those that it no longer has. A backend keeps its verdict while a
    /// check with other parameters begins anew.
    pub(super) fn follow(&mut self, proxy: &Proxy) {
        let wanted: HashMap<Key, Params> = proxy.services.iter().flat_map(wanted).collect();
        self.running.retain(|key, (running, _)| wanted.get(key) == Some(running));
        self.verdicts.retain(|key, _| wanted.contains_key(key));
        for (key, params) in wanted {
            if !self.running.contains_key(&key) {
                let reports = self.reports.clone();
                let handle = health::spawn(key.clone(), params.clone(), seed(&key), self.transport, reports);
                self.running.insert(key, (params, handle));
            }
        }
    }

    /// Takes a verdict in. Whether it changed anything.
    pub(super) fn note(&mut self, report: &Report<Key>) -> bool {
        let transition = &report.transition;
        let known = self.running.contains_key(&report.key);
        let changed = known && self.verdicts.insert(report.key.clone(), transition.to) != Some(transition.to);
        if changed {
            let cause = transition.cause.as_ref().map(ToString::to_string).unwrap_or_default();
            let (service, backend) = &report.key;
            tracing::info!(service, %backend, from = %transition.from, to = %transition.to, cause, "health");
        }
        changed
    }

    pub(super) fn are_all_known(&self) -> bool {
        self.running.keys().all(|key| self.verdicts.contains_key(key))
    }

    /// How a backend is; who is not checked is taken to be up.
    pub(super) fn state(&self, key: &Key) -> HealthState {
        let checked = self.running.get(key);
        checked.map_or(HealthState::Up, |_| self.verdicts.get(key).copied().unwrap_or(HealthState::Unknown))
    }

    /// The backends that are checked and not up.
    pub(super) fn down(&self) -> Vec<Key> {
        let is_up = |key: &Key| self.verdicts.get(key).is_some_and(|state| *state == HealthState::Up);
        self.running.keys().filter(|key| !is_up(key)).cloned().collect()
    }

    /// Ends all checks, and does not wait long for probes under way.
    pub(super) async fn stop(self) {
        let ends = self.running.into_values().map(|(_, handle)| handle.stop());
        let _ = tokio::time::timeout(LAST_PROBES, futures_util::future::join_all(ends)).await;
    }
}

fn wanted(service: &Service) -> Vec<(Key, Params)> {
    let Some(check) = &service.health else { return Vec::new() };
    let keyed = |addr| ((service.name.clone(), addr), params(check, addr, None));
    service.backends.iter().map(|backend| keyed(backend.addr)).collect()
}

/// A seed of a backend's own, so that jitter spreads the probes.
fn seed(key: &Key) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}
