//! The guard's words, laid over one another: defaults, `[guard]`, a service's own.

use super::super::bounds::DEFAULT_PREFIXES;
use super::super::found::Found;
use super::super::guard::{Guard, ServiceGuard};
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
        source_v4: said.source_v4.or(base.source_v4)?,
        source_v6: said.source_v6.or(base.source_v6)?,
    })
}
