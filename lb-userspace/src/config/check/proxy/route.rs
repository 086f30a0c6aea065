//! The rules of one route.

use super::super::super::finding::{Finding, Report};
use super::super::super::found::Found;
use super::super::super::proxy::{
    Action, Condition, Edits, Field, PathChange, PathPattern, Redirect, Route, RouteDeadlines, Share, Test,
};
use super::super::super::raw::proxy::{self as raw, optional, values};
use super::{check_one_of, span, useless};

/// Fields that rule the connection or the body's framing, and the one that has a key of its own.
const RULING: [&str; 9] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The route, unless a part of it is missing or unfit.
pub(super) fn build(raw: &raw::Route, line: usize, report: &mut Report) -> Option<Route> {
    check_action(raw, report);
    check_prefixes(raw, report);
    raw.rewrite.given().into_iter().for_each(|rewrite| check_rewrite(rewrite, report));
    [&raw.request, &raw.response]
        .into_iter()
        .filter_map(Found::given)
        .for_each(|edits| check_edits(edits, report));
    let path = raw.path.given().map(|path| path_of(path, report));
    let mut conditions = |found: &Found<raw::Conditions>| {
        let all: Vec<_> = found.given().into_iter().flatten().map(|one| condition(one, report)).collect();
        if matches!(found, Found::Unfit) { None } else { all.into_iter().collect::<Option<Vec<_>>>() }
    };
    let (headers, query, cookies) =
        (conditions(&raw.headers), conditions(&raw.query), conditions(&raw.cookies));
    Some(Route {
        name: raw.name.given()?.clone(),
        listeners: raw.listeners.clone().map(|places| values(&places)).or(Vec::new())?,
        hosts: raw.hosts.clone().map(|places| values(&places)).or(Vec::new())?,
        path: if matches!(raw.path, Found::Unfit) {
            None
        } else {
            path.map_or(Some(None), |path| path.map(Some))
        }?,
        methods: raw.methods.clone().map(|places| values(&places)).or(Vec::new())?,
        headers: headers?,
        query: query?,
        cookies: cookies?,
        action: action(raw)?,
        rewrite: raw.rewrite.given().map_or(Some(None), |rewrite| change(rewrite).map(Some))?,
        host: optional(&raw.host)?,
        request: edits(&raw.request)?,
        response: edits(&raw.response)?,
        mirror: optional(&raw.mirror)?,
        log: raw.log.or(true)?,
        body_limit: optional(&raw.body_limit)?,
        deadlines: raw.deadlines.or(RouteDeadlines::default())?,
        line,
    })
}

fn path_of(raw: &raw::Path, report: &mut Report) -> Option<PathPattern> {
    let keys = [("exact", span(&raw.exact)), ("prefix", span(&raw.prefix)), ("regex", span(&raw.regex))];
    let unfit = [&raw.exact, &raw.prefix, &raw.regex].into_iter().any(|found| matches!(found, Found::Unfit));
    check_one_of("`path`", raw.span.clone(), &keys, unfit, report);
    let exact = raw.exact.given().cloned().map(PathPattern::Exact);
    let prefix = || raw.prefix.given().cloned().map(PathPattern::Prefix);
    exact.or_else(prefix).or_else(|| raw.regex.given().cloned().map(PathPattern::Regex))
}

fn condition(raw: &raw::Condition, report: &mut Report) -> Option<Condition> {
    let absent = raw.absent.spanned().filter(|(_, absent)| **absent).map(|(span, _)| span);
    let keys = [("value", span(&raw.value)), ("regex", span(&raw.regex)), ("absent", absent)];
    // With none of them the name alone is the condition.
    check_one_of("the condition", raw.span.clone(), &keys, true, report);
    let test = match (raw.value.or(String::new())?, raw.regex.or(String::new())?, raw.absent.or(false)?) {
        (_, _, true) => Test::Absent,
        (value, _, _) if raw.value.given().is_some() => Test::Is(value),
        (_, regex, _) if raw.regex.given().is_some() => Test::Matches(regex),
        _ => Test::Present,
    };
    Some(Condition { name: raw.name.given()?.clone(), test })
}

