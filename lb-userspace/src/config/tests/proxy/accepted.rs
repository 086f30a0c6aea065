//! Good configurations, and what they mean.

use std::time::Duration;

use super::{SITE, instead, listener, route, service, with};
use crate::config::keys::{Key, Presence, Section};
use crate::config::proxy::{
    AccessLog, Action, Backend, Balance, CertificateFiles, ClientDeadlines, ClientLimits, Condition, Edits,
    Field, Forwarded, HashOn, HostPattern, Hsts, Io, Listener, LogFormat, LogTarget, Network, Outliers,
    PathChange, PathPattern, Pool, Proxy, ProxyHeader, Queue, Redirect, Respond, Retries, Route, Service,
    Share, Sticky, Test, TlsVersion, UpstreamDeadlines, UpstreamTls,
};
use crate::config::{Check, CheckKind, parse, sections};

fn proxy(text: &str) -> Proxy {
    let loaded = parse("test", text).unwrap_or_else(|mistakes| panic!("{text}\n{mistakes}"));
    assert_eq!(loaded.warnings.first(), None, "{text}");
    loaded.config.proxy
}

fn only_listener(text: &str) -> Listener {
    proxy(text).listeners.remove(0)
}

fn only_service(text: &str) -> Service {
    proxy(text).services.remove(0)
}

fn only_route(keys: &str) -> Route {
    proxy(&route(keys)).routes.remove(0)
}

#[test]
fn three_keys_make_a_listener_and_the_rest_is_default() {
    let expected = Listener {
        name: "main".into(),
        addresses: vec![([0, 0, 0, 0], 80).into()],
        tls: None,
        http2: false,
        proxy_protocol: Vec::new(),
        limits: ClientLimits::DEFAULT,
        deadlines: ClientDeadlines::DEFAULT,
        service: Some("web".into()),
        redirect_to_https: None,
        hsts: None,
        access_log: None,
        line: 1,
    };
    assert_eq!(only_listener(SITE), expected);
    assert_eq!(
        only_listener(&instead("[\"0.0.0.0:80\"]", "\"0.0.0.0:80\"")),
        expected,
        "one address needs no list"
    );
}

#[test]
fn a_service_of_kind_http_needs_no_vip_and_the_rest_is_default() {
    let expected = Service {
        name: "web".into(),
        balance: Balance::P2c,
        sticky: None,
        health: Some(Check::default()),
        max_connections: 0,
        queue: Queue::DEFAULT,
        slow_start: Duration::ZERO,
        pool: Pool::DEFAULT,
        deadlines: UpstreamDeadlines::DEFAULT,
        retries: Retries::DEFAULT,
        outliers: Some(Outliers::DEFAULT),
        tls: None,
        proxy_protocol: None,
        http2: false,
        host: None,
        backends: vec![Backend {
            name: "a".into(),
            addr: ([10, 0, 0, 1], 8080).into(),
            weight: 1,
            drain: false,
        }],
        line: 6,
    };
    assert_eq!(only_service(SITE), expected);
    assert!(parse("test", SITE).unwrap().config.services.is_empty(), "it is none of packets");
}

#[test]
fn services_of_both_kinds_stand_side_by_side() {
    let packets = "[[service]]\nname = \"dns\"\nkind = \"l4\"\nvip = \"203.0.113.1:53\"\nforward = \"nat\"\n[[service.backend]]\nname = \"a\"\naddr = \"10.0.0.9:53\"";
    let config = parse("test", &with(packets)).unwrap().config;
    assert_eq!((config.services.len(), config.proxy.services.len()), (1, 1));
}

#[test]
fn nothing_is_served_without_a_listener() {
    let empty = proxy("");
    assert!(!empty.is_used());
    assert_eq!(empty, Proxy::default());
    assert!(proxy(SITE).is_used() && proxy(SITE).service("web").is_some());
}

