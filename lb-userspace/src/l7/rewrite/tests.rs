//! Heads on their way, in and out.

use super::{
    Authorities, Named, PathEdit, Peer, Redirect, RequestContext, RequestEdits, ResponseContext,
    ResponseEdits, request_id,
};
use crate::config::proxy::{self, Edits, Field, Forwarded, Network, PathChange, PathPattern, Proxy};
use crate::l7::http1::{Authority, parse_authority};
use crate::l7::message::{FieldSink, Request};

/// Fields as text, a line each.
#[derive(Default)]
struct Lines(Vec<String>);

impl FieldSink for Lines {
    fn put(&mut self, name: &str, value: &[u8]) {
        self.0.push(format!("{}: {}", name.to_ascii_lowercase(), String::from_utf8_lossy(value)));
    }
}

fn headers<'a>(lines: &[&'a str]) -> Vec<httparse::Header<'a>> {
    let split = |line: &&'a str| {
        let (name, value) = line.split_once(": ").unwrap_or((line, ""));
        httparse::Header { name, value: value.as_bytes() }
    };
    lines.iter().map(split).collect()
}

/// What becomes of a request in a test.
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the configuration's or the connection's"
)]
struct Way {
    edits: Edits,
    forwarded: Forwarded,
    trusted: bool,
    https: bool,
    http2: bool,
    upgrade: bool,
    certificate: bool,
    host: Option<&'static str>,
}

const PLAIN: Way = Way {
    edits: Edits { add: Vec::new(), set: Vec::new(), remove: Vec::new() },
    forwarded: Forwarded::None,
    trusted: false,
    https: true,
    http2: false,
    upgrade: false,
    certificate: false,
    host: None,
};

const RANDOM: u128 = 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef;

impl Way {
    fn sends(&self, lines: &[&str]) -> Vec<String> {
        let trusted =
            if self.trusted { vec![Network { addr: [192, 0, 2, 0].into(), bits: 24 }] } else { Vec::new() };
        let peer = Peer::new([192, 0, 2, 7].into(), 443, self.https, &trusted);
        let peer = if self.certificate { peer.with_certificate("x-cert", b":AA==:") } else { peer };
        let fields = headers(lines);
        let request = Request {
            method: "GET",
            https: self.https,
            authority: &parse_authority(b"example.org:8443").unwrap(),
            path: "/",
            query: None,
            fields: &fields[..],
            client: ([192, 0, 2, 7], 1).into(),
        };
        let upgrade = self.upgrade.then_some(&b"websocket"[..]);
        let context = RequestContext {
            peer: &peer,
            host: self.host,
            random: RANDOM,
            upgrade,
            named: Named::by(&fields[..], true),
            http2: self.http2,
        };
        let (mut sink, mut scratch) = (Lines::default(), String::new());
        let edits = RequestEdits::new(&self.edits, self.forwarded, "lb", ["x-cert"]);
        edits.apply(&request, &context, &mut scratch, &mut sink);
        sink.0
    }

    /// What it sends besides what is always there.
    fn passes(&self, lines: &[&str]) -> Vec<String> {
        let always =
            ["host: example.org:8443", "via: 1.1 lb", "x-request-id: 0123456789abcdef0123456789abcdef"];
        let mut sent = self.sends(lines);
        sent.retain(|line| !always.contains(&line.as_str()));
        sent
    }
}

fn field(name: &str, value: &str) -> Field {
    Field { name: name.into(), value: value.into() }
}

#[test]
fn ordinary_fields_pass_in_their_order() {
    let lines = ["accept: */*", "cookie: a=b", "traceparent: 00-1-2-01", "cookie: c=d", "x-y_z: 1"];
    assert_eq!(PLAIN.passes(&lines), lines);
}

#[test]
fn every_request_has_a_host_a_via_and_an_identifier() {
    let sent = PLAIN.sends(&[]);
    assert_eq!(
        sent,
        ["host: example.org:8443", "x-request-id: 0123456789abcdef0123456789abcdef", "via: 1.1 lb"]
    );
}

