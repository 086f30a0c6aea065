//! `[[route]]` as written.

use std::ops::Range;

use toml::de::DeValue;

use super::super::super::finding::Report;
use super::super::super::found::Found;
use super::super::super::proxy::{HostPattern, Respond, RouteDeadlines};
use super::super::super::reader::Reader;
use super::super::super::value::{self, Written};
use super::{Places, optional};

pub(in crate::config) struct Route {
    pub(in crate::config) span: Range<usize>,
    pub(in crate::config) name: Found<String>,
    pub(in crate::config) listeners: Found<Places<String>>,
    pub(in crate::config) hosts: Found<Places<HostPattern>>,
    pub(in crate::config) path: Found<Path>,
    pub(in crate::config) methods: Found<Places<String>>,
    pub(in crate::config) headers: Found<Conditions>,
    pub(in crate::config) query: Found<Conditions>,
    pub(in crate::config) cookies: Found<Conditions>,
    pub(in crate::config) service: Found<String>,
    pub(in crate::config) split: Found<Vec<Share>>,
    pub(in crate::config) redirect: Found<Redirect>,
    pub(in crate::config) respond: Found<Respond>,
    pub(in crate::config) rewrite: Found<Rewrite>,
    pub(in crate::config) host: Found<String>,
    pub(in crate::config) request: Found<Edits>,
    pub(in crate::config) response: Found<Edits>,
    pub(in crate::config) mirror: Found<String>,
    pub(in crate::config) log: Found<bool>,
    pub(in crate::config) body_limit: Found<u64>,
    pub(in crate::config) deadlines: Found<RouteDeadlines>,
}

/// The value of `path`.
pub(in crate::config) struct Path {
    pub(in crate::config) span: Range<usize>,
    pub(in crate::config) exact: Found<String>,
    pub(in crate::config) prefix: Found<String>,
    pub(in crate::config) regex: Found<String>,
}

/// The value of `headers`, `query` or `cookies`.
pub(in crate::config) type Conditions = Vec<Condition>;

pub(in crate::config) struct Condition {
    pub(in crate::config) span: Range<usize>,
    pub(in crate::config) name: Found<String>,
    pub(in crate::config) value: Found<String>,
    pub(in crate::config) regex: Found<String>,
    pub(in crate::config) absent: Found<bool>,
}

/// A part of `split`.
pub(in crate::config) struct Share {
    pub(in crate::config) service: Found<String>,
    pub(in crate::config) weight: Found<u16>,
}

/// The value of `redirect`.
pub(in crate::config) struct Redirect {
    pub(in crate::config) span: Range<usize>,
    pub(in crate::config) status: Found<u16>,
    pub(in crate::config) scheme: Found<Scheme>,
    pub(in crate::config) host: Found<String>,
    pub(in crate::config) port: Found<u16>,
    pub(in crate::config) path: Found<String>,
    pub(in crate::config) prefix: Found<String>,
}

/// Whether a scheme is `https`.
pub(in crate::config) type Scheme = bool;

/// The value of `rewrite`.
pub(in crate::config) struct Rewrite {
    pub(in crate::config) span: Range<usize>,
    pub(in crate::config) path: Found<String>,
    pub(in crate::config) prefix: Found<String>,
    pub(in crate::config) regex: Found<String>,
    pub(in crate::config) to: Found<String>,
}

/// The value of `request` or `response`.
pub(in crate::config) struct Edits {
    pub(in crate::config) add: Found<Vec<Field>>,
    pub(in crate::config) set: Found<Vec<Field>>,
    pub(in crate::config) remove: Found<Places<String>>,
}

pub(in crate::config) struct Field {
    pub(in crate::config) name: Found<String>,
    pub(in crate::config) value: Found<String>,
}

impl Route {
    pub(in super::super) fn read(route: &Reader<'_, '_>, report: &mut Report) -> Self {
        let name = |key, value: &Written<'_>| value::name(key, value);
        let split = route.tables("split", report);
        Self {
            span: route.span(),
            name: route.read("name", value::name, report),
            listeners: route.texts("listeners", name, report),
            hosts: route.texts("hosts", value::host_pattern, report),
            path: Path::read(route, report),
            methods: route.texts("methods", value::method, report),
            headers: conditions(route, "headers", value::field, report),
            query: conditions(route, "query", value::field_value, report),
            cookies: conditions(route, "cookies", value::cookie_name, report),
            service: route.read("service", value::name, report),
            split: split.map(|shares| shares.iter().map(|share| Share::read(share, report)).collect()),
            redirect: route.table("redirect", report).map(|table| Redirect::read(&table, report)),
            respond: route.table("respond", report).and_then(|table| respond(&table, report)),
            rewrite: route.table("rewrite", report).map(|table| Rewrite::read(&table, report)),
            host: route.read("host", value::authority, report),
            request: route.table("request", report).map(|table| Edits::read(&table, report)),
            response: route.table("response", report).map(|table| Edits::read(&table, report)),
            mirror: route.read("mirror", value::name, report),
            log: route.read("log", value::flag, report),
            body_limit: route.read("body_limit", value::narrow, report),
            deadlines: route.table("deadlines", report).and_then(|table| deadlines(&table, report)),
        }
    }

