//! Backends that speak HTTP/2, and clients of either version.

use super::lab::{Message, free_address, over_both, to, to_by_http2};
use super::speak::{
    Client, LARGE, backend_by_http2, backend_of_connections, get, pattern, post, read, receive, run, say,
    write,
};
use crate::config::proxy::Proxy;
use bytes::Bytes;
use h2::{Reason, SendStream};
use http::{HeaderMap, Method, Response, StatusCode};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Everything to this backend, by HTTP/2 all the way.
pub(super) fn through(backend: SocketAddr) -> Proxy {
    let mut proxy = to_by_http2(backend);
    proxy.services[0].http2 = true;
    proxy
}

/// The same for clients that speak HTTP/1.1.
fn across(backend: SocketAddr) -> Proxy {
    let mut proxy = to(backend);
    proxy.services[0].http2 = true;
    proxy
}

/// A backend that says what it was asked, and on its how manieth connection.
fn telling() -> SocketAddr {
    backend_by_http2(|connection, _, (request, mut respond)| async move {
        let fields = request.headers();
        let field = |name: &str| fields.get(name).map_or("-", |value| value.to_str().unwrap()).to_owned();
        let said = format!(
            "{connection} {} {} xff={} te={} connection={} host={}",
            request.method(),
            request.uri(),
            field("x-forwarded-for"),
            field("te"),
            field("connection"),
            field("host"),
        );
        say(&mut respond, said);
    })
}