#[test]
fn fields_of_one_hop_stay_behind() {
    let dropped = [
        "Connection: close, X-Mine, te",
        "X-Mine: 1",
        "Keep-Alive: 5",
        "Proxy-Connection: x",
        "Proxy-Authorization: x",
        "Transfer-Encoding: chunked",
        "Content-Length: 5",
        "Upgrade: h2c",
        "HTTP2-Settings: x",
        "TE: trailers",
        "Proxy: http://attacker",
        "Host: other",
    ];
    assert_eq!(PLAIN.passes(&dropped), [""; 0]);
}

#[test]
fn a_name_in_other_clothes_is_the_same_name() {
    let lines =
        ["X_Forwarded_For: 1.2.3.4", "content_length: 7", "x-forwarded_proto: https", "client_cert: :x:"];
    assert_eq!(PLAIN.passes(&lines), [""; 0]);
}

#[test]
fn connection_cannot_take_away_what_the_proxy_says() {
    let way = Way { forwarded: Forwarded::X, ..PLAIN };
    let sent = way.passes(&["connection: x-forwarded-for, host, via"]);
    assert!(sent.contains(&"x-forwarded-for: 192.0.2.7".to_owned()), "{sent:?}");
}

#[test]
fn what_a_trusted_proxy_says_for_one_hop_is_said_anew() {
    let way = Way { forwarded: Forwarded::X, trusted: true, ..PLAIN };
    let sent = way.sends(&[
        "connection: x-forwarded-proto, x-request-id",
        "x-forwarded-proto: http",
        "x-request-id: theirs",
    ]);
    for told in ["x-forwarded-proto: https", "x-request-id: 0123456789abcdef0123456789abcdef"] {
        assert!(sent.contains(&told.to_owned()), "{sent:?}");
    }
}

#[test]
fn an_upgrade_keeps_its_two_fields_alone() {
    let way = Way { upgrade: true, ..PLAIN };
    let sent = way.passes(&["Connection: keep-alive, Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x"]);
    assert_eq!(sent, ["sec-websocket-key: x", "connection: upgrade", "upgrade: websocket"]);
}

#[test]
fn trailers_are_asked_for_by_http2_alone() {
    let way = Way { http2: true, ..PLAIN };
    let sent = way.sends(&["te: gzip, trailers", "host: x"]);
    assert!(
        sent.contains(&"te: trailers".to_owned()) && !sent.iter().any(|line| line.starts_with("host")),
        "{sent:?}"
    );
}

#[test]
fn a_client_cannot_say_who_it_is() {
    let forged = [
        "X-Forwarded-For: 10.0.0.1",
        "X-Forwarded-Proto: http",
        "Forwarded: for=10.0.0.1",
        "X-Real-IP: 10.0.0.1",
        "X-Original-URL: /admin",
        "X-Rewrite-URL: /admin",
        "X-Request-Id: mine",
        "Client-Cert: :x:",
        "X-Cert: :x:",
    ];
    let way = Way { forwarded: Forwarded::Both, ..PLAIN };
    let told = [
        "x-forwarded-for: 192.0.2.7",
        "x-forwarded-proto: https",
        "x-forwarded-host: example.org:8443",
        "x-forwarded-port: 443",
        "forwarded: for=192.0.2.7;host=\"example.org:8443\";proto=https",
    ];
    assert_eq!(way.passes(&forged), told);
    assert_eq!(PLAIN.passes(&forged), [""; 0], "removed, whether anything is told or not");
}

#[test]
fn a_trusted_proxy_is_believed_and_added_to() {
    let way = Way { forwarded: Forwarded::Both, trusted: true, ..PLAIN };
    let sent = way.passes(&[
        "X-Forwarded-For: 198.51.100.1",
        "X-Forwarded-For: 10.0.0.1",
        "X-Forwarded-Proto: http",
        "Forwarded: for=198.51.100.1",
        "X-Real-IP: 198.51.100.1",
        "X-Request-Id: theirs",
    ]);
    let told = [
        "x-forwarded-proto: http",
        "x-real-ip: 198.51.100.1",
        "x-request-id: theirs",
        "x-forwarded-for: 198.51.100.1, 10.0.0.1, 192.0.2.7",
        "x-forwarded-host: example.org:8443",
        "x-forwarded-port: 443",
        "forwarded: for=198.51.100.1, for=192.0.2.7;host=\"example.org:8443\";proto=https",
    ];
    assert_eq!(sent, told);
}

