//! What takes which request: by rows, and against a matcher that looks at every route.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use proptest::prelude::*;

use super::Router;
use crate::config::proxy::{Condition, HostPattern, PathPattern, Route, Test};
use crate::config::{Config, parse};
use crate::l7::http1::{Authority, merged, parse_authority};
use crate::l7::message::Request;

/// A request, as its parts come.
#[derive(Clone, Debug)]
struct Asked {
    method: String,
    host: String,
    path: String,
    query: Option<String>,
    fields: Vec<(String, String)>,
}

fn get(host: &str, path: &str) -> Asked {
    let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    Asked {
        method: "GET".into(),
        host: host.into(),
        path: path.into(),
        query: query.map(Into::into),
        fields: Vec::new(),
    }
}

impl Asked {
    fn method(self, method: &str) -> Self {
        Self { method: method.into(), ..self }
    }

    fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }

    fn seen<R>(&self, look: impl FnOnce(&Request<'_, [httparse::Header<'_>]>) -> R) -> R {
        let header = |(name, value): &'_ (String, String)| (name.clone(), value.clone());
        let owned: Vec<_> = self.fields.iter().map(header).collect();
        let fields: Vec<_> =
            owned.iter().map(|(name, value)| httparse::Header { name, value: value.as_bytes() }).collect();
        let authority = parse_authority(self.host.as_bytes());
        look(&Request {
            method: &self.method,
            https: true,
            authority: &if self.host.is_empty() { Authority::none() } else { authority.unwrap() },
            path: &self.path,
            query: self.query.as_deref(),
            fields: &fields[..],
            client: ([192, 0, 2, 1], 1).into(),
        })
    }
}

fn config(routes: &str) -> Config {
    let service = "[[service]]\nname = \"web\"\nkind = \"http\"\n[[service.backend]]\nname = \"a\"\naddr = \"10.0.0.1:80\"\n";
    let listener = "[[listener]]\nname = \"main\"\naddresses = \"0.0.0.0:80\"\n";
    let text = format!("{listener}{routes}\n{service}");
    parse("test", &text).unwrap_or_else(|mistakes| panic!("{text}\n{mistakes}")).config
}

/// Routes, each a line: its name and its keys.
fn routes(lines: &[(&str, &str)]) -> Vec<Route> {
    let route = |(name, keys): &(&str, &str)| {
        format!("[[route]]\nname = \"{name}\"\nservice = \"web\"\n{}\n", keys.replace("; ", "\n"))
    };
    config(&lines.iter().map(route).collect::<String>()).proxy.routes
}

fn found(routes: &[Route], asked: &Asked) -> Option<String> {
    let compiled = Router::new(routes.iter().map(|route| (route, route.name.clone()))).unwrap();
    asked.seen(|request| compiled.find(request).cloned())
}

#[track_caller]
fn goes(routes: &[Route], asked: &Asked, to: &str) {
    assert_eq!(found(routes, asked).as_deref().unwrap_or("nowhere"), to, "{asked:?}");
}

