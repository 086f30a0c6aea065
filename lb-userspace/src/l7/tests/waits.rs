//! What is waited for, and by whom: each wait has its own end, whatever else goes on beside it.

use super::lab::{Lab, backend, free_address, mirror, over_both, service, to, to_by_http2};
use super::pace::narrow;
use super::raw::{END_HEADERS, END_STREAM, GET, HEADERS, Raw, frame};
use super::speak::{Client, LARGE, backend_by_http2, get, pattern, post, read, run, say};
use crate::config::proxy::Proxy;
use crate::l7::worker::Order;
use bytes::Bytes;
use h2::Reason;
use std::io::Read as _;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::{sleep, timeout};

/// What is late after this.
const SOON: Duration = Duration::from_millis(300);
/// By then whatever was late has ended.
const LATE: Duration = Duration::from_secs(10);

fn wait_for(holds: impl Fn() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < LATE);
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn who_goes_while_waiting_for_a_backend_leaves_the_queue() {
    let busy = backend(|mut client| {
        client.receive();
        client.rest();
    });
    over_both(|start| {
        let mut proxy = to_by_http2(busy);
        proxy.services[0].max_connections = 1;
        proxy.services[0].queue.length = 2;
        proxy.services[0].queue.timeout = LATE;
        let lab = start(proxy);
        run(async {
            let mut holder = Client::connect(&lab).await;
            let _held = holder.begin(get("/"), true).await;
            sleep(SOON).await;
            let mut two = Client::connect(&lab).await;
            let waiting = (two.begin(get("/"), true).await, two.begin(get("/"), true).await);
            sleep(SOON).await;
            let (refused, _) = holder.begin(get("/"), true).await;
            assert_eq!(refused.await.unwrap().status(), 503, "two wait already");
            drop((two, waiting));
            let begin = Instant::now();
            loop {
                let (answer, _stream) = holder.begin(get("/"), true).await;
                match timeout(SOON, answer).await {
                    Err(_) => break,
                    Ok(refused) => assert_eq!(refused.unwrap().status(), 503),
                }
                assert!(begin.elapsed() < LATE, "those who are gone wait on");
            }
        });
    });
}

#[test]
fn a_stream_that_is_reset_while_waiting_for_a_backend_leaves_the_queue() {
    let busy = backend(|mut client| {
        client.receive();
        client.rest();
    });
    over_both(|start| {
        let mut proxy = to_by_http2(busy);
        proxy.services[0].max_connections = 1;
        proxy.services[0].queue.length = 1;
        proxy.services[0].queue.timeout = LATE;
        let lab = start(proxy);
        run(async {
            let mut client = Client::connect(&lab).await;
            let _held = client.begin(get("/"), true).await;
            sleep(SOON).await;
            for _ in 0..2 {
                let (waiting, mut stream) = client.begin(get("/"), true).await;
                assert!(timeout(SOON, waiting).await.is_err(), "there is room to wait");
                stream.send_reset(Reason::CANCEL);
                sleep(SOON).await;
            }
        });
    });
}

