//! What values must hold together, and the model built of those that do.
//!
//! Every rule looks at what could be read and stays silent about the rest, which has been reported already.

mod backends;
mod health;
mod service;

use std::collections::HashMap;
use std::hash::Hash;
use std::ops::Range;

use super::bounds::{DEFAULT_FLOWS, DEFAULT_SEED, MAX_BACKENDS, MAX_SERVICES};
use super::finding::{Finding, Report};
use super::model::{Config, Limits, Nat, NatPorts, Protocol, Service, Vip};
use super::raw;
use super::source::Source;

/// What is said of every IPv6 address: the types are ready for it, the packet path is not.
const IPV4_ONLY: &str = "IPv6 is not forwarded yet: this version balances IPv4 only";

/// The model of `raw`: whole if the report stays free of mistakes, else what is left of it.
pub(super) fn config(raw: &raw::File, source: &Source<'_>, report: &mut Report) -> Config {
    check_counts(&raw.services, report);
    check_names(&raw.services, report);
    check_vips(&raw.services, report);
    check_no_backend_is_a_vip(&raw.services, report);
    let services = raw.services.iter().map(|service| service::build(service, source, report));
    let services: Vec<Option<Service>> = services.collect();
    Config {
        services: services.into_iter().flatten().collect(),
        nat: Nat { ports: raw.ports.or(NatPorts::Auto).unwrap_or_default() },
        limits: Limits { flows: raw.flows.or(DEFAULT_FLOWS).unwrap_or_default() },
        seed: raw.seed.or(DEFAULT_SEED).unwrap_or_default(),
        log_packets: raw.log_packets.or(false).unwrap_or_default(),
    }
}

/// Calls `twice` with key, first place and second place for every key that was there before.
fn duplicates<K: Copy + Eq + Hash>(
    items: impl IntoIterator<Item = (Range<usize>, K)>,
    mut twice: impl FnMut(K, Range<usize>, Range<usize>),
) {
    let mut seen = HashMap::new();
    for (span, key) in items {
        match seen.get(&key) {
            Some(first) => twice(key, Range::clone(first), span),
            None => _ = seen.insert(key, span),
        }
    }
}

fn check_counts(services: &[raw::Service], report: &mut Report) {
    if let Some(service) = services.get(MAX_SERVICES) {
        report.add(too_many("services", services.len(), MAX_SERVICES, service.span.clone()));
    }
    let mut backends = services.iter().flat_map(raw::Service::backends);
    if let Some(backend) = backends.nth(MAX_BACKENDS) {
        let count = MAX_BACKENDS + 1 + backends.count();
        report.add(too_many("backends", count, MAX_BACKENDS, backend.span.clone()));
    }
}

fn too_many(what: &str, count: usize, most: usize, first: Range<usize>) -> Finding {
    Finding::value(first, format!("{count} {what} are more than the kernel's tables hold"))
        .label(format!("expected at most {most}, this is one more"))
        .help("spread them over several balancers")
}

fn check_names(services: &[raw::Service], report: &mut Report) {
    let names = services.iter().filter_map(|service| service.name.spanned());
    duplicates(names.map(|(span, name)| (span, name.as_str())), |name, first, second| {
        let finding = Finding::value(second, format!("two services are called \"{name}\""));
        report.add(
            finding.label("expected another name").also(first, "first used here").help("rename one of them"),
        );
    });
}

fn check_vips(services: &[raw::Service], report: &mut Report) {
    duplicates(services.iter().filter_map(vip), |vip, first, second| {
        report.add(
            Finding::value(second, format!("two services have the VIP {vip}"))
                .label("expected another address, port or protocol")
                .also(first, "first used here")
                .help("put the backends of both under one service, or change one VIP"),
        );
    });
}

fn vip(service: &raw::Service) -> Option<(Range<usize>, Vip)> {
    let (span, addr) = service.vip.spanned()?;
    Some((span, Vip { addr: addr.ip(), port: addr.port(), protocol: service.protocol.or(Protocol::Tcp)? }))
}

fn check_no_backend_is_a_vip(services: &[raw::Service], report: &mut Report) {
    let vips = services.iter().filter_map(|service| service.vip.spanned());
    let vips: HashMap<_, _> = vips.map(|(span, vip)| (vip.ip(), span)).collect();
    let backends = services.iter().flat_map(raw::Service::backends);
    for (span, addr) in backends.filter_map(|backend| backend.addr.spanned()) {
        if let Some(vip) = vips.get(&addr.ip()) {
            report.add(
                Finding::value(span, format!("the backend's address {} is a VIP", addr.ip()))
                    .label("expected the address of a server")
                    .also(vip.clone(), "the VIP")
                    .help("a VIP is the balancer's: packets would go round in circles; write the backend's own address"),
            );
        }
    }
}
