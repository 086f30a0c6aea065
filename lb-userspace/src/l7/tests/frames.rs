//! HTTP/2 by raw frames, as only those write it who mean harm.

use super::lab::{Lab, backend, mirror, over_both, to_by_http2};
use super::raw::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, GET, GOAWAY, HEADERS, PING, PRIORITY,
    PROTOCOL_ERROR, RST_STREAM, Raw, SETTINGS, WINDOW_UPDATE, frame,
};
use crate::config::proxy::Proxy;
use std::io::Read as _;
use std::net::SocketAddr;
use std::time::Duration;

/// What a client sends again and again, by the number of the stream that is next.
type Piece = fn(u32) -> Vec<u8>;

/// The code that ends a connection on which these pieces are sent.
fn flood(lab: &Lab, first: &[u8], piece: Piece) -> Option<u32> {
    let mut raw = Raw::connect(lab);
    raw.send(first);
    let mut reader = Raw(raw.0.try_clone().unwrap());
    let reading = std::thread::spawn(move || reader.goaway());
    // More than any budget allows, and an end to it for a proxy that has none.
    for n in 0..5_000 {
        if !raw.send(&piece(2 * n + 3)) {
            break;
        }
    }
    let _ = raw.0.shutdown(std::net::Shutdown::Write);
    reading.join().unwrap()
}

#[test]
fn floods_end_by_the_code_that_asks_for_calm() {
    let get = frame(HEADERS, END_HEADERS | END_STREAM, 1, GET);
    let open = frame(HEADERS, END_HEADERS, 1, GET);
    let unfinished = frame(HEADERS, END_STREAM, 1, GET);
    let rows: [(&str, &[u8], Piece); 8] = [
        ("ping", b"", |_| frame(PING, 0, 0, b"12345678")),
        ("settings", b"", |_| frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0])),
        ("priority", b"", |next| frame(PRIORITY, 0, next, &[0; 5])),
        ("unknown frames", b"", |_| frame(0xfa, 0, 0, b"what")),
        ("rapid reset", &get, |next| {
            let get = frame(HEADERS, END_HEADERS | END_STREAM, next, GET);
            [get, frame(RST_STREAM, 0, next, &8_u32.to_be_bytes())].concat()
        }),
        ("empty data", &open, |_| frame(DATA, 0, 1, b"")),
        ("window updates", &open, |_| frame(WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes())),
        ("continuation", &unfinished, |_| frame(CONTINUATION, 0, 1, b"\x00\x01a\x01b")),
    ];
    let slow = backend(|mut client| {
        client.rest();
    });
    over_both(|start| {
        let lab = start(to_by_http2(slow));
        for (name, first, piece) in rows {
            assert_eq!(flood(&lab, first, piece), Some(ENHANCE_YOUR_CALM), "{name}");
        }
    });
}

#[test]
fn a_head_that_unpacks_to_more_than_it_may_be_is_refused() {
    over_both(|start| {
        let mut proxy = to_by_http2(mirror());
        proxy.listeners[0].limits.head = 16 << 10;
        let lab = start(proxy);
        let mut raw = Raw::connect(&lab);
        raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &bomb(5)));
        assert_eq!(raw.next_of(1).kind, HEADERS, "it is answered, by 431");
        raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, 3, GET));
        assert_eq!(raw.next_of(3).kind, HEADERS, "and the connection lives on");
        raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, 5, &bomb(1000)));
        assert_eq!(raw.goaway(), Some(ENHANCE_YOUR_CALM));
    });
}

/// A head with a field of 4,000 bytes that goes into the table, and is then named again so often by one byte each.
fn bomb(times: usize) -> Vec<u8> {
    let field = [&b"\x40\x01x\x7f\xa1\x1e"[..], &[b'a'; 4000]].concat();
    [GET, &field, &vec![0xbe; times]].concat()
}