fn check_action(raw: &raw::Route, report: &mut Report) {
    let keys = [
        ("service", span(&raw.service)),
        ("split", span(&raw.split)),
        ("redirect", span(&raw.redirect)),
        ("respond", span(&raw.respond)),
    ];
    let unfit = matches!(raw.service, Found::Unfit)
        || matches!(raw.split, Found::Unfit)
        || matches!(raw.redirect, Found::Unfit)
        || matches!(raw.respond, Found::Unfit);
    check_one_of(&raw.title(), raw.span.clone(), &keys, unfit, report);
    check_split(raw, report);
    check_redirect(raw, report);
    if raw.redirect.given().is_some() || raw.respond.given().is_some() {
        let why = "where the request goes to a service";
        useless(&raw.rewrite, "rewrite", why, report);
        useless(&raw.host, "host", why, report);
        useless(&raw.request, "request", why, report);
        useless(&raw.mirror, "mirror", why, report);
    }
}

fn check_split(raw: &raw::Route, report: &mut Report) {
    let Some((span, shares)) = raw.split.spanned() else { return };
    if shares.iter().all(|share| share.weight.given() == Some(&0)) {
        report.add(
            Finding::value(span, format!("no service of {} has a weight", raw.title()))
                .label("expected one that gets something")
                .help("give one of them a weight above 0"),
        );
    }
    let names = shares.iter().filter_map(|share| share.service.spanned());
    super::super::duplicates(names.map(|(span, name)| (span, name.as_str())), |name, first, second| {
        report.add(
            Finding::value(second, format!("\"{name}\" stands in the split twice"))
                .label("expected each service once")
                .also(first, "first used here")
                .help("add its weights together"),
        );
    });
}

/// A redirect that changes nothing leads back to itself for ever.
fn check_redirect(raw: &raw::Route, report: &mut Report) {
    let Some(redirect) = raw.redirect.given() else { return };
    let texts = [&redirect.host, &redirect.path, &redirect.prefix];
    let is_silent = texts.iter().all(|found| matches!(found, Found::Absent))
        && matches!(redirect.scheme, Found::Absent)
        && matches!(redirect.port, Found::Absent);
    if is_silent {
        report.add(
            Finding::shape(redirect.span.clone(), "the redirect leads to where the client came from")
                .label("expected `scheme`, `host`, `port`, `path` or `prefix`")
                .help("say what differs there, as in `host = \"www.example.org\"`"),
        );
    }
    let keys = [("path", span(&redirect.path)), ("prefix", span(&redirect.prefix))];
    check_one_of("the redirect", redirect.span.clone(), &keys, true, report);
}

/// A prefix can be replaced only where one is matched.
fn check_prefixes(raw: &raw::Route, report: &mut Report) {
    let matches_prefix = raw.path.given().is_some_and(|path| !matches!(path.prefix, Found::Absent));
    if matches_prefix || matches!(raw.path, Found::Unfit) {
        return;
    }
    let rewritten = raw.rewrite.given().and_then(|rewrite| span(&rewrite.prefix));
    let redirected = raw.redirect.given().and_then(|redirect| span(&redirect.prefix));
    for span in rewritten.into_iter().chain(redirected) {
        report.add(
            Finding::value(span, format!("{} matches no prefix that could be replaced", raw.title()))
                .label("expected only with `path = { prefix = … }`")
                .help("match a prefix, or write the whole path as `path`"),
        );
    }
}

fn check_rewrite(raw: &raw::Rewrite, report: &mut Report) {
    let keys = [("path", span(&raw.path)), ("prefix", span(&raw.prefix)), ("regex", span(&raw.regex))];
    let unfit = [&raw.path, &raw.prefix, &raw.regex].into_iter().any(|found| matches!(found, Found::Unfit));
    check_one_of("`rewrite`", raw.span.clone(), &keys, unfit, report);
    match (&raw.regex, &raw.to) {
        (Found::Given { span, .. }, Found::Absent) => report.add(
            Finding::shape(span.clone(), "nothing says what stands in place of the match")
                .label("expected `to` beside it")
                .help("add `to = '/u/$1'`"),
        ),
        (Found::Absent, to) => useless(to, "to", "with `regex`", report),
        _ => {}
    }
}