#[test]
fn a_trusted_proxys_list_that_is_not_added_to_passes_whole() {
    let way = Way { trusted: true, ..PLAIN };
    let lines = ["forwarded: for=198.51.100.1", "forwarded: for=10.0.0.1"];
    assert_eq!(way.passes(&lines), lines);
}

#[test]
fn a_certificate_is_told_of_by_the_proxy_alone() {
    let way = Way { certificate: true, ..PLAIN };
    assert_eq!(way.passes(&["x-cert: :forged:"]), ["x-cert: :AA==:"]);
}

#[test]
fn a_routes_edits_are_applied_last() {
    let edits = Edits {
        add: vec![field("x-add", "1")],
        set: vec![field("x-set", "2"), field("x-forwarded-proto", "ftp")],
        remove: vec!["x-gone".into(), "x-forwarded-port".into()],
    };
    let way = Way { edits, forwarded: Forwarded::X, ..PLAIN };
    let sent = way.passes(&["X-Add: 0", "X-Set: 0", "X-Gone: 0", "X-Stays: 0"]);
    let told = [
        "x-add: 0",
        "x-stays: 0",
        "x-forwarded-for: 192.0.2.7",
        "x-forwarded-host: example.org:8443",
        "x-set: 2",
        "x-forwarded-proto: ftp",
        "x-add: 1",
    ];
    assert_eq!(sent, told);
}

#[test]
fn a_backends_own_name_takes_the_place_of_the_hosts() {
    let sent = Way { host: Some("backend.internal"), ..PLAIN }.sends(&["host: example.org"]);
    assert_eq!(sent[0], "host: backend.internal");
}

#[test]
fn an_identifier_is_its_bits_in_hexadecimal_digits() {
    assert_eq!(request_id(RANDOM).as_flattened(), b"0123456789abcdef0123456789abcdef");
}

fn answers(edits: &Edits, server: Option<&str>, lines: &[&str]) -> Vec<String> {
    let hide = Proxy::HIDDEN.map(str::to_owned);
    let backends = Authorities::new(
        [([10, 0, 0, 11], 8080).into(), ([10, 0, 0, 12], 80).into()],
        Some("Backend.internal"),
    );
    let fields = &headers(lines)[..];
    let context = ResponseContext {
        date: None,
        https: true,
        authority: "example.org:8443",
        backends: &backends,
        hsts: Some(b"max-age=1"),
        cookie: Some(b"lb=x"),
        upgrade: None,
        named: Named::by(fields, true),
    };
    let mut sink = Lines::default();
    ResponseEdits::new(edits, &hide, server).apply(fields, &context, &mut sink);
    let always = ["strict-transport-security: max-age=1", "set-cookie: lb=x"];
    assert!(always.iter().all(|line| sink.0.contains(&(*line).to_owned())));
    sink.0.retain(|line| !always.contains(&line.as_str()));
    sink.0
}

#[test]
fn an_answer_tells_nothing_of_the_backend() {
    let lines = [
        "Server: Apache/2.4",
        "X-Powered-By: PHP",
        "Via: 1.1 internal",
        "Alt-Svc: h3=\":443\"",
        "Connection: close, x-hop",
        "X-Hop: 1",
        "Keep-Alive: 5",
        "Transfer-Encoding: chunked",
        "Set-Cookie: a=b",
        "Content-Type: text/html",
    ];
    let passed = ["set-cookie: a=b", "content-type: text/html"];
    assert_eq!(answers(&Edits::default(), None, &lines), passed);
    assert_eq!(answers(&Edits::default(), Some("edge"), &lines), [&passed[..], &["server: edge"]].concat());
}

