//! Requests and answers as they pass.

use super::lab::{self, Lab, backend, mirror, over_both, to, to_by_http2};
use super::speak::{self, run};
use std::io::Write as _;
use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::Ordering;
use std::time::Duration;

const GET: &str = "GET /a?b=c HTTP/1.1\r\nHost: example.org\r\n\r\n";

#[test]
fn a_request_reaches_the_backend_and_its_answer_the_client() {
    over_both(|start| {
        let lab = start(to(mirror()));
        let answer = lab.connect().ask(GET);
        assert_eq!(answer.status(), 200);
        assert!(answer.text().starts_with("GET /a?b=c HTTP/1.1\r\nhost: example.org\r\n"), "{answer:?}");
        assert!(answer.text().contains("x-forwarded-for: 127.0.0.1\r\n"), "{answer:?}");
    });
}

#[test]
fn a_connection_carries_one_request_after_the_other() {
    over_both(|start| {
        let lab = start(to(mirror()));
        let mut client = lab.connect();
        for n in 0..5 {
            let answer = client.ask(&format!("GET /{n} HTTP/1.1\r\nHost: h\r\n\r\n"));
            assert!(answer.text().starts_with(&format!("GET /{n} ")));
        }
    });
}

#[test]
fn requests_sent_at_once_are_answered_in_order() {
    over_both(|start| {
        let lab = start(to(mirror()));
        let mut client = lab.connect();
        for n in 0..20 {
            client.send(&format!("GET /{n} HTTP/1.1\r\nHost: h\r\n\r\n"));
        }
        for n in 0..20 {
            assert!(client.receive().unwrap().text().starts_with(&format!("GET /{n} ")));
        }
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
        let lab = start(to(one_k));
        let mut client = lab.connect();
        for _ in 0..2 {
            client.send("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n");
            assert!(client.head().unwrap().contains("content-length: 1000\r\n"));
        }
    });
}

#[test]
fn an_answer_without_a_date_is_given_one() {
    for (told, date) in [("", None), ("Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n", Some("01 Jan 1970"))] {
        let backend = backend(move |mut client| {
            while client.receive().is_some() {
                client.send(&format!("HTTP/1.1 200 OK\r\n{told}Content-Length: 0\r\n\r\n"));
            }
        });
        over_both(|start| {
            let lab = start(to_by_http2(backend));
            let answer = lab.connect().ask(GET);
            let again = run(async { speak::Client::connect(&lab).await.ask(speak::get("/")).await });
            for told in [answer.field("date"), again.field("date")] {
                assert!(told.is_some_and(|told| told.contains(date.unwrap_or(" GMT"))), "{told:?}");
            }
            assert_eq!(answer.head.matches("ate: ").count(), 1);
        });
    }
}

#[test]
fn lines_that_a_backend_ends_by_lf_alone_go_on_with_a_cr() {
    let backend = always("HTTP/1.1 200 OK\nX-Made-By: hand\nX-B: b\r\nContent-Length: 5\n\nhello");
    over_both(|start| {
        let lab = start(to_by_http2(backend));
        let mut client = lab.connect();
        for _ in 0..2 {
            let answer = client.ask(GET);
            assert!(answer.head.contains("\r\nX-Made-By: hand\r\nX-B: b\r\n"), "{}", answer.head);
            assert!(!answer.head.replace("\r\n", "").contains('\n'), "{}", answer.head);
            assert_eq!(answer.text(), "hello");
        }
        let answer = run(async { speak::Client::connect(&lab).await.ask(speak::get("/")).await });
        assert_eq!((answer.field("x-made-by"), answer.text()), (Some("hand"), "hello"));
    });
}

