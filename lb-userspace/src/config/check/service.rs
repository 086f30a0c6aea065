//! The rules of one service.

use super::super::bounds::DEFAULT_IDLE;
use super::super::finding::{Finding, Report};
use super::super::model::{Forward, Service, Tracking};
use super::super::raw;
use super::super::source::Source;
use super::{IPV4_ONLY, backends, health, vip};

/// The service, unless a part of it is missing or unfit.
pub(super) fn build(raw: &raw::Service, source: &Source<'_>, report: &mut Report) -> Option<Service> {
    check_vip_family(raw, report);
    check_tracking(raw, report);
    backends::check(raw, report);
    let health = health::build(raw, report);
    Some(Service {
        name: raw.name.given()?.clone(),
        vip: vip(raw)?.1,
        forward: *raw.forward.given()?,
        tracking: raw.tracking.or(Tracking::Auto)?,
        idle: raw.idle.or(DEFAULT_IDLE)?,
        health: health.ok()?,
        backends: backends::build(raw)?,
        line: source.line_index(raw.span.start) + 1,
    })
}

fn check_vip_family(raw: &raw::Service, report: &mut Report) {
    if let Some((span, vip)) = raw.vip.spanned().filter(|(_, vip)| vip.is_ipv6()) {
        let message = format!("the VIP {vip} is an IPv6 address");
        report.add(Finding::value(span, message).label("expected an IPv4 address").help(IPV4_ONLY));
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