#[test]
fn every_key_of_the_proxy_is_taken_over() {
    let text = with(
        r#"[proxy]
workers = 4
io = "epoll"
memory = "64M"
trusted = ["10.0.0.0/8", "2001:db8::1"]
forwarded = "both"
hide = "X-Secret"
server = "edge"
via = "edge1"
drain = "5s"
secret = "/etc/lb/secret""#,
    );
    let said = proxy(&text);
    assert_eq!(said.workers.map(u16::from), Some(4));
    assert_eq!((said.io, said.memory, said.forwarded), (Io::Epoll, 64 << 20, Forwarded::Both));
    assert_eq!(said.trusted[0], Network { addr: [10, 0, 0, 0].into(), bits: 8 });
    assert!(said.trusted[0].covers([10, 9, 8, 7].into()) && !said.trusted[0].covers([11, 0, 0, 1].into()));
    assert!(said.trusted[0].covers("::ffff:10.1.1.1".parse().unwrap()), "in IPv6's clothes");
    assert_eq!(
        (said.hide, said.server.as_deref(), said.via.as_str()),
        (vec!["x-secret".into()], Some("edge"), "edge1")
    );
    assert_eq!((said.drain, said.secret.unwrap().to_str()), (Duration::from_secs(5), Some("/etc/lb/secret")));
}

#[test]
fn every_key_of_tls_is_taken_over() {
    let tls = r#"hsts = { max_age = "1h", subdomains = true, preload = true }
tls = { certificates = [{ cert = "/c", key = "/k", ocsp = "/o" }, { cert = "/c2", key = "/k2" }], min_version = "1.3", tickets = false, client = { ca = "/ca", required = false, field = "X-Cert" } }"#;
    let listener = only_listener(&listener(tls));
    let tls = listener.tls.unwrap();
    let first = CertificateFiles { cert: "/c".into(), key: "/k".into(), ocsp: Some("/o".into()) };
    assert_eq!((&tls.certificates[0], tls.certificates.len()), (&first, 2));
    assert_eq!((tls.min_version, tls.tickets, listener.http2), (TlsVersion::V13, false, true));
    let client = tls.client.unwrap();
    assert_eq!((client.field.as_str(), client.required), ("x-cert", false));
    assert_eq!(
        listener.hsts,
        Some(Hsts { max_age: Duration::from_hours(1), subdomains: true, preload: true })
    );
}

#[test]
fn limits_and_deadlines_of_a_listener_are_taken_over() {
    let lines = r#"proxy_protocol = "10.0.0.0/8"
http2 = true
limits = { head = "64k", line = "16k", fields = 50, connections = 9, connections_per_address = 8, requests = 7 }
deadlines = { handshake = "1s", head = "2s", body = "3s", idle = "4s", send = "5s", min_rate = 7, request = "6s" }"#;
    let listener = only_listener(&listener(lines));
    let limits = ClientLimits {
        head: 65536,
        line: 16384,
        fields: 50,
        connections: 9,
        connections_per_address: 8,
        requests: 7,
    };
    assert_eq!((listener.limits, listener.http2), (limits, true));
    let [handshake, head, body, idle, send, request] = [1, 2, 3, 4, 5, 6].map(Duration::from_secs);
    assert_eq!(
        listener.deadlines,
        ClientDeadlines { handshake, head, body, idle, send, min_rate: 7, request: Some(request) }
    );
    assert_eq!(listener.proxy_protocol.len(), 1);
}

