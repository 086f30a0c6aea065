//! The way back from the backends of `dnat` services is found by where they listen, so each port there has one VIP: but among
//! services that know answers by their flows' records.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::Range;

use super::super::bounds::MAX_RANGES;
use super::super::finding::{Finding, Report};
use super::super::model::{Forward, Vip};
use super::super::raw;
use super::backends;

/// A backend, and where it listens, in the shape of a VIP.
struct Endpoint<'a> {
    service: &'a raw::Service,
    span: Range<usize>,
    at: Vip,
    /// Whether answers from there are known by their flows' records.
    by_record: bool,
}

pub(super) fn check(services: &[raw::Service], report: &mut Report) {
    let mut by_address: HashMap<IpAddr, Vec<Endpoint<'_>>> = HashMap::new();
    for endpoint in services.iter().flat_map(endpoints) {
        let others = by_address.entry(endpoint.at.addr).or_default();
        check_shared(&endpoint, others, report);
        check_count(&endpoint, others, report);
        others.push(endpoint);
    }
}

fn endpoints(service: &raw::Service) -> impl Iterator<Item = Endpoint<'_>> {
    let translates = service.forward.given() == Some(&Forward::Dnat);
    let by_record = service.knows_answers_by_record();
    let vip = super::vip(service).filter(|_| translates).map(|(_, vip)| vip);
    let endpoint = move |vip: Vip| {
        let endpoint = move |(span, addr)| Endpoint { service, span, at: vip.endpoint(addr), by_record };
        backends::addrs(service).map(endpoint)
    };
    vip.into_iter().flat_map(endpoint)
}

/// Two of one service are another rule's.
fn check_shared(endpoint: &Endpoint<'_>, others: &[Endpoint<'_>], report: &mut Report) {
    let is_rival = |other: &&Endpoint<'_>| {
        let by_record = other.by_record && endpoint.by_record;
        !std::ptr::eq(other.service, endpoint.service) && other.at.meets(&endpoint.at) && !by_record
    };
    let Some(other) = others.iter().find(is_rival) else { return };
    let shared = Vip {
        port: other.at.port.max(endpoint.at.port),
        last_port: other.at.last_port.min(endpoint.at.last_port),
        ..endpoint.at
    };
    let (one, two) = (other.service.title(), endpoint.service.title());
    report.add(
        Finding::value(endpoint.span.clone(), format!("{one} and {two} both lead to {shared} by `dnat`"))
            .label("expected ports of this service alone, by which its answers are known")
            .also(other.span.clone(), format!("{one} leads there"))
            .help("write `tracking = \"always\"` in both, by which answers are known, or let the server listen on other ports for one of them"),
    );
}

/// As many with a range of ports as are looked at for one answer.
fn check_count(endpoint: &Endpoint<'_>, others: &[Endpoint<'_>], report: &mut Report) {
    let is_range = |endpoint: &Endpoint<'_>| !endpoint.at.is_exact() && !endpoint.by_record;
    let ranges = others.iter().filter(|other| is_range(other)).count();
    if is_range(endpoint) && ranges == MAX_RANGES {
        report.add(
            Finding::value(
                endpoint.span.clone(),
                format!("more than {MAX_RANGES} `dnat` services lead to ranges of {}", endpoint.at.addr),
            )
            .label("this is one more")
            .help("join ranges that lead to the same servers, or write `tracking = \"always\"`"),
        );
    }
}
