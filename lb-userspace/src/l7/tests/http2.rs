//! Clients that speak HTTP/2, to backends that speak HTTP/1.1.

use super::lab::{backend, mirror, over_both, to_by_http2};
use super::speak::{Client, LARGE, get, pattern, post, read, receive, run, until, write};
use crate::l7::worker::Order;
use bytes::Bytes;
use h2::Reason;
use h2::ext::Protocol;
use http::{HeaderMap, Method, Request};
use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::TcpStream;

#[test]
fn a_request_reaches_the_backend_and_its_answer_the_client() {
    over_both(|start| {
        let lab = start(to_by_http2(mirror()));
        run(async {
            let mut client = Client::connect(&lab).await;
            for n in 0..3 {
                let answer = client.ask(get(&format!("/{n}?b=c"))).await;
                let text = answer.text();
                assert!(
                    text.starts_with(&format!("GET /{n}?b=c HTTP/1.1\r\nhost: example.org\r\n")),
                    "{text}"
                );
                assert!(text.contains("x-forwarded-proto: http\r\n"), "{text}");
                assert_eq!(answer.field("content-length"), Some(text.len().to_string().as_str()));
                assert_eq!(answer.field("connection"), None);
            }
        });
    });
}

#[test]
fn http_1_1_is_spoken_beside_it() {
    over_both(|start| {
        let lab = start(to_by_http2(mirror()));
        assert_eq!(lab.connect().ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n").status(), 200);
        let mut hesitant = lab.connect();
        hesitant.send("P");
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(hesitant.ask("UT / HTTP/1.1\r\nHost: h\r\n\r\n").status(), 200);
    });
}

#[test]
fn a_slow_answer_does_not_hold_the_others_up() {
    let slow = backend(|mut client| {
        while let Some(request) = client.receive() {
            if request.head.starts_with("GET /slow") {
                std::thread::sleep(Duration::from_millis(500));
            }
            client.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    over_both(|start| {
        let lab = start(to_by_http2(slow));
        run(async {
            let mut client = Client::connect(&lab).await;
            let (slow, _) = client.begin(get("/slow"), true).await;
            let begin = std::time::Instant::now();
            for _ in 0..50 {
                assert_eq!(client.ask(get("/")).await.text(), "ok");
            }
            assert!(begin.elapsed() < Duration::from_millis(450));
            assert_eq!(receive(slow).await.unwrap().text(), "ok");
        });
    });
}

#[test]
fn large_bodies_pass_both_ways_at_once_on_several_streams() {
    let echo = backend(|mut client| {
        client.head();
        client.send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n"));
        let mut piece = vec![0; 60_000];
        let mut left = LARGE;
        while left > 0 {
            let count = client.0.read(&mut piece).unwrap();
            client.0.get_mut().write_all(&piece[..count]).unwrap();
            left -= count;
        }
    });
    over_both(|start| {
        let lab = start(to_by_http2(echo));
        run(async {
            let mut client = Client::connect(&lab).await;
            let bytes = pattern(LARGE);
            let mut under_way = Vec::new();
            for _ in 0..3 {
                let mut request = post("/");
                request.headers_mut().insert("content-length", LARGE.into());
                under_way.push(client.begin(request, false).await);
            }
            let exchanges = under_way.into_iter().map(|(answer, mut stream)| {
                let bytes = &bytes;
                async move {
                    let (answer, sent) =
                        futures_util::future::join(receive(answer), write(&mut stream, bytes, true)).await;
                    sent.unwrap();
                    assert!(answer.unwrap().body == *bytes);
                }
            });
            futures_util::future::join_all(exchanges).await;
        });
    });
}

#[test]
fn trailers_pass_both_ways() {
    let trailing = backend(|mut client| {
        let head = client.head().unwrap();
        assert!(head.contains("transfer-encoding: chunked\r\n"), "{head}");
        let mut sent = String::new();
        while !sent.ends_with("x-sum: 1\r\n\r\n") {
            std::io::BufRead::read_line(&mut client.0, &mut sent).unwrap();
        }
        assert_eq!(sent, "4\r\nbody\r\n0\r\nx-sum: 1\r\n\r\n");
        client.send(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nGrpc-Status: 0\r\nSet-Cookie: a=b\r\nAlt-Svc: c\r\n\r\n",
        );
    });
    over_both(|start| {
        let lab = start(to_by_http2(trailing));
        run(async {
            let mut client = Client::connect(&lab).await;
            let (answer, mut stream) = client.begin(post("/"), false).await;
            stream.send_data(Bytes::from_static(b"body"), false).unwrap();
            let mut trailers = HeaderMap::new();
            trailers.insert("x-sum", "1".parse().unwrap());
            for name in ["x-forwarded-for", "forwarded", "client-cert", "authorization", "host"] {
                trailers.insert(name, "forged".parse().unwrap());
            }
            stream.send_trailers(trailers).unwrap();
            let answer = receive(answer).await.unwrap();
            assert_eq!(answer.text(), "abc");
            let trailers = answer.trailers.unwrap();
            assert_eq!((trailers.len(), &trailers["grpc-status"]), (1, &"0".parse().unwrap()));
        });
    });
}

#[test]
fn the_answer_to_head_has_the_length_but_not_the_body() {
    let one_k = backend(|mut client| {
        while client.receive().is_some() {
            client.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
        }
    });
    over_both(|start| {
        let lab = start(to_by_http2(one_k));
        run(async {
            let mut client = Client::connect(&lab).await;
            let mut request = get("/");
            *request.method_mut() = Method::HEAD;
            let answer = client.ask(request).await;
            assert_eq!((answer.field("content-length"), answer.body.len()), (Some("1000"), 0));
        });
    });
}

#[test]
fn interim_answers_come_before_the_answer() {
    let continuing = backend(|mut client| {
        let head = client.head().unwrap();
        assert!(head.contains("expect: 100-continue\r\n"), "{head}");
        client.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
        let mut body = [0; 4];
        client.0.read_exact(&mut body).unwrap();
        client.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n");
        client.send_bytes(&body);
    });
    over_both(|start| {
        let lab = start(to_by_http2(continuing));
        run(async {
            let mut client = Client::connect(&lab).await;
            let mut request = post("/");
            request.headers_mut().insert("expect", "100-continue".parse().unwrap());
            request.headers_mut().insert("content-length", 4.into());
            let (mut answer, mut stream) = client.begin(request, false).await;
            for status in [100, 103] {
                let interim = std::future::poll_fn(|cx| answer.poll_informational(cx)).await;
                assert_eq!(interim.unwrap().unwrap().status().as_u16(), status);
            }
            stream.send_data(Bytes::from_static(b"body"), true).unwrap();
            assert_eq!(receive(answer).await.unwrap().text(), "body");
        });
    });
}

#[test]
fn an_answer_that_comes_before_the_end_of_the_request_arrives_and_the_rest_is_waved_off() {
    let impatient = backend(|mut client| {
        client.head();
        client.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno!");
    });
    over_both(|start| {
        let lab = start(to_by_http2(impatient));
        run(async {
            let mut client = Client::connect(&lab).await;
            let (answer, mut stream) = client.begin(post("/"), false).await;
            stream.send_data(Bytes::from_static(b"begin"), false).unwrap();
            let answer = receive(answer).await.unwrap();
            assert_eq!((answer.status(), answer.text()), (413, "no!"));
            let reset = std::future::poll_fn(|cx| stream.poll_reset(cx)).await;
            assert_eq!(reset.unwrap(), Reason::NO_ERROR);
        });
    });
}

#[test]
fn a_stream_that_is_cancelled_ends_the_exchange_with_the_backend() {
    let state = Arc::new((AtomicBool::new(false), AtomicBool::new(false)));
    let seen = Arc::clone(&state);
    let patient = backend(move |mut client| {
        if client.head().is_some_and(|head| head.starts_with("GET /cancelled")) {
            seen.0.store(true, Ordering::Relaxed);
            seen.1.store(client.head().is_none(), Ordering::Relaxed);
        } else {
            client.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    over_both(|start| {
        let (begun, ended) = &*state;
        begun.store(false, Ordering::Relaxed);
        ended.store(false, Ordering::Relaxed);
        let lab = start(to_by_http2(patient));
        run(async {
            let mut client = Client::connect(&lab).await;
            let (answer, mut stream) = client.begin(get("/cancelled"), true).await;
            until(begun).await;
            stream.send_reset(Reason::CANCEL);
            drop(answer);
            until(ended).await;
            assert_eq!(client.ask(get("/")).await.text(), "ok");
        });
    });
}

#[test]
fn a_backend_that_breaks_off_is_told_of_by_a_reset_and_other_streams_live_on() {
    let broken = backend(|mut client| {
        while let Some(request) = client.receive() {
            client.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
            if request.head.starts_with("GET /broken") {
                return;
            }
            client.send(" whole");
        }
    });
    over_both(|start| {
        let lab = start(to_by_http2(broken));
        run(async {
            let mut client = Client::connect(&lab).await;
            let (answer, _) = client.begin(get("/broken"), true).await;
            assert_eq!(receive(answer).await.unwrap_err().reason(), Some(Reason::INTERNAL_ERROR));
            assert_eq!(client.ask(get("/")).await.text(), "half whole");
        });
    });
}

#[test]
fn cookies_that_came_apart_are_joined() {
    over_both(|start| {
        let lab = start(to_by_http2(mirror()));
        run(async {
            let mut client = Client::connect(&lab).await;
            let mut request = get("/");
            for crumb in ["a=1", "b=2", "c=3"] {
                request.headers_mut().append("cookie", crumb.parse().unwrap());
            }
            let answer = client.ask(request).await;
            assert!(answer.text().contains("cookie: a=1; b=2; c=3\r\n"), "{}", answer.text());
        });
    });
}

#[test]
fn what_a_backend_could_read_in_two_ways_is_refused_by_its_rule_and_the_connection_stays() {
    let with = |name: &'static str, value: &str| {
        let mut request = get("/");
        request.headers_mut().append(name, value.parse().unwrap());
        request
    };
    let above = get("/../a");
    let rows = [
        (with("host", "other.example"), 400, "the target and Host disagree"),
        (with("x-padded", "a "), 400, "white space before or behind a field's value"),
        (with("expect", "a-miracle"), 417, "an expectation other than 100-continue"),
        (above, 400, "the path leads above its root"),
    ];
    over_both(|start| {
        let lab = start(to_by_http2(mirror()));
        run(async {
            let mut client = Client::connect(&lab).await;
            for (request, status, why) in rows.clone() {
                let answer = client.ask(request).await;
                assert!(answer.text().ends_with(&format!(": {why}\n")), "{answer:?}");
                assert_eq!(answer.status(), status);
            }
            assert_eq!(client.ask(get("/")).await.status(), 200);
        });
    });
}

#[test]
fn connect_is_not_for_this_proxy() {
    over_both(|start| {
        let lab = start(to_by_http2(mirror()));
        run(async {
            let mut client = Client::connect(&lab).await;
            let request = Request::connect("example.org:443").body(()).unwrap();
            assert_eq!(client.ask(request).await.status(), 501);
        });
    });
}

#[test]
fn a_websocket_passes_by_extended_connect() {
    let socket = backend(|mut client| {
        let head = client.head().unwrap();
        let asked = [
            "GET /chat HTTP/1.1\r\n",
            "upgrade: websocket\r\n",
            "connection: upgrade\r\n",
            "sec-websocket-key: ",
        ];
        assert!(asked.iter().all(|part| head.contains(part)), "{head}");
        client.send(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\nhello,",
        );
        let said = client.rest();
        client.send(&said);
    });
    over_both(|start| {
        let lab = start(to_by_http2(socket));
        run(async {
            let mut client = Client::connect(&lab).await;
            // The server says in its settings that it knows extended CONNECT.
            client.0 = client.0.clone().ready().await.unwrap();
            while !client.0.is_extended_connect_protocol_enabled() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let mut request = get("/chat");
            *request.method_mut() = Method::CONNECT;
            request.extensions_mut().insert(Protocol::from_static("websocket"));
            let (answer, mut stream) = client.begin(request, false).await;
            let answer = answer.await.unwrap();
            assert_eq!((answer.status().as_u16(), answer.headers().get("sec-websocket-accept")), (200, None));
            stream.send_data(Bytes::from_static(b" world"), true).unwrap();
            assert_eq!(read(&mut answer.into_body()).await.unwrap(), b"hello, world");
        });
    });
}

#[test]
fn a_worker_that_drains_says_goodbye_and_finishes_what_has_begun() {
    let slow = backend(|mut client| {
        client.receive();
        std::thread::sleep(Duration::from_millis(400));
        client.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        client.rest();
    });
    over_both(|start| {
        let lab = start(to_by_http2(slow));
        run(async {
            let mut client = Client::connect(&lab).await;
            let (answer, _) = client.begin(get("/"), true).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            lab.orders.send(Order::Drain(Duration::from_secs(10))).unwrap();
            assert_eq!(receive(answer).await.unwrap().text(), "ok");
            client.await_goodbye().await;
        });
    });
}

#[test]
fn a_connection_ends_well_after_as_many_requests_as_it_may_carry() {
    over_both(|start| {
        let mut proxy = to_by_http2(mirror());
        proxy.listeners[0].limits.requests = 3;
        let lab = start(proxy);
        run(async {
            let mut client = Client::connect(&lab).await;
            for _ in 0..3 {
                assert_eq!(client.ask(get("/")).await.status(), 200);
            }
            client.await_goodbye().await;
        });
    });
}

#[test]
fn a_client_that_is_silent_for_too_long_is_told_goodbye() {
    over_both(|start| {
        let mut proxy = to_by_http2(mirror());
        proxy.listeners[0].deadlines.idle = Duration::from_millis(300);
        let lab = start(proxy);
        run(async {
            let mut client = Client::connect(&lab).await;
            assert_eq!(client.ask(get("/")).await.status(), 200);
            client.await_goodbye().await;
        });
    });
}

#[test]
fn a_body_that_does_not_come_in_time_is_answered_408() {
    over_both(|start| {
        let mut proxy = to_by_http2(mirror());
        proxy.listeners[0].deadlines.body = Duration::from_millis(200);
        let lab = start(proxy);
        run(async {
            let mut client = Client::connect(&lab).await;
            let (answer, _stream) = client.begin(post("/"), false).await;
            assert_eq!(receive(answer).await.unwrap().status(), 408);
        });
    });
}

#[test]
fn a_client_that_takes_nothing_of_its_answer_loses_the_stream_alone() {
    let large = backend(|mut client| {
        while let Some(request) = client.receive() {
            let length = if request.head.starts_with("GET /large") { LARGE } else { 2 };
            client.send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"));
            client.send_bytes(&pattern(length));
        }
    });
    over_both(|start| {
        let mut proxy = to_by_http2(large);
        proxy.listeners[0].deadlines.send = Duration::from_millis(300);
        let lab = start(proxy);
        run(async {
            let stream = TcpStream::connect(lab.address).await.unwrap();
            let mut builder = h2::client::Builder::new();
            builder.initial_connection_window_size(1 << 20);
            let (send, connection) = builder.handshake(stream).await.unwrap();
            tokio::spawn(connection);
            let mut client = Client(send);
            let (answer, _) = client.begin(get("/large"), true).await;
            let mut body = answer.await.unwrap().into_body();
            let error = loop {
                // Nothing is released, so that the window fills up.
                match body.data().await.expect("no end") {
                    Ok(_) => {}
                    Err(error) => break error,
                }
            };
            assert_eq!(error.reason(), Some(Reason::CANCEL));
            assert_eq!(client.ask(get("/")).await.status(), 200);
        });
    });
}
