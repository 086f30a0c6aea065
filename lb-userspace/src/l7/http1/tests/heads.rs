//! Requests' heads.

use super::*;
use proptest::prelude::*;

fn parse_and<T>(bytes: &[u8], look: impl FnOnce(&Head<'_, '_>) -> T) -> T {
    let mut room = room();
    let head = Head::parse(bytes, &mut room, &LIMITS).unwrap().unwrap();
    look(&head)
}

/// Form, host, port, path and query of a target.
type Asked = (Form, &'static str, Option<u16>, &'static str, Option<&'static str>);

#[test]
fn targets_of_all_forms_are_taken_apart() {
    let rows: &[(&str, &str, Asked)] = &[
        ("GET /a/b?c=d?e", "example.org", (Form::Origin, "example.org", None, "/a/b", Some("c=d?e"))),
        ("GET /?", "Example.ORG.:8080", (Form::Origin, "example.org", Some(8080), "/", Some(""))),
        ("GET /", "[2001:DB8::1]:443", (Form::Origin, "2001:db8::1", Some(443), "/", None)),
        ("GET http://Example.org/a", "example.org", (Form::Absolute, "example.org", None, "/a", None)),
        ("GET http://example.org", "example.org", (Form::Absolute, "example.org", None, "/", None)),
        ("GET http://example.org?a", "example.org:80", (Form::Absolute, "example.org", None, "/", Some("a"))),
        ("GET HTTPS://a:443/", "a", (Form::Absolute, "a", Some(443), "/", None)),
        ("OPTIONS *", "a", (Form::Asterisk, "a", None, "*", None)),
        ("OPTIONS http://a:80", "a", (Form::Asterisk, "a", Some(80), "*", None)),
        ("OPTIONS http://a/", "a", (Form::Absolute, "a", None, "/", None)),
        ("OPTIONS http://a?b", "a", (Form::Absolute, "a", None, "/", Some("b"))),
        ("CONNECT a:443", "a:443", (Form::Authority, "a", Some(443), "", None)),
    ];
    for &(line, host, expected) in rows {
        let bytes = head(&format!("{line} HTTP/1.1"), &[&format!("Host: {host}")]);
        parse_and(&bytes, |head| {
            let path = head.path().unwrap();
            let authority = &head.authority;
            let asked = (head.form, authority.host(), authority.port(), &*path, head.query);
            assert_eq!(asked, expected, "{line}");
        });
    }
}

#[test]
fn a_usual_head_is_read_without_a_copy() {
    let bytes = head("GET /static/app.js?v=1 HTTP/1.1", &["Host: www.example.org", "Accept: */*"]);
    parse_and(&bytes, |head| {
        let before = parse_authority(b"www.example.org").unwrap();
        assert!(std::rc::Rc::ptr_eq(&head.authority.shared_text(), &before.shared_text()));
        assert!(matches!(head.path(), Ok(std::borrow::Cow::Borrowed(_))));
    });
}

#[test]
fn framing_and_the_connection_s_end_are_what_the_fields_say() {
    let rows: &[(&str, &[&str], Framing, bool)] = &[
        ("1.1", &[], Framing::NONE, true),
        ("1.1", &["Connection: close"], Framing::NONE, false),
        ("1.1", &["Connection: keep-alive, CLOSE"], Framing::NONE, false),
        ("1.0", &[], Framing::NONE, false),
        ("1.0", &["Connection: Keep-Alive"], Framing::NONE, true),
        ("1.1", &["Content-Length: 5"], Framing::Length(5), true),
        ("1.1", &["content-length: 0005"], Framing::Length(5), true),
        ("1.0", &["Content-Length: 5"], Framing::Length(5), false),
        ("1.1", &["Transfer-Encoding: CHUNKED"], Framing::Chunked, true),
        ("1.1", &["X-Content-Length: 5", "X-Transfer-Encodin: chunked"], Framing::NONE, true),
    ];
    for &(version, fields, framing, keep_alive) in rows {
        let fields: Vec<&str> = fields.iter().copied().chain(["Host: a"]).collect();
        let bytes = head(&format!("POST / HTTP/{version}"), &fields);
        parse_and(&bytes, |head| {
            assert_eq!((head.framing, head.keep_alive), (framing, keep_alive), "{fields:?}");
        });
    }
}

#[test]
fn only_who_has_a_body_waits_for_leave_to_send_it() {
    let waits = |line: &str, fields: &[&str]| parse_and(&head(line, fields), |head| head.expects_continue);
    assert!(waits("POST / HTTP/1.1", &["Host: a", "Expect: 100-Continue", "Content-Length: 1"]));
    assert!(!waits("POST / HTTP/1.1", &["Host: a", "Expect: 100-continue"]));
    assert!(!waits("POST / HTTP/1.0", &["Host: a", "Expect: 100-continue", "Content-Length: 1"]));
}

#[test]
fn an_upgrade_needs_both_fields_and_never_is_h2c() {
    let upgrade = |fields: &[&str]| {
        let bytes = head("GET / HTTP/1.1", fields);
        parse_and(&bytes, |head| head.upgrade.map(<[u8]>::to_vec))
    };
    assert_eq!(
        upgrade(&["Host: a", "Upgrade: websocket", "Connection: keep-alive, Upgrade"]),
        Some(b"websocket".to_vec())
    );
    assert_eq!(upgrade(&["Host: a", "Upgrade: websocket"]), None);
    assert_eq!(upgrade(&["Host: a", "Upgrade: H2C", "Connection: upgrade"]), None);
    assert_eq!(upgrade(&["Host: a", "Upgrade: websocket, h2c", "Connection: upgrade"]), None);
}

#[test]
fn an_authority_is_written_the_one_way_however_it_came() {
    let rows = [
        ("example.org", "example.org", "example.org", None),
        ("Example.ORG", "example.org", "example.org", None),
        ("example.org.", "example.org", "example.org", None),
        ("example.org:", "example.org", "example.org", None),
        ("example.org.:080", "example.org:80", "example.org", Some(80)),
        ("a:0", "a:0", "a", Some(0)),
        ("192.0.2.1:65535", "192.0.2.1:65535", "192.0.2.1", Some(65535)),
        ("[2001:DB8::1]", "[2001:db8::1]", "2001:db8::1", None),
        ("[2001:db8::1]:0443", "[2001:db8::1]:443", "2001:db8::1", Some(443)),
    ];
    for (sent, text, host, port) in rows {
        let authority = parse_authority(sent.as_bytes()).unwrap();
        assert_eq!((authority.text(), authority.host(), authority.port()), (text, host, port), "{sent}");
        assert_eq!(parse_authority(text.as_bytes()), Ok(authority.clone()), "{sent}");
        assert_eq!(parse_authority(sent.as_bytes()), Ok(authority), "{sent} again");
    }
    for wrong in ["", ".", "a..b", "a..", ":80", "a:65536", "a:x", "a b", "[::1", "[::1]80", "[x]"] {
        assert_eq!(parse_authority(wrong.as_bytes()), Err(Refusal::HostInvalid), "{wrong}");
    }
    assert_eq!(parse_authority(b"user@example.org"), Err(Refusal::Userinfo));
}

#[test]
fn an_http_1_0_request_may_name_no_host() {
    parse_and(&head("GET / HTTP/1.0", &[]), |head| assert_eq!(head.authority, Authority::none()));
}

#[test]
fn empty_lines_before_a_request_are_passed_over_and_counted() {
    let bytes = [b"\r\n\r\n", &*head("GET / HTTP/1.1", &["Host: a"])].concat();
    parse_and(&bytes, |head| assert_eq!(head.len, bytes.len()));
    let most = [b"\r\n\r\n\r\n", &*bytes].concat();
    assert_eq!(refusal(&most), Some(Refusal::BlankLines));
}

#[test]
fn limits_hold_at_their_very_byte() {
    let limits = Limits { line: 20, field: 30, fields: 2, head: 70, takes_lf: false };
    let read = |bytes: &[u8]| Head::parse(bytes, &mut room(), &limits).map(|head| head.is_some());
    let line = |length: usize| format!("GET /{} HTTP/1.1", "x".repeat(length - 14));
    assert_eq!(read(&head(&line(20), &["Host: a"])), Ok(true));
    assert_eq!(read(&head(&line(21), &["Host: a"])), Err(Refusal::LineTooLong));
    assert_eq!(read(line(80).as_bytes()), Err(Refusal::LineTooLong), "and before its end is there");
    let field = |length: usize| format!("X: {}", "x".repeat(length - 3));
    assert_eq!(read(&head(&line(15), &["Host: a", &field(30)])), Ok(true));
    assert_eq!(read(&head(&line(15), &["Host: a", &field(31)])), Err(Refusal::FieldTooLong));
    assert_eq!(read(&head(&line(15), &["Host: a", "A: b", "C: d"])), Err(Refusal::TooManyFields));
    assert_eq!(read(&head(&line(20), &[&field(30), "Host: aaaaaa"])), Ok(true));
    assert_eq!(read(&head(&line(20), &[&field(30), "Host: aaaaaaa"])), Err(Refusal::HeadTooLarge));
}

fn tokens() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9-]{0,12}"
}