/// One exchange at a time, with a backend that notes the paths that it is asked for and answers when it is told to.
fn one_at_a_time() -> (Proxy, Arc<Mutex<Vec<String>>>, mpsc::Sender<()>) {
    let (asked, (go, gate)) = (Arc::<Mutex<Vec<String>>>::default(), mpsc::channel::<()>());
    let (noted, gate) = (Arc::clone(&asked), Mutex::new(gate));
    let mut proxy = to_by_http2(backend(move |mut client| {
        while let Some(request) = client.receive() {
            noted.lock().unwrap().push(request.head.split(' ').nth(1).unwrap().to_owned());
            if gate.lock().unwrap().recv().is_err() {
                return;
            }
            client.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    }));
    (proxy.services[0].max_connections, proxy.services[0].queue.timeout) = (1, LATE);
    (proxy, asked, go)
}

/// A request by a connection of its own that is where it waits by now.
async fn waits_for(lab: &Lab, path: &str) -> (Client, impl Future<Output = u16> + use<>) {
    let mut client = Client::connect(lab).await;
    let (answer, _) = client.begin(get(path), true).await;
    sleep(SOON / 6).await;
    (client, async { answer.await.unwrap().status().as_u16() })
}

#[test]
fn requests_that_wait_for_a_backend_are_served_in_the_order_they_came() {
    over_both(|start| {
        let (proxy, asked, go) = one_at_a_time();
        let lab = start(proxy);
        run(async {
            let mut waiting = Vec::new();
            for n in 0..10 {
                waiting.push(waits_for(&lab, &format!("/{n}")).await);
            }
            // Its client goes.
            drop(waiting.remove(4));
            sleep(SOON / 6).await;
            (0..9).for_each(|_| go.send(()).unwrap());
            for (_client, answer) in waiting {
                assert_eq!(timeout(LATE, answer).await.unwrap(), 200);
            }
        });
        let expected = ["/0", "/1", "/2", "/3", "/5", "/6", "/7", "/8", "/9"];
        assert_eq!(*asked.lock().unwrap(), expected);
    });
}

#[test]
fn a_reload_that_makes_room_calls_who_waits_for_a_backend() {
    over_both(|start| {
        let (mut proxy, asked, go) = one_at_a_time();
        let mut lab = start(proxy.clone());
        run(async {
            let mut waiting = Vec::new();
            for path in ["/0", "/1", "/2"] {
                waiting.push(waits_for(&lab, path).await);
            }
            assert_eq!(asked.lock().unwrap().len(), 1);
            proxy.services[0].max_connections = 3;
            lab.reload(&proxy);
            wait_for(|| asked.lock().unwrap().len() == 3);
            drop(go);
        });
    });
}

#[test]
fn who_has_waited_too_long_for_a_backend_is_told() {
    over_both(|start| {
        let (mut proxy, _asked, _go) = one_at_a_time();
        proxy.services[0].queue.timeout = SOON;
        let lab = start(proxy);
        run(async {
            let (_held, _answer) = waits_for(&lab, "/").await;
            let begin = Instant::now();
            let (_client, answer) = waits_for(&lab, "/").await;
            assert_eq!(answer.await, 503);
            assert!(begin.elapsed() >= SOON);
        });
    });
}

#[test]
fn a_client_whose_body_was_late_has_to_take_its_answer_in_time_as_well() {
    let early = backend(|mut client| {
        client.head();
        client.send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 8 * LARGE));
        client.send_bytes(&pattern(8 * LARGE));
    });
    over_both(|start| {
        let mut proxy = to(early);
        (proxy.listeners[0].deadlines.body, proxy.listeners[0].deadlines.send) = (SOON, 3 * SOON);
        let lab = start(proxy);
        let mut client = narrow(&lab);
        client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n");
        wait_for(|| lab.counters.open.load(Ordering::Relaxed) == 1);
        wait_for(|| lab.counters.open.load(Ordering::Relaxed) == 0);
    });
}

/// Begins its answer before the request has ended, and lets the rest wait for longer than its first byte may.
fn pausing(proxy: fn(std::net::SocketAddr) -> crate::config::proxy::Proxy) -> crate::config::proxy::Proxy {
    let mut proxy = proxy(backend(|mut client| {
        client.head();
        client.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab");
        // The body, be it a chunk or as long as it was told.
        let _ = client.0.read(&mut [0; 16]);
        std::thread::sleep(3 * SOON);
        client.send("cd");
        client.rest();
    }));
    proxy.services[0].deadlines.first_byte = SOON;
    proxy
}

#[test]
fn an_answer_that_has_begun_before_the_request_ended_may_pause() {
    over_both(|start| {
        let lab = start(pausing(to));
        let mut client = lab.connect();
        client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n");
        let head = client.head().unwrap();
        client.send("x");
        assert_eq!(client.body_of(head).text(), "abcd");
        let lab = start(pausing(to_by_http2));
        run(async {
            let (answer, mut stream) = Client::connect(&lab).await.begin(post("/"), false).await;
            let mut body = answer.await.unwrap().into_body();
            stream.send_data(Bytes::from_static(b"x"), true).unwrap();
            assert_eq!(read(&mut body).await.unwrap(), b"abcd");
        });
    });
}

#[test]
fn a_client_that_does_not_answer_our_goodbye_is_left_all_the_same() {
    over_both(|start| {
        let mut proxy = to_by_http2(mirror());
        proxy.listeners[0].deadlines.idle = SOON;
        let lab = start(proxy);
        let mut raw = Raw::connect(&lab);
        raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, GET));
        let begin = Instant::now();
        while raw.next().is_some() {}
        assert!(begin.elapsed() < LATE, "{:?}", begin.elapsed());
    });
}

#[test]
fn a_preface_that_comes_a_byte_at_a_time_is_not_waited_for() {
    over_both(|start| {
        let mut proxy = to_by_http2(mirror());
        proxy.listeners[0].deadlines.head = SOON;
        let lab = start(proxy);
        let mut client = lab.connect();
        client.0.get_ref().set_read_timeout(Some(2 * SOON / 3)).unwrap();
        let ended = b"PRI * HTTP/2.0\r\n".iter().any(|&byte| {
            client.send_bytes(&[byte]);
            // It is told so.
            client.0.read(&mut [0]).is_ok()
        });
        assert!(ended);
    });
}

