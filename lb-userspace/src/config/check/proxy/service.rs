//! The rules of services of kind `http`.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use super::super::super::bounds::DEFAULT_WEIGHT;
use super::super::super::finding::{Finding, Report};
use super::super::super::found::Found;
use super::super::super::proxy::{
    Backend, Balance, BalanceWord, HashOn, Outliers, Pool, Queue, Retries, Service, UpstreamDeadlines,
    UpstreamTls,
};
use super::super::super::raw;
use super::super::super::raw::proxy::{self, optional};
use super::super::{duplicates, health};
use super::{listener, span, useless};

/// What backends, VIPs and listeners must be to one another.
pub(super) fn check(raw: &raw::File, report: &mut Report) {
    let vips: Vec<_> = raw.services.iter().filter_map(|service| service.vip.spanned()).collect();
    let listeners: Vec<_> = listener::addresses(raw).collect();
    for (span, addr) in raw.http_services.iter().flat_map(addrs) {
        let vip = vips.iter().find(|(_, vip)| vip.covers(addr.ip())).map(|(vip, _)| (vip, "the VIP"));
        let own =
            listeners.iter().find(|(_, listener)| *listener == addr).map(|(at, _)| (at, "the listener"));
        if let Some((at, what)) = vip.or(own) {
            report.add(
                Finding::value(span, format!("the backend's address {addr} is this balancer's own"))
                    .label("expected the address of a server")
                    .also(at.clone(), what)
                    .help("requests would go round in circles; write the backend's own address"),
            );
        }
    }
}

/// The service, unless a part of it is missing or unfit.
pub(super) fn build(raw: &proxy::Service, line: usize, report: &mut Report) -> Option<Service> {
    check_backends(raw, report);
    check_certificate(raw, report);
    check_hash_on(raw, report);
    let health = health::build_tcp(&raw.health, report);
    Some(Service {
        name: raw.name.given()?.clone(),
        balance: balance(raw)?,
        sticky: optional(&raw.sticky)?,
        health: health.ok()?,
        max_connections: raw.max_connections.or(0)?,
        queue: raw.queue.or(Queue::DEFAULT)?,
        slow_start: raw.slow_start.or(Duration::ZERO)?,
        pool: raw.pool.or(Pool::DEFAULT)?,
        deadlines: raw.deadlines.or(UpstreamDeadlines::DEFAULT)?,
        retries: raw.retries.or(Retries::DEFAULT)?,
        outliers: raw.outliers.or(Some(Outliers::DEFAULT))?,
        tls: optional(&raw.tls)?.map_or(Some(None), |tls| tls_of(&tls).map(Some))?,
        proxy_protocol: optional(&raw.proxy_protocol)?,
        http2: raw.http2.or(false)?,
        host: optional(&raw.host)?,
        backends: raw.backends().map(backend).collect::<Option<_>>()?,
        line,
    })
}

fn backend(raw: &proxy::Backend) -> Option<Backend> {
    Some(Backend {
        name: raw.name.given()?.clone(),
        addr: *raw.addr.given()?,
        weight: raw.weight.or(DEFAULT_WEIGHT)?,
        drain: raw.drain.or(false)?,
    })
}

fn balance(raw: &proxy::Service) -> Option<Balance> {
    Some(match raw.balance.or(BalanceWord::P2c)? {
        BalanceWord::P2c => Balance::P2c,
        BalanceWord::RoundRobin => Balance::RoundRobin,
        BalanceWord::LeastConnections => Balance::LeastConnections,
        BalanceWord::IpHash => Balance::IpHash,
        BalanceWord::Hash => Balance::Hash(raw.hash_on.or(HashOn::Path)?),
    })
}

fn tls_of(raw: &proxy::UpstreamTls) -> Option<UpstreamTls> {
    Some(UpstreamTls {
        ca: optional(&raw.ca)?,
        sni: optional(&raw.sni)?,
        certificate: optional(&raw.cert)?.zip(optional(&raw.key)?),
        verify: raw.verify.or(true)?,
    })
}

fn addrs(service: &proxy::Service) -> impl Iterator<Item = (Range<usize>, SocketAddr)> {
    service.backends().filter_map(|backend| backend.addr.spanned()).map(|(span, addr)| (span, *addr))
}

fn check_backends(raw: &proxy::Service, report: &mut Report) {
    if !matches!(raw.backends, Found::Unfit) && raw.backends().next().is_none() {
        report.add(
            Finding::shape(raw.span.clone(), format!("{} has no backend", raw.title()))
                .label("expected at least one `[[service.backend]]` below")
                .help("add a backend; for a fixed answer write a `[[route]]` with `respond`"),
        );
    }
    let names = raw.backends().filter_map(|backend| backend.name.spanned());
    check_unique(raw, "are called", names.map(|(span, name)| (span, format!("\"{name}\""))), report);
    check_unique(raw, "have the address", addrs(raw).map(|(span, addr)| (span, addr.to_string())), report);
    let drained = raw.backends().all(|backend| backend.drain.given() == Some(&true));
    if drained && raw.backends().next().is_some() {
        report.add(
            Finding::warning(raw.span.clone(), format!("all backends of {} are draining", raw.title()))
                .label("new requests will be answered with 503")
                .help("remove `drain` from one of them"),
        );
    }
}

fn check_unique(
    raw: &proxy::Service,
    have: &str,
    items: impl Iterator<Item = (Range<usize>, String)>,
    report: &mut Report,
) {
    let items: Vec<_> = items.collect();
    let borrowed = items.iter().map(|(span, item)| (span.clone(), item.as_str()));
    duplicates(borrowed, |item, first, second| {
        report.add(
            Finding::value(second, format!("two backends of {} {have} {item}", raw.title()))
                .label("expected another")
                .also(first, "first used here")
                .help("change or remove one of them"),
        );
    });
}

fn check_hash_on(raw: &proxy::Service, report: &mut Report) {
    let hashes = raw.balance.given() == Some(&BalanceWord::Hash);
    match &raw.hash_on {
        Found::Absent if hashes => {
            let at = span(&raw.balance).unwrap_or(raw.span.clone());
            report.add(
                Finding::shape(at, "`balance = \"hash\"` does not say of what")
                    .label("expected `hash_on` beside it")
                    .help("add `hash_on = \"path\"`, or a field as in `hash_on = \"header:x-user\"`"),
            );
        }
        found if !hashes && !matches!(raw.balance, Found::Unfit) => {
            useless(found, "hash_on", "with `balance = \"hash\"`", report);
        }
        _ => {}
    }
}

fn check_certificate(raw: &proxy::Service, report: &mut Report) {
    let Some(tls) = raw.tls.given() else { return };
    let (alone, other) = match (&tls.cert, &tls.key) {
        (Found::Given { span, .. }, Found::Absent) => (span.clone(), "key"),
        (Found::Absent, Found::Given { span, .. }) => (span.clone(), "cert"),
        _ => return,
    };
    report.add(
        Finding::shape(alone, "a certificate needs both `cert` and `key`")
            .label(format!("expected `{other}` beside it"))
            .help(format!("add `{other}`")),
    );
}
