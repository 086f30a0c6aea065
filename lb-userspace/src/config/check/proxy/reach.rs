//! Routes that nothing comes to, services that nobody leads to, listeners that lead nowhere.

use std::collections::HashMap;

use super::super::super::finding::{Finding, Report};
use super::super::super::found::Found;
use super::super::super::proxy::HostPattern;
use super::super::super::raw::{self, proxy};
use super::names::services_named;

pub(super) fn check(raw: &raw::File, report: &mut Report) {
    check_routes(raw, report);
    check_services(raw, report);
    check_listeners(raw, report);
}

/// Two routes of one host and path, of which the earlier takes all that the later could.
fn check_routes(raw: &raw::File, report: &mut Report) {
    let mut on: HashMap<(Option<HostPattern>, String), Vec<&proxy::Route>> = HashMap::new();
    for route in &raw.routes {
        let mut hidden = None;
        for host in hosts(route) {
            let rivals = on.entry((host.clone(), path(route))).or_default();
            hidden = hidden
                .or_else(|| rivals.iter().find(|rival| hides(rival, route)).map(|rival| (*rival, host)));
            rivals.push(route);
        }
        if let Some((rival, host)) = hidden {
            report.add(unreachable(route, rival, host.as_ref()));
        }
    }
}

fn unreachable(route: &proxy::Route, rival: &proxy::Route, host: Option<&HostPattern>) -> Finding {
    let of_host = host.map_or(String::new(), |host| format!(" for {host}"));
    Finding::value(route.span.clone(), format!("no request{of_host} comes to {}", route.title()))
        .label("expected something that the other does not take")
        .also(rival.span.clone(), format!("{} takes all that it could", rival.title()))
        .help("remove one of them, or let them differ by path, method, headers or query")
}

fn hosts(route: &proxy::Route) -> Vec<Option<HostPattern>> {
    match route.hosts.given() {
        Some(hosts) if !hosts.is_empty() => hosts.iter().map(|(_, host)| Some(host.clone())).collect(),
        _ => vec![None],
    }
}

/// The path as one text, so that equal patterns are equal.
fn path(route: &proxy::Route) -> String {
    let Some(path) = route.path.given() else { return "prefix ".to_owned() };
    let parts = [("exact", &path.exact), ("prefix", &path.prefix), ("regex", &path.regex)];
    let mut given = parts.into_iter().filter_map(|(kind, found)| Some(format!("{kind} {}", found.given()?)));
    // A path that is unfit has been reported: it is like no other.
    given.next().unwrap_or_else(|| format!("unfit {}", path.span.start))
}

/// Whether the earlier of two routes of one host and path takes all that the later could. One with more conditions goes first
/// whatever its place, so it is hidden only by one with the same; but between regular expressions the place decides.
fn hides(earlier: &proxy::Route, later: &proxy::Route) -> bool {
    let by_place = later.path.given().is_some_and(|path| path.regex.given().is_some());
    let (mine, theirs) = (conditions(earlier), conditions(later));
    let same = mine.len() == theirs.len() || by_place;
    same && mine.iter().all(|condition| theirs.contains(condition))
        && takes_all(&earlier.listeners, &later.listeners)
        && takes_all(&earlier.methods, &later.methods)
        && (by_place || names(&earlier.methods).is_empty() == names(&later.methods).is_empty())
}

fn names(found: &Found<proxy::Places<String>>) -> Vec<&String> {
    found.given().into_iter().flatten().map(|(_, name)| name).collect()
}

/// Whether one list, where nothing is everything, has all of another.
fn takes_all(mine: &Found<proxy::Places<String>>, theirs: &Found<proxy::Places<String>>) -> bool {
    let (mine, theirs) = (names(mine), names(theirs));
    mine.is_empty() || (!theirs.is_empty() && theirs.iter().all(|name| mine.contains(name)))
}

type Written<'a> = (&'static str, Option<&'a String>, Option<&'a String>, Option<&'a String>, bool);

/// All conditions on fields, cookies and query.
fn conditions(route: &proxy::Route) -> Vec<Written<'_>> {
    let all = [("header", &route.headers), ("cookie", &route.cookies), ("query", &route.query)];
    let each = all.into_iter().flat_map(|(kind, found)| {
        found.given().into_iter().flatten().map(move |condition| {
            let absent = condition.absent.given() == Some(&true);
            (kind, condition.name.given(), condition.value.given(), condition.regex.given(), absent)
        })
    });
    each.collect()
}

fn check_services(raw: &raw::File, report: &mut Report) {
    let named: Vec<&String> = services_named(raw).filter_map(|(_, service)| service.given()).collect();
    for service in &raw.http_services {
        if let Some((span, name)) = service.name.spanned().filter(|(_, name)| !named.contains(name)) {
            report.add(
                Finding::warning(span, format!("no listener and no route leads to service \"{name}\""))
                    .label("it will get no requests")
                    .help(format!("write `service = \"{name}\"` in a `[[listener]]` or a `[[route]]`")),
            );
        }
    }
}

fn check_listeners(raw: &raw::File, report: &mut Report) {
    for listener in &raw.listeners {
        let answers =
            !matches!((&listener.service, &listener.redirect_to_https), (Found::Absent, Found::Absent));
        let is_its = |route: &proxy::Route| {
            let listeners = names(&route.listeners);
            listeners.is_empty() || listener.name.given().is_none_or(|name| listeners.contains(&name))
        };
        if !answers && !raw.routes.iter().any(is_its) {
            report.add(
                Finding::warning(listener.span.clone(), format!("{} leads nowhere", listener.title()))
                    .label("every request will be answered with 404")
                    .help("add `service = \"…\"`, or a `[[route]]`"),
            );
        }
    }
    if let (Some(route), []) = (raw.routes.first(), &raw.listeners[..]) {
        report.add(
            Finding::warning(route.span.clone(), "there are routes, but no listener")
                .label("no request will come to them")
                .help("add a `[[listener]]`"),
        );
    }
}