    /// The parts of a split that are tables.
    pub(in crate::config) fn split(&self) -> impl Iterator<Item = &Share> {
        self.split.given().into_iter().flatten()
    }

    /// How a sentence names it.
    pub(in crate::config) fn title(&self) -> String {
        self.name.given().map_or("this route".to_owned(), |name| format!("route \"{name}\""))
    }
}

impl Path {
    fn read(route: &Reader<'_, '_>, report: &mut Report) -> Found<Self> {
        let either = route.read(
            "path",
            |key, value| match value.get_ref() {
                DeValue::String(_) => value::prefix_path(key, value).map(Err),
                _ => Reader::unopened(key, value).map(Ok),
            },
            report,
        );
        let span = either.spanned().map_or(0..0, |(span, _)| span);
        either.map(|either| match either {
            Ok(table) => Self::of_table(&table.opened(report), report),
            Err(prefix) => Self {
                exact: Found::Absent,
                prefix: Found::Given { span: span.clone(), value: prefix },
                regex: Found::Absent,
                span,
            },
        })
    }

    fn of_table(path: &Reader<'_, '_>, report: &mut Report) -> Self {
        Self {
            span: path.span(),
            exact: path.read("exact", value::route_path, report),
            prefix: path.read("prefix", value::prefix_path, report),
            regex: path.read("regex", value::regex, report),
        }
    }
}

fn conditions(
    route: &Reader<'_, '_>,
    key: &str,
    name: fn(
        &super::super::super::keys::Key,
        &Written<'_>,
    ) -> Result<String, super::super::super::finding::Finding>,
    report: &mut Report,
) -> Found<Conditions> {
    let tables = route.tables(key, report);
    let mut read = |condition: &Reader<'_, '_>| Condition {
        span: condition.span(),
        name: condition.read("name", name, report),
        value: condition.read("value", value::field_value, report),
        regex: condition.read("regex", value::regex, report),
        absent: condition.read("absent", value::flag, report),
    };
    tables.map(|tables| tables.iter().map(&mut read).collect())
}

impl Share {
    fn read(share: &Reader<'_, '_>, report: &mut Report) -> Self {
        Self {
            service: share.read("service", value::name, report),
            weight: share.read("weight", value::narrow, report),
        }
    }
}

impl Redirect {
    fn read(redirect: &Reader<'_, '_>, report: &mut Report) -> Self {
        Self {
            span: redirect.span(),
            status: redirect.read("status", value::redirect_status, report),
            scheme: redirect.read("scheme", value::is_https, report),
            host: redirect.read("host", value::host, report),
            port: redirect.read("port", value::narrow, report),
            path: redirect.read("path", value::route_path, report),
            prefix: redirect.read("prefix", value::prefix_path, report),
        }
    }
}

impl Rewrite {
    fn read(rewrite: &Reader<'_, '_>, report: &mut Report) -> Self {
        Self {
            span: rewrite.span(),
            path: rewrite.read("path", value::route_path, report),
            prefix: rewrite.read("prefix", value::prefix_path, report),
            regex: rewrite.read("regex", value::regex, report),
            to: rewrite.read("to", value::field_value, report),
        }
    }
}

impl Edits {
    fn read(edits: &Reader<'_, '_>, report: &mut Report) -> Self {
        Self {
            add: fields(edits, "add", report),
            set: fields(edits, "set", report),
            remove: edits.texts("remove", value::field, report),
        }
    }
}

fn fields(edits: &Reader<'_, '_>, key: &str, report: &mut Report) -> Found<Vec<Field>> {
    let tables = edits.tables(key, report);
    let mut read = |field: &Reader<'_, '_>| Field {
        name: field.read("name", value::field, report),
        value: field.read("value", value::field_value, report),
    };
    tables.map(|tables| tables.iter().map(&mut read).collect())
}

fn respond(respond: &Reader<'_, '_>, report: &mut Report) -> Option<Respond> {
    let default = Respond::default();
    let status = respond.read("status", value::narrow, report).or(default.status);
    let body = respond.read("body", value::body, report).or(default.body);
    let content_type = respond.read("content_type", value::field_value, report).or(default.content_type);
    Some(Respond { status: status?, body: body?, content_type: content_type? })
}

fn deadlines(deadlines: &Reader<'_, '_>, report: &mut Report) -> Option<RouteDeadlines> {
    let mut time = |name| optional(&deadlines.read(name, value::duration, report));
    let (first_byte, idle, request) = (time("first_byte"), time("idle"), time("request"));
    Some(RouteDeadlines { first_byte: first_byte?, idle: idle?, request: request? })
}
