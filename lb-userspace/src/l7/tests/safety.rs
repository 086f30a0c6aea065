//! What one client, one backend or one service too slow must not do to the others.

use super::lab::{Client, Lab, backend, free_address, mirror, over_both, service, to, to_by_http2};
use super::speak::{self, run};
use crate::config::proxy::{Action, Backend, Edits, Network, Proxy, Respond, Route, RouteDeadlines, Share};
use crate::l7::memory::CONNECTION;
use socket2::{Domain, Socket, Type};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Waits until a worker's counter has this value.
fn wait_for(counter: &AtomicU64, value: u64) {
    let begin = Instant::now();
    while counter.load(Ordering::Relaxed) != value {
        assert!(begin.elapsed() < Duration::from_secs(10), "{counter:?} is not {value}");
        std::thread::sleep(ms(5));
    }
}

/// A lab whose own first connection has gone.
fn quiet(lab: Lab) -> Lab {
    wait_for(&lab.counters.accepted, 1);
    wait_for(&lab.counters.open, 0);
    lab
}

/// A backend that answers every request with these bytes, and how many it has got.
fn always(answer: &'static str) -> (SocketAddr, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let serve = move |mut client: Client| {
        while client.receive().is_some() {
            count.fetch_add(1, Ordering::Relaxed);
            client.send(answer);
        }
    };
    (backend(serve), asked)
}

#[test]
fn a_connection_too_many_is_closed_and_those_that_are_open_stay() {
    over_both(|start| {
        let mut proxy = to(mirror());
        proxy.listeners[0].limits.connections = 2;
        let lab = quiet(start(proxy));
        let (mut first, mut second) = (lab.connect(), lab.connect());
        assert_eq!((first.ask(GET).status(), second.ask(GET).status()), (200, 200));
        assert_eq!(lab.connect().rest(), "");
        wait_for(&lab.counters.refused, 1);
        assert_eq!(first.ask(GET).status(), 200);
        drop(second);
        wait_for(&lab.counters.open, 1);
        assert_eq!(lab.connect().ask(GET).status(), 200);
    });
}

#[test]
fn an_address_has_its_bound_and_counts_as_whom_a_proxy_header_names() {
    over_both(|start| {
        let mut proxy = to(mirror());
        proxy.listeners[0].limits.connections_per_address = 1;
        proxy.listeners[0].proxy_protocol = vec![Network { addr: [127, 0, 0, 0].into(), bits: 8 }];
        let lab = quiet(start(proxy));
        let named = |address: &str| {
            let mut client = lab.connect();
            client.send(&format!("PROXY TCP4 {address} 192.0.2.9 1000 80\r\n{GET}"));
            client
        };
        let mut first = named("192.0.2.1");
        assert_eq!(first.receive().unwrap().status(), 200);
        assert_eq!(named("192.0.2.1").rest(), "");
        assert_eq!(named("192.0.2.2").receive().unwrap().status(), 200);
        assert_eq!(first.ask(GET).status(), 200);
        wait_for(&lab.counters.refused, 1);
    });
}

#[test]
fn an_exchange_that_takes_too_long_is_answered_for_while_nothing_of_the_answer_was_sent() {
    let silent = backend(|mut client| {
        client.receive();
        client.rest();
    });
    over_both(|start| {
        let mut proxy = to(silent);
        proxy.listeners[0].deadlines.request = Some(ms(300));
        let lab = start(proxy);
        let (mut client, begin) = (lab.connect(), Instant::now());
        let answer = client.ask(GET);
        assert_eq!((answer.status(), answer.field("connection")), (504, Some("close")));
        assert!((ms(300)..ms(3000)).contains(&begin.elapsed()), "{:?}", begin.elapsed());
    });
}

/// A backend that sends a little of its answer every now and then, for ever.
fn trickle(head: &'static str) -> SocketAddr {
    backend(move |mut client| {
        client.receive();
        client.send(head);
        while client.0.get_mut().write_all(b"5\r\nhello\r\n").is_ok() {
            std::thread::sleep(ms(50));
        }
    })
}

#[test]
fn an_exchange_that_takes_too_long_is_cut_off_in_the_midst_of_its_answer() {
    let trickle = trickle("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    over_both(|start| {
        let mut proxy = to(trickle);
        proxy.listeners[0].deadlines.request = Some(ms(300));
        let lab = start(proxy);
        let (mut client, begin) = (lab.connect(), Instant::now());
        client.send(GET);
        let said = client.rest();
        assert!(said.contains("hello") && !said.ends_with("\r\n0\r\n\r\n"), "{said}");
        assert!((ms(300)..ms(3000)).contains(&begin.elapsed()), "{:?}", begin.elapsed());
    });
}