#[test]
fn requests_of_both_versions_reach_it_and_share_a_connection() {
    over_both(|start| {
        let lab = start(through(telling()));
        let mut plain = lab.connect();
        let answer = plain.ask("GET /a?b HTTP/1.1\r\nHost: Example.org:8080\r\nTE: gzip\r\n\r\n");
        let rest = "xff=127.0.0.1 te=- connection=- host=-";
        assert_eq!(answer.text(), format!("0 GET http://example.org:8080/a?b {rest}"));
        run(async {
            let mut client = Client::connect(&lab).await;
            let mut under_way = Vec::new();
            for n in 0..20 {
                let mut request = get(&format!("/{n}"));
                request.headers_mut().insert("te", "trailers".parse().unwrap());
                under_way.push(client.begin(request, true).await.0);
            }
            for (n, answer) in under_way.into_iter().enumerate() {
                let said = receive(answer).await.unwrap();
                let rest = "xff=127.0.0.1 te=trailers connection=- host=-";
                assert_eq!(said.text(), format!("0 GET http://example.org/{n} {rest}"));
            }
        });
        assert!(plain.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n").text().starts_with("0 GET http://h/ "));
    });
}

#[test]
fn messages_stream_both_ways_with_trailers_behind_them() {
    // As gRPC does: one message after the other, each answered before the next is sent.
    let echo = backend_by_http2(|_, _, (request, mut respond)| async move {
        let mut answer = Response::new(());
        answer.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
        let mut stream = respond.send_response(answer, false).unwrap();
        let mut body = request.into_body();
        while let Some(data) = body.data().await {
            let data = data.unwrap();
            body.flow_control().release_capacity(data.len()).unwrap();
            stream.send_data(data, false).unwrap();
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        stream.send_trailers(trailers).unwrap();
    });
    over_both(|start| {
        let lab = start(through(echo));
        run(async {
            let mut client = Client::connect(&lab).await;
            let (answer, mut stream) = client.begin(post("/pkg.Service/Method"), false).await;
            let mut body = answer.await.unwrap().into_body();
            for n in 0..50 {
                let message = Bytes::from(format!("message {n}"));
                stream.send_data(message.clone(), false).unwrap();
                let back = body.data().await.unwrap().unwrap();
                body.flow_control().release_capacity(back.len()).unwrap();
                assert_eq!(back, message);
            }
            stream.send_data(Bytes::new(), true).unwrap();
            assert_eq!(read(&mut body).await.unwrap(), b"");
            assert_eq!(body.trailers().await.unwrap().unwrap()["grpc-status"], "0");
        });
    });
}

/// A backend that sends back what it is sent.
fn echo() -> SocketAddr {
    backend_by_http2(|_, _, (request, mut respond)| async move {
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        let mut body = request.into_body();
        while let Some(data) = body.data().await {
            let data = data.unwrap();
            body.flow_control().release_capacity(data.len()).unwrap();
            write(&mut stream, &data, false).await.unwrap();
        }
        stream.send_data(Bytes::new(), true).unwrap();
    })
}

#[test]
fn large_bodies_pass_both_ways_at_once() {
    over_both(|start| {
        let lab = start(through(echo()));
        run(async {
            let mut client = Client::connect(&lab).await;
            let (answer, mut stream) = client.begin(post("/"), false).await;
            let bytes = pattern(LARGE);
            let (answer, sent) =
                futures_util::future::join(receive(answer), write(&mut stream, &bytes, true)).await;
            sent.unwrap();
            assert!(answer.unwrap().body == bytes);
        });
    });
}

#[test]
fn bodies_of_clients_of_http_1_1_pass_however_they_are_framed() {
    over_both(|start| {
        let lab = start(across(echo()));
        let mut client = lab.connect();
        let answer = client.ask("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello");
        assert_eq!((answer.text(), answer.field("transfer-encoding")), ("hello", Some("chunked")));
        client.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
        let answer = client.ask("5\r\nhello\r\n7\r\n, world\r\n0\r\nX-Sum: 1\r\n\r\n");
        assert_eq!(answer.text(), "hello, world");
        client.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert!(client.head().unwrap().starts_with("HTTP/1.1 200 "));
        client.send("xyz\r\n");
        assert_eq!(client.rest(), "", "what is no chunk ends the exchange");
    });
}

/// Ten thousand messages of a few bytes, as fast as the peer's windows let them go. `sent` counts them.
async fn send_messages(stream: &mut SendStream<Bytes>, sent: &AtomicUsize) -> Result<(), h2::Error> {
    while sent.load(Ordering::Relaxed) < MESSAGES {
        write(stream, b"twenty bytes, no more", false).await?;
        sent.fetch_add(1, Ordering::Relaxed);
    }
    write(stream, b".", true).await
}

/// Few enough for a stream's window, and more than `h2` holds of such small ones.
const MESSAGES: usize = 10_000;

async fn until_sent(sent: &AtomicUsize, messages: usize) {
    while sent.load(Ordering::Relaxed) < messages {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Who takes nothing is held up by its window alone (RFC 9113, section 5.2.1), however small the frames are that fill it.
#[test]
fn a_client_that_takes_no_messages_costs_others_on_the_backends_connection_nothing() {
    over_both(|start| {
        let sent = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&sent);
        let backend = backend_by_http2(move |connection, _, (request, mut respond)| {
            let sent = Arc::clone(&counted);
            async move {
                if request.uri().path() == "/messages" {
                    let mut stream = respond.send_response(Response::new(()), false).unwrap();
                    send_messages(&mut stream, &sent).await.unwrap();
                } else {
                    until_sent(&sent, MESSAGES).await;
                    say(&mut respond, connection.to_string());
                }
            }
        });
        let lab = start(through(backend));
        run(async {
            let mut idle = Client::connect(&lab).await;
            let (messages, _) = idle.begin(get("/messages"), true).await;
            let mut messages = messages.await.unwrap().into_body();
            assert_eq!(Client::connect(&lab).await.ask(get("/")).await.text(), "0");
            assert_eq!(read(&mut messages).await.unwrap().len(), MESSAGES * 21 + 1);
        });
    });
}

/// However many of them there are: their answers fill the windows of their streams, and not the connection's.
#[test]
fn clients_that_take_nothing_cost_others_on_the_backends_connection_nothing() {
    const IDLE: usize = 20;
    const EACH: usize = 256 << 10;
    over_both(|start| {
        let sent = Arc::new(AtomicUsize::new(0));
        let backend = backend_by_http2(move |connection, _, (request, mut respond)| {
            let sent = Arc::clone(&sent);
            async move {
                if request.uri().path() == "/large" {
                    let mut stream = respond.send_response(Response::new(()), false).unwrap();
                    write(&mut stream, &pattern(EACH), false).await.unwrap();
                    sent.fetch_add(EACH, Ordering::Relaxed);
                    // It is given up.
                    drop(write(&mut stream, &pattern(LARGE), true).await);
                } else {
                    until_sent(&sent, IDLE * EACH).await;
                    say(&mut respond, connection.to_string());
                }
            }
        });
        let lab = start(through(backend));
        run(async {
            let (mut idle, mut answers) = (Client::connect(&lab).await, Vec::new());
            for _ in 0..IDLE {
                let (answer, _) = idle.begin(get("/large"), true).await;
                answers.push(answer.await.unwrap());
            }
            assert_eq!(Client::connect(&lab).await.ask(get("/")).await.text(), "0");
        });
    });
}

#[test]
fn a_backend_that_takes_no_messages_costs_the_clients_other_streams_nothing() {
    over_both(|start| {
        let sent = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&sent);
        let backend = backend_by_http2(move |_, _, (request, mut respond)| {
            let sent = Arc::clone(&counted);
            async move {
                if request.uri().path() == "/messages" {
                    until_sent(&sent, MESSAGES).await;
                    let body = read(&mut request.into_body()).await.unwrap();
                    say(&mut respond, body.len().to_string());
                } else {
                    say(&mut respond, "well");
                }
            }
        });
        let lab = start(through(backend));
        run(async {
            let mut client = Client::connect(&lab).await;
            let (answer, mut stream) = client.begin(post("/messages"), false).await;
            send_messages(&mut stream, &sent).await.unwrap();
            assert_eq!(client.ask(get("/")).await.text(), "well");
            assert_eq!(receive(answer).await.unwrap().text(), (MESSAGES * 21 + 1).to_string());
        });
    });
}

#[test]
fn a_stream_that_was_refused_is_tried_again_whatever_its_method() {
    over_both(|start| {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let choosy = backend_by_http2(move |_, _, (_, mut respond)| {
            let is_first = count.fetch_add(1, Ordering::Relaxed) == 0;
            async move {
                if is_first { respond.send_reset(Reason::REFUSED_STREAM) } else { say(&mut respond, "ok") }
            }
        });
        let lab = start(through(choosy));
        run(async {
            let mut client = Client::connect(&lab).await;
            assert_eq!(client.ask(post("/")).await.text(), "ok");
        });
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    });
}

#[test]
fn a_stream_that_was_reset_otherwise_is_not_tried_again() {
    over_both(|start| {
        let lab = start(through(backend_by_http2(|_, _, (_, mut respond)| async move {
            respond.send_reset(Reason::INTERNAL_ERROR);
        })));
        run(async {
            let mut client = Client::connect(&lab).await;
            assert_eq!(client.ask(post("/")).await.status(), 502);
        });
    });
}

#[test]
fn an_answer_that_is_wrong_behind_its_head_reaches_a_client_of_http_1_1_so_far() {
    over_both(|start| {
        let lab = start(across(backend_by_http2(|_, _, (_, mut respond)| async move {
            let mut head = Response::new(());
            head.headers_mut().insert("content-length", 9.into());
            respond.send_response(head, false).unwrap().send_data("ok".into(), true).unwrap();
        })));
        let mut client = lab.connect();
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        let told = client.rest();
        assert!(told.starts_with("HTTP/1.1 200 "), "{told:?}");
    });
}

#[test]
fn an_answer_without_a_body_by_its_status_has_none_whatever_follows_it() {
    // Its stream goes on for an empty frame, or for one that must not be.
    let backend = backend_by_http2(|_, _, (request, mut respond)| async move {
        let (path, mut answer) = (request.uri().path().to_owned(), Response::new(()));
        *answer.status_mut() = if path.starts_with("/304") { 304 } else { 204 }.try_into().unwrap();
        if path.starts_with("/304") {
            answer.headers_mut().insert("content-length", "1234".parse().unwrap());
        }
        if path.ends_with("ended") {
            respond.send_response(answer, true).unwrap();
        } else {
            let body = if path.ends_with("empty") { "" } else { "HTTP/1.1 200 forged" };
            let mut stream = respond.send_response(answer, false).unwrap();
            // It may have been given up.
            drop(stream.send_data(Bytes::from(body), true));
        }
    });
    let paths = || {
        let of = |status: u16| ["ended", "empty", "full"].map(|how| (status, format!("/{status}/{how}")));
        of(304).into_iter().chain(of(204))
    };
    let length_of = |status: u16| (status == 304).then_some("1234");
    over_both(|start| {
        let lab = start(across(backend));
        for (status, path) in paths() {
            let mut plain = lab.connect();
            // The second answer is where the first must have ended.
            for _ in 0..2 {
                plain.send(&format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n"));
                let answer = Message { head: plain.head().expect("a head"), body: Vec::new() };
                assert_eq!(answer.status(), status, "{path}");
                assert_eq!(answer.field("content-length"), length_of(status), "{path}");
                assert_eq!(answer.field("transfer-encoding"), None, "{path}");
            }
        }
        let lab = start(through(backend));
        run(async {
            let mut client = Client::connect(&lab).await;
            for (status, path) in paths() {
                let said = client.ask(get(&path)).await;
                assert_eq!((said.status(), said.text()), (status, ""), "{path}");
                assert_eq!(said.field("content-length"), length_of(status), "{path}");
            }
        });
    });
}

#[test]
fn what_follows_an_empty_body_passes() {
    let backend = backend_by_http2(|_, _, (_, mut respond)| async move {
        let mut answer = Response::new(());
        answer.headers_mut().insert("content-length", 0.into());
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "5".parse().unwrap());
        respond.send_response(answer, false).unwrap().send_trailers(trailers).unwrap();
    });
    over_both(|start| {
        let lab = start(through(backend));
        run(async {
            let said = Client::connect(&lab).await.ask(get("/")).await;
            assert_eq!((said.text(), said.field("content-length")), ("", Some("0")));
            assert_eq!(said.trailers.expect("trailers")["grpc-status"], "5");
        });
        let lab = start(across(backend));
        let mut plain = lab.connect();
        for _ in 0..2 {
            let answer = plain.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
            assert_eq!((answer.status(), answer.field("content-length")), (200, Some("0")));
        }
    });
}

/// Source: RFC 9110, section 8.6.
#[test]
fn an_answer_that_never_has_a_body_tells_of_no_length_even_for_head() {
    let empty = backend_by_http2(|_, _, (_, mut respond)| async move {
        let mut answer = Response::new(());
        *answer.status_mut() = StatusCode::NO_CONTENT;
        answer.headers_mut().insert("content-length", 5.into());
        respond.send_response(answer, true).unwrap();
    });
    over_both(|start| {
        let lab = start(through(empty));
        let answer = lab.connect().ask("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!((answer.status(), answer.field("content-length")), (204, None));
        run(async {
            let mut head = get("/");
            *head.method_mut() = Method::HEAD;
            let answer = Client::connect(&lab).await.ask(head).await;
            assert_eq!((answer.status(), answer.field("content-length")), (204, None));
        });
    });
}

/// HTTP/2 has no such answer (RFC 9113, section 8.6).
#[test]
fn a_backend_that_switches_protocols_has_not_answered() {
    let switching = backend_by_http2(|_, _, (_, mut respond)| async move {
        let mut switch = Response::new(());
        *switch.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        respond.send_informational(switch).unwrap();
        // It may have been given up.
        drop(respond.send_response(Response::new(()), true));
    });
    over_both(|start| {
        let lab = start(across(switching));
        let mut plain = lab.connect();
        for _ in 0..2 {
            assert_eq!(plain.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n").status(), 502);
        }
        let lab = start(through(switching));
        run(async { assert_eq!(Client::connect(&lab).await.ask(get("/")).await.status(), 502) });
    });
}

#[test]
fn a_connection_that_its_backend_has_ended_costs_the_client_nothing() {
    // Each connection serves one request, says goodbye and is gone.
    let address = backend_of_connections(|_, stream| async move {
        let mut streams = h2::server::handshake(stream).await.unwrap();
        if let Some(Ok((_, mut respond))) = streams.accept().await {
            say(&mut respond, "ok");
            streams.graceful_shutdown();
        }
        while streams.accept().await.is_some() {}
    });
    over_both(|start| {
        let lab = start(through(address));
        run(async {
            let mut client = Client::connect(&lab).await;
            for _ in 0..20 {
                assert_eq!(client.ask(get("/")).await.text(), "ok");
                tokio::time::sleep(Duration::from_millis(10)).await;
                assert_eq!(client.ask(post("/")).await.text(), "ok");
            }
        });
    });
}

#[test]
fn a_backend_that_is_not_there_is_answered_for() {
    over_both(|start| {
        let lab = start(across(free_address()));
        assert_eq!(lab.connect().ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n").status(), 502);
    });
}

#[test]
fn a_backend_that_does_not_answer_in_time_is_answered_for() {
    over_both(|start| {
        let silent = backend_by_http2(|_, _, exchange| async move {
            std::future::pending::<()>().await;
            drop(exchange);
        });
        let mut proxy = across(silent);
        proxy.services[0].deadlines.first_byte = Duration::from_millis(300);
        assert_eq!(start(proxy).connect().ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n").status(), 504);
    });
}
