//! What values must hold together, and the model built of those that do.
//!
//! Every rule looks at what could be read and stays silent about the rest, which has been reported already.

mod backends;
mod endpoints;
mod guard;
mod health;
mod proxy;
mod service;

use std::collections::HashMap;
use std::hash::Hash;
use std::ops::Range;

use super::bounds::{DEFAULT_FLOWS, DEFAULT_FRAGMENTS, DEFAULT_SEED, MAX_BACKENDS, MAX_RANGES, MAX_SERVICES};
use super::finding::{Finding, Report};
use super::model::{Capture, Config, Encap, Limits, Nat, NatPorts, Protocol, Service, Vip};
use super::raw;
use super::source::Source;

/// The model of `raw`: whole if the report stays free of mistakes, else what is left of it.
pub(super) fn config(raw: &raw::File, source: &Source<'_>, report: &mut Report) -> Config {
    check_counts(&raw.services, report);
    check_names(&raw.services, report);
    check_vips(&raw.services, report);
    check_ranges(&raw.services, report);
    check_range_counts(&raw.services, report);
    endpoints::check(&raw.services, report);
    check_no_backend_is_a_vip(&raw.services, report);
    let services =
        raw.services.iter().map(|service| service::build(service, guard::base(raw), source, report));
    let services: Vec<Option<Service>> = services.collect();
    Config {
        services: services.into_iter().flatten().collect(),
        nat: Nat { ports: raw.ports.or(NatPorts::Auto).unwrap_or_default() },
        limits: Limits {
            flows: raw.flows.or(DEFAULT_FLOWS).unwrap_or_default(),
            fragments: raw.fragments.or(DEFAULT_FRAGMENTS).unwrap_or_default(),
            new_flows: raw.new_flows.or(0).unwrap_or_default(),
        },
        ping: raw.ping.or(true).unwrap_or_default(),
        encap: encap(raw),
        capture: capture(&raw.capture),
        seed: raw.seed.or(DEFAULT_SEED).unwrap_or_default(),
        guard: raw.guard.given().map(guard::build),
        host_guard: guard::base(raw),
        metrics: raw.metrics.given().copied(),
        proxy: proxy::build(raw, source, report),
        log_packets: raw.log_packets.or(false).unwrap_or_default(),
    }
}

fn encap(raw: &raw::File) -> Encap {
    let default = Encap::default();
    Encap {
        spread: raw.spread.or(default.spread).unwrap_or_default(),
        source_v4: raw.source_v4.or(default.source_v4).unwrap_or(default.source_v4),
        source_v6: raw.source_v6.or(default.source_v6).unwrap_or(default.source_v6),
    }
}

fn capture(raw: &raw::Capture) -> Capture {
    let default = Capture::default();
    Capture {
        enabled: raw.enabled.or(default.enabled).unwrap_or_default(),
        rate: raw.rate.or(default.rate).unwrap_or_default(),
        snap: raw.snap.or(default.snap).unwrap_or_default(),
        ring: raw.ring.or(default.ring).unwrap_or_default().next_power_of_two(),
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
    let (span, vip) = service.vip.spanned()?;
    Some((span, Vip { protocol: service.protocol.or(Protocol::Tcp)?, ..*vip }))
}

/// On one address or prefix a port belongs to one service, but that the more special of two wins: a port before a range,
/// a range before all.
fn check_ranges(services: &[raw::Service], report: &mut Report) {
    let vips: Vec<_> = services.iter().filter_map(vip).collect();
    for (at, (span, one)) in vips.iter().enumerate() {
        let mut rivals = vips.iter().take(at).filter(|(_, other)| contend(one, other));
        if let Some((other_span, other)) = rivals.next() {
            report.add(
                Finding::value(span.clone(), format!("the ports of {one} are in part those of {other}"))
                    .label("expected other ports, or all of them as `*`")
                    .also(other_span.clone(), "the other service")
                    .help(
                        "let the ranges not meet; a single port goes before a range, and a range before `*`",
                    ),
            );
        }
    }
}

fn contend(one: &Vip, other: &Vip) -> bool {
    let same = (one.addr, one.bits, one.protocol) == (other.addr, other.bits, other.protocol);
    let rank = |vip: &Vip| (vip.port != vip.last_port, (vip.port, vip.last_port) == (1, u16::MAX));
    same && one != other
        && rank(one) == rank(other)
        && one.port <= other.last_port
        && other.port <= one.last_port
}

/// As many port ranges as are looked at for one packet, those of the prefixes around an address included.
fn check_range_counts(services: &[raw::Service], report: &mut Report) {
    let vips: Vec<_> = services.iter().filter_map(vip).collect();
    for (span, vip) in &vips {
        let on = |other: &&(Range<usize>, Vip)| {
            other.1.bits <= vip.bits && other.1.covers(vip.addr) && !other.1.is_exact()
        };
        let count = vips.iter().filter(on).count();
        if count > MAX_RANGES {
            report.add(
                Finding::value(span.clone(), format!("{count} services meet on {}", vip.addr))
                    .label(format!("expected at most {MAX_RANGES} with a range, `*` or a prefix"))
                    .help("join ranges that lead to the same backends"),
            );
            return;
        }
    }
}

fn check_no_backend_is_a_vip(services: &[raw::Service], report: &mut Report) {
    let vips: Vec<_> = services.iter().filter_map(|service| service.vip.spanned()).collect();
    let backends = services.iter().flat_map(raw::Service::backends);
    for (span, addr) in backends.filter_map(|backend| backend.addr.spanned()) {
        if let Some((vip, _)) = vips.iter().find(|(_, vip)| vip.covers(addr.ip())) {
            report.add(
                Finding::value(span, format!("the backend's address {} is a VIP", addr.ip()))
                    .label("expected the address of a server")
                    .also(vip.clone(), "the VIP")
                    .help("a VIP is the balancer's: packets would go round in circles; write the backend's own address"),
            );
        }
    }
}
