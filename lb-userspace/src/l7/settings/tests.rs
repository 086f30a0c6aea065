//! What a reload leaves as it was.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Action, Error, ServiceId, Settings, Shares};
use crate::config::parse;
use crate::config::proxy::{self, Proxy};
use crate::l7::http1::parse_authority;
use crate::l7::message::Request;

const TEXT: &str = r#"
[[listener]]
name = "plain"
addresses = "0.0.0.0:80"
redirect_to_https = 443

[[listener]]
name = "https"
addresses = "0.0.0.0:443"
tls = { certificates = [{ cert = "/c", key = "/k" }] }
hsts = { max_age = "1h", subdomains = true }
service = "web"

[[route]]
name = "api"
listeners = "https"
path = "/api"
service = "api"

[[service]]
name = "web"
kind = "http"
[[service.backend]]
name = "a"
addr = "10.0.0.1:80"

[[service]]
name = "api"
kind = "http"
[[service.backend]]
name = "a"
addr = "10.0.0.2:80"
"#;

fn config(changes: &[(&str, &str)]) -> Proxy {
    let text = changes.iter().fold(TEXT.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "no {from:?} to change");
        text.replacen(from, to, 1)
    });
    parse("test", &text).unwrap_or_else(|mistakes| panic!("{mistakes}")).config.proxy
}

fn first() -> Settings {
    Settings::build(&config(&[]), None).unwrap()
}

/// Which of listeners, their configuration and router, and services are the same objects after a change.
fn kept(changes: &[(&str, &str)]) -> Vec<&'static str> {
    let before = first();
    let now = Settings::build(&config(changes), Some(&before)).unwrap();
    let mut kept = Vec::new();
    for (name, listener, configured, routed) in [
        ("plain", "plain", "plain's own", "plain's routes"),
        ("https", "https", "https's own", "https's routes"),
    ] {
        let Some((old, new)) = before.listeners.by_name(name).zip(now.listeners.by_name(name)) else {
            continue;
        };
        kept.extend(Arc::ptr_eq(old, new).then_some(listener));
        kept.extend(Arc::ptr_eq(&old.config, &new.config).then_some(configured));
        kept.extend(Arc::ptr_eq(&old.router, &new.router).then_some(routed));
    }
    for name in ["web", "api"] {
        let both = before.services.by_name(name).zip(now.services.by_name(name));
        kept.extend(both.filter(|(old, new)| Arc::ptr_eq(old, new)).map(|_| name));
    }
    kept
}

const PLAIN: [&str; 3] = ["plain", "plain's own", "plain's routes"];
const HTTPS: [&str; 3] = ["https", "https's own", "https's routes"];

#[test]
fn a_reload_that_changes_nothing_keeps_everything() {
    let all = [&PLAIN[..], &HTTPS, &["web", "api"]].concat();
    assert_eq!(kept(&[]), all);
    assert_eq!(
        kept(&[("[[listener]]\nname = \"plain\"", "\n\n# a comment\n[[listener]]\nname = \"plain\"")]),
        all
    );
}

#[test]
fn a_backend_more_touches_its_service_alone() {
    let more = [("name = \"a\"\naddr = \"10.0.0.2:80\"", "name = \"b\"\naddr = \"10.0.0.3:80\"")];
    assert_eq!(kept(&more), [&PLAIN[..], &HTTPS, &["web"]].concat());
}

#[test]
fn a_route_touches_the_routes_of_its_listener_alone() {
    let other = [("path = \"/api\"", "path = \"/v2\"")];
    assert_eq!(kept(&other), [&PLAIN[..], &["https's own", "web", "api"]].concat());
}

#[test]
fn a_certificate_touches_its_listener_but_not_its_routes() {
    let other = [("cert = \"/c\"", "cert = \"/d\"")];
    assert_eq!(kept(&other), [&PLAIN[..], &["https's routes", "web", "api"]].concat());
}

#[test]
fn what_all_edits_have_in_common_touches_all_routes() {
    let server = [("[[listener]]", "[proxy]\nserver = \"edge\"\n[[listener]]")];
    assert_eq!(kept(&server), ["plain's own", "https's own", "web", "api"]);
}

#[test]
fn a_number_stays_with_its_name_and_is_never_anothers() {
    let before = first();
    let api = before.services.number("api");
    let mut config = config(&[("path = \"/api\"\nservice = \"api\"", "path = \"/api\"\nservice = \"web\"")]);
    config.services.remove(0);
    config.listeners[1].service = Some("api".into());
    config.routes.clear();
    let now = Settings::build(&config, Some(&before)).unwrap();
    assert_eq!(now.services.number("api"), api);
    assert_eq!((now.services.number("web"), now.services.iter().count()), (None, 1));
    let mut new = config.services[0].clone();
    new.name = "new".into();
    config.services.push(new);
    let then = Settings::build(&config, Some(&now)).unwrap();
    let (gone, new) = (before.services.number("web").unwrap(), then.services.number("new").unwrap());
    assert_ne!(new, gone);
    assert!(then.services.get(new).is_some() && then.services.get(gone).is_none());
}

fn service_of(settings: &Settings, path: &str) -> Option<ServiceId> {
    let fields: [httparse::Header<'_>; 0] = [];
    let client = ([192, 0, 2, 1], 1).into();
    let request = Request {
        method: "GET",
        https: true,
        authority: &parse_authority(b"h").unwrap(),
        path,
        query: None,
        fields: &fields[..],
        client,
    };
    let route = settings.listeners.by_name("https")?.route(&request)?;
    if let Action::Forward(shares) = &route.action { shares.pick(0) } else { None }
}

#[test]
fn a_request_finds_its_service_by_route_or_by_the_listeners_own() {
    let settings = first();
    assert_eq!(service_of(&settings, "/api/x"), settings.services.number("api"));
    assert_eq!(service_of(&settings, "/x"), settings.services.number("web"));
}

#[test]
fn listeners_say_what_they_were_told() {
    let settings = first();
    let https = settings.listeners.by_name("https").unwrap();
    assert_eq!(https.hsts.as_deref(), Some(&b"max-age=3600; includeSubDomains"[..]));
    assert!(https.config.http2 && https.redirect.is_none());
    assert!(settings.listeners.by_name("plain").unwrap().redirect.is_some());
    assert!(settings.proxy.listeners.is_empty() && settings.proxy.routes.is_empty());
}

#[test]
fn a_configuration_that_was_not_checked_is_refused() {
    let mut config = config(&[]);
    config.routes[0].action =
        proxy::Action::Forward(vec![proxy::Share { service: "nobody".into(), weight: 1 }]);
    let error = Settings::build(&config, None).unwrap_err();
    assert!(matches!(error, Error::NoService { .. }), "{error}");
}

#[test]
fn shares_are_in_proportion_to_weights() {
    let numbers: [ServiceId; 3] = [0, 1, 2].map(|place| ServiceId::new(place, 0));
    let shares = Shares::new([(9, numbers[0]), (0, numbers[1]), (1, numbers[2])]);
    let drawn = (0..1000u32).map(|n| shares.pick(n * (u32::MAX / 1000)));
    let mut counts: HashMap<ServiceId, usize> = HashMap::new();
    drawn.for_each(|service| *counts.entry(service.unwrap()).or_default() += 1);
    assert_eq!(counts.get(&numbers[1]), None);
    assert!((899..=901).contains(&counts[&numbers[0]]), "{counts:?}");
}
