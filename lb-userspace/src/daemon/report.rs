//! The balancer's status, put together when somebody asks.

use super::Error;
use super::balancer::Balancer;
use super::balancer::listen_rule;
use crate::config::{Backend, Check, CheckKind, Forward, Select, Service};
use crate::control::{
    BackendStatus, HealthStatus, ListenerStatus, ReasonStatus, ServiceStatus, Status, Traffic,
};
use crate::health::Evidence;
use crate::kernel::Link;
use crate::plan::{BackendKey, BackendView};
use lb_common::abi::BackendCount;
use lb_common::datapath::Reason;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

impl Balancer {
    /// Everything there is to tell.
    pub(super) async fn status(&self) -> Result<Status, Error> {
        let names = Link::all()?;
        let services = self.config.services.iter().map(|service| self.service_status(service, &names));
        Ok(Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_seconds: self.started.elapsed().as_secs_f64(),
            generation: self.planner.generation(),
            config: self.source.to_string(),
            reloads: self.reloads.status(),
            transport: self.transport.as_str().to_owned(),
            interfaces: self.interfaces.status(),
            services: services.collect::<Result<_, _>>()?,
            flows: self.look.flows,
            flood_guard: self.flood.status(self.loaded_with.limits.new_flows),
            reasons: self.reasons(),
            guard: self.guard_status(),
            front: self.front.status().await,
        })
    }

    fn reasons(&self) -> Vec<ReasonStatus> {
        let counts = self.tables.reasons();
        let status = |(reason, count): (&Reason, lb_common::abi::Count)| ReasonStatus {
            reason: reason.label().to_owned(),
            verdict: reason.verdict().label().to_owned(),
            packets: count.packets,
            bytes: count.bytes,
        };
        Reason::ALL.iter().zip(counts).map(status).collect()
    }

    fn service_status(&self, service: &Service, names: &[Link]) -> Result<ServiceStatus, Error> {
        let views = self.planner.backends(service.vip);
        let planned = self.planner.services().find(|planned| planned.vip == service.vip);
        let backends =
            service.backends.iter().map(|backend| self.backend_status(service, backend, &views, names));
        let backends: Vec<BackendStatus> = backends.collect::<Result<_, _>>()?;
        let balances = service.forward != Forward::Local;
        Ok(ServiceStatus {
            name: service.name.clone(),
            vip: service.vip.to_string().trim_end_matches("/udp").to_owned(),
            protocol: service.vip.protocol.to_string(),
            forward: service.forward.to_string(),
            select: balances.then(|| service.select.to_string()),
            tracking: balances.then(|| service.tracking.to_string()),
            listener: self.listener(service),
            unrouted: self.unrouted(service),
            slots: planned.map_or(0, |planned| planned.slots),
            moving_slots: planned.map_or(0, |planned| count(planned.tracked)),
            traffic: backends.iter().map(|backend| backend.traffic).sum(),
            backends,
        })
    }

    /// Where a service lands that names a listener.
    fn listener(&self, service: &Service) -> Option<ListenerStatus> {
        let key = listen_rule(service).key()?;
        let known = self.listeners.status().into_iter().find(|status| status.listener == key);
        Some(ListenerStatus {
            address: key.address.to_string(),
            open: known.as_ref().is_some_and(|known| known.is_held),
            state: known.map_or_else(|| "not looked for yet".to_owned(), |known| known.state),
        })
    }

    /// Why a service's addresses are not local, if they should be.
    fn unrouted(&self, service: &Service) -> Option<String> {
        let rule = listen_rule(service);
        rule.listener?;
        let complaint = self.listeners.unrouted().find(|(prefix, _)| *prefix == rule.prefix);
        complaint.map(|(_, reason)| reason.to_owned())
    }

    fn backend_status(
        &self,
        service: &Service,
        backend: &Backend,
        views: &[BackendView],
        names: &[Link],
    ) -> Result<BackendStatus, Error> {
        let key = BackendKey::of(service, backend);
        let view = views.iter().find(|view| view.key == key);
        let (next_hop, next_hop_error) = self.next_hop(backend, names);
        let counted = view.map(|view| self.tables.backend_count(view.id));
        let compared = view.filter(|_| service.select == Select::LeastConnections);
        let load = compared.map(|view| self.tables.load(view.id)).transpose()?;
        Ok(BackendStatus {
            name: backend.name.clone(),
            addr: as_written(backend.addr),
            weight: self.overrides.of(&key).1.unwrap_or(backend.weight),
            state: view.map_or_else(|| "unknown".to_owned(), |view| view.state.to_string()),
            slots: view.map_or(0, |view| count(view.slots)),
            connections: load.map(|load| load.flows),
            traffic: counted.map(traffic).unwrap_or_default(),
            next_hop,
            next_hop_error,
            health: health(service.health.as_ref(), self.checks.evidence(&key)),
        })
    }

    /// The way to a backend, or why there is none.
    fn next_hop(&self, backend: &Backend, names: &[Link]) -> (Option<String>, Option<String>) {
        match self.resolver.next_hops.borrow().get(&backend.addr.ip()) {
            Some(Ok(hop))
                if self.interfaces.bare().iter().any(|bare| bare == name_of(hop.ifindex, names)) =>
            {
                (None, Some(format!("it is behind `{}`, which is not balanced", name_of(hop.ifindex, names))))
            }
            Some(Ok(hop)) => (Some(hop.describe(name_of(hop.ifindex, names))), None),
            Some(Err(why)) => (None, Some(why.to_string())),
            None => (None, None),
        }
    }
}

/// Port 0 stands for none.
fn as_written(addr: SocketAddr) -> String {
    if addr.port() == 0 { addr.ip().to_string() } else { addr.to_string() }
}

fn name_of(index: u32, names: &[Link]) -> &str {
    names.iter().find(|link| link.index == index).map_or("?", |link| link.name.as_str())
}

fn traffic(count: BackendCount) -> Traffic {
    Traffic {
        packets: count.forward.packets,
        bytes: count.forward.bytes,
        new_flows: count.new_flows,
        reply_packets: count.reply.packets,
        reply_bytes: count.reply.bytes,
    }
}

/// What a check found, of a backend that has one.
pub(super) fn health(check: Option<&Check>, evidence: Option<Evidence>) -> HealthStatus {
    let check = match check.map(|check| &check.kind) {
        None => "none".to_owned(),
        Some(CheckKind::Tcp) => "tcp".to_owned(),
        Some(CheckKind::Http { path, .. }) => format!("http {path}"),
    };
    let Some(evidence) = evidence else { return HealthStatus { check, ..HealthStatus::default() } };
    let ago = |at: Instant| millis(at.elapsed());
    HealthStatus {
        check,
        changed_ms_ago: Some(ago(evidence.since)),
        last_probe_ms_ago: evidence.last_probe.map(ago),
        latency_us: evidence.latency.map(|latency| u64::try_from(latency.as_micros()).unwrap_or(u64::MAX)),
        error: evidence.error.as_ref().map(ToString::to_string),
        successes: evidence.successes,
        failures: evidence.failures,
        transitions: evidence.transitions,
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
