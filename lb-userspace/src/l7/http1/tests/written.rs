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
