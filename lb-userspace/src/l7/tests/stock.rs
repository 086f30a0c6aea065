//! What HTTP/2 holds of the budget of memory, and who goes when it runs out.

use super::lab::{Lab, backend, over_both, to, to_by_http2};
use super::raw::{END_HEADERS, END_STREAM, GET, HEADERS, PING, Raw, frame};
use super::speak::{Client, LARGE, backend_by_http2, get, pattern, post, receive, run, write};
use crate::config::proxy::Proxy;
use crate::l7::memory::{CONNECTION, SESSION};
use socket2::SockRef;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What a window of a stream lets come, at least: as much again may wait to be announced.
const WINDOW: u64 = 128 << 10;

/// Waits until what is held fits.
async fn wait_for(lab: &Lab, what: &str, fits: impl Fn(u64) -> bool) {
    let begin = Instant::now();
    while !fits(lab.settings.ledger.total()) {
        let held = lab.settings.ledger.total();
        assert!(begin.elapsed() < Duration::from_secs(10), "{what}: {held} bytes are held");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn connections_that_wait_are_told_to_go_for_want_of_memory_and_the_active_ones_are_not() {
    const FIT: u64 = 40;
    let slow = backend(|mut client| drop(client.rest()));
    over_both(|start| {
        let memory = FIT * (CONNECTION + SESSION) as u64 * 100 / 80;
        let lab = start(Proxy { memory, ..to_by_http2(slow) });
        let mut active = Raw::connect(&lab);
        active.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, GET));
        let mut waiting: Vec<_> = (0..FIT).map(|_| Raw::connect(&lab)).collect();
        assert_eq!(waiting[0].goaway(), Some(0), "the longest waiting is told, and that nothing is wrong");
        run(wait_for(&lab, "some are gone", |held| held <= memory / 100 * 80));
        let shed = lab.counters.shed.load(Ordering::Relaxed);
        assert!((1..FIT).contains(&shed), "{shed} were shed");
        active.send(&frame(PING, 0, 0, b"12345678"));
        assert_eq!(active.await_kind(PING).unwrap().payload, b"12345678");
    });
}

#[test]
fn a_body_that_is_not_passed_on_is_counted_as_long_as_it_lies_there() {
    let has_filled = Arc::new(AtomicBool::new(false));
    let is_over = Arc::clone(&has_filled);
    let deaf = backend(move |mut client| {
        client.head();
        while !is_over.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    over_both(|start| {
        has_filled.store(false, Ordering::Relaxed);
        let lab = start(to_by_http2(deaf));
        run(async {
            let mut client = Client::connect(&lab).await;
            let (_answer, mut stream) = client.begin(post("/"), false).await;
            let body = pattern(LARGE);
            // Nobody reads it, so it ends with the backend.
            let sending = tokio::spawn(async move { drop(write(&mut stream, &body, true).await) });
            wait_for(&lab, "a window is full", |held| held >= WINDOW).await;
            has_filled.store(true, Ordering::Relaxed);
            let _ = sending.await;
            wait_for(&lab, "it is gone", |held| held < WINDOW * 3 / 4).await;
        });
    });
}

/// A backend that takes the bodies of some requests, and nothing of those for `/deaf` until they are to end.
fn deaf_to_some(is_over: &Arc<AtomicBool>) -> SocketAddr {
    let is_over = Arc::clone(is_over);
    backend(move |mut client| {
        // So that little lies in the kernel.
        SockRef::from(client.0.get_ref()).set_recv_buffer_size(4 << 10).unwrap();
        while let Some(head) = client.head() {
            if head.starts_with("POST /deaf ") {
                while !is_over.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(5));
                }
                return;
            }
            let body = client.body_of(head).body;
            client.send(&format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{:05}", body.len()));
        }
    })
}

/// Sends what nobody takes, on so many streams.
async fn fill(client: &mut Client, streams: usize) {
    for _ in 0..streams {
        let (_answer, mut stream) = client.begin(post("/deaf"), false).await;
        // It ends with the backend.
        tokio::spawn(async move { while write(&mut stream, &pattern(64 << 10), false).await.is_ok() {} });
    }
}

#[test]
fn bodies_that_no_backend_takes_hold_up_no_others_on_the_connection() {
    let is_over = Arc::new(AtomicBool::new(false));
    let backend = deaf_to_some(&is_over);
    over_both(|start| {
        is_over.store(false, Ordering::Relaxed);
        let lab = start(to_by_http2(backend));
        run(async {
            let mut client = Client::connect(&lab).await;
            fill(&mut client, 10).await;
            wait_for(&lab, "ten windows are full", |held| held >= 10 * WINDOW).await;
            let (answer, mut stream) = client.begin(post("/"), false).await;
            write(&mut stream, &pattern(70_000), true).await.unwrap();
            assert_eq!(receive(answer).await.unwrap().text(), "70000");
            is_over.store(true, Ordering::Relaxed);
        });
    });
}

#[test]
fn bodies_that_no_backend_takes_are_let_in_only_while_there_is_memory() {
    const MEMORY: u64 = 2 << 20;
    let is_over = Arc::new(AtomicBool::new(false));
    let backend = deaf_to_some(&is_over);
    over_both(|start| {
        is_over.store(false, Ordering::Relaxed);
        let lab = start(Proxy { memory: MEMORY, ..to_by_http2(backend) });
        run(async {
            let mut client = Client::connect(&lab).await;
            fill(&mut client, 20).await;
            wait_for(&lab, "memory is tight", |held| held >= MEMORY / 100 * 80).await;
            tokio::time::sleep(Duration::from_millis(300)).await;
            // What may have been on its way when memory became tight.
            let most = MEMORY + (1 << 20);
            wait_for(&lab, "no more is let in", |held| held <= most).await;
            is_over.store(true, Ordering::Relaxed);
        });
    });
}

#[test]
fn an_answer_by_http_2_that_is_not_taken_is_counted_too() {
    let large = backend_by_http2(|_, _, (_, mut respond)| async move {
        let mut stream = respond.send_response(http::Response::new(()), false).unwrap();
        // The client goes.
        let _ = write(&mut stream, &pattern(2 * LARGE), true).await;
    });
    over_both(|start| {
        let mut proxy = to(large);
        proxy.services[0].http2 = true;
        proxy.listeners[0].http2 = true;
        let lab = start(proxy);
        run(async {
            let mut client = Client::connect(&lab).await;
            let (answer, stream) = client.begin(get("/"), true).await;
            let answer = answer.await.unwrap();
            wait_for(&lab, "a window is full", |held| held >= WINDOW).await;
            drop((answer, stream));
            wait_for(&lab, "it is gone", |held| held < WINDOW * 3 / 4).await;
        });
    });
}