#[test]
fn an_answer_that_was_cut_off_is_not_passed_off_as_whole() {
    let trickle = trickle("HTTP/1.1 200 OK\r\n\r\n");
    over_both(|start| {
        let mut proxy = to(trickle);
        proxy.listeners[0].deadlines.request = Some(ms(300));
        let lab = start(proxy);
        let mut client = lab.connect();
        client.send(GET);
        let said = client.rest();
        assert!(said.contains("hello") && !said.ends_with("\r\n0\r\n\r\n"), "{said}");
    });
}

#[test]
fn a_client_that_uploads_for_too_long_is_told_and_its_backend_is_not_blamed() {
    over_both(|start| {
        let mut proxy = to(mirror());
        proxy.listeners[0].deadlines.request = Some(ms(300));
        let lab = start(proxy);
        let mut client = lab.connect();
        client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n");
        let mut sender = client.0.get_ref().try_clone().unwrap();
        let dripping = std::thread::spawn(move || {
            while sender.write_all(b"x").is_ok() {
                std::thread::sleep(ms(30));
            }
        });
        assert_eq!(client.receive().unwrap().status(), 504);
        client.0.get_ref().shutdown(Shutdown::Both).unwrap();
        dripping.join().unwrap();
    });
}

#[test]
fn a_route_has_a_deadline_of_its_own_and_an_upgraded_connection_none() {
    let socket = backend(|mut client| {
        client.head();
        client.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n");
        let mut line = String::new();
        while client.0.read_line(&mut line).is_ok_and(|count| count > 0) {
            client.send(&line);
            line.clear();
        }
    });
    over_both(|start| {
        let mut proxy = to(socket);
        proxy.listeners[0].deadlines.request = Some(Duration::from_mins(1));
        let deadlines = RouteDeadlines { request: Some(ms(200)), ..RouteDeadlines::default() };
        proxy.routes = vec![Route { deadlines, ..route("web") }];
        let lab = start(proxy);
        let mut client = lab.connect();
        client.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n");
        assert!(client.head().unwrap().starts_with("HTTP/1.1 101 "));
        std::thread::sleep(ms(600));
        client.send("late\n");
        let mut line = String::new();
        client.0.read_line(&mut line).unwrap();
        assert_eq!(line, "late\n");
    });
    over_both(|start| {
        let silent = backend(|mut client| {
            client.receive();
            client.rest();
        });
        let mut proxy = to(silent);
        proxy.listeners[0].deadlines.request = Some(Duration::from_mins(1));
        let deadlines = RouteDeadlines { request: Some(ms(200)), ..RouteDeadlines::default() };
        proxy.routes = vec![Route { deadlines, ..route("web") }];
        assert_eq!(start(proxy).connect().ask(GET).status(), 504);
    });
}

#[test]
fn a_deadline_is_over_with_its_exchange() {
    over_both(|start| {
        let mut proxy = to(mirror());
        proxy.listeners[0].deadlines.request = Some(ms(300));
        let lab = start(proxy);
        let mut client = lab.connect();
        for _ in 0..3 {
            assert_eq!(client.ask(GET).status(), 200);
            std::thread::sleep(ms(500));
        }
    });
}

/// A proxy in front of these backends of one service.
fn between(addresses: &[SocketAddr]) -> Proxy {
    let mut proxy = to(addresses[0]);
    let backend = |(number, addr): (usize, &SocketAddr)| Backend {
        name: format!("web{number}"),
        addr: *addr,
        weight: 1,
        drain: false,
    };
    proxy.services[0].backends = addresses.iter().enumerate().map(backend).collect();
    proxy
}

const SORRY: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\n\r\nsorry";

#[test]
fn a_request_that_one_backend_could_not_answer_goes_to_another_if_it_may() {
    let (sorry, asked) = always(SORRY);
    let (fine, _) = always(OK);
    over_both(|start| {
        asked.store(0, Ordering::Relaxed);
        let mut proxy = between(&[sorry, fine]);
        proxy.services[0].retries.on_status = true;
        let lab = start(proxy);
        let mut client = lab.connect();
        for _ in 0..10 {
            assert_eq!(client.ask(GET).text(), "ok");
        }
        assert!(asked.load(Ordering::Relaxed) > 0, "or nothing was tried again");
        let posts = (0..4).map(|_| client.ask("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx"));
        assert!(
            posts.map(|answer| answer.status()).any(|status| status == 503),
            "what may not be repeated is not"
        );
    });
}