/// A backend, and how many whole requests it has understood.
fn counting() -> (SocketAddr, std::sync::Arc<std::sync::atomic::AtomicUsize>) {
    let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let seen = std::sync::Arc::clone(&count);
    let address = backend(move |mut client| {
        while let Some(request) = client.receive() {
            if request.body.len() == 4 {
                seen.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
            client.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    (address, count)
}

#[test]
fn a_malformed_request_is_reset_and_never_reaches_the_backend() {
    // Each behind the fields of GET; RFC 9113, sections 8.1.1, 8.2 and 8.3.
    // What is no field at all ends the connection, for its header compression may be out of step.
    let rows: [(&str, &[u8], u8); 10] = [
        ("a name in upper case", b"\x00\x01A\x01b", GOAWAY),
        ("a line end in a value", b"\x00\x01a\x0bb\r\nc: d\r\n\r\n", GOAWAY),
        ("a NUL in a value", b"\x00\x01a\x01\x00", GOAWAY),
        ("a space in a name", b"\x00\x03a b\x01c", GOAWAY),
        ("an unknown pseudo-field", b"\x00\x06:other\x01a", GOAWAY),
        ("a field of the connection", b"\x00\x0aconnection\x05close", RST_STREAM),
        ("transfer-encoding", b"\x00\x11transfer-encoding\x07chunked", RST_STREAM),
        ("te other than trailers", b"\x00\x02te\x04gzip", RST_STREAM),
        ("a second method", b"\x82", RST_STREAM),
        ("a pseudo-field behind a field", b"\x00\x01a\x01b\x84", RST_STREAM),
    ];
    over_both(|start| {
        let (address, count) = counting();
        let lab = start(to_by_http2(address));
        for (name, field, kind) in rows {
            let mut raw = Raw::connect(&lab);
            raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &[GET, field].concat()));
            assert_eq!(raw.end(), Some((kind, PROTOCOL_ERROR)), "{name}");
        }
        assert_eq!(count.load(std::sync::atomic::Ordering::Relaxed), 0);
    });
}

#[test]
fn a_body_of_another_length_than_told_is_no_request() {
    let length = |digits: &[u8]| {
        [&b"\x83\x86\x84\x41\x01h\x0f\x0d"[..], &[digits.len().try_into().unwrap()], digits].concat()
    };
    over_both(|start| {
        let (address, count) = counting();
        let lab = start(to_by_http2(address));
        for (told, sent) in [(&b"4"[..], &b"12345"[..]), (b"4", b"123"), (b"0", b"1")] {
            let mut raw = Raw::connect(&lab);
            raw.send(&frame(HEADERS, END_HEADERS, 1, &length(told)));
            raw.send(&frame(DATA, END_STREAM, 1, sent));
            assert_eq!(raw.end(), Some((RST_STREAM, PROTOCOL_ERROR)));
        }
        assert_eq!(count.load(std::sync::atomic::Ordering::Relaxed), 0);
    });
}

#[test]
fn a_client_that_reads_nothing_at_all_is_left() {
    const LARGE: usize = 16 << 20;
    let large = backend(|mut client| {
        client.receive();
        client.send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n"));
        client.send_bytes(&vec![7; LARGE]);
    });
    over_both(|start| {
        let mut proxy: Proxy = to_by_http2(large);
        proxy.listeners[0].deadlines.send = Duration::from_millis(300);
        let lab = start(proxy);
        let mut raw = Raw::connect(&lab);
        // As much window as there can be, so that only the socket holds it back.
        raw.send(&frame(SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]));
        raw.send(&frame(WINDOW_UPDATE, 0, 0, &0x7fff_0000_u32.to_be_bytes()));
        raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, GET));
        std::thread::sleep(Duration::from_millis(2500));
        let mut read = 0;
        let mut room = vec![0; 1 << 20];
        while let Ok(1..) = raw.0.read(&mut room).inspect(|count| read += count) {}
        assert!(read < LARGE, "it was waited for");
    });
}
