//! The rules of one service.

use std::ops::Range;

use super::super::bounds::{DEFAULT_GUE_PORT, DEFAULT_IDLE, DEFAULT_SERVER_ID_BYTES};
use super::super::finding::{Finding, Report};
use super::super::found::Found;
use super::super::guard::ServiceGuard;
use super::super::model::{Forward, Protocol, Select, Service, Tracking, whole};
use super::super::raw;
use super::super::source::Source;
use super::{backends, guard, health, vip};

/// The service, unless a part of it is missing or unfit.
pub(super) fn build(
    raw: &raw::Service,
    guard: ServiceGuard,
    source: &Source<'_>,
    report: &mut Report,
) -> Option<Service> {
    check_tracking(raw, report);
    check_mode(raw, report);
    check_dnat(raw, report);
    check_select(raw, report);
    guard::check(raw, guard, report);
    backends::check(raw, report);
    let health = health::build(raw, report);
    Some(Service {
        name: raw.name.given()?.clone(),
        vip: vip(raw)?.1,
        forward: *raw.forward.given()?,
        select: raw.select.or(Select::Maglev)?,
        gue_port: raw.gue_port.or(DEFAULT_GUE_PORT)?,
        server_id_bytes: raw.server_id_bytes.or(DEFAULT_SERVER_ID_BYTES)?,
        listener: raw.listener.clone().map(Some).or(None)?,
        tracking: raw.tracking.or(Tracking::Auto)?,
        idle: raw.idle.or(DEFAULT_IDLE)?,
        health: health.ok()?,
        guard: guard::of_service(&raw.guard, guard)?,
        backends: backends::build(raw)?,
        line: source.line_index(raw.span.start) + 1,
    })
}

/// A key that has a meaning in one mode only.
fn check_belongs<T>(found: &Found<T>, key: &str, belongs: bool, where_: &str, report: &mut Report) {
    if let Some((span, _)) = found.spanned().filter(|_| !belongs) {
        report.add(
            Finding::value(span, format!("`{key}` has no meaning here"))
                .label(format!("expected only with {where_}"))
                .help(format!("remove `{key}`, or write {where_}")),
        );
    }
}

fn check_mode(raw: &raw::Service, report: &mut Report) {
    let Some(forward) = raw.forward.given().copied() else { return };
    check_belongs(&raw.gue_port, "gue_port", forward == Forward::DsrGue, "`forward = \"dsr-gue\"`", report);
    check_belongs(&raw.listener, "listener", forward == Forward::Local, "`forward = \"local\"`", report);
    let (has_backends, others) = (forward != Forward::Local, "a `forward` that has backends");
    check_belongs(&raw.select, "select", has_backends, others, report);
    check_belongs(&raw.tracking, "tracking", has_backends, others, report);
    check_belongs(&raw.idle, "idle", has_backends, others, report);
    check_belongs(&raw.health, "health", has_backends, others, report);
}

/// One address: by its endpoint alone nobody could tell which of a prefix a backend answers for.
fn check_dnat(raw: &raw::Service, report: &mut Report) {
    let Some((span, vip)) = raw.vip.spanned().filter(|(_, vip)| !vip.is_address()) else { return };
    if raw.forward.given() == Some(&Forward::Dnat) && !raw.knows_answers_by_record() {
        report.add(
            Finding::value(span, format!("`forward = \"dnat\"` cannot serve the prefix {vip}"))
                .label("expected one address: an answer does not tell which of them was asked")
                .help("write `tracking = \"always\"`, by which answers are known, or a service for each address, with servers or ports of its own"),
        );
    }
}

fn check_select(raw: &raw::Service, report: &mut Report) {
    let quic = matches!(raw.select, Found::Unfit | Found::Given { value: Select::Quic, .. });
    check_belongs(&raw.server_id_bytes, "server_id_bytes", quic, "`select = \"quic\"`", report);
    let Some((span, select)) = raw.select.spanned() else { return };
    match select {
        Select::Quic => check_quic(raw, span, report),
        Select::SourceHash { bits } => check_bits(raw, span, *bits, report),
        select if select.needs_records() => check_records(raw, span, *select, report),
        _ => {}
    }
}

fn check_bits(raw: &raw::Service, span: Range<usize>, bits: u8, report: &mut Report) {
    let widest = raw.vip.given().map_or(128, |vip| whole(vip.addr));
    // All bits stand for the whole address of either family.
    if bits > widest && bits != 128 {
        report.add(
            Finding::value(span, format!("an address of the VIP's family has no {bits} bits"))
                .label(format!("expected at most {widest}"))
                .help("write `select = \"source-hash\"` for the whole address"),
        );
    }
}

/// Connection identifiers are those of a protocol over UDP, and lead to any backend at any time.
fn check_quic(raw: &raw::Service, span: Range<usize>, report: &mut Report) {
    if raw.protocol.or(Protocol::Tcp) == Some(Protocol::Tcp) {
        report.add(
            Finding::value(span.clone(), "QUIC is no protocol over TCP")
                .label("expected a service with `protocol = \"udp\"`")
                .help("write `protocol = \"udp\"`"),
        );
    }
    if raw.forward.given().is_some_and(|forward| !forward.keeps_destination()) {
        report.add(
            Finding::value(span, "`select = \"quic\"` needs a mode that can send any backend any packet")
                .label("expected `dsr-l2`, `dsr-ipip` or `dsr-gue`")
                .help("use one of these modes, or another `select`"),
        );
    }
}

fn check_records(raw: &raw::Service, span: Range<usize>, select: Select, report: &mut Report) {
    if let Some((tracking, _)) = raw.tracking.spanned().filter(|(_, tracking)| **tracking == Tracking::Never)
    {
        report.add(
            Finding::value(span, format!("`select = \"{select}\"` does not go with `tracking = \"never\"`"))
                .label("expected a selector by hash, or another `tracking`")
                .also(tracking, "nothing but a record tells the backend of such a flow")
                .help("remove `tracking`, or select by hash as `maglev` does"),
        );
    }
}

/// The way back of full NAT is found in the flow's record and nowhere else.
fn check_tracking(raw: &raw::Service, report: &mut Report) {
    let never = raw.tracking.spanned().filter(|(_, tracking)| **tracking == Tracking::Never);
    let nat = raw.forward.spanned().filter(|(_, forward)| **forward == Forward::Nat);
    if let (Some((tracking, _)), Some((forward, _))) = (never, nat) {
        report.add(
            Finding::value(tracking, "`tracking = \"never\"` does not go with `forward = \"nat\"`")
                .label("expected \"auto\" or \"always\"")
                .also(forward, "full NAT finds the client of an answer in the flow's record")
                .help("remove `tracking`, or use `forward = \"dsr-ipip\"`"),
        );
    }
}