/// A backend whose connections take little at a time, and that is sorry as soon as a request begins to come. It reads on when it may,
/// and hands on all that has come by each connection.
fn hasty(may_read: &Arc<AtomicBool>, heard: mpsc::Sender<String>) -> SocketAddr {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_tcp_mss(536).unwrap();
    socket.set_recv_buffer_size(4 << 10).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(16).unwrap();
    let (listener, may_read) = (TcpListener::from(socket), Arc::clone(may_read));
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map(Result::unwrap) {
            let (may_read, heard) = (Arc::clone(&may_read), heard.clone());
            std::thread::spawn(move || {
                stream.set_read_timeout(Some(ms(2000))).unwrap();
                let mut client = Client(BufReader::new(stream));
                client.0.fill_buf().unwrap();
                client.send(SORRY);
                while !may_read.load(Ordering::Relaxed) {
                    std::thread::sleep(ms(5));
                }
                // Nobody may be left to be told.
                let _ = heard.send(client.rest());
            });
        }
    });
    address
}

#[test]
fn a_request_that_did_not_go_whole_is_not_the_beginning_of_the_next() {
    let (fine, _) = always(OK);
    let field = format!("X: {}\r\n", "x".repeat(9_000));
    let large = format!("GET /large HTTP/1.1\r\nHost: h\r\n{}\r\n", field.repeat(90));
    over_both(|start| {
        let (may_read, (heard, all)) = (Arc::new(AtomicBool::new(false)), mpsc::channel());
        let mut proxy = between(&[hasty(&may_read, heard), fine]);
        proxy.services[0].retries.on_status = true;
        proxy.listeners[0].limits.head = 1 << 20;
        let lab = start(proxy);
        let mut client = lab.connect();
        // One of two at least goes to either.
        for request in [&large, &large] {
            assert_eq!(client.ask(request).text(), "ok");
        }
        may_read.store(true, Ordering::Relaxed);
        for _ in 0..2 {
            assert_eq!(client.ask("GET /next HTTP/1.1\r\nHost: h\r\n\r\n").text(), "ok");
        }
        drop((client, lab));
        let came = all.recv_timeout(ms(5000)).expect("what came by a connection");
        let came: Vec<_> = std::iter::once(came).chain(all.try_iter()).collect();
        assert!(came.iter().any(|text| text.contains("/large")), "or nothing was tried again");
        assert!(!came.iter().any(|text| text.contains("/large") && text.contains("/next")));
    });
}

#[test]
fn a_request_that_a_backend_did_not_live_to_answer_goes_to_another_if_it_may() {
    let dying = backend(|mut client| drop(client.receive()));
    let (fine, _) = always(OK);
    over_both(|start| {
        let lab = start(between(&[dying, fine]));
        let mut client = lab.connect();
        for _ in 0..10 {
            assert_eq!(client.ask(GET).text(), "ok");
        }
        let posts = (0..4).map(|_| client.ask("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx"));
        assert!(
            posts.map(|answer| answer.status()).any(|status| status == 502),
            "what may not be repeated is not"
        );
    });
}

#[test]
fn an_error_is_passed_on_where_nobody_else_can_be_asked_or_the_budget_is_spent() {
    let (sorry, _) = always(SORRY);
    let (other, _) = always(SORRY);
    over_both(|start| {
        let mut alone = to(sorry);
        alone.services[0].retries.on_status = true;
        assert_eq!(start(alone).connect().ask(GET).text(), "sorry");
        let mut both = between(&[sorry, other]);
        both.services[0].retries.on_status = true;
        assert_eq!(start(both).connect().ask(GET).text(), "sorry");
    });
    over_both(|start| {
        let (fine, _) = always(OK);
        let mut spent = between(&[sorry, fine]);
        spent.services[0].retries.on_status = true;
        (spent.services[0].retries.budget, spent.services[0].retries.reserve) = (0, 0);
        let lab = start(spent);
        let mut client = lab.connect();
        let answers: Vec<_> = (0..4).map(|_| client.ask(GET).status()).collect();
        assert!(answers.contains(&503), "{answers:?}");
    });
}