#[test]
fn a_client_that_is_slow_to_send_does_not_make_its_backend_slow() {
    over_both(|start| {
        let lab = start(to_by_http2(mirror()));
        let mut client = lab.connect();
        client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n");
        std::thread::sleep(3 * SOON);
        assert_eq!(client.ask("x").status(), 200);
        run(async {
            let (answer, mut stream) = Client::connect(&lab).await.begin(post("/"), false).await;
            sleep(3 * SOON).await;
            stream.send_data(Bytes::from_static(b"x"), true).unwrap();
            assert_eq!(answer.await.unwrap().status(), 200);
        });
        let (asked, mut told) = unbounded_channel();
        lab.orders.send(Order::Look(asked)).unwrap();
        let latency = told.blocking_recv().unwrap()[0].latency.unwrap();
        assert!(latency < 2 * SOON, "{latency:?}");
    });
}

#[test]
fn a_backends_connection_that_fell_silent_is_waited_on_once() {
    over_both(|start| {
        let mute = backend_by_http2(|connection, requests, (_, mut respond)| async move {
            if connection == 0 && requests > 0 {
                std::future::pending::<()>().await;
            }
            say(&mut respond, "here");
        });
        let mut proxy = to(mute);
        proxy.services[0].http2 = true;
        proxy.services[0].deadlines.first_byte = SOON;
        let lab = start(proxy);
        let statuses =
            [200, 504, 200].map(|_| lab.connect().ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n").status());
        assert_eq!(statuses, [200, 504, 200]);
    });
}

/// A service of this name alone, which an own listener leads to.
fn renamed(name: &str, lab: &Lab, to: std::net::SocketAddr) -> crate::config::proxy::Proxy {
    let mut proxy = self::to(to);
    proxy.listeners[0] = crate::config::proxy::Listener {
        name: format!("to {name}"),
        addresses: vec![free_address()],
        service: Some(name.to_owned()),
        ..(*lab.settings.listeners.by_name("front").unwrap().config).clone()
    };
    proxy.services[0] = crate::config::proxy::Service { name: name.to_owned(), ..service(to) };
    proxy
}

#[test]
fn a_connection_whose_listener_is_gone_reaches_no_other_service() {
    let says = |word: &'static str| {
        backend(move |mut client| {
            while client.receive().is_some() {
                client.send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{word}", word.len()));
            }
        })
    };
    let (ours, theirs) = (says("ours"), says("theirs"));
    over_both(|start| {
        let mut lab = start(to(ours));
        let mut client = lab.connect();
        assert_eq!(client.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n").text(), "ours");
        let now = renamed("another", &lab, theirs);
        lab.reload(&now);
        wait_for(|| std::net::TcpStream::connect(now.listeners[0].addresses[0]).is_ok());
        let answer = client.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(answer.status(), 404, "{answer:?}");
    });
}

#[test]
fn a_connection_that_began_by_other_rules_ends_with_its_next_answer() {
    over_both(|start| {
        let proxy = to_by_http2(mirror());
        let mut lab = start(proxy.clone());
        let mut client = lab.connect();
        assert_eq!(client.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n").field("connection"), None);
        let before = lab.counters.answers[1].load(Ordering::Relaxed);
        let mut other = proxy;
        other.listeners[0].proxy_protocol =
            vec![crate::config::proxy::Network { addr: [198, 51, 100, 0].into(), bits: 24 }];
        run(async {
            let mut second = Client::connect(&lab).await;
            assert_eq!(second.ask(get("/")).await.status(), 200);
            lab.reload(&other);
            second.await_goodbye().await;
        });
        let answer = client.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!((answer.status(), answer.field("connection")), (200, Some("close")));
        assert!(lab.counters.answers[1].load(Ordering::Relaxed) > before);
    });
}

#[test]
fn who_waits_for_what_a_reload_takes_away_is_told_at_once() {
    let takes_service = |proxy: &mut Proxy| {
        proxy.services.clear();
        proxy.listeners[0].service = None;
    };
    let takes_backends = |proxy: &mut Proxy| proxy.services[0].backends.clear();
    for takes in [takes_service as fn(&mut Proxy), takes_backends] {
        over_both(|start| {
            let (mut proxy, _asked, go) = one_at_a_time();
            let mut lab = start(proxy.clone());
            run(async {
                let (_held, answer) = waits_for(&lab, "/0").await;
                let waiting = [waits_for(&lab, "/1").await, waits_for(&lab, "/2").await];
                takes(&mut proxy);
                lab.reload(&proxy);
                for (_client, answer) in waiting {
                    assert_eq!(timeout(SOON, answer).await, Ok(503));
                }
                go.send(()).unwrap();
                assert_eq!(answer.await, 200, "what has begun goes on");
            });
        });
    }
}