#[test]
fn a_body_that_is_told_to_be_too_long_is_refused_before_anybody_is_asked() {
    over_both(|start| {
        let mut proxy = to_by_http2(super::lab::free_address());
        proxy.routes =
            vec![crate::config::proxy::Route { body_limit: Some(10), ..super::safety::route("web") }];
        let lab = start(proxy);
        let mut client = lab.connect();
        let refused =
            client.ask("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\nExpect: 100-continue\r\n\r\n");
        assert_eq!((refused.status(), refused.field("connection")), (413, Some("close")));
        run(async {
            let mut request = speak::post("/");
            request.headers_mut().insert("content-length", 11.into());
            let mut client = speak::Client::connect(&lab).await;
            let (answer, _stream) = client.begin(request, false).await;
            assert_eq!(answer.await.unwrap().status(), 413);
        });
    });
}

#[test]
fn the_answer_to_head_has_no_length_where_the_backend_tells_none() {
    for answer in ["Transfer-Encoding: chunked\r\n", ""] {
        let untold = backend(move |mut client| {
            while client.receive().is_some() {
                client.send(&format!("HTTP/1.1 200 OK\r\n{answer}\r\n"));
            }
        });
        over_both(|start| {
            let lab = start(to_by_http2(untold));
            let mut client = lab.connect();
            client.send("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n");
            assert!(!client.head().unwrap().contains("content-length"), "{answer:?}");
            let head = run(async {
                let mut request = speak::get("/");
                *request.method_mut() = http::Method::HEAD;
                speak::Client::connect(&lab).await.ask(request).await
            });
            assert_eq!(head.field("content-length"), None, "{answer:?}");
        });
    }
}

#[test]
fn requests_that_two_servers_could_read_in_two_ways_are_refused_and_the_connection_ends() {
    let refused = [
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +1\r\n\r\na",
        "GET / HTTP/1.1\nHost: h\n\n",
        "GET / HTTP/1.1\r\nHost : h\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n",
    ];
    over_both(|start| {
        let lab = start(to(mirror()));
        for request in refused {
            let mut client = lab.connect();
            let answer = client.ask(request);
            assert_eq!((answer.status(), answer.field("connection")), (400, Some("close")), "{request:?}");
            assert_eq!(client.rest(), "", "{request:?}");
        }
    });
}

#[test]
fn a_client_of_http_1_0_is_answered_without_chunks_and_the_connection_ends() {
    let chunked = backend(|mut client| {
        client.receive();
        client.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    });
    over_both(|start| {
        let lab = start(to(chunked));
        let mut client = lab.connect();
        client.send("GET / HTTP/1.0\r\n\r\n");
        let answer = client.rest();
        assert!(answer.contains("connection: close\r\n") && answer.ends_with("\r\n\r\nabc"), "{answer}");
    });
}

#[test]
fn an_upgraded_connection_passes_bytes_both_ways_until_each_side_ends() {
    let socket = backend(|mut client| {
        let head = client.head().unwrap();
        assert!(
            head.contains("upgrade: websocket\r\n") && head.contains("connection: upgrade\r\n"),
            "{head}"
        );
        client.send(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhello",
        );
        let said = client.rest();
        client.send(&said);
    });
    over_both(|start| {
        let lab = start(to(socket));
        let mut client = lab.connect();
        client.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly,");
        let head = client.head().unwrap();
        assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("upgrade: websocket\r\n"), "{head}");
        client.send("late");
        client.finish();
        assert_eq!(client.rest(), "helloearly,late");
    });
}