#[test]
fn every_key_of_a_service_is_taken_over() {
    let lines = r#"balance = "hash"
hash_on = "header:X-User"
sticky = { cookie = "id", max_age = "1m" }
health = { http = "/ok", port = 81 }
max_connections = 10
queue = { length = 1, timeout = "2s" }
slow_start = "3s"
pool = { idle = 4, idle_timeout = "5s", requests = 6, lifetime = "7s" }
deadlines = { connect = "8s", first_byte = "9s", idle = "10s" }
retries = { count = 0, budget = "11%", reserve = 12, on_status = true }
outliers = { failures = 13, latency = 14, eject = "15s", most = "16%" }
tls = { ca = "/ca", sni = "b.org", cert = "/c", key = "/k", verify = false }
proxy_protocol = "v2"
http2 = true
host = "b.org:81""#;
    let service = only_service(&service(lines));
    let secs = Duration::from_secs;
    assert_eq!(service.balance, Balance::Hash(HashOn::Header("x-user".into())));
    assert_eq!(service.sticky, Some(Sticky { cookie: "id".into(), max_age: Some(secs(60)) }));
    assert!(matches!(service.health, Some(Check { kind: CheckKind::Http { .. }, port: Some(81), .. })));
    assert_eq!((service.max_connections, service.slow_start), (10, secs(3)));
    assert_eq!(service.queue, Queue { length: 1, timeout: secs(2) });
    assert_eq!(service.pool, Pool { idle: 4, idle_timeout: secs(5), requests: 6, lifetime: Some(secs(7)) });
    assert_eq!(
        service.deadlines,
        UpstreamDeadlines { connect: secs(8), first_byte: secs(9), idle: secs(10) }
    );
    assert_eq!(service.retries, Retries { count: 0, budget: 11, reserve: 12, on_status: true });
    assert_eq!(
        service.outliers,
        Some(Outliers { failures: 13, latency: Some(14), eject: secs(15), most: 16 })
    );
    let certificate = Some(("/c".into(), "/k".into()));
    let tls = UpstreamTls { ca: Some("/ca".into()), sni: Some("b.org".into()), certificate, verify: false };
    assert_eq!(service.tls, Some(tls));
    assert_eq!((service.proxy_protocol, service.http2), (Some(ProxyHeader::V2), true));
    assert_eq!(service.host.as_deref(), Some("b.org:81"));
}

#[test]
fn words_turn_checks_and_outliers_off() {
    let service = only_service(&service("health = \"none\"\noutliers = \"none\""));
    assert_eq!((service.health, service.outliers), (None, None));
}

#[test]
fn a_hash_may_be_of_any_part_of_a_request() {
    let of = |on: &str| only_service(&service(&format!("balance = \"hash\"\nhash_on = \"{on}\""))).balance;
    assert_eq!(of("path"), Balance::Hash(HashOn::Path));
    assert_eq!(of("host"), Balance::Hash(HashOn::Host));
    assert_eq!(of("cookie:Id"), Balance::Hash(HashOn::Cookie("Id".into())));
    assert_eq!(of("query:q"), Balance::Hash(HashOn::Query("q".into())));
}

#[test]
fn what_a_route_takes_is_taken_over() {
    let keys = r#"service = "web"; listeners = "main"; hosts = ["A.org", "*.b.org", "[2001:db8::1]"]; methods = ["GET", "PUT"]; path = { exact = "/x" }; headers = [{ name = "X-A", value = "1" }, { name = "x-b", absent = true }]; query = [{ name = "q" }]; cookies = [{ name = "C", regex = "a+" }]"#;
    let route = only_route(keys);
    let hosts = [
        HostPattern::Exact("a.org".into()),
        HostPattern::Wildcard(".b.org".into()),
        HostPattern::Exact("2001:db8::1".into()),
    ];
    assert_eq!(route.hosts, hosts);
    assert_eq!((route.listeners, route.methods), (vec!["main".to_owned()], vec!["GET".into(), "PUT".into()]));
    assert_eq!(route.path, Some(PathPattern::Exact("/x".into())));
    let condition = |name: &str, test| Condition { name: name.into(), test };
    assert_eq!(route.headers, [condition("x-a", Test::Is("1".into())), condition("x-b", Test::Absent)]);
    assert_eq!(route.query, [condition("q", Test::Present)]);
    assert_eq!(route.cookies, [condition("C", Test::Matches("a+".into()))]);
}

