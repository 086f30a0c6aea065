//! What there is to tell of layer 7.

use super::super::report::health;
use super::Front;
use super::workers::Workers;
use crate::config::proxy::Backend;
use crate::control::{
    FrontBackendStatus, FrontCertificateStatus, FrontListenerStatus, FrontRouteStatus, FrontServiceStatus,
    FrontSheddingStatus, FrontStatus, TimesStatus,
};
use crate::l7::settings::{Listener, ListenerId, Service};
use crate::l7::site::Look;
use crate::l7::tally::{BOUNDS, BackendCounts, Count, PerWorker, RouteCounts, Spread, Times, WorkerCounts};
use crate::l7::tls::Shown;
use crate::l7::worker::Counters;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

impl Front {
    /// Everything; `None` where nothing is served.
    pub(in crate::daemon) async fn status(&self) -> Option<FrontStatus> {
        let workers = self.workers.as_ref()?;
        let looks = workers.look().await;
        let settings = &self.snapshot.settings;
        let services = settings.services.iter().map(|(_, service)| self.tell(service, &looks));
        let routes = settings.tallies.routes().filter_map(|(listener, route, tally)| {
            let counted = tally.each().next().is_some();
            counted.then(|| tell_route((listener, route), tally))
        });
        let status = FrontStatus {
            workers: workers.counters().count(),
            io: workers.kind.as_str().to_owned(),
            listeners: settings
                .listeners
                .iter()
                .map(|(id, listener)| self.tell_listener(id, listener))
                .collect(),
            services: services.collect(),
            routes: routes.collect(),
            tls_unusable: self.unusable.clone(),
            ..FrontStatus::default()
        };
        Some(self.with_counts(status, workers))
    }

    fn with_counts(&self, status: FrontStatus, workers: &Workers) -> FrontStatus {
        let sum = |of: fn(&Counters) -> &AtomicU64| {
            workers.counters().map(|counters| of(counters).load(Ordering::Relaxed)).sum()
        };
        let tallies = || workers.counters().map(|counters| &counters.tally);
        let counted = |of: fn(&WorkerCounts) -> &Count| tallies().map(|tally| of(tally).get()).sum();
        let answers = |class: usize| {
            let counted = workers.counters().filter_map(|counters| counters.answers.get(class));
            counted.map(|counter| counter.load(Ordering::Relaxed)).sum()
        };
        let mut failures = BTreeMap::new();
        for (label, count) in tallies().flat_map(|tally| tally.failures.each()) {
            *failures.entry(label.to_owned()).or_insert(0) += count;
        }
        let versions =
            [("1.2", counted(|tally| &tally.handshakes[0])), ("1.3", counted(|tally| &tally.handshakes[1]))];
        let lost: u64 = counted(|tally| &tally.lines_lost);
        FrontStatus {
            accepted: sum(|counters| &counters.accepted),
            open: sum(|counters| &counters.open),
            answers: std::array::from_fn(answers),
            shedding: FrontSheddingStatus {
                memory: self.snapshot.settings.ledger.total(),
                memory_limit: self.snapshot.settings.proxy.memory,
                refused: sum(|counters| &counters.refused),
                shed: sum(|counters| &counters.shed),
                copied: sum(|counters| &counters.copied),
                uncopied: sum(|counters| &counters.uncopied),
            },
            failures,
            handshakes: versions.map(|(version, count)| (version.to_owned(), count)).into(),
            resumed: counted(|tally| &tally.resumed),
            handshake_failures: counted(|tally| &tally.handshake_failures),
            proxy_header_failures: counted(|tally| &tally.proxy_header_failures),
            log_lines: (counted(|tally| &tally.lines), lost + self.log.queue.unwritten()),
            ..status
        }
    }

    fn tell_listener(&self, id: ListenerId, listener: &Listener) -> FrontListenerStatus {
        let config = &listener.config;
        FrontListenerStatus {
            name: config.name.clone(),
            addresses: config.addresses.iter().map(ToString::to_string).collect(),
            tls: config.tls.is_some(),
            open: listener.tally.open(),
            certificates: self.snapshot.tls.shown(id).iter().filter_map(certificate).collect(),
        }
    }

