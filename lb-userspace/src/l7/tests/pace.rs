//! Clients that send or take a little now and then, and are not waited for beyond what their bytes pay back.

use super::lab::{Client as Plain, Lab, backend, mirror, over_both, to, to_by_http2};
use super::raw::{
    DATA, END_HEADERS, END_STREAM, GET, HEADERS, RST_STREAM, Raw, SETTINGS, WINDOW_UPDATE, frame,
};
use super::speak::{Client, LARGE, backend_by_http2, pattern, post, receive, run, say};
use crate::config::proxy::Proxy;
use bytes::Bytes;
use socket2::{Domain, Socket, Type};
use std::io::{BufReader, ErrorKind, Read as _};
use std::time::{Duration, Instant};

/// From one drop to the next.
const DROP: Duration = Duration::from_millis(50);
/// Longer than who is too slow is waited for.
const LONG: Duration = Duration::from_secs(1);
/// Long enough for a machine that has much to do besides.
const AGES: Duration = Duration::from_secs(15);

/// Half a second, of which a thousand bytes pay back one.
fn patient(mut proxy: Proxy) -> Proxy {
    let deadlines = &mut proxy.listeners[0].deadlines;
    deadlines.body = Duration::from_millis(500);
    deadlines.send = Duration::from_millis(500);
    deadlines.min_rate = 1000;
    proxy
}

/// Sends a body of so many bytes at a time until it is answered or has gone on for long: the status, and how long it took.
fn upload(lab: &Lab, drop: usize, longest: Duration) -> (Option<u16>, Duration) {
    let begin = Instant::now();
    let mut client = lab.connect();
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n");
    client.0.get_ref().set_read_timeout(Some(DROP)).unwrap();
    let mut byte = [0];
    while begin.elapsed() < longest {
        client.send_bytes(&vec![b'x'; drop]);
        if let Ok(1) = client.0.read(&mut byte) {
            client.0.get_ref().set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let head = client.head().unwrap();
            return (head.split(' ').nth(1).map(|status| status.parse().unwrap()), begin.elapsed());
        }
    }
    (None, begin.elapsed())
}

#[test]
fn a_body_that_comes_a_byte_at_a_time_is_not_waited_for() {
    over_both(|start| {
        let lab = start(patient(to(mirror())));
        let (status, took) = upload(&lab, 1, AGES);
        assert_eq!(status, Some(408));
        assert!(took > Duration::from_millis(400), "{took:?}");
        assert_eq!(upload(&lab, 200, LONG).0, None, "one that pays for its waits is");
    });
    over_both(|start| {
        let mut proxy = patient(to(mirror()));
        proxy.listeners[0].deadlines.min_rate = 0;
        assert_eq!(upload(&start(proxy), 1, LONG).0, None, "so is one where nothing is to be paid");
    });
}

/// The same by HTTP/2, to a service: the status, if there was an answer before long.
fn upload_by_http2(lab: &Lab, length: Option<u64>, longest: Duration) -> Option<u16> {
    run(async {
        let mut client = Client::connect(lab).await;
        let mut request = post("/");
        if let Some(length) = length {
            request.headers_mut().insert("content-length", length.into());
        }
        let (answer, mut stream) = client.begin(request, false).await;
        let dripping = tokio::spawn(async move {
            while stream.send_data(Bytes::from_static(b"x"), false).is_ok() {
                tokio::time::sleep(DROP).await;
            }
        });
        let answer = tokio::time::timeout(longest, receive(answer)).await;
        dripping.abort();
        Some(answer.ok()?.unwrap().status())
    })
}

#[test]
fn by_http_2_neither_unless_it_may_be_a_stream_that_pauses() {
    over_both(|start| {
        let lab = start(patient(to_by_http2(mirror())));
        for length in [None, Some(1000)] {
            assert_eq!(upload_by_http2(&lab, length, AGES), Some(408), "{length:?}");
        }
    });
    let silent = backend_by_http2(|_, _, (request, mut respond)| async move {
        let mut body = request.into_body();
        while body.data().await.is_some_and(|piece| piece.is_ok()) {}
        say(&mut respond, "over");
    });
    over_both(|start| {
        let mut proxy = patient(to_by_http2(silent));
        proxy.services[0].http2 = true;
        let lab = start(proxy);
        assert_eq!(upload_by_http2(&lab, None, LONG), None);
        assert_eq!(upload_by_http2(&lab, Some(1000), AGES), Some(408), "it owes what it said");
    });
}

/// Takes an answer so many bytes at a time, as windows go: how long it was sent.
fn download(lab: &Lab, drop: u32, longest: Duration) -> Duration {
    let mut raw = Raw::begin(lab);
    raw.send(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 1]));
    raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, GET));
    let begin = Instant::now();
    while begin.elapsed() < longest {
        let is_over =
            |frame: &super::raw::Frame| matches!((frame.kind, frame.stream), (DATA | RST_STREAM, 1));
        let next = std::iter::from_fn(|| raw.next()).find(is_over).expect("a frame of the stream");
        if next.kind == RST_STREAM {
            break;
        }
        std::thread::sleep(DROP);
        raw.send(&frame(WINDOW_UPDATE, 0, 1, &drop.to_be_bytes()));
    }
    begin.elapsed()
}

#[test]
fn an_answer_that_is_taken_a_byte_at_a_time_is_cut_off() {
    let large = backend(|mut client| {
        client.receive();
        client.send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n"));
        client.send_bytes(&pattern(LARGE));
    });
    over_both(|start| {
        let lab = start(patient(to_by_http2(large)));
        let slow = download(&lab, 1, AGES);
        assert!((DROP * 8..AGES).contains(&slow), "{slow:?}");
        assert!(download(&lab, 200, LONG) >= LONG, "one that pays for its waits goes on");
    });
}

/// How often readers were too slow.
pub(super) fn slow_readers(lab: &Lab) -> u64 {
    let failures = lab.counters.tally.failures.each();
    failures.filter(|(label, _)| *label == "slow_reader").map(|(_, count)| count).sum()
}

/// A client for which the kernel keeps little.
pub(super) fn narrow(lab: &Lab) -> Plain {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(64 << 10).unwrap();
    socket.connect(&lab.address.into()).unwrap();
    Plain(BufReader::new(socket.into()))
}

#[test]
fn a_reader_by_http_1_1_that_never_stands_still_is_cut_off_too() {
    const FASTEST: u32 = 1_000_000;
    let large = backend(|mut client| {
        client.receive();
        client.send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 8 * LARGE));
        client.send_bytes(&pattern(8 * LARGE));
    });
    let read = |lab: &Lab| {
        let mut client = narrow(lab);
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        let (begin, mut room) = (Instant::now(), vec![0; 20_000]);
        // Less than is asked for, and enough that its window moves again and again.
        while slow_readers(lab) == 0 && begin.elapsed() < AGES && client.0.read_exact(&mut room).is_ok() {
            std::thread::sleep(DROP);
        }
        let rest = client.0.read_to_end(&mut Vec::new());
        (slow_readers(lab), rest.map_err(|error| error.kind()))
    };
    over_both(|start| {
        let mut proxy = patient(to(large));
        proxy.listeners[0].deadlines.min_rate = FASTEST;
        let (slow, rest) = read(&start(proxy));
        assert_eq!(slow, 1);
        assert_eq!(rest, Err(ErrorKind::ConnectionReset), "what it has not taken is not kept for it");
    });
}