/// Silent about what `check_rewrite` has told.
fn change(raw: &raw::Rewrite) -> Option<PathChange> {
    let path = raw.path.given().cloned().map(PathChange::Whole);
    let prefix = || raw.prefix.given().cloned().map(PathChange::Prefix);
    let regex = || Some(PathChange::Regex { from: raw.regex.given()?.clone(), to: raw.to.given()?.clone() });
    path.or_else(prefix).or_else(regex)
}

fn action(raw: &raw::Route) -> Option<Action> {
    let service = raw.service.given().map(|service| Share { service: service.clone(), weight: 1 });
    if let Some(share) = service {
        return Some(Action::Forward(vec![share]));
    }
    if let Some(shares) = raw.split.given() {
        return shares.iter().map(share).collect::<Option<_>>().map(Action::Forward);
    }
    let redirect = || raw.redirect.given().and_then(redirect).map(Action::Redirect);
    raw.respond.given().cloned().map(Action::Respond).or_else(redirect)
}

fn share(raw: &raw::Share) -> Option<Share> {
    Some(Share { service: raw.service.given()?.clone(), weight: raw.weight.or(1)? })
}

fn redirect(raw: &raw::Redirect) -> Option<Redirect> {
    let path = raw.path.given().cloned().map(PathChange::Whole);
    Some(Redirect {
        status: raw.status.or(308)?,
        https: optional(&raw.scheme)?,
        host: optional(&raw.host)?,
        port: optional(&raw.port)?,
        path: path.or_else(|| raw.prefix.given().cloned().map(PathChange::Prefix)),
    })
}

fn edits(raw: &Found<raw::Edits>) -> Option<Edits> {
    let Some(raw) = raw.given() else {
        return if matches!(raw, Found::Unfit) { None } else { Some(Edits::default()) };
    };
    Some(Edits {
        add: fields(&raw.add)?,
        set: fields(&raw.set)?,
        remove: raw.remove.clone().map(|places| values(&places)).or(Vec::new())?,
    })
}

fn fields(raw: &Found<Vec<raw::Field>>) -> Option<Vec<Field>> {
    let field =
        |raw: &raw::Field| Some(Field { name: raw.name.given()?.clone(), value: raw.value.given()?.clone() });
    match raw {
        Found::Unfit => None,
        found => found.given().into_iter().flatten().map(field).collect(),
    }
}

fn check_edits(raw: &raw::Edits, report: &mut Report) {
    let named = |fields: &Found<Vec<raw::Field>>| {
        let names = fields.given().into_iter().flatten().filter_map(|field| field.name.spanned());
        names.map(|(span, name)| (span, name.clone())).collect::<Vec<_>>()
    };
    let (added, set) = (named(&raw.add), named(&raw.set));
    let removed: Vec<_> = raw.remove.given().into_iter().flatten().cloned().collect();
    for (span, name) in
        added.iter().chain(&set).chain(&removed).filter(|(_, name)| RULING.contains(&name.as_str()))
    {
        report.add(
            Finding::value(
                span.clone(),
                format!("`{name}` rules the connection, and is not a route's to change"),
            )
            .label("expected a field of the message itself")
            .help(if name == "host" {
                "write `host = \"…\"` in the route"
            } else {
                "remove it"
            }),
        );
    }
    let twice = set.iter().chain(&removed).map(|(span, name)| (span.clone(), name.as_str()));
    super::super::duplicates(twice, |name, first, second| {
        report.add(
            Finding::value(second, format!("`{name}` is changed twice"))
                .label("expected it in `set` or in `remove`, once")
                .also(first, "first changed here")
                .help("remove one of the two; `set` replaces what was there"),
        );
    });
}