fn heads() -> impl Strategy<Value = Vec<u8>> {
    let fields = proptest::collection::vec(("x-[a-z0-9-]{0,12}", "[ -~]{0,20}"), 0..8);
    (tokens(), "/[a-z0-9/._%?;=-]{0,20}", fields).prop_map(|(host, target, fields)| {
        let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}:{value}")).collect();
        let host = format!("Host: {host}");
        let fields: Vec<&str> = fields.iter().map(String::as_str).chain([host.as_str()]).collect();
        head(&format!("GET {target} HTTP/1.1"), &fields)
    })
}

/// Whole heads, some with a byte changed: near enough to pass, far enough to fail.
fn damaged_heads() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![any::<u8>(), Just(b'\n'), Just(b'\r'), Just(b' '), Just(b':'), Just(0)];
    (heads(), any::<prop::sample::Index>(), byte).prop_map(|(mut head, at, byte)| {
        let at = at.index(head.len());
        head[at] = byte;
        head
    })
}

proptest! {
    #[test]
    fn a_head_that_is_accepted_is_incomplete_until_whole(head in heads()) {
        for len in 0..head.len() {
            prop_assert!(matches!(Head::parse(&head[..len], &mut room(), &LIMITS), Ok(None)), "{}", len);
        }
        let mut room = room();
        let read = Head::parse(&head, &mut room, &LIMITS).unwrap().unwrap();
        prop_assert_eq!(read.len, head.len());
    }

    #[test]
    fn what_is_refused_early_is_refused_late(head in damaged_heads()) {
        let whole = Head::parse(&head, &mut room(), &LIMITS).map(|head| head.is_some());
        for len in 0..head.len() {
            match Head::parse(&head[..len], &mut room(), &LIMITS).map(|head| head.map(|head| head.len)) {
                Ok(None) => {}
                Ok(Some(end)) => prop_assert!(end == len && whole == Ok(true), "{} of {}", end, len),
                Err(early) => prop_assert!(whole.is_err(), "{:?} at {}", early, len),
            }
        }
    }

    #[test]
    fn what_lies_behind_a_head_changes_nothing(head in damaged_heads(), behind: Vec<u8>) {
        let read = |bytes: &[u8]| {
            let mut room = room();
            let head = Head::parse(bytes, &mut room, &LIMITS);
            head.map(|head| head.map(|head| (head.len, head.framing, head.authority)))
        };
        // Of a refused head only the name may be another: the first thing wrong may stand behind it.
        let (alone, followed) = (read(&head), read(&[&*head, &behind].concat()));
        if !matches!(alone, Ok(None)) {
            prop_assert_eq!(followed.map_err(drop), alone.map_err(drop));
        }
    }

    #[test]
    fn no_accepted_head_has_a_line_that_ends_otherwise(head in damaged_heads()) {
        if let Ok(Some(read)) = Head::parse(&head, &mut room(), &LIMITS) {
            let text = String::from_utf8_lossy(&head[..read.len]).replace("\r\n", "");
            prop_assert!(!text.contains(['\r', '\n', '\0']), "{:?}", text);
        }
    }
}
