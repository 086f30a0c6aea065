//! What is written is read as it was meant.

use super::*;
use crate::l7::message::{FieldSink as _, Fields as _};
use proptest::prelude::*;

#[test]
fn dates_are_of_the_second_they_are_asked_for() {
    let mut dates = DateCache::default();
    let rows = [
        (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
        (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
        (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
        (951_868_799, "Tue, 29 Feb 2000 23:59:59 GMT"),
        (951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT"),
        (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT"),
        (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
    ];
    for (second, date) in rows {
        assert_eq!(dates.at(second), date);
        assert_eq!(dates.at(second), date, "and again");
    }
}

#[test]
fn status_lines_have_their_phrase() {
    let line = |status| {
        let mut out = Vec::new();
        status_line(&mut out, status);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(line(200), "HTTP/1.1 200 OK\r\n");
    assert_eq!(line(404), "HTTP/1.1 404 Not Found\r\n");
    assert_eq!(line(599), "HTTP/1.1 599 \r\n", "the phrase may be empty, the space before it not");
}

#[test]
fn lengths_are_decimal_and_chunks_hexadecimal() {
    let length = |number| {
        let mut out = Vec::new();
        length_field(&mut out, number);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(length(0), "content-length: 0\r\n");
    assert_eq!(length(u64::MAX), "content-length: 18446744073709551615\r\n");
    let mut line = Vec::new();
    chunk_line(&mut line, 0x1_0000);
    assert_eq!(line, b"10000\r\n");
}

proptest! {
    #[test]
    fn a_request_that_is_written_is_read(
        method in "[A-Z]{1,7}",
        path in "(/[a-z0-9]{1,6}){1,4}",
        query in proptest::option::of("[a-z=&?/]{0,12}"),
        fields in proptest::collection::vec(("x-[a-z]{1,8}", "([!-~]([ -~]{0,10}[!-~])?)?"), 0..6),
        length: Option<u32>,
    ) {
        let mut bytes = Vec::new();
        request_line(&mut bytes, &method, &path, query.as_deref());
        if let Some(length) = length {
            length_field(&mut bytes, length.into());
        }
        let mut text = Text(&mut bytes);
        text.put("host", b"example.org");
        for (name, value) in &fields {
            text.put(name, value.as_bytes());
        }
        text.end();

        let mut room = room();
        let head = Head::parse(&bytes, &mut room, &LIMITS).unwrap().unwrap();
        prop_assert_eq!((head.method, head.path().unwrap(), head.query), (&*method, (&*path).into(), query.as_deref()));
        prop_assert_eq!(head.framing, Framing::Length(length.unwrap_or(0).into()));
        let others = head.fields.each().filter(|(name, _)| name.starts_with("x-"));
        let others: Vec<_> = others.map(|(name, value)| (name.to_owned(), String::from_utf8_lossy(value).into_owned())).collect();
        prop_assert_eq!(others, fields);
    }
}

/// What these fields are written as, of which some stand in a head that was read.
fn copied(source: &[u8], fields: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = b"GET / HTTP/1.1\r\n".to_vec();
    let mut lines = Lines::new(&mut out, source);
    for (name, value) in fields {
        lines.put(name, value);
    }
    lines.finish();
    out
}

/// The same, written one by one.
fn spelt_out(fields: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = b"GET / HTTP/1.1\r\n".to_vec();
    for (name, value) in fields {
        Text(&mut out).put(name, value);
    }
    out
}

#[test]
fn lines_that_are_oddly_spaced_are_written_anew() {
    let source = b"GET /a HTTP/1.1\r\nA:1\r\nB:  2\r\nC: 3 \r\nD:\t4\r\nE: \r\nF: 5\r\n\r\n";
    let mut room = room();
    let mut request = httparse::Request::new(&mut []);
    assert!(request.parse_with_uninit_headers(source, &mut room).unwrap().is_complete());
    let fields: Vec<_> = request.headers.each().collect();
    let text = String::from_utf8(copied(source, &fields)).unwrap();
    assert_eq!(text, "GET / HTTP/1.1\r\nA: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\nE: \r\nF: 5\r\n");
}

proptest! {
    /// Whichever fields of a head go on, with others between them and in whatever order.
    #[test]
    fn copied_lines_are_what_they_would_be_one_by_one(
        fields in proptest::collection::vec(("[a-zA-Z-]{1,9}", "([!-~]([ -~]{0,9}[!-~])?)?"), 0..9),
        picks in proptest::collection::vec(0..12_usize, 0..20),
    ) {
        let written: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let source = [spelt_out(&written), b"\r\n".to_vec()].concat();
        let mut room = room();
        let mut request = httparse::Request::new(&mut []);
        prop_assert!(request.parse_with_uninit_headers(&source, &mut room).unwrap().is_complete());
        let read: Vec<_> = request.headers.each().collect();
        let other = ("via", &b"1.1 lb"[..]);
        let chosen: Vec<_> = picks.iter().map(|pick| *read.get(*pick).unwrap_or(&other)).collect();
        prop_assert_eq!(copied(&source, &chosen), spelt_out(&chosen));
    }
}