#[test]
fn interim_answers_come_before_the_answer() {
    let continuing = backend(|mut client| {
        let head = client.head().unwrap();
        assert_eq!(head.to_ascii_lowercase().matches("expect: 100-continue\r\n").count(), 1, "{head}");
        client.send("HTTP/1.1 100 Continue\r\n\r\n");
        let mut body = [0; 4];
        std::io::Read::read_exact(&mut client.0, &mut body).unwrap();
        client.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n");
        client.send_bytes(&body);
    });
    over_both(|start| {
        let lab = start(to(continuing));
        let mut client = lab.connect();
        client.send("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
        assert!(client.head().unwrap().starts_with("HTTP/1.1 100 "));
        assert_eq!(client.ask("body").text(), "body");
    });
}

#[test]
fn a_status_that_no_class_has_is_the_backend_s_to_choose() {
    let odd = always("HTTP/1.1 999 Request Denied\r\nContent-Length: 2\r\n\r\nno");
    over_both(|start| {
        let lab = start(to_by_http2(odd));
        let answer = lab.connect().ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!((answer.status(), answer.text()), (999, "no"));
        run(async {
            assert_eq!(speak::Client::connect(&lab).await.ask(speak::get("/")).await.status(), 999);
        });
    });
}

#[test]
fn who_has_to_upgrade_is_told_to_what() {
    let strict = always(
        "HTTP/1.1 426 Upgrade Required\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n",
    );
    over_both(|start| {
        let lab = start(to_by_http2(strict));
        let mut client = lab.connect();
        for _ in 0..2 {
            let answer = client.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
            let told = (answer.status(), answer.field("upgrade"), answer.field("connection"));
            assert_eq!(told, (426, Some("websocket"), Some("upgrade")));
        }
        run(async {
            let answer = speak::Client::connect(&lab).await.ask(speak::get("/")).await;
            assert_eq!((answer.status(), answer.field("upgrade")), (426, None));
        });
    });
}

#[test]
fn what_a_backend_promises_is_fetched_from_the_client_side() {
    let promising = always(
        "HTTP/1.1 103 Early Hints\r\nLink: <http://backend.internal/a.css>; rel=preload\r\n\r\n\
         HTTP/1.1 200 OK\r\nRefresh: 1; url=http://backend.internal/next\r\nContent-Length: 0\r\n\r\n",
    );
    over_both(|start| {
        let mut proxy = to_by_http2(promising);
        proxy.services[0].host = Some("backend.internal".to_owned());
        let lab = start(proxy);
        let mut client = lab.connect();
        client.send("GET / HTTP/1.1\r\nHost: example.org\r\n\r\n");
        let head = client.head().unwrap();
        assert!(head.contains("<http://example.org/a.css>; rel=preload\r\n"), "{head}");
        assert_eq!(client.receive().unwrap().field("refresh"), Some("1; url=http://example.org/next"));
        run(async {
            let answer = speak::Client::connect(&lab).await.ask(speak::get("/")).await;
            assert_eq!(answer.field("refresh"), Some("1; url=http://example.org/next"));
        });
    });
}

/// A backend that answers every request with these bytes.
fn always(answer: &'static str) -> SocketAddr {
    backend(move |mut client| {
        while client.receive().is_some() {
            client.send(answer);
        }
    })
}

/// How many other requests were answered while one was waited for.
fn overtaken(lab: &Lab, client: &mut lab::Client) -> u64 {
    let answered = || lab.counters.answers[3].load(Ordering::Relaxed);
    let before = answered();
    assert_eq!(client.ask(GET).status(), 404);
    answered() - before
}

#[test]
fn who_sends_many_requests_at_once_has_nobody_wait_for_all_of_them() {
    // More would be in one buffer.
    const MOST: u64 = 600;
    over_both(|start| {
        let mut proxy = to(mirror());
        proxy.listeners[0].service = None;
        let lab = start(proxy);
        let mut client = lab.connect();
        let flood = lab.connect().0.into_inner();
        let mut answers = flood.try_clone().unwrap();
        let requests = GET.repeat(10_000);
        std::thread::scope(|scope| {
            scope.spawn(|| while (&flood).write_all(requests.as_bytes()).is_ok() {});
            scope.spawn(move || std::io::copy(&mut answers, &mut std::io::sink()));
            std::thread::sleep(Duration::from_millis(300));
            let mut counts: Vec<u64> = (0..9).map(|_| overtaken(&lab, &mut client)).collect();
            counts.sort_unstable();
            flood.shutdown(Shutdown::Both).unwrap();
            assert!(counts[4] < MOST, "{counts:?}");
        });
    });
}