/// What values of a field become on the way to the client.
fn become_in(field: &str, rows: &[(&str, &str)]) {
    for (from, to) in rows {
        let (sent, told) = (format!("{field}: {from}"), format!("{}: {to}", field.to_ascii_lowercase()));
        assert_eq!(answers(&Edits::default(), None, &[&sent]), [told]);
    }
}

#[test]
fn a_redirect_to_a_backend_leads_back_to_the_client_side() {
    let rows = [
        ("http://10.0.0.11:8080/a?b#c", "https://example.org:8443/a?b#c"),
        ("HTTP://10.0.0.12", "https://example.org:8443/"),
        ("http://10.0.0.12:80/x", "https://example.org:8443/x"),
        ("//backend.INTERNAL/x", "https://example.org:8443/x"),
        ("http://10.0.0.11:8081/a", "http://10.0.0.11:8081/a"),
        ("https://elsewhere.org/a", "https://elsewhere.org/a"),
        ("/relative", "/relative"),
    ];
    become_in("Location", &rows);
}

#[test]
fn a_page_that_is_to_be_fetched_next_is_fetched_from_the_client_side() {
    let rows = [
        ("0; url=http://10.0.0.11:8080/x", "0; url=https://example.org:8443/x"),
        ("5;URL='http://10.0.0.11:8080/x?a;b'", "5;URL='https://example.org:8443/x?a;b'"),
        ("5 , Url = \"http://10.0.0.12\" z", "5 , Url = \"https://example.org:8443/\" z"),
        ("0;//backend.internal/x", "0;https://example.org:8443/x"),
        ("0; url=/x", "0; url=/x"),
        ("0; url=http://10.0.0.13/x", "0; url=http://10.0.0.13/x"),
        ("300", "300"),
        ("0; url=", "0; url="),
        ("", ""),
    ];
    become_in("Refresh", &rows);
}

#[test]
fn links_to_a_backend_lead_back_to_the_client_side() {
    let rows = [
        ("<http://10.0.0.11:8080/a.css>; rel=preload", "<https://example.org:8443/a.css>; rel=preload"),
        (
            "<http://10.0.0.11:8080/a>; rel=next, </b>, <https://else.org/>,<//10.0.0.12/c,d>;rel=\"a,b\"",
            "<https://example.org:8443/a>; rel=next, </b>, <https://else.org/>,\
             <https://example.org:8443/c,d>;rel=\"a,b\"",
        ),
        (
            r#"</a>; title="\"<http://10.0.0.11:8080/x>", <http://10.0.0.12/y>"#,
            r#"</a>; title="\"<http://10.0.0.11:8080/x>", <https://example.org:8443/y>"#,
        ),
        (
            r#"</a>; Anchor = "http://10.0.0.11:8080/#b"; title="http://10.0.0.12/""#,
            r#"</a>; Anchor = "https://example.org:8443/#b"; title="http://10.0.0.12/""#,
        ),
        ("<http://10.0.0.11:8080/a", "<http://10.0.0.11:8080/a"),
        ("<>; title=\"<", "<>; title=\"<"),
    ];
    become_in("Link", &rows);
}

#[test]
fn a_cookie_is_not_bound_to_a_backends_own_host() {
    let rows = [
        ("a=b; Domain=10.0.0.11; Path=/", "a=b; Path=/"),
        ("a=b; Secure;domain = .Backend.Internal ", "a=b; Secure"),
        ("a=b;\tdOMAIN = .10.0.0.11; Path=/", "a=b; Path=/"),
        ("a=b; Domain=internal", "a=b; Domain=internal"),
        ("a=b; Domain=example.org", "a=b; Domain=example.org"),
        ("domain=10.0.0.11; Path=/", "domain=10.0.0.11; Path=/"),
        ("a=b; Path=/; HttpOnly", "a=b; Path=/; HttpOnly"),
    ];
    become_in("Set-Cookie", &rows);
}