    pub(super) fn tell(&self, service: &Service, looks: &[Look]) -> FrontServiceStatus {
        let name = &service.config.name;
        let backends = service.config.backends.iter().map(|backend| {
            let seen: Vec<_> =
                looks.iter().filter(|look| look.service == *name && look.addr == backend.addr).collect();
            let key = (name.clone(), backend.addr);
            let told = FrontBackendStatus {
                state: self.checks.state(&key).as_str().to_owned(),
                health: health(service.config.health.as_ref(), self.checks.evidence(&key)),
                ..tell_backend(backend, &seen)
            };
            match service.tally(backend.addr) {
                Some(tally) => with_tally(told, tally),
                None => told,
            }
        });
        FrontServiceStatus { name: name.clone(), backends: backends.collect() }
    }
}

fn tell_route((listener, route): (&str, &str), tally: &PerWorker<RouteCounts>) -> FrontRouteStatus {
    let sum = |of: fn(&RouteCounts) -> &Count| tally.each().map(|counts| of(counts).get()).sum();
    FrontRouteStatus {
        listener: listener.to_owned(),
        route: route.to_owned(),
        answers: add_up(tally.each().map(|counts| counts.answers.get())),
        times: tell_times(tally.each().map(|counts| &counts.times)),
        received: sum(|counts| &counts.received),
        sent: sum(|counts| &counts.sent),
        retries: sum(|counts| &counts.retries),
    }
}

/// What the configuration and the workers of now say of a backend.
fn tell_backend(backend: &Backend, looks: &[&Look]) -> FrontBackendStatus {
    let known: Vec<Duration> = looks.iter().filter_map(|look| look.latency).collect();
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX).max(1);
    let latency = known.iter().sum::<Duration>() / count(known.len());
    let score = looks.iter().map(|look| look.cost).sum::<f64>() / f64::from(count(looks.len()));
    FrontBackendStatus {
        name: backend.name.clone(),
        address: backend.addr.to_string(),
        weight: backend.weight,
        drain: backend.drain,
        active: looks.iter().map(|look| look.active).sum(),
        idle: looks.iter().map(|look| look.idle).sum(),
        left_out: looks.iter().filter(|look| look.left_out).count(),
        latency_us: (!known.is_empty()).then(|| u64::try_from(latency.as_micros()).unwrap_or(u64::MAX)),
        score: (!looks.is_empty()).then_some(score),
        ..FrontBackendStatus::default()
    }
}

fn with_tally(told: FrontBackendStatus, tally: &PerWorker<BackendCounts>) -> FrontBackendStatus {
    let sum = |of: fn(&BackendCounts) -> &Count| tally.each().map(|counts| of(counts).get()).sum();
    FrontBackendStatus {
        answers: add_up(tally.each().map(|counts| counts.answers.get())),
        times: tell_times(tally.each().map(|counts| &counts.times)),
        failures: sum(|counts| &counts.failures),
        connects: sum(|counts| &counts.connects),
        reuses: sum(|counts| &counts.reuses),
        ejections: sum(|counts| &counts.ejections),
        ..told
    }
}

fn add_up(all: impl Iterator<Item = [u64; 5]>) -> [u64; 5] {
    all.fold([0; 5], |sum, one| std::array::from_fn(|class| sum[class] + one[class]))
}

fn tell_times<'a>(all: impl Iterator<Item = &'a Times>) -> TimesStatus {
    let mut spread = Spread::default();
    all.for_each(|times| spread.absorb(times));
    TimesStatus {
        up_to_us: BOUNDS.into_iter().zip(spread.classes).collect(),
        count: spread.count(),
        sum_us: spread.sum_us,
    }
}

pub(super) fn certificate(shown: &Shown) -> Option<FrontCertificateStatus> {
    Some(FrontCertificateStatus { file: shown.file.display().to_string(), expires: shown.expires? })
}