#[test]
fn a_host_named_whole_goes_before_a_wildcard_and_that_before_any() {
    let routes = routes(&[
        ("any", ""),
        ("below", r#"hosts = "*.example.org""#),
        ("deeper", r#"hosts = "*.b.example.org""#),
        ("whole", r#"hosts = "www.example.org""#),
    ]);
    goes(&routes, &get("www.example.org", "/"), "whole");
    goes(&routes, &get("a.example.org", "/"), "below");
    goes(&routes, &get("x.y.example.org", "/"), "below");
    goes(&routes, &get("x.b.example.org", "/"), "deeper");
    goes(&routes, &get("b.example.org", "/"), "below");
    goes(&routes, &get("example.org", "/"), "any");
    goes(&routes, &get("notexample.org", "/"), "any");
    goes(&routes, &get("", "/"), "any");
}

#[test]
fn a_path_named_whole_goes_before_an_expression_and_that_before_prefixes() {
    let routes = routes(&[
        ("all", r#"path = "/""#),
        ("api", r#"path = "/api""#),
        ("v1", r#"path = { prefix = "/api/v1" }"#),
        ("users", "path = { regex = '/api/v1/users/[0-9]+' }"),
        ("seven", r#"path = { exact = "/api/v1/users/7" }"#),
    ]);
    goes(&routes, &get("h", "/api/v1/users/7"), "seven");
    goes(&routes, &get("h", "/api/v1/users/8"), "users");
    goes(&routes, &get("h", "/api/v1/users/8/x"), "v1");
    goes(&routes, &get("h", "/api/v1"), "v1");
    goes(&routes, &get("h", "/api/v1/"), "v1");
    goes(&routes, &get("h", "/api/v10"), "api");
    goes(&routes, &get("h", "/apix"), "all");
    goes(&routes, &get("h", "*"), "all");
}

#[test]
fn what_a_special_route_does_not_take_falls_to_the_next() {
    let routes = routes(&[
        ("post", r#"hosts = "a.org"; path = "/x"; methods = "POST""#),
        ("host", r#"hosts = "a.org"; path = "/""#),
        ("deep", r#"path = "/x/y""#),
    ]);
    goes(&routes, &get("a.org", "/x/y").method("POST"), "post");
    goes(&routes, &get("a.org", "/x/y"), "host");
    goes(&routes, &get("b.org", "/x/y"), "deep");
    goes(&routes, &get("b.org", "/x"), "nowhere");
}

#[test]
fn methods_go_before_fields_and_fields_before_the_query() {
    let routes = routes(&[
        ("plain", r#"path = "/""#),
        ("query", r#"path = "/"; query = [{ name = "a", value = "1" }, { name = "b" }]"#),
        ("field", r#"path = "/"; headers = [{ name = "X-A", value = "1" }]"#),
        ("method", r#"path = "/"; methods = ["GET"]"#),
    ]);
    let all = get("h", "/?a=1&b").field("x-a", "1");
    goes(&routes, &all, "method");
    goes(&routes, &all.clone().method("PUT"), "field");
    goes(&routes, &get("h", "/?a=1&b").method("PUT"), "query");
    goes(&routes, &get("h", "/?a=1").method("PUT"), "plain");
}

#[test]
fn conditions_are_held_against_every_value() {
    let routes = routes(&[
        ("cookie", r#"path = "/c"; cookies = [{ name = "canary", value = "yes" }]"#),
        ("absent", r#"path = "/a"; headers = [{ name = "x-a", absent = true }]"#),
        ("regex", "path = \"/r\"; headers = [{ name = \"x-v\", regex = 'v[12]' }]"),
        ("encoded", r#"path = "/q"; query = [{ name = "a b", value = "c&d" }]"#),
        ("matched", "path = \"/m\"; query = [{ name = \"q\", regex = 'x y+' }]"),
    ]);
    goes(&routes, &get("h", "/c").field("Cookie", "a=b; canary=yes"), "cookie");
    goes(&routes, &get("h", "/c").field("cookie", "a=b").field("cookie", "canary=yes"), "cookie");
    goes(&routes, &get("h", "/c").field("cookie", "notcanary=yes; canary=yess"), "nowhere");
    goes(&routes, &get("h", "/a"), "absent");
    goes(&routes, &get("h", "/a").field("X-A", ""), "nowhere");
    goes(&routes, &get("h", "/r").field("x-v", "v3").field("x-v", "v2"), "regex");
    goes(&routes, &get("h", "/r").field("x-v", "v22"), "nowhere");
    goes(&routes, &get("h", "/q?x&a%20b=c%26d"), "encoded");
    goes(&routes, &get("h", "/q?a+b=c%26d"), "encoded");
    goes(&routes, &get("h", "/m?q=x+yyy"), "matched");
    goes(&routes, &get("h", "/m?q=x+z"), "nowhere");
}

#[test]
fn empty_segments_hide_no_route() {
    let routes = routes(&[("admin", "path = \"/admin\"")]);
    for path in ["/admin", "//admin", "/admin//x", "///admin/"] {
        goes(&routes, &get("h", path), "admin");
    }
    goes(&routes, &get("h", "/adm//in"), "nowhere");
}

/// The places of a route's host and path in the order of precedence, or `None` if it does not take the request.
fn rank(route: &Route, index: usize, asked: &Asked) -> Option<impl Ord + use<>> {
    let host = route.hosts.iter().filter_map(|pattern| match pattern {
        HostPattern::Exact(host) => (*host == asked.host).then_some((0, Reverse(0))),
        HostPattern::Wildcard(rest) => (asked.host.len() > rest.len() && asked.host.ends_with(rest.as_str()))
            .then_some((1, Reverse(rest.len()))),
    });
    let host = if route.hosts.is_empty() { (2, Reverse(0)) } else { host.min()? };
    let seen = &*merged(&asked.path);
    let path = match &route.path {
        None => (2, Reverse(0)),
        Some(PathPattern::Exact(path)) => (path.as_str() == seen).then_some((0, Reverse(0)))?,
        Some(PathPattern::Regex(text)) => {
            regex::Regex::new(&format!("^(?:{text})$")).unwrap().is_match(seen).then_some((1, Reverse(0)))?
        }
        Some(PathPattern::Prefix(prefix)) => {
            let rest = seen.strip_prefix(prefix.as_str())?;
            (rest.is_empty() || rest.starts_with('/')).then_some((2, Reverse(prefix.len())))?
        }
    };
    let method = route.methods.is_empty() || route.methods.contains(&asked.method);
    let fields = route.headers.iter().all(|condition| {
        let mut values =
            asked.fields.iter().filter(|(name, _)| *name == condition.name).map(|(_, value)| value);
        match &condition.test {
            Test::Is(value) => values.any(|other| other == value),
            Test::Absent => values.next().is_none(),
            _ => values.next().is_some(),
        }
    });
    let conditions = if path.0 == 1 {
        (true, Reverse(0))
    } else {
        (route.methods.is_empty(), Reverse(route.headers.len()))
    };
    (method && fields).then_some((host, path, conditions, index))
}

fn naive(routes: &[Route], asked: &Asked) -> Option<String> {
    let ranked: BTreeMap<_, _> = routes
        .iter()
        .enumerate()
        .filter_map(|(index, route)| Some((rank(route, index, asked)?, route.name.clone())))
        .collect();
    ranked.into_values().next()
}

fn any_route() -> impl Strategy<Value = Route> {
    let host = prop_oneof![
        "[ab](\\.[ab]){0,2}".prop_map(HostPattern::Exact),
        "(\\.[ab]){1,2}".prop_map(HostPattern::Wildcard)
    ];
    let path = prop_oneof![
        "(/[ab]?){1,3}".prop_map(PathPattern::Exact),
        "(/[ab]){0,3}".prop_map(PathPattern::Prefix),
        "/[ab.*]{1,3}"
            .prop_filter("an expression", |text| regex::Regex::new(text).is_ok())
            .prop_map(PathPattern::Regex),
    ];
    let test = prop_oneof!["[12]".prop_map(Test::Is), Just(Test::Present), Just(Test::Absent)];
    let condition = ("x-[ab]", test).prop_map(|(name, test)| Condition { name, test });
    let parts = (
        proptest::collection::vec(host, 0..3),
        proptest::option::of(path),
        proptest::collection::vec("GET|PUT", 0..2),
        proptest::collection::vec(condition, 0..3),
    );
    parts.prop_map(|(hosts, path, methods, headers)| Route { hosts, path, methods, headers, ..empty() })
}

fn empty() -> Route {
    routes(&[("a", "")]).remove(0)
}

fn any_request() -> impl Strategy<Value = Asked> {
    let fields = proptest::collection::vec(("x-[ab]", "[12]"), 0..3);
    ("GET|PUT|POST", "([ab](\\.[ab]){0,3})?", "(/[ab]?){1,4}", fields)
        .prop_map(|(method, host, path, fields)| Asked { method, host, path, query: None, fields })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_compiled_router_agrees_with_one_that_looks_at_every_route(
        routes in proptest::collection::vec(any_route(), 0..12),
        asked in proptest::collection::vec(any_request(), 1..8),
    ) {
        let named = |(index, route): (usize, Route)| Route { name: format!("r{index}"), ..route };
        let routes: Vec<Route> = routes.into_iter().enumerate().map(named).collect();
        for asked in asked {
            prop_assert_eq!(found(&routes, &asked), naive(&routes, &asked), "{:?}", asked);
        }
    }
}
