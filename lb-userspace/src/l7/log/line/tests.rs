//! Lines as they are read back.

use super::*;
use crate::config::proxy::{AccessLog, LogTarget};
use crate::l7::account::{AsSent, Who};
use crate::l7::log::Plan;
use crate::l7::rewrite::Peer;

/// The line of a request with these fields, in this format.
fn line(format: LogFormat, path: &str, fields: &[(&str, &str)]) -> String {
    let plan = Plan::new(AccessLog { to: LogTarget::Stdout, format, sample: 1, all_errors: true });
    let peer = Peer::new([192, 0, 2, 7].into(), 443, false, &[]);
    let mut note = Note::default();
    note.arrive("main", Who { client: ([192, 0, 2, 7], 5555).into(), peer: &peer, tls: None });
    let fields: Vec<_> =
        fields.iter().map(|(name, value)| httparse::Header { name, value: value.as_bytes() }).collect();
    let asked = AsSent {
        method: "GET",
        host: "example.org",
        path,
        query: Some("b=c"),
        protocol: "HTTP/1.1",
        fields: &fields[..],
    };
    note.read(&asked, &plan, &peer, 1);
    note.put(Field::Backend, b"web1");
    let closing = Closing {
        note: &note,
        status: 502,
        retries: 1,
        received: 3,
        sent: 40,
        time: Duration::from_micros(1_000_250),
        upstream: None,
        failure: Some("backend_ended"),
    };
    let (mut moment, mut out) = (Moment::default(), Vec::new());
    moment.set(Duration::from_micros(784_111_777_000_001));
    closing.write(&plan.config.format, &moment, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn text_is_the_combined_log_format() {
    assert_eq!(
        line(LogFormat::Text, "/a", &[("User-Agent", "curl/8"), ("Referer", "http://r/")]),
        "192.0.2.7 - - [06/Nov/1994:08:49:37 +0000] \"GET /a?b=c HTTP/1.1\" 502 40 \"http://r/\" \"curl/8\"\n"
    );
    assert!(line(LogFormat::Text, "/a", &[]).ends_with(" 502 40 \"-\" \"-\"\n"));
}

#[test]
fn json_has_every_field_that_there_is_something_to_tell_of() {
    let line = line(LogFormat::Json, "/a", &[("User-Agent", "a \"b\" \\ c")]);
    let read: serde_json::Value = serde_json::from_str(&line).unwrap();
    let expected = serde_json::json!({
        "time": "1994-11-06T08:49:37.000001Z", "client": "192.0.2.7", "client_port": 5555, "listener": "main",
        "protocol": "HTTP/1.1", "method": "GET", "host": "example.org", "path": "/a", "query": "b=c",
        "status": 502, "bytes_in": 3, "bytes_out": 40, "duration": 1.000_25, "backend": "web1", "retries": 1,
        "request_id": "00000000000000000000000000000001", "failure": "backend_ended",
        "user_agent": "a \"b\" \\ c",
    });
    assert_eq!(read, expected);
}

#[test]
fn a_format_of_ones_own_has_what_it_names() {
    let format = LogFormat::parse("{{{status}}} {upstream_time} {header:x-a} {failure}").unwrap();
    assert_eq!(line(format, "/", &[("X-A", "1")]), "{502} - 1 backend_ended\n");
}

#[test]
fn nothing_that_a_client_sends_ends_a_line_or_its_quotes() {
    let evil = "x\" 200\r\n127.0.0.1 - - \\ \u{1b}[2J \u{e9}\u{7f}";
    let text = line(LogFormat::Text, "/a\"b", &[("User-Agent", evil)]);
    assert_eq!(text.matches('\n').count(), 1);
    assert_eq!(text.matches('"').count(), 6, "{text}");
    assert!(text.bytes().all(|byte| (0x20..0x7f).contains(&byte) || byte == b'\n'), "{text}");
    let json = line(LogFormat::Json, "/", &[("User-Agent", evil)]);
    assert_eq!(json.matches('\n').count(), 1);
    let read: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(read["user_agent"], evil);
}

#[test]
fn a_value_that_is_very_long_is_cut() {
    let text = line(LogFormat::Text, &"/x".repeat(5000), &[]);
    assert!(text.len() < 2300, "{}", text.len());
}