#[test]
fn a_connection_to_a_backend_is_not_used_beyond_its_lifetime() {
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    let counting = backend(move |mut client| {
        count.fetch_add(1, Ordering::Relaxed);
        while client.receive().is_some() {
            client.send(OK);
        }
    });
    let used = |lab: &Lab| {
        connections.store(0, Ordering::Relaxed);
        let mut client = lab.connect();
        for _ in 0..10 {
            assert_eq!(client.ask(GET).text(), "ok");
            std::thread::sleep(ms(100));
        }
        connections.load(Ordering::Relaxed)
    };
    over_both(|start| {
        assert_eq!(used(&start(to(counting))), 1);
        let mut proxy = to(counting);
        proxy.services[0].pool.lifetime = Some(ms(300));
        let count = used(&start(proxy));
        assert!((2..=5).contains(&count), "{count} connections in a second");
    });
}

#[test]
fn connections_that_wait_are_closed_for_want_of_memory_and_the_active_ones_notice_nothing() {
    over_both(|start| {
        let lab = quiet(start(Proxy { memory: 200 * CONNECTION as u64, ..to(mirror()) }));
        let mut active = lab.connect();
        assert_eq!(active.ask(GET).status(), 200);
        // A hundred more than there is memory for.
        let mut waiting = Vec::new();
        for _ in 0..300 {
            waiting.push(lab.connect());
            assert_eq!(active.ask(GET).status(), 200);
        }
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(1) {
            assert_eq!(active.ask(GET).status(), 200);
        }
        let open = lab.counters.open.load(Ordering::Relaxed);
        assert!(open <= 165, "{open} connections are open");
        assert!(lab.counters.shed.load(Ordering::Relaxed) >= 130);
    });
}

/// What a buffer takes.
const ROOM: u64 = 32 << 10;

/// Clients of which each has sent the beginning of a head, which takes a buffer; all is counted when this returns.
fn begin_to_ask<const N: usize>(lab: &Lab) -> [Client; N] {
    let mut clients = [(); N].map(|()| lab.connect());
    wait_for(&lab.counters.open, N as u64);
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost:");
    }
    let begin = Instant::now();
    while lab.settings.ledger.total() < N as u64 * (CONNECTION as u64 + ROOM) {
        assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", lab.settings.ledger);
        std::thread::sleep(ms(5));
    }
    clients
}

