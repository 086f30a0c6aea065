//! Responses' heads.

use super::*;

fn read(bytes: &[u8], asked: Asked) -> Result<Option<(Framing, bool)>, Refusal> {
    let mut room = room();
    let head = ResponseHead::parse(bytes, &mut room, asked, &Limits::BACKEND)?;
    Ok(head.map(|head| (head.framing, head.keep_alive)))
}

const GET: Asked = Asked { head: false, upgrade: false };
const HEAD: Asked = Asked { head: true, upgrade: false };
const UPGRADE: Asked = Asked { head: false, upgrade: true };

/// Source: RFC 9112, section 6.3.
#[test]
fn a_body_ends_by_status_method_and_fields() {
    let rows: &[(&str, &[&str], Asked, Framing, bool)] = &[
        ("HTTP/1.1 200 OK", &["Content-Length: 5"], GET, Framing::Length(5), true),
        ("HTTP/1.1 200", &["Transfer-Encoding: chunked"], GET, Framing::Chunked, true),
        ("HTTP/1.1 200 OK", &[], GET, Framing::UntilClose, false),
        ("HTTP/1.0 200 OK", &["Connection: keep-alive"], GET, Framing::UntilClose, false),
        ("HTTP/1.0 200 OK", &["Connection: keep-alive", "Content-Length: 1"], GET, Framing::Length(1), true),
        ("HTTP/1.1 200 OK", &["Content-Length: 5"], HEAD, Framing::NONE, true),
        ("HTTP/1.1 200 OK", &["Transfer-Encoding: chunked"], HEAD, Framing::NONE, true),
        ("HTTP/1.1 204 No Content", &["Content-Length: 5"], GET, Framing::NONE, true),
        ("HTTP/1.1 304 Not Modified", &["Content-Length: 5"], GET, Framing::NONE, true),
        ("HTTP/1.1 100 Continue", &[], GET, Framing::NONE, true),
        ("HTTP/1.1 101 Switching", &["Connection: upgrade", "Upgrade: a"], UPGRADE, Framing::NONE, true),
    ];
    for &(line, fields, asked, framing, keep_alive) in rows {
        assert_eq!(read(&head(line, fields), asked), Ok(Some((framing, keep_alive))), "{line} {fields:?}");
    }
}

#[test]
fn a_backend_s_mistakes_have_names() {
    let rows: &[(&str, &[&str], Refusal)] = &[
        ("HTTP/1.1 200 OK", &["Content-Length: 5", "Transfer-Encoding: chunked"], Refusal::TwoLengths),
        ("HTTP/1.1 200 OK", &["Content-Length: 5", "Content-Length: 6"], Refusal::ContentLengthConflict),
        ("HTTP/1.1 200 OK", &["Content-Length: -5"], Refusal::ContentLength),
        ("HTTP/1.0 200 OK", &["Transfer-Encoding: chunked"], Refusal::TransferEncodingVersion),
        ("HTTP/1.1 200 OK", &["Transfer-Encoding: gzip, chunked"], Refusal::TransferCoding),
        ("HTTP/1.1 200 OK", &["A : b"], Refusal::SpaceBeforeColon),
        ("HTTP/1.1 200 OK", &["A: b", " c"], Refusal::ObsFold),
        ("HTTP/1.1 101 Switching", &["Connection: upgrade", "Upgrade: a"], Refusal::SwitchUnasked),
        ("HTTP/1.1 099 Odd", &[], Refusal::Status),
        ("HTTP/1.1 20 OK", &[], Refusal::StatusLine),
        ("HTTP/2 200 OK", &[], Refusal::StatusLine),
        ("ICY 200 OK", &[], Refusal::StatusLine),
    ];
    for &(line, fields, refusal) in rows {
        assert_eq!(read(&head(line, fields), GET), Err(refusal), "{line} {fields:?}");
    }
    for fields in [&["Upgrade: a"][..], &["Connection: upgrade"], &[]] {
        let switch = head("HTTP/1.1 101 Switching", fields);
        assert_eq!(read(&switch, UPGRADE), Err(Refusal::SwitchUnnamed), "{fields:?}");
    }
    assert_eq!(read(b"\r\nHTTP/1.1 200 OK\r\n\r\n", GET), Err(Refusal::StatusLine));
}

#[test]
fn a_backend_may_end_lines_by_lf_alone() {
    let bytes = b"HTTP/1.1 200 OK\nA: b\r\nContent-Length: 5\n\nhello";
    let mut room = room();
    let head = ResponseHead::parse(bytes, &mut room, GET, &Limits::BACKEND).unwrap().unwrap();
    assert_eq!((&bytes[head.len..], head.framing), (&b"hello"[..], Framing::Length(5)));
    let fields: Vec<_> = head.fields.iter().map(|field| (field.name, field.value)).collect();
    assert_eq!(fields, [("A", &b"b"[..]), ("Content-Length", b"5")]);
    assert_eq!(read(b"HTTP/1.1 200 OK\nA: b\n c\n\n", GET), Err(Refusal::ObsFold));
    assert_eq!(read(b"HTTP/1.1 200 OK\nA: b\rc\n\n", GET), Err(Refusal::BareCr));
    let long = format!("HTTP/1.1 200 OK\nA: {}\n\n", "x".repeat(Limits::BACKEND.field - 2));
    assert_eq!(read(long.as_bytes(), GET), Err(Refusal::FieldTooLong));
}

#[test]
fn what_a_body_would_be_long_is_kept_for_head() {
    let told =
        [("200 OK", Some(5)), ("304 Not Modified", Some(5)), ("204 No Content", None), ("103 Hints", None)];
    for (status, length) in told {
        let bytes = head(&format!("HTTP/1.1 {status}"), &["Content-Length: 5"]);
        let mut room = room();
        let head = ResponseHead::parse(&bytes, &mut room, HEAD, &Limits::BACKEND).unwrap().unwrap();
        assert_eq!(head.length_elsewhere, length, "{status}");
    }
}

#[test]
fn only_heads_before_the_last_are_interim() {
    let is_interim = |line: &str| {
        let bytes = head(line, &["Connection: upgrade", "Upgrade: a"]);
        let mut room = room();
        ResponseHead::parse(&bytes, &mut room, UPGRADE, &Limits::BACKEND).unwrap().unwrap().is_interim()
    };
    assert!(is_interim("HTTP/1.1 100 Continue") && is_interim("HTTP/1.1 103 Early Hints"));
    assert!(!is_interim("HTTP/1.1 101 Switching Protocols") && !is_interim("HTTP/1.1 200 OK"));
}