#[test]
fn a_path_alone_is_a_prefix_and_loses_its_last_slash() {
    let path = |path: &str| only_route(&format!("service = \"web\"; path = {path}")).path;
    let api = Some(PathPattern::Prefix("/api".into()));
    assert_eq!(path(r#""/api/""#), api);
    assert_eq!(path(r#"{ prefix = "/api" }"#), api);
    assert_eq!(path(r#""/""#), Some(PathPattern::Prefix(String::new())));
    assert_eq!(path(r"{ regex = '/a.*' }"), Some(PathPattern::Regex("/a.*".into())));
}

#[test]
fn what_a_route_changes_is_taken_over() {
    let keys = r#"service = "web"; path = "/a"; rewrite = { prefix = "/" }; host = "b.org"; request = { add = [{ name = "X-A", value = "1" }], remove = "X-C" }; response = { set = [{ name = "x-b", value = "" }] }; mirror = "web"; body_limit = "1M"; deadlines = { request = "1s", idle = "2s", first_byte = "3s" }"#;
    let route = only_route(keys);
    let field = |name: &str, value: &str| vec![Field { name: name.into(), value: value.into() }];
    assert_eq!(route.rewrite, Some(PathChange::Prefix(String::new())));
    assert_eq!(route.request, Edits { add: field("x-a", "1"), set: Vec::new(), remove: vec!["x-c".into()] });
    assert_eq!(route.response.set, field("x-b", ""));
    assert_eq!(
        (route.mirror.as_deref(), route.body_limit, route.host.as_deref()),
        (Some("web"), Some(1 << 20), Some("b.org"))
    );
    let deadlines = route.deadlines;
    assert_eq!(
        (deadlines.request, deadlines.idle),
        (Some(Duration::from_secs(1)), Some(Duration::from_secs(2)))
    );
    let regex = only_route("service = \"web\"; rewrite = { regex = '^/a', to = '/b' }").rewrite;
    assert_eq!(regex, Some(PathChange::Regex { from: "^/a".into(), to: "/b".into() }));
}

#[test]
fn a_route_has_one_of_four_actions() {
    let share = |weight| Share { service: "web".into(), weight };
    assert_eq!(only_route("service = \"web\"").action, Action::Forward(vec![share(1)]));
    assert_eq!(
        only_route("split = [{ service = \"web\", weight = 9 }]").action,
        Action::Forward(vec![share(9)])
    );
    let redirect = Redirect {
        status: 301,
        https: Some(true),
        host: Some("b.org".into()),
        port: Some(81),
        path: Some(PathChange::Whole("/x".into())),
    };
    let written = r#"redirect = { status = 301, scheme = "https", host = "b.org", port = 81, path = "/x" }"#;
    assert_eq!(only_route(written).action, Action::Redirect(redirect));
    let respond = Respond { status: 404, body: "no\n".into(), content_type: "text/html".into() };
    let written = r#"respond = { status = 404, body = "no\n", content_type = "text/html" }"#;
    assert_eq!(only_route(written).action, Action::Respond(respond));
    assert_eq!(only_route("respond = {}").action, Action::Respond(Respond::default()));
}

#[test]
fn routes_that_differ_may_share_a_path() {
    let two = |one: &str, other: &str| {
        let route =
            |name: &str, keys: &str| format!("[[route]]\nname = \"{name}\"\nservice = \"web\"\n{keys}\n");
        proxy(&with(&format!("{}{}", route("one", one), route("other", other))))
    };
    two("path = \"/a\"", "path = \"/b\"");
    two("path = \"/a\"\nmethods = \"GET\"", "path = \"/a\"");
    two("path = \"/a\"", "path = \"/a\"\nmethods = \"GET\"");
    two("path = \"/a\"", "path = \"/a\"\nheaders = [{ name = \"x\" }]");
    two("hosts = \"a.org\"", "hosts = \"b.org\"");
    two("path = \"/a\"", "path = { exact = \"/a\" }");
    two("path = { regex = '/a' }\nmethods = \"GET\"", "path = { regex = '/a' }");
}

#[test]
fn a_listener_may_take_what_a_local_service_lands_there() {
    let local = |keys: &str| {
        format!("[[service]]\nname = \"l\"\nvip = \"203.0.113.1:80\"\nforward = \"local\"\n{keys}\n")
    };
    let on_the_vip = instead("0.0.0.0:80", "203.0.113.1:80");
    proxy(&format!("{on_the_vip}{}", local("")));
    proxy(&format!("{SITE}{}", local("listener = \"0.0.0.0:80\"")));
}

/// A line for each default of a section, in braces.
fn defaults(keys: &[Key]) -> String {
    let default = |key: &Key| match key.presence {
        Presence::Default(value) => Some(format!("{} = {value}", key.name)),
        _ => None,
    };
    keys.iter().filter_map(default).collect::<Vec<_>>().join(", ")
}

/// The same for the lines of a header's own keys; a list stays whole.
fn lines(keys: &[Key]) -> String {
    keys.iter().fold(String::new(), |lines, key| match key.presence {
        Presence::Default(value) if key.name != "kind" => format!("{lines}{} = {value}\n", key.name),
        _ => lines,
    })
}

#[test]
fn the_defaults_of_listeners_in_the_reference_are_those_of_the_code() {
    let said = |section: &Section| defaults(section.keys);
    for (key, section) in [("limits", &sections::LIMITS), ("deadlines", &sections::DEADLINES)] {
        let spelled = listener(&format!("{key} = {{ {} }}", said(section)));
        assert_eq!(only_listener(&spelled), only_listener(SITE), "{key}");
    }
    let tls = |own: &str, client: &str, hsts: &str| {
        let client = format!("client = {{ ca = \"/a\"{client} }}");
        let tls = format!("tls = {{ certificates = [{{ cert = \"/c\", key = \"/k\" }}]{own}, {client} }}");
        only_listener(&listener(&format!("{tls}\nhsts = {{ {hsts} }}")))
    };
    let (own, client) = (said(&sections::TLS), said(&sections::CLIENT_CERTIFICATES));
    let spelled = tls(&format!(", {own}"), &format!(", {client}"), &said(&sections::HSTS));
    assert_eq!(spelled, tls("", "", ""));
}

#[test]
fn the_defaults_of_services_in_the_reference_are_those_of_the_code() {
    let rows = [
        ("queue", &sections::QUEUE),
        ("pool", &sections::POOL),
        ("deadlines", &sections::UPSTREAM_DEADLINES),
        ("retries", &sections::RETRIES),
        ("outliers", &sections::OUTLIERS),
    ];
    for (key, section) in rows {
        let spelled = service(&format!("{key} = {{ {} }}", defaults(section.keys)));
        assert_eq!(only_service(&spelled), only_service(SITE), "{key}");
    }
    assert_eq!(only_service(&service(&lines(sections::HTTP_SERVICE.keys))), only_service(SITE));
    assert_eq!(only_service(&with(&lines(sections::HTTP_BACKEND.keys))), only_service(SITE));
    let sticky = |keys: &str| only_service(&service(&format!("sticky = {{ {keys} }}")));
    assert_eq!(sticky(&defaults(sections::STICKY.keys)), sticky(""));
}

#[test]
fn the_defaults_of_the_proxy_and_of_answers_in_the_reference_are_those_of_the_code() {
    assert_eq!(proxy(&format!("[proxy]\n{}", lines(sections::PROXY.keys))), Proxy::default());
    let respond = |keys: &str| {
        let text = with(&format!("[[route]]\nname = \"r\"\nrespond = {{ {keys} }}"));
        proxy(&text).routes.remove(0)
    };
    assert_eq!(respond(&defaults(sections::RESPOND.keys)), respond(""));
}

#[test]
fn a_listener_logs_as_it_says_itself_else_as_the_proxy_does() {
    let proxy_wide = "[proxy]\naccess_log = { to = \"/a.log\" }";
    let log = |text: &str| only_listener(text).access_log;
    let default = AccessLog {
        to: LogTarget::File("/a.log".into()),
        format: LogFormat::Text,
        sample: 1,
        all_errors: true,
    };
    assert_eq!(log(SITE), None);
    assert_eq!(log(&with(proxy_wide)), Some(default));
    let own =
        listener("access_log = { to = \"stdout\", format = \"json\", sample = 10, errors = \"sampled\" }");
    let said = AccessLog { to: LogTarget::Stdout, format: LogFormat::Json, sample: 10, all_errors: false };
    assert_eq!(log(&format!("{own}{proxy_wide}")), Some(said));
    assert_eq!(log(&format!("{}{proxy_wide}", listener("access_log = \"none\""))), None);
}

#[test]
fn metrics_have_an_address() {
    let text = with("[metrics]\naddress = \"127.0.0.1:9090\"");
    assert_eq!(parse("test", &text).unwrap().config.metrics, Some(([127, 0, 0, 1], 9090).into()));
    assert_eq!(parse("test", SITE).unwrap().config.metrics, None);
}
