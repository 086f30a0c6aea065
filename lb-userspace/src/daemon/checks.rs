//! The health checks that run, kept in step with the configuration.

use crate::config::{self, Check, CheckKind, Config};
use crate::health::{self, Evidence, HealthState, Layers, Params, Report, Transport};
use crate::plan::BackendKey;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;

/// How long an ending daemon waits for the probes under way.
const LAST_PROBES: Duration = Duration::from_secs(1);

/// The running checks and their verdicts.
#[derive(Debug)]
pub(super) struct Checks {
    transport: Transport,
    source_ports: Option<RangeInclusive<u16>>,
    reports: UnboundedSender<Report<BackendKey>>,
    running: HashMap<BackendKey, Running>,
    verdicts: HashMap<BackendKey, HealthState>,
}

#[derive(Debug)]
struct Running {
    params: Params,
    handle: health::Handle,
}

impl Checks {
    /// No checks yet; verdicts will go to `reports`.
    pub(super) fn new(
        transport: Transport,
        source_ports: Option<RangeInclusive<u16>>,
        reports: UnboundedSender<Report<BackendKey>>,
    ) -> Self {
        Self { transport, source_ports, reports, running: HashMap::new(), verdicts: HashMap::new() }
    }

    /// Starts the checks that `config` adds, ends those it no longer has, and leaves the others alone. A check whose
    /// parameters changed begins anew, and until it reports, the old verdict holds.
    pub(super) fn follow(&mut self, config: &Config) {
        let wanted = wanted(config, self.source_ports.as_ref());
        self.running.retain(|key, running| wanted.get(key) == Some(&running.params));
        self.verdicts.retain(|key, _| wanted.contains_key(key));
        for (key, params) in wanted {
            if !self.running.contains_key(&key) {
                let handle =
                    health::spawn(key, params.clone(), seed(&key), self.transport, self.reports.clone());
                self.running.insert(key, Running { params, handle });
            }
        }
    }

    /// Takes a verdict in. Whether it changed anything: one of a check that ended meanwhile does not.
    pub(super) fn note(&mut self, report: &Report<BackendKey>) -> bool {
        let known = self.running.contains_key(&report.key);
        known && self.verdicts.insert(report.key, report.transition.to) != Some(report.transition.to)
    }

    /// The verdicts so far.
    pub(super) const fn verdicts(&self) -> &HashMap<BackendKey, HealthState> {
        &self.verdicts
    }

    /// Whether every check has given its first verdict.
    pub(super) fn are_all_known(&self) -> bool {
        self.running.keys().all(|key| self.verdicts.contains_key(key))
    }

    /// The evidence for a backend's verdict; `None` if it is not checked.
    pub(super) fn evidence(&self, key: &BackendKey) -> Option<Evidence> {
        self.running.get(key).map(|running| running.handle.evidence())
    }

    /// Takes backends that serve unchecked so far, and get a check now, for up until the check says otherwise: asking
    /// for evidence must not take a service down.
    pub(super) fn trust_unchecked(&mut self, former: &Config, now: &Config) {
        let (checked_before, checked_now) = (wanted(former, None), wanted(now, None));
        let unchecked = keys(former).filter(|key| !checked_before.contains_key(key));
        let trusted = unchecked.filter(|key| checked_now.contains_key(key));
        self.verdicts.extend(trusted.map(|key| (key, HealthState::Up)));
    }

    /// Ends all checks and waits for their last probes, all at the same time and not for long: a probe may wait for a
    /// silent backend as long as its time-out is.
    pub(super) async fn stop(self) {
        let ends = self.running.into_values().map(|running| running.handle.stop());
        // Probes still under way end with the process.
        let _ = tokio::time::timeout(LAST_PROBES, futures_util::future::join_all(ends)).await;
    }
}

/// The identities of all configured backends.
pub(super) fn keys(config: &Config) -> impl Iterator<Item = BackendKey> {
    let of = |service: &config::Service| {
        service.backends.iter().map(|backend| BackendKey::of(service, backend)).collect::<Vec<_>>()
    };
    config.services.iter().flat_map(of)
}

fn wanted(config: &Config, ports: Option<&RangeInclusive<u16>>) -> HashMap<BackendKey, Params> {
    let of_service = |service: &config::Service| {
        let check = service.health.clone();
        let keyed = |backend: &config::Backend| {
            let listens = where_it_listens(service, backend);
            let params = check.as_ref().map(|check| params(check, listens, ports.cloned()));
            params.map(|params| (BackendKey::of(service, backend), params))
        };
        service.backends.iter().filter_map(keyed).collect::<Vec<_>>()
    };
    config.services.iter().flat_map(of_service).collect()
}

/// Where a backend takes what clients send: at the VIP's port, where it has none of its own. Of several ports the check says
/// which.
const fn where_it_listens(service: &config::Service, backend: &config::Backend) -> SocketAddr {
    let port = if backend.addr.port() == 0 { service.vip.port } else { backend.addr.port() };
    SocketAddr::new(backend.addr.ip(), port)
}

/// How a backend is probed, by plain TCP.
pub(super) fn params(
    check: &Check,
    backend: SocketAddr,
    source_ports: Option<RangeInclusive<u16>>,
) -> Params {
    let kind = match &check.kind {
        CheckKind::Tcp => health::Kind::Tcp,
        CheckKind::Http { path, status, host } => {
            health::Kind::Http { path: path.clone(), status: *status, host: host.clone() }
        }
    };
    Params {
        kind,
        layers: Layers::default(),
        target: SocketAddr::new(backend.ip(), check.port.unwrap_or(backend.port())),
        interval: check.interval,
        timeout: check.timeout,
        rise: check.rise,
        fall: check.fall,
        jitter_percent: check.jitter,
        source_ports,
    }
}

/// A seed of a backend's own, so that jitter spreads the probes.
fn seed(key: &BackendKey) -> u64 {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(vip: &str, backend: &str, health: &str) -> SocketAddr {
        let text = format!(
            "[[service]]\nname = \"web\"\nvip = \"{vip}\"\nforward = \"nat\"\n{health}\n\
             [[service.backend]]\nname = \"web1\"\naddr = \"{backend}\"\n"
        );
        let config = config::parse("lb.toml", &text).unwrap().config;
        wanted(&config, None).into_values().next().unwrap().target
    }

    #[test]
    fn a_backend_without_a_port_is_probed_at_the_vip_s() {
        let rows = [
            (("203.0.113.20:80", "10.92.1.2", ""), "10.92.1.2:80"),
            (("203.0.113.20:80", "10.92.1.2:8080", ""), "10.92.1.2:8080"),
            (("203.0.113.20:80", "10.92.1.2", "health = { tcp = true, port = 81 }"), "10.92.1.2:81"),
            (("203.0.113.20:80-90", "10.92.1.2", "health = { tcp = true, port = 81 }"), "10.92.1.2:81"),
            (("[2001:db8::1]:80", "2001:db8::7", ""), "[2001:db8::7]:80"),
        ];
        for ((vip, backend, health), expected) in rows {
            assert_eq!(target(vip, backend, health), expected.parse().unwrap(), "{vip} {backend} {health}");
        }
    }
}
