//! Bodies, however they are framed and however large they are.

use super::lab::{Lab, backend, mirror, over_both, to};
use std::io::{Read as _, Write as _};

/// More than all buffers on the way hold.
const LARGE: usize = 20 << 20;

#[test]
fn a_body_with_a_length_arrives() {
    over_both(|start| {
        let lab = start(to(mirror()));
        let mut client = lab.connect();
        let answer = client.ask("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello");
        assert!(answer.text().ends_with("\r\n\r\nhello"), "{answer:?}");
        assert!(client.ask("GET /next HTTP/1.1\r\nHost: h\r\n\r\n").text().starts_with("GET /next "));
    });
}

#[test]
fn a_chunked_body_arrives_whole_and_without_its_extensions() {
    over_both(|start| {
        let lab = start(to(mirror()));
        let mut client = lab.connect();
        client.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
        client.send("5;name=value\r\nhello\r\n");
        let answer = client.ask("7\r\n, world\r\n0\r\n\r\n");
        assert!(answer.text().ends_with("\r\n\r\nhello, world"), "{answer:?}");
        assert!(client.ask("GET /next HTTP/1.1\r\nHost: h\r\n\r\n").text().starts_with("GET /next "));
    });
}

#[test]
fn a_chunk_that_is_none_is_refused() {
    over_both(|start| {
        let lab = start(to(mirror()));
        let mut client = lab.connect();
        let answer = client.ask("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n");
        assert_eq!(answer.status(), 400);
    });
}

#[test]
fn an_answer_that_ends_with_its_connection_leaves_the_clients_open() {
    let until_close = backend(|mut client| {
        client.receive();
        client.send("HTTP/1.1 200 OK\r\n\r\nall there is");
    });
    over_both(|start| {
        let lab = start(to(until_close));
        let mut client = lab.connect();
        for _ in 0..2 {
            assert_eq!(client.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n").text(), "all there is");
        }
    });
}

#[test]
fn a_large_download_arrives_byte_for_byte() {
    let large = backend(|mut client| {
        client.receive();
        client.send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n"));
        client.send_bytes(&pattern(LARGE));
    });
    over_both(|start| {
        let answer = start(to(large)).connect().ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        assert!(answer.body == pattern(LARGE));
    });
}

#[test]
fn a_large_upload_arrives_byte_for_byte_with_the_answer_on_its_way_meanwhile() {
    let echo = backend(|mut client| {
        client.head();
        client.send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n"));
        let mut piece = vec![0; 60_000];
        let mut left = LARGE;
        while left > 0 {
            let count = client.0.read(&mut piece).unwrap();
            client.send_bytes(&piece[..count]);
            left -= count;
        }
    });
    over_both(|start| {
        let lab = start(to(echo));
        assert!(upload(&lab) == pattern(LARGE));
    });
}

#[test]
fn trailers_pass_but_for_those_that_mean_something_in_a_head() {
    let trailing = backend(|mut client| {
        client.head();
        let mut sent = String::new();
        while !sent.ends_with("\r\n\r\n") {
            std::io::BufRead::read_line(&mut client.0, &mut sent).unwrap();
        }
        assert_eq!(sent, "3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n");
        client.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n");
        client.send("0\r\nContent-Type: a\r\nX-Sum: 2\r\nSet-Cookie: a=b\r\n\r\n");
    });
    over_both(|start| {
        let lab = start(to(trailing));
        let mut client = lab.connect();
        client.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n");
        client.send("0\r\nX-Forwarded-For: 192.0.2.1\r\nX-Sum: 1\r\nX_Real_IP: 192.0.2.1\r\nContent-Length: 7\r\nTrailer: a\r\n\r\n");
        let answer = client.rest();
        assert!(answer.ends_with("\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 2\r\n\r\n"), "{answer}");
    });
}

fn upload(lab: &Lab) -> Vec<u8> {
    let mut client = lab.connect();
    client.send(&format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {LARGE}\r\n\r\n"));
    let mut sender = client.0.get_ref().try_clone().unwrap();
    let sending = std::thread::spawn(move || sender.write_all(&pattern(LARGE)));
    let answer = client.receive().unwrap();
    sending.join().unwrap().unwrap();
    answer.body
}

/// Bytes of which none is at the same place in two pieces of a power of two.
fn pattern(length: usize) -> Vec<u8> {
    let period: Vec<u8> = (0..253).map(|n: u32| u8::try_from(n * 7 % 253).unwrap()).collect();
    let mut bytes = period.repeat(length / period.len() + 1);
    bytes.truncate(length);
    bytes
}
