//! Clients and backends that are late, gone or in the way.

use super::lab::{backend, free_address, mirror, over_both, to};
use crate::l7::worker::Order;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

#[test]
fn a_backend_that_ends_its_connections_between_requests_costs_the_client_nothing() {
    let forgetful = backend(|mut client| {
        client.receive();
        client.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
    over_both(|start| {
        let lab = start(to(forgetful));
        let mut client = lab.connect();
        for _ in 0..20 {
            assert_eq!(client.ask(GET).text(), "ok");
            // A request that may not be sent twice needs the backend's end to have arrived.
            std::thread::sleep(Duration::from_millis(10));
            assert_eq!(client.ask("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx").text(), "ok");
        }
    });
}

#[test]
fn a_backend_that_is_not_there_is_answered_for_and_the_connection_stays() {
    over_both(|start| {
        let lab = start(to(free_address()));
        let mut client = lab.connect();
        assert_eq!(client.ask(GET).status(), 502);
        assert_eq!(client.ask(GET).status(), 502);
    });
}

#[test]
fn a_backend_that_ends_in_the_midst_of_an_answer_ends_the_clients_connection() {
    let broken = backend(|mut client| {
        client.receive();
        client.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    });
    over_both(|start| {
        let lab = start(to(broken));
        let mut client = lab.connect();
        client.send(GET);
        assert!(client.rest().ends_with("\r\n\r\nhalf"));
    });
}

#[test]
fn a_backend_that_does_not_answer_in_time_is_answered_for() {
    let silent = backend(|mut client| {
        client.receive();
        client.rest();
    });
    over_both(|start| {
        let mut proxy = to(silent);
        proxy.services[0].deadlines.first_byte = Duration::from_millis(300);
        let begin = Instant::now();
        assert_eq!(start(proxy).connect().ask(GET).status(), 504);
        assert!(begin.elapsed() >= Duration::from_millis(300));
    });
}

#[test]
fn a_client_that_does_not_finish_its_head_in_time_is_told_so() {
    over_both(|start| {
        let mut proxy = to(mirror());
        proxy.listeners[0].deadlines.head = Duration::from_millis(300);
        let lab = start(proxy);
        let mut client = lab.connect();
        assert_eq!(client.ask("GET / HTTP/1.1\r\nHost:").status(), 408);
        assert_eq!(client.rest(), "");
    });
}

#[test]
fn a_client_that_says_nothing_for_too_long_is_left() {
    over_both(|start| {
        let mut proxy = to(mirror());
        proxy.listeners[0].deadlines.idle = Duration::from_millis(300);
        let lab = start(proxy);
        let mut client = lab.connect();
        assert_eq!(client.ask(GET).status(), 200);
        assert_eq!(client.rest(), "");
    });
}

#[test]
fn an_answer_that_comes_before_the_end_of_the_request_arrives() {
    let impatient = backend(|mut client| {
        client.head();
        client.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno!");
    });
    over_both(|start| {
        let lab = start(to(impatient));
        let mut client = lab.connect();
        client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n");
        let answer = client.ask(&"x".repeat(1000));
        assert_eq!((answer.status(), answer.text()), (413, "no!"));
    });
}

#[test]
fn a_backend_that_is_down_is_not_asked() {
    let address = mirror();
    over_both(|start| {
        let lab = start(to(address));
        let mut client = lab.connect();
        assert_eq!(client.ask(GET).status(), 200);
        lab.orders.send(Order::Down(vec![("web".to_owned(), address)].into())).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(client.ask(GET).status(), 503);
        lab.orders.send(Order::Down(Vec::new().into())).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(client.ask(GET).status(), 200);
    });
}

#[test]
fn a_worker_that_drains_does_not_wait_for_clients_with_nothing_to_say() {
    over_both(|start| {
        let lab = start(to(mirror()));
        let mut client = lab.connect();
        assert_eq!(client.ask(GET).status(), 200);
        let begin = Instant::now();
        lab.orders.send(Order::Drain(Duration::from_secs(30))).unwrap();
        assert_eq!(client.rest(), "");
        assert!(begin.elapsed() < Duration::from_secs(5));
    });
}

#[test]
fn a_worker_that_drains_finishes_what_has_begun() {
    let slow = backend(|mut client| {
        client.receive();
        std::thread::sleep(Duration::from_millis(400));
        client.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        client.rest();
    });
    over_both(|start| {
        let lab = start(to(slow));
        let mut client = lab.connect();
        client.send(GET);
        std::thread::sleep(Duration::from_millis(100));
        lab.orders.send(Order::Drain(Duration::from_secs(5))).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        assert!(std::net::TcpStream::connect(lab.address).is_err());
        let answer = client.receive().unwrap();
        assert_eq!((answer.text(), answer.field("connection")), ("ok", None));
        assert_eq!(lab.counters.answers[1].load(Ordering::Relaxed), 1);
    });
}