#[test]
fn without_memory_for_it_a_new_connection_is_told_when_to_come_back() {
    over_both(|start| {
        let lab = quiet(start(Proxy { memory: (CONNECTION as u64 + ROOM) * 100 / 95, ..to(mirror()) }));
        let [mut first] = begin_to_ask(&lab);
        let told = lab.connect().receive().unwrap();
        assert_eq!((told.status(), told.field("retry-after")), (503, Some("1")));
        assert_eq!(first.ask(" h\r\n\r\n").status(), 200, "one that was let in is served");
        assert_eq!(lab.counters.shed.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn without_any_memory_requests_are_told_too_and_connections_are_closed() {
    over_both(|start| {
        let lab = quiet(start(Proxy { memory: 2 * CONNECTION as u64 + ROOM - 1, ..to(mirror()) }));
        let [mut first, _second] = begin_to_ask(&lab);
        assert_eq!(lab.connect().rest(), "");
        let told = first.ask(" h\r\n\r\n");
        assert_eq!((told.status(), told.field("retry-after")), (503, Some("1")));
        assert_eq!(lab.counters.shed.load(Ordering::Relaxed), 2);
    });
}

/// A route to a service.
pub(super) fn route(name: &str) -> Route {
    Route {
        log: true,
        name: "all".to_owned(),
        listeners: Vec::new(),
        hosts: Vec::new(),
        path: None,
        methods: Vec::new(),
        headers: Vec::new(),
        query: Vec::new(),
        cookies: Vec::new(),
        action: Action::Forward(vec![Share { service: name.to_owned(), weight: 1 }]),
        rewrite: None,
        host: None,
        request: Edits::default(),
        response: Edits::default(),
        mirror: None,
        body_limit: None,
        deadlines: RouteDeadlines::default(),
        line: 1,
    }
}

/// Everything to one backend, and a copy to another.
fn mirrored(first: SocketAddr, second: SocketAddr) -> Proxy {
    let mut proxy = to(first);
    let mut shadow = service(second);
    shadow.name = "shadow".to_owned();
    proxy.services.push(shadow);
    proxy.routes = vec![Route { mirror: Some("shadow".to_owned()), ..route("web") }];
    proxy
}

#[test]
fn a_second_service_gets_the_same_requests() {
    let (told, copies) = mpsc::channel();
    let told = Mutex::new(told);
    let shadow = backend(move |mut client| {
        while let Some(request) = client.receive() {
            let _ = told.lock().unwrap().send(request);
            client.send("HTTP/1.1 500 Oh\r\nTransfer-Encoding: chunked\r\n\r\n3\r\noh!\r\n0\r\n\r\n");
        }
    });
    over_both(|start| {
        let lab = start(mirrored(mirror(), shadow));
        let mut client = lab.connect();
        for request in [
            "GET /a?b=c HTTP/1.1\r\nHost: h\r\n\r\n",
            "PUT /b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello",
            "POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        ] {
            let first = client.ask(request);
            assert_eq!(first.status(), 200);
            let copy = copies.recv_timeout(Duration::from_secs(10)).unwrap();
            let line = |text: &str| text.split("\r\n").next().unwrap().to_owned();
            assert_eq!(line(&copy.head), line(first.text()));
            let body = if request.starts_with("GET") { "" } else { "hello" };
            assert_eq!(copy.text(), body, "{request:?}");
        }
        wait_for(&lab.counters.copied, 3);
    });
}

#[test]
fn a_second_service_that_hangs_or_is_not_there_is_not_noticed() {
    let hanging = backend(|mut client| drop(client.rest()));
    for shadow in [hanging, free_address()] {
        over_both(|start| {
            let lab = start(mirrored(mirror(), shadow));
            let (mut client, begin) = (lab.connect(), Instant::now());
            for _ in 0..50 {
                assert_eq!(client.ask(GET).status(), 200);
            }
            // To wait for a single copy would take a minute.
            assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
        });
    }
}

#[test]
fn a_body_too_long_to_copy_still_arrives() {
    let (shadow, asked) = always(OK);
    over_both(|start| {
        let lab = start(mirrored(mirror(), shadow));
        let body = "x".repeat(100_000);
        let answer = lab
            .connect()
            .ask(&format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
        assert!(answer.text().ends_with(&body));
        wait_for(&lab.counters.uncopied, 1);
    });
    assert_eq!(asked.load(Ordering::Relaxed), 0);
}

#[test]
fn answers_of_our_own_say_what_the_proxy_calls_itself() {
    over_both(|start| {
        let lab = start(Proxy { server: Some("front".to_owned()), ..to(free_address()) });
        let mut client = lab.connect();
        assert_eq!(client.ask(GET).field("server"), Some("front"));
        assert_eq!(client.ask("GET / HTTP/1.1\r\n\r\n").field("server"), Some("front"));
    });
}

/// Whoever answers with a clock says when (RFC 9110, section 6.6.1).
#[test]
fn answers_of_our_own_have_a_date_unless_their_route_takes_it_out() {
    over_both(|start| {
        for remove in [vec![], vec!["date".to_owned()]] {
            let mut proxy = to_by_http2(free_address());
            let response = Edits { remove: remove.clone(), ..Edits::default() };
            let action = Action::Respond(Respond::default());
            proxy.routes = vec![Route { action, response, ..route("web") }];
            let lab = start(proxy);
            let told = lab.connect().ask(GET);
            let again = run(async { speak::Client::connect(&lab).await.ask(speak::get("/")).await });
            for date in [told.field("date"), again.field("date")] {
                assert_eq!(date.is_some_and(|date| date.ends_with(" GMT")), remove.is_empty(), "{date:?}");
            }
        }
    });
}

#[test]
fn a_client_that_goes_in_the_midst_is_counted_out() {
    over_both(|start| {
        let mut proxy = to(mirror());
        proxy.listeners[0].limits.connections_per_address = 1;
        let lab = quiet(start(proxy));
        for number in 0..20 {
            let mut client = TcpStream::connect(lab.address).unwrap();
            client.write_all(b"GET / HT").unwrap();
            drop(client);
            wait_for(&lab.counters.accepted, 2 + number);
            wait_for(&lab.counters.open, 0);
        }
        assert_eq!(lab.connect().ask(GET).status(), 200);
    });
}
