//! The rules of layer 7, and the model of what keeps them.

mod listener;
mod names;
mod reach;
mod route;
mod service;

use std::num::NonZeroU16;
use std::ops::Range;

use super::super::finding::{Finding, Report};
use super::super::found::Found;
use super::super::proxy::{Forwarded, Io, Proxy};
use super::super::raw::{self, proxy::values};
use super::super::source::Source;

/// The model of `raw`: whole if the report stays free of mistakes, else what is left of it.
pub(super) fn build(raw: &raw::File, source: &Source<'_>, report: &mut Report) -> Proxy {
    names::check(raw, report);
    listener::check(raw, report);
    service::check(raw, report);
    let (default, line) = (Proxy::default(), |span: &Range<usize>| source.line_index(span.start) + 1);
    let services =
        raw.http_services.iter().filter_map(|one| service::build(one, line(&one.span), report)).collect();
    let routes = raw.routes.iter().filter_map(|one| route::build(one, line(&one.span), report)).collect();
    let log = raw.proxy.given().and_then(|proxy| proxy.access_log.given());
    let listeners = raw.listeners.iter();
    let listeners = listeners.filter_map(|one| listener::build(one, log, line(&one.span), report)).collect();
    reach::check(raw, report);
    let rest = Proxy { listeners, routes, services, ..default };
    match raw.proxy.given() {
        Some(said) => over(said, &rest).unwrap_or(rest),
        None => rest,
    }
}

/// What `[proxy]` says over what else is known.
fn over(said: &raw::proxy::Proxy, rest: &Proxy) -> Option<Proxy> {
    Some(Proxy {
        workers: said.workers.clone().map(NonZeroU16::new).or(None)?,
        io: said.io.or(Io::Auto)?,
        memory: said.memory.or(rest.memory)?,
        trusted: said.trusted.clone().map(|places| values(&places)).or(Vec::new())?,
        forwarded: said.forwarded.or(Forwarded::X)?,
        hide: said.hide.clone().map(|places| values(&places)).or(rest.hide.clone())?,
        server: raw::proxy::optional(&said.server)?,
        via: said.via.or(rest.via.clone())?,
        drain: said.drain.or(rest.drain)?,
        secret: raw::proxy::optional(&said.secret)?,
        ..rest.clone()
    })
}

/// A key that means nothing beside another, or without it.
fn useless<T>(found: &Found<T>, key: &str, why: &str, report: &mut Report) {
    if let Some((span, _)) = found.spanned() {
        report.add(
            Finding::value(span, format!("`{key}` has no meaning here"))
                .label(format!("expected only {why}"))
                .help(format!("remove `{key}`")),
        );
    }
}

/// The keys of a table of which exactly one may be given, with the places of those that are.
fn given(keys: &[(&'static str, Option<Range<usize>>)]) -> Vec<(&'static str, Range<usize>)> {
    keys.iter().filter_map(|(key, span)| Some((*key, span.clone()?))).collect()
}

fn span<T>(found: &Found<T>) -> Option<Range<usize>> {
    found.spanned().map(|(span, _)| span)
}

/// Reports that of several keys not exactly one is given; silent if one of them is unfit.
fn check_one_of(
    whose: &str,
    place: Range<usize>,
    keys: &[(&'static str, Option<Range<usize>>)],
    unfit: bool,
    report: &mut Report,
) {
    let names: Vec<_> = keys.iter().map(|(key, _)| format!("`{key}`")).collect();
    match &given(keys)[..] {
        [_] => {}
        [] if unfit => {}
        [] => report.add(
            Finding::shape(place, format!("{whose} has none of {}", names.join(", ")))
                .label("expected exactly one of them")
                .help(format!("add one of {}", names.join(", "))),
        ),
        [(first, at), (second, other), ..] => report.add(
            Finding::value(other.clone(), format!("{whose} has both `{first}` and `{second}`"))
                .label("expected one of them")
                .also(at.clone(), "the other")
                .help(format!("remove `{first}` or `{second}`")),
        ),
    }
}