#[test]
fn a_cookie_for_the_host_that_was_asked_stays_so_though_backends_have_the_same() {
    for (asked, is_bound) in
        [("example.org", true), ("www.Example.org:8443", true), ("notexample.org", false)]
    {
        let backends = Authorities::new([], Some("example.org:8080"));
        let context = ResponseContext {
            date: None,
            https: true,
            authority: asked,
            backends: &backends,
            hsts: None,
            cookie: None,
            upgrade: None,
            named: Named::default(),
        };
        let mut sink = Lines::default();
        let fields = &headers(&["Set-Cookie: a=b; Domain=example.org"])[..];
        ResponseEdits::new(&Edits::default(), &[], None).apply(fields, &context, &mut sink);
        assert_eq!(sink.0[0].ends_with("Domain=example.org"), is_bound, "{asked}");
    }
}

fn rewritten(change: &PathChange, matched: Option<&str>, path: &str) -> String {
    let matched = matched.map(|prefix| PathPattern::Prefix(prefix.into()));
    let mut out = "> ".to_owned();
    PathEdit::new(change, matched.as_ref()).unwrap().push(path, &mut out);
    out.split_off(2)
}

#[test]
fn a_prefix_is_replaced_by_segments() {
    let to = |to: &str| PathChange::Prefix(to.into());
    let rows = [
        ("/v2", "/api/x", "/v2/x"),
        ("/v2", "/api", "/v2"),
        ("/v2", "/api/", "/v2/"),
        ("", "/api/x", "/x"),
        ("", "/api", "/"),
    ];
    for (prefix, from, expected) in rows {
        assert_eq!(rewritten(&to(prefix), Some("/api"), from), expected);
    }
}

#[test]
fn a_path_is_replaced_whole_or_where_an_expression_matches() {
    assert_eq!(rewritten(&PathChange::Whole("/i".into()), None, "/x/y"), "/i");
    let regex = |from: &str, to: &str| PathChange::Regex { from: from.into(), to: to.into() };
    assert_eq!(rewritten(&regex("^/user/([0-9]+)", "/u/$1"), None, "/user/12/x"), "/u/12/x");
    assert_eq!(rewritten(&regex("^/x", ""), None, "/xy"), "/y", "always absolute");
}

fn location(redirect: &proxy::Redirect, https: bool, authority: &str, path: &str) -> String {
    let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    let fields: [httparse::Header<'_>; 0] = [];
    let client = ([192, 0, 2, 1], 1).into();
    let authority =
        if authority.is_empty() { Authority::none() } else { parse_authority(authority.as_bytes()).unwrap() };
    let authority = &authority;
    let request = Request { method: "GET", https, authority, path, query, fields: &fields[..], client };
    let mut out = String::new();
    let matched = PathPattern::Prefix("/old".into());
    Redirect::new(redirect, Some(&matched)).unwrap().push_location(&request, &mut out);
    out
}

#[test]
fn a_redirect_keeps_what_it_does_not_change() {
    let same = proxy::Redirect { status: 308, https: None, host: None, port: None, path: None };
    let to = |redirect: proxy::Redirect, path: &str| location(&redirect, false, "a.org:8080", path);
    assert_eq!(to(proxy::Redirect { https: Some(true), ..same.clone() }, "/x?y=z"), "https://a.org/x?y=z");
    assert_eq!(to(proxy::Redirect { host: Some("b.org".into()), ..same.clone() }, "/x"), "http://b.org/x");
    assert_eq!(to(proxy::Redirect { port: Some(81), ..same.clone() }, "/"), "http://a.org:81/");
    let path = Some(PathChange::Prefix("/new".into()));
    assert_eq!(to(proxy::Redirect { path, ..same.clone() }, "/old/x"), "http://a.org:8080/new/x");
    assert_eq!(location(&same, true, "[2001:db8::1]:8080", "/"), "https://[2001:db8::1]:8080/");
}

#[test]
fn a_path_of_two_slashes_leads_to_no_other_host() {
    let https = proxy::Redirect { status: 308, https: Some(true), host: None, port: None, path: None };
    assert_eq!(location(&https, false, "a.org:8080", "//evil.org/"), "https://a.org//evil.org/");
    assert_eq!(location(&https, false, "", "//evil.org/"), "/evil.org/");
}
