//! The health of the backends of layer 7.

use super::super::checks::params;
use crate::config::proxy::{Proxy, Service};
use crate::config::{Check, CheckKind};
use crate::health::{self, Evidence, HealthState, Layers, Params, Report, Transport};
use crate::l7::site::Snapshot;
use crate::l7::tls::ClientTls;
use crate::l7::worker::Down;
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
    /// check with other parameters begins anew, such as certificates that were renewed.
    pub(super) fn follow(&mut self, proxy: &Proxy, snapshot: &Snapshot) {
        let wanted: HashMap<Key, Params> =
            proxy.services.iter().flat_map(|service| wanted(service, tls_of(service, snapshot))).collect();
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

    /// The evidence for a backend's verdict; `None` if it is not checked.
    pub(super) fn evidence(&self, key: &Key) -> Option<Evidence> {
        self.running.get(key).map(|(_, handle)| handle.evidence())
    }

    /// The backends that are checked and not up.
    pub(super) fn down(&self) -> Down {
        let is_up = |key: &Key| self.verdicts.get(key).is_some_and(|state| *state == HealthState::Up);
        self.running.keys().filter(|key| !is_up(key)).cloned().collect()
    }

    /// Ends all checks, and does not wait long for probes under way.
    pub(super) async fn stop(self) {
        let ends = self.running.into_values().map(|(_, handle)| handle.stop());
        let _ = tokio::time::timeout(LAST_PROBES, futures_util::future::join_all(ends)).await;
    }
}

/// How connections to a service's backends begin, as it was read.
fn tls_of<'a>(service: &Service, snapshot: &'a Snapshot) -> Option<&'a ClientTls> {
    snapshot.tls.client(snapshot.settings.services.number(&service.name)?)
}

fn wanted(service: &Service, tls: Option<&ClientTls>) -> Vec<(Key, Params)> {
    let Some(check) = &service.health else { return Vec::new() };
    let params = |addr| Params { layers: layers(service, check, addr, tls), ..params(check, addr, None) };
    let keyed = |addr| ((service.name.clone(), addr), params(addr));
    service.backends.iter().map(|backend| keyed(backend.addr)).collect()
}

/// What is spoken to the port that is asked: what requests speak, where it is the one that serves.
fn layers(service: &Service, check: &Check, addr: SocketAddr, tls: Option<&ClientTls>) -> Layers {
    if check.port.is_some_and(|port| port != addr.port()) {
        return Layers::default();
    }
    Layers {
        proxy_protocol: service.proxy_protocol,
        tls: tls.cloned(),
        http2: service.http2 && matches!(check.kind, CheckKind::Http { .. }),
    }
}

/// A seed of a backend's own, so that jitter spreads the probes.
fn seed(key: &Key) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, proxy::ProxyHeader};
    use crate::l7::balance::Signer;
    use crate::l7::log;
    use crate::l7::settings::Settings;
    use crate::l7::tls::made::self_signed;
    use crate::l7::tls::{Shared, Store};
    use std::path::Path;
    use std::sync::Arc;

    /// What the only backend of a service with these lines is asked, everything being read anew.
    fn asked(lines: &str) -> Params {
        let text = format!(
            "[[service]]\nname = \"web\"\nkind = \"http\"\n{lines}\n\
             [[service.backend]]\nname = \"a\"\naddr = \"10.0.0.1:8443\"\n"
        );
        let proxy = config::parse("test", &text).unwrap().config.proxy;
        let settings = Arc::new(Settings::build(&proxy, None).unwrap());
        let tls = Arc::new(Store::read(&Shared::new().unwrap(), &settings).unwrap());
        let (signer, log) = (Signer::new(b"secret"), log::Queue::default());
        let snapshot = Snapshot { settings, tls, signer, workers: 1, log };
        let service = &proxy.services[0];
        wanted(service, tls_of(service, &snapshot)).remove(0).1
    }

    fn with_authority(folder: &Path, pem: &str) -> Params {
        let file = folder.join("ca.pem");
        std::fs::write(&file, pem).unwrap();
        asked(&format!("tls = {{ ca = \"{}\", sni = \"backend.test\" }}", file.display()))
    }

    #[test]
    fn the_port_that_serves_is_asked_as_requests_ask_it() {
        let spoken = "tls = { verify = false }\nproxy_protocol = \"v2\"\nhttp2 = true\n";
        for check in ["http = \"/\"", "http = \"/\", port = 8443"] {
            let layers = asked(&format!("{spoken}health = {{ {check} }}")).layers;
            assert!(layers.http2 && layers.tls.is_some(), "{check}");
            assert_eq!(layers.proxy_protocol, Some(ProxyHeader::V2), "{check}");
        }
        let layers = asked(&format!("{spoken}health = {{ tcp = true }}")).layers;
        assert!(layers.tls.is_some() && !layers.http2);
    }

    #[test]
    fn another_port_is_asked_plainly() {
        let spoken = "tls = { verify = false }\nproxy_protocol = \"v1\"\nhttp2 = true\n";
        let params = asked(&format!("{spoken}health = {{ http = \"/\", port = 8081 }}"));
        assert_eq!((params.layers, params.target.port()), (Layers::default(), 8081));
    }

    #[test]
    fn what_was_read_again_and_is_the_same_restarts_no_check() {
        let (folder, [one, other]) =
            (tempfile::tempdir().unwrap(), [(); 2].map(|()| self_signed("backend.test").0));
        let first = with_authority(folder.path(), &one);
        assert_eq!(first, with_authority(folder.path(), &one));
        assert_ne!(first, with_authority(folder.path(), &other), "a renewed file was not noticed");
    }

    #[test]
    fn a_renewed_certificate_of_ours_begins_the_check_anew() {
        let folder = tempfile::tempdir().unwrap();
        let with = |(cert, key): &(String, String)| {
            let [at_cert, at_key] = ["own.crt", "own.key"].map(|name| folder.path().join(name));
            std::fs::write(&at_cert, cert).unwrap();
            std::fs::write(&at_key, key).unwrap();
            let (at_cert, at_key) = (at_cert.display(), at_key.display());
            asked(&format!("tls = {{ verify = false, cert = \"{at_cert}\", key = \"{at_key}\" }}"))
        };
        let [one, other] = [(); 2].map(|()| self_signed("client.test"));
        assert_eq!(with(&one), with(&one));
        assert_ne!(with(&one), with(&other));
    }
}
