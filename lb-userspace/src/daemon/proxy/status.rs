//! What there is to tell of layer 7.

use super::Front;
use crate::config::proxy::Service;
use crate::control::{
    FrontBackendStatus, FrontCertificateStatus, FrontListenerStatus, FrontServiceStatus, FrontSheddingStatus,
    FrontStatus,
};
use crate::l7::tls::Shown;
use crate::l7::worker::Counters;
use std::sync::atomic::{AtomicU64, Ordering};

impl Front {
    /// Everything; `None` where nothing is served.
    pub(in crate::daemon) fn status(&self) -> Option<FrontStatus> {
        let workers = self.workers.as_ref()?;
        let sum = |of: fn(&Counters) -> &AtomicU64| {
            workers.counters().map(|counters| of(counters).load(Ordering::Relaxed)).sum()
        };
        let answers = |class: usize| {
            let counted = workers.counters().filter_map(|counters| counters.answers.get(class));
            counted.map(|counter| counter.load(Ordering::Relaxed)).sum()
        };
        let listeners = self.snapshot.settings.listeners.iter().map(|(id, listener)| FrontListenerStatus {
            name: listener.config.name.clone(),
            addresses: listener.config.addresses.iter().map(ToString::to_string).collect(),
            tls: listener.config.tls.is_some(),
            open: listener.tally.open(),
            certificates: self.snapshot.tls.shown(id).iter().filter_map(certificate).collect(),
        });
        let services = self.snapshot.settings.services.iter();
        Some(FrontStatus {
            workers: workers.counters().count(),
            io: workers.kind.as_str().to_owned(),
            listeners: listeners.collect(),
            services: services.map(|(_, service)| self.tell(&service.config)).collect(),
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
        })
    }

    fn tell(&self, service: &Service) -> FrontServiceStatus {
        let backends = service.backends.iter().map(|backend| FrontBackendStatus {
            name: backend.name.clone(),
            address: backend.addr.to_string(),
            weight: backend.weight,
            state: self.checks.state(&(service.name.clone(), backend.addr)).as_str().to_owned(),
            drain: backend.drain,
        });
        FrontServiceStatus { name: service.name.clone(), backends: backends.collect() }
    }
}

fn certificate(shown: &Shown) -> Option<FrontCertificateStatus> {
    Some(FrontCertificateStatus { file: shown.file.display().to_string(), expires: shown.expires? })
}
