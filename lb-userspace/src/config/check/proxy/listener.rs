//! The rules of listeners.

use std::net::SocketAddr;
use std::ops::Range;

use super::super::super::finding::{Finding, Report};
use super::super::super::found::Found;
use super::super::super::model::{Forward, Protocol};
use super::super::super::proxy::{AccessLog, ClientDeadlines, ClientLimits, Listener, Tls, TlsVersion};
use super::super::super::raw;
use super::super::super::raw::proxy::{self, optional, values};
use super::super::{duplicates, vip};
use super::useless;

/// What listeners and VIPs must be to one another.
pub(super) fn check(raw: &raw::File, report: &mut Report) {
    duplicates(addresses(raw), |addr, first, second| {
        report.add(
            Finding::value(second, format!("two listeners have the address {addr}"))
                .label("expected another address or port")
                .also(first, "first used here")
                .help("keep one of them, and part its requests by routes"),
        );
    });
    for (span, addr) in addresses(raw) {
        if let Some(vip) = vip_that_takes(raw, addr) {
            report.add(
                Finding::value(span, format!("connections to {addr} never come to this listener"))
                    .label("expected an address that is no VIP of another service")
                    .also(vip, "this VIP takes them")
                    .help(format!("give that service `forward = \"local\"` and `listener = \"{addr}\"`, or listen elsewhere")),
            );
        }
    }
    if let Some((span, addr)) = raw.metrics.spanned() {
        check_metrics(raw, (span, *addr), report);
    }
}

/// Metrics are served by a socket of their own.
fn check_metrics(raw: &raw::File, (span, addr): (Range<usize>, SocketAddr), report: &mut Report) {
    let taken = addresses(raw).find(|(_, listened)| is_shared(*listened, addr));
    let taken = taken.map(|(listener, _)| (listener, "the listener", "is a listener's"));
    let steered = || vip_that_takes(raw, addr).map(|vip| (vip, "this VIP takes its connections", "is a VIP"));
    if let Some((other, whose, why)) = taken.or_else(steered) {
        report.add(
            Finding::value(span, format!("the address of metrics, {addr}, {why}"))
                .label("expected an address or port of its own")
                .also(other, whose)
                .help("serve them elsewhere, as in `address = \"127.0.0.1:9090\"`"),
        );
    }
}

/// Whether two sockets cannot both listen.
fn is_shared(one: SocketAddr, other: SocketAddr) -> bool {
    let either_is_all = one.ip().is_unspecified() || other.ip().is_unspecified();
    one == other || one.port() == other.port() && one.is_ipv4() == other.is_ipv4() && either_is_all
}

fn vip_that_takes(raw: &raw::File, addr: SocketAddr) -> Option<Range<usize>> {
    let rival = raw.services.iter().find(|service| takes_connections_of(service, addr))?;
    rival.vip.spanned().map(|(span, _)| span)
}

/// All addresses that are listened on.
pub(super) fn addresses(raw: &raw::File) -> impl Iterator<Item = (Range<usize>, SocketAddr)> {
    let all = raw.listeners.iter().filter_map(|listener| listener.addresses.given()).flatten();
    all.map(|(span, addr)| (span.clone(), *addr))
}

/// Whether a service of packets takes what clients send to this very address: one that leads to the host's own stack leaves it to
/// the listener unless it names another socket.
fn takes_connections_of(service: &raw::Service, addr: SocketAddr) -> bool {
    let Some((_, vip)) = vip(service).filter(|(_, vip)| vip.protocol == Protocol::Tcp) else { return false };
    let elsewhere = service.listener.given().is_some_and(|listener| !is_reached_by(addr, *listener));
    let steered = service.forward.given() != Some(&Forward::Local) || elsewhere;
    steered && vip.covers(addr.ip()) && (vip.port..=vip.last_port).contains(&addr.port())
}

fn is_reached_by(addr: SocketAddr, listener: SocketAddr) -> bool {
    addr.port() == listener.port() && (addr.ip() == listener.ip() || listener.ip().is_unspecified())
}

/// The listener, unless a part of it is missing or unfit.
pub(super) fn build(
    raw: &proxy::Listener,
    log: Option<&AccessLog>,
    line: usize,
    report: &mut Report,
) -> Option<Listener> {
    check_addresses(raw, report);
    check_scheme(raw, report);
    check_line(raw, report);
    let tls = raw.tls.given().map(|tls| build_tls(tls, report));
    Some(Listener {
        name: raw.name.given()?.clone(),
        addresses: values(raw.addresses.given()?),
        http2: raw.http2.or(tls.is_some())?,
        tls: if matches!(raw.tls, Found::Unfit) {
            None
        } else {
            tls.map_or(Some(None), |tls| tls.map(Some))
        }?,
        proxy_protocol: raw.proxy_protocol.clone().map(|places| values(&places)).or(Vec::new())?,
        access_log: raw.access_log.or(log.cloned())?,
        limits: raw.limits.or(ClientLimits::DEFAULT)?,
        deadlines: raw.deadlines.or(ClientDeadlines::DEFAULT)?,
        service: optional(&raw.service)?,
        redirect_to_https: optional(&raw.redirect_to_https)?,
        hsts: optional(&raw.hsts)?,
        line,
    })
}

fn build_tls(raw: &proxy::Tls, report: &mut Report) -> Option<Tls> {
    let none = match &raw.certificates {
        Found::Given { value, .. } => value.is_empty(),
        Found::Absent => true,
        Found::Unfit => false,
    };
    if none {
        report.add(
            Finding::shape(raw.span.clone(), "`tls` has no certificate")
                .label("expected at least one")
                .help("add `certificates = [{ cert = \"/etc/lb/www.pem\", key = \"/etc/lb/www.key\" }]`"),
        );
    }
    Some(Tls {
        certificates: raw.certificates.given()?.iter().cloned().collect::<Option<_>>()?,
        min_version: raw.min_version.or(TlsVersion::V12)?,
        client: optional(&raw.client)?,
        tickets: raw.tickets.or(true)?,
    })
}

fn check_addresses(raw: &proxy::Listener, report: &mut Report) {
    if let Some((span, _)) = raw.addresses.spanned().filter(|(_, addresses)| addresses.is_empty()) {
        report.add(
            Finding::value(span, format!("{} has no address", raw.title()))
                .label("expected at least one")
                .help("write `addresses = [\"0.0.0.0:80\", \"[::]:80\"]`"),
        );
    }
}

/// What means something by TLS alone, or without it alone.
fn check_scheme(raw: &proxy::Listener, report: &mut Report) {
    match &raw.tls {
        Found::Absent => useless(&raw.hsts, "hsts", "with `tls`", report),
        _ => useless(&raw.redirect_to_https, "redirect_to_https", "without `tls`", report),
    }
    if raw.redirect_to_https.spanned().is_some() {
        useless(&raw.service, "service", "without `redirect_to_https`, which answers everything", report);
    }
}

fn check_line(raw: &proxy::Listener, report: &mut Report) {
    if let Some((span, limits)) = raw.limits.spanned().filter(|(_, limits)| limits.line > limits.head) {
        report.add(
            Finding::value(span, format!("`line` is more than `head`, {} bytes", limits.head))
                .label("expected a request line that fits into a head")
                .help("raise `head`, or lower `line`"),
        );
    }
}
