//! The rules of one health check.

use std::ops::Range;

use super::super::bounds::{DEFAULT_FALL, DEFAULT_INTERVAL, DEFAULT_JITTER, DEFAULT_RISE, DEFAULT_TIMEOUT};
use super::super::duration::Written;
use super::super::finding::{Finding, Report};
use super::super::found::Found;
use super::super::model::{Check, CheckKind, Forward, Protocol, StatusRange};
use super::super::raw::{self, Health};

/// A part of the check is unfit, which has been reported.
pub(super) struct Unfit;

/// The service's check, `None` if it is to have none.
pub(super) fn build(service: &raw::Service, report: &mut Report) -> Result<Option<Check>, Unfit> {
    let protocol = service.protocol.or(Protocol::Tcp);
    match &service.health {
        Found::Unfit => Err(Unfit),
        Found::Absent if service.forward.given() == Some(&Forward::Local) => Ok(None),
        Found::Absent => Ok(default(service, protocol.ok_or(Unfit)?, report)),
        Found::Given { value: Health::None, .. } => Ok(None),
        Found::Given { value: Health::Check(check), .. } => {
            check_rules(check, protocol, report);
            self::check(check).map(Some).ok_or(Unfit)
        }
    }
}

/// The check of a service whose backends are certainly reached by TCP.
pub(super) fn build_tcp(health: &Found<Health>, report: &mut Report) -> Result<Option<Check>, Unfit> {
    match health {
        Found::Unfit => Err(Unfit),
        Found::Absent => Ok(Some(Check::default())),
        Found::Given { value: Health::None, .. } => Ok(None),
        Found::Given { value: Health::Check(check), .. } => {
            check_rules(check, Some(Protocol::Tcp), report);
            self::check(check).map(Some).ok_or(Unfit)
        }
    }
}

/// What a service gets that says nothing about health.
fn default(service: &raw::Service, protocol: Protocol, report: &mut Report) -> Option<Check> {
    match protocol {
        Protocol::Tcp => Some(Check::default()),
        Protocol::Udp => {
            report.add(
                Finding::warning(service.span.clone(), format!("{} has no health check", service.title()))
                    .label("a dead backend will keep its share of the flows")
                    .help(format!("{UDP_HELP}; to do without, write `health = \"none\"`")),
            );
            None
        }
    }
}

const UDP_HELP: &str =
    "name a TCP port of the backends that tells their health, as in `health = { tcp = true, port = 8081 }`";

fn check(raw: &raw::Check) -> Option<Check> {
    let interval = raw.interval.or(DEFAULT_INTERVAL)?;
    Some(Check {
        kind: kind(raw)?,
        port: raw.port.clone().map(Some).or(None)?,
        interval,
        timeout: raw.timeout.or(DEFAULT_TIMEOUT.min(interval))?,
        rise: raw.rise.or(DEFAULT_RISE)?,
        fall: raw.fall.or(DEFAULT_FALL)?,
        jitter: raw.jitter.or(DEFAULT_JITTER)?,
    })
}

fn kind(raw: &raw::Check) -> Option<CheckKind> {
    match &raw.http {
        Found::Unfit => None,
        Found::Absent => raw.tcp.given().map(|_| CheckKind::Tcp),
        Found::Given { value: path, .. } => Some(CheckKind::Http {
            path: path.clone(),
            status: raw.status.or(StatusRange::default())?,
            host: raw.host.clone().map(Some).or(None)?,
        }),
    }
}

fn check_rules(raw: &raw::Check, protocol: Option<Protocol>, report: &mut Report) {
    check_kind(raw, report);
    check_http_only(raw, report);
    check_timeout(raw, report);
    check_udp_port(raw, protocol, report);
}

/// Exactly one of `http` and `tcp`, and `tcp` true.
fn check_kind(raw: &raw::Check, report: &mut Report) {
    match (&raw.http, &raw.tcp) {
        (Found::Absent, Found::Absent) => report.add(
            Finding::shape(raw.span.clone(), "the health check has neither `http` nor `tcp`")
                .label("expected one of them")
                .help("add `tcp = true`, or a path as in `http = \"/healthz\"`"),
        ),
        (_, Found::Given { span, value: false }) => report.add(
            Finding::value(span.clone(), "`tcp = false` asks for nothing")
                .label("expected `tcp = true`, or no `tcp`")
                .help("remove it; for no health check at all write `health = \"none\"`"),
        ),
        (Found::Given { span: http, .. }, Found::Given { span: tcp, .. }) => report.add(
            Finding::value(tcp.clone(), "the health check has both `http` and `tcp`")
                .label("expected one of them")
                .also(http.clone(), "the other")
                .help("remove `tcp`: an HTTP check needs a connection anyway"),
        ),
        _ => {}
    }
}

fn check_http_only(raw: &raw::Check, report: &mut Report) {
    if !matches!(raw.http, Found::Absent) || matches!(raw.tcp, Found::Absent) {
        return;
    }
    let status = raw.status.spanned().map(|(span, _)| ("status", span));
    let host = raw.host.spanned().map(|(span, _)| ("host", span));
    for (key, span) in status.into_iter().chain(host) {
        report.add(without_http(key, span));
    }
}

fn without_http(key: &str, span: Range<usize>) -> Finding {
    Finding::value(span, format!("`{key}` has no meaning in a `tcp` check"))
        .label("expected only with `http`")
        .help(format!("remove `{key}`, or replace `tcp` by a path as in `http = \"/healthz\"`"))
}

/// Probes of one backend must not overlap.
fn check_timeout(raw: &raw::Check, report: &mut Report) {
    let Some((span, &timeout)) = raw.timeout.spanned() else { return };
    let Some(interval) = raw.interval.or(DEFAULT_INTERVAL).filter(|&interval| timeout > interval) else {
        return;
    };
    let finding = Finding::value(span, format!("`timeout` is longer than `interval`, {}", Written(interval)))
        .label(format!("expected at most \"{}\"", Written(interval)))
        .help(format!("shorten it, or write `interval = \"{}\"`", Written(timeout)));
    report.add(match raw.interval.spanned() {
        Some((interval, _)) => finding.also(interval, "the interval"),
        None => finding,
    });
}

/// The backend's own port speaks UDP; no check of ours does.
fn check_udp_port(raw: &raw::Check, protocol: Option<Protocol>, report: &mut Report) {
    if protocol == Some(Protocol::Udp) && matches!(raw.port, Found::Absent) {
        report.add(
            Finding::value(raw.span.clone(), "a TCP or HTTP check of a UDP service needs a port of its own")
                .label("expected the key `port`")
                .help(UDP_HELP),
        );
    }
}
