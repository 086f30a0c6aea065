//! Names that must be unique, and names that must exist.

use std::ops::Range;

use super::super::super::finding::{Finding, Report};
use super::super::super::found::Found;
use super::super::super::raw;
use super::super::super::suggest::nearest;
use super::super::super::value::quoted;
use super::super::duplicates;

pub(super) fn check(raw: &raw::File, report: &mut Report) {
    unique("listeners", raw.listeners.iter().map(|listener| &listener.name), report);
    unique("routes", raw.routes.iter().map(|route| &route.name), report);
    let services = raw.services.iter().map(|service| &service.name);
    let both = services.chain(raw.http_services.iter().map(|service| &service.name));
    // Two of layer 4 have been told already.
    let l4 = raw.services.iter().filter_map(|service| service.name.given()).collect::<Vec<_>>();
    let is_new = |name: &&Found<String>| {
        let is_http = raw.http_services.iter().any(|service| std::ptr::eq(&raw const service.name, *name));
        is_http || name.given().is_some_and(|name| l4.iter().filter(|other| **other == name).count() == 1)
    };
    unique("services", both.filter(is_new), report);
    for (owner, service) in services_named(raw) {
        check_service(raw, &owner, service, report);
    }
    for route in &raw.routes {
        route
            .listeners
            .given()
            .into_iter()
            .flatten()
            .for_each(|(span, name)| check_listener(raw, span, name, report));
    }
}

fn unique<'a>(what: &str, names: impl Iterator<Item = &'a Found<String>>, report: &mut Report) {
    let names = names.filter_map(|name| name.spanned());
    duplicates(names.map(|(span, name)| (span, name.as_str())), |name, first, second| {
        report.add(
            Finding::value(second, format!("two {what} are called \"{name}\""))
                .label("expected another name")
                .also(first, "first used here")
                .help("rename one of them"),
        );
    });
}

/// Every place that names a service, with the title of whose it is.
pub(super) fn services_named(raw: &raw::File) -> impl Iterator<Item = (String, &Found<String>)> {
    let of_listeners = raw.listeners.iter().map(|listener| (listener.title(), &listener.service));
    let of_routes = raw.routes.iter().flat_map(|route| {
        let split = route.split().map(|share| &share.service);
        [&route.service, &route.mirror].into_iter().chain(split).map(|service| (route.title(), service))
    });
    of_listeners.chain(of_routes)
}

fn check_service(raw: &raw::File, owner: &str, service: &Found<String>, report: &mut Report) {
    let Some((span, name)) = service.spanned() else { return };
    let mut known = raw.http_services.iter().filter_map(|service| service.name.given());
    if known.any(|known| known == name) {
        return;
    }
    let is_l4 = raw.services.iter().any(|service| service.name.given() == Some(name));
    let message = format!("{owner} leads to {}, which is no service of kind `http`", quoted(name));
    let finding =
        Finding::value(span, message).label("expected the name of a service with `kind = \"http\"`");
    report.add(match nearest_of(name, raw.http_services.iter().map(|service| &service.name)) {
        _ if is_l4 => finding.help("that service is one of packets, which find it by its VIP: give it `kind = \"http\"`, or name another"),
        Some(meant) => finding.help(format!("did you mean \"{meant}\"?")),
        None => finding.help(format!("add a `[[service]]` with `name = \"{name}\"` and `kind = \"http\"`")),
    });
}

fn check_listener(raw: &raw::File, span: &Range<usize>, name: &str, report: &mut Report) {
    if raw.listeners.iter().any(|listener| listener.name.given().is_some_and(|known| known == name)) {
        return;
    }
    let finding = Finding::value(span.clone(), format!("there is no listener {}", quoted(name)));
    let finding = finding.label("expected the name of a `[[listener]]`");
    report.add(match nearest_of(name, raw.listeners.iter().map(|listener| &listener.name)) {
        Some(meant) => finding.help(format!("did you mean \"{meant}\"?")),
        None => finding
            .help("add such a listener, or remove the name: without `listeners` a route belongs to all"),
    });
}

fn nearest_of<'a>(name: &str, known: impl Iterator<Item = &'a Found<String>>) -> Option<&'a str> {
    nearest(name, known.filter_map(|known| known.given().map(String::as_str)))
}
