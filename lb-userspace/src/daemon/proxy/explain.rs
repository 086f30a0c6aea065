//! `explain` of a request: the snapshot's answer, and what the workers know of the backends.

use super::Front;
use super::status::certificate;
use crate::config::{self, proxy::Balance};
use crate::control::{ExplainOrder, HttpExplanation, WayExplanation};
use crate::l7::balance::{Balancer, Choice, Wish};
use crate::l7::explain::{Outcome, Question, Way};
use crate::l7::settings::Service;
use crate::l7::site::{HASH_SEED, Look, Snapshot};
use std::time::Duration;

impl Front {
    /// Tells which way a request would go now, where services of packets may hand its connection on.
    pub(in crate::daemon) async fn explain(
        &self,
        order: &ExplainOrder,
        of_packets: &[config::Service],
    ) -> Result<HttpExplanation, String> {
        let (https, host, port, target) = Question::parse(&order.target)?;
        let (method, fields, client) = (order.method.clone(), order.headers.clone(), order.client);
        let question = Question { https, host, port, target, method, fields, client };
        let settings = &self.snapshot.settings;
        let Some((id, listener)) = question.listener(settings, of_packets) else {
            return Ok(HttpExplanation { outcome: self.nobody(&question), ..HttpExplanation::default() });
        };
        let looks = match &self.workers {
            Some(workers) => workers.look().await,
            None => Vec::new(),
        };
        let reading = question.read(settings, listener);
        let shown = self.snapshot.tls.shown_to(id, &question.host);
        let (outcome, status, ways) = told(reading.outcome);
        Ok(HttpExplanation {
            listener: Some(listener.config.name.clone()),
            certificate: shown.and_then(certificate),
            route: reading.route.map(|route| route.name.to_string()),
            passed: reading.passed,
            routes_of_other_hosts: reading.elsewhere,
            outcome,
            status,
            services: ways.iter().filter_map(|way| self.tell_way(way, &looks)).collect(),
        })
    }

    /// What to say where nobody listens.
    fn nobody(&self, question: &Question) -> String {
        let scheme = if question.https { "https" } else { "http" };
        let there = self.snapshot.settings.listeners.iter().flat_map(|(_, listener)| {
            let scheme = if listener.config.tls.is_some() { "https" } else { "http" };
            listener.config.addresses.iter().map(move |at| format!("{scheme} on {at}"))
        });
        let there: Vec<_> = there.collect();
        format!("nobody listens for {scheme} on port {}; there is {}", question.port, there.join(", "))
    }

    fn tell_way(&self, way: &Way, looks: &[Look]) -> Option<WayExplanation> {
        let service = self.snapshot.settings.services.get(way.service)?;
        let (backend, why) = self.choose(service, way);
        let backends = self.tell(service, looks).backends;
        let is_left_out = |name: &String| backends.iter().any(|one| one.name == *name && one.left_out > 0);
        let why = match &backend {
            Some(name) if is_left_out(name) => format!("{why}; but workers leave it out as an outlier now"),
            _ => why.to_owned(),
        };
        Some(WayExplanation {
            service: service.config.name.clone(),
            balance: service.config.balance.word(),
            request: way.head.clone(),
            backend,
            why,
            backends,
        })
    }

    /// The backend that a request goes to, where that does not depend on draws and load.
    fn choose(&self, service: &Service, way: &Way) -> (Option<String>, &'static str) {
        let down = self.checks.down();
        let is_down = |addr| down.iter().any(|(name, other)| *name == service.config.name && *other == addr);
        let mut balancer = self.balancer_of(service);
        balancer.judge(|addr| !is_down(addr), Duration::ZERO);
        let wish = Wish { key: way.key, cookie: way.cookie.as_deref(), ..Wish::default() };
        let named = |balancer: &Balancer, id| balancer.name(id).map(str::to_owned);
        if let Some(bound) = balancer.bound(&wish, Duration::ZERO) {
            return (named(&balancer, bound), "its cookie binds it");
        }
        let picked = match balancer.pick(&wish, 0, Duration::ZERO) {
            Choice::Backend(id) => named(&balancer, id),
            Choice::Full | Choice::None => None,
        };
        let by_hash = matches!(service.config.balance, Balance::IpHash | Balance::Hash(_));
        match service.config.backends.iter().filter(|one| !one.drain && !is_down(one.addr)).count() {
            0 => (None, "no backend serves: the client is told 503"),
            1 => (picked, "no other takes new requests"),
            _ if by_hash => (picked, "the hash says so"),
            _ => (None, "each worker decides by draw, load and latency: see the scores"),
        }
    }

    /// A balancer as all workers have it but for what they have seen.
    fn balancer_of(&self, service: &Service) -> Balancer {
        let Snapshot { signer, workers, .. } = &self.snapshot;
        Balancer::new(&service.config, *workers, signer, HASH_SEED, Duration::ZERO)
    }
}

/// The outcome as a sentence, the status if it is known, and the services that may be asked.
fn told(outcome: Outcome) -> (String, Option<u16>, Vec<Way>) {
    match outcome {
        Outcome::Failed(failure) => {
            let (status, label) = (failure.status(), failure.label());
            (format!("answered with {status} ({label}): {failure}"), Some(status), Vec::new())
        }
        Outcome::Redirected(status, to) => {
            (format!("redirected with {status} to {to}"), Some(status), Vec::new())
        }
        Outcome::Answered(status) => {
            (format!("answered with {status} by the route"), Some(status), Vec::new())
        }
        Outcome::Forwarded(ways) => ("a backend is asked".to_owned(), None, ways),
    }
}
