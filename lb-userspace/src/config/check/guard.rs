//! The guard's words, laid over one another: defaults, `[guard]`, a service's own.

use super::super::bounds::DEFAULT_PREFIXES;
use super::super::finding::{Finding, Report};
use super::super::found::Found;
use super::super::guard::{Guard, ServiceGuard};
use super::super::model::{Forward, Protocol};
use super::super::raw;

/// What is common to all services.
pub(super) fn build(raw: &raw::Guard) -> Guard {
    Guard {
        allow: raw.allow.given().cloned(),
        deny: raw.deny.given().cloned(),
        bogons: raw.bogons.or(false).unwrap_or_default(),
        prefixes: raw.prefixes.or(DEFAULT_PREFIXES).unwrap_or_default(),
    }
}

/// What holds for services that say nothing.
pub(super) fn base(raw: &raw::File) -> ServiceGuard {
    let said = raw.guard.given();
    said.map_or(ServiceGuard::OFF, |guard| {
        over(&guard.of_services, ServiceGuard::DEFAULT).unwrap_or(ServiceGuard::OFF)
    })
}

/// What holds for a service, unless a part of it is unfit.
pub(super) fn of_service(
    said: &Found<Option<raw::ServiceGuard>>,
    base: ServiceGuard,
) -> Option<ServiceGuard> {
    match said {
        Found::Absent => Some(base),
        Found::Unfit => None,
        Found::Given { value: None, .. } => Some(ServiceGuard::OFF),
        Found::Given { value: Some(said), .. } if base == ServiceGuard::OFF => {
            over(said, ServiceGuard::DEFAULT)
        }
        Found::Given { value: Some(said), .. } => over(said, base),
    }
}

/// Cookies are sent in the place of this host's own listener, and only above a bound.
pub(super) fn check(raw: &raw::Service, base: ServiceGuard, report: &mut Report) {
    let Some(said) = raw.guard.given().and_then(Option::as_ref) else { return };
    let Some((span, _)) = said.syn_cookies.spanned().filter(|(_, wanted)| **wanted) else { return };
    let is_elsewhere = raw.forward.given().is_some_and(|forward| *forward != Forward::Local);
    if is_elsewhere || raw.protocol.or(Protocol::Tcp) != Some(Protocol::Tcp) {
        report.add(
            Finding::value(span, "`syn_cookies` has no meaning here")
                .label("expected only with `protocol = \"tcp\"` and `forward = \"local\"`")
                .help("remove `syn_cookies`; a backend's own listener sends cookies when its queue is full"),
        );
    } else if said.service_flows.or(base.service_flows) == Some(0) {
        report.add(
            Finding::value(span, "`syn_cookies` without a bound of new flows")
                .label("expected `service_flows` beside it")
                .help("add `service_flows = \"10k\"`: SYNs above it are answered with cookies"),
        );
    }
}

fn over(said: &raw::ServiceGuard, base: ServiceGuard) -> Option<ServiceGuard> {
    Some(ServiceGuard {
        lists: said.lists.or(base.lists)?,
        martians: said.martians.or(base.martians)?,
        land: said.land.or(base.land)?,
        malformed: said.malformed.or(base.malformed)?,
        blocks: said.blocks.or(base.blocks)?,
        source_packets: said.source_packets.or(base.source_packets)?,
        source_flows: said.source_flows.or(base.source_flows)?,
        service_flows: said.service_flows.or(base.service_flows)?,
        syn_cookies: said.syn_cookies.or(base.syn_cookies)?,
        source_v4: said.source_v4.or(base.source_v4)?,
        source_v6: said.source_v6.or(base.source_v6)?,
    })
}
