//! Clients and backends that are late, gone or in the way.

use super::lab::{backend, free_address, mirror, over_both, to, to_by_http2};
use super::pace::narrow;
use super::speak::{self, run};
use super::upstream::through;
use crate::config::proxy::Backend;
use crate::l7::worker::{Down, Order};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, channel};
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
fn where_nothing_is_tried_again_a_connection_that_ended_is_answered_for() {
    let fickle = backend(|mut client| {
        client.receive();
        client.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        // It may have done what it was asked.
        client.receive();
    });
    over_both(|start| {
        let mut proxy = to(fickle);
        proxy.services[0].retries.count = 0;
        let lab = start(proxy);
        let mut client = lab.connect();
        assert_eq!(client.ask(GET).status(), 200);
        assert_eq!(client.ask("DELETE / HTTP/1.1\r\nHost: h\r\n\r\n").status(), 502);
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

/// Many clients read no answer before they have sent their request, and whoever closes on one that sends takes the answer from it
/// (RFC 9112, section 9.6).
#[test]
fn a_client_that_sends_all_of_a_large_request_first_gets_the_early_answer() {
    let impatient = backend(|mut client| {
        client.head();
        client.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nno!");
    });
    let piece = vec![b'x'; 1 << 20];
    over_both(|start| {
        for (address, status) in [(impatient, 413), (free_address(), 502)] {
            let lab = start(to(address));
            let mut client = lab.connect();
            client.send(&format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", 32 << 20));
            for _ in 0..32 {
                client.0.get_mut().write_all(&piece).unwrap();
                std::thread::sleep(Duration::from_millis(5));
            }
            assert_eq!(client.receive().unwrap().status(), status);
        }
    });
}

#[test]
fn a_backend_that_is_down_is_not_asked() {
    let address = mirror();
    over_both(|start| {
        let lab = start(to(address));
        let mut client = lab.connect();
        assert_eq!(client.ask(GET).status(), 200);
        lab.orders.send(Order::Judge(vec![("web".to_owned(), address)].into())).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(client.ask(GET).status(), 503);
        lab.orders.send(Order::Judge(Vec::new().into())).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(client.ask(GET).status(), 200);
    });
}

#[test]
fn a_backend_that_a_reload_adds_is_asked_only_once_it_is_up() {
    let well = mirror();
    over_both(|start| {
        let (ill, told) = tells_of_connections();
        let mut proxy = to(well);
        let mut lab = start(proxy.clone());
        let mut client = lab.connect();
        assert_eq!(client.ask(GET).status(), 200);
        let added = Backend { name: "web2".to_owned(), addr: ill, ..proxy.services[0].backends[0].clone() };
        proxy.services[0].backends.insert(0, added);
        lab.reload_with(&proxy, [("web".to_owned(), ill)].into());
        for _ in 0..200 {
            assert_eq!(client.ask(GET).status(), 200);
        }
        assert!(told.try_recv().is_err(), "a backend was asked that is down");
        lab.orders.send(Order::Judge(Down::default())).unwrap();
        let end = Instant::now() + Duration::from_secs(10);
        while told.try_recv().is_err() {
            assert_eq!(client.ask(GET).status(), 200);
            assert!(Instant::now() < end, "a backend is not asked that came up");
        }
    });
}

/// A backend that hangs up on whoever connects, and tells of each.
fn tells_of_connections() -> (SocketAddr, Receiver<()>) {
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let address = backend(move |_| tell.lock().unwrap().send(()).unwrap_or_default());
    (address, told)
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

/// What is left over of one answer must never be another's.
#[test]
fn what_a_backend_says_unasked_is_nobodys_answer() {
    let talkative = backend(|mut client| {
        while let Some(request) = client.receive() {
            if request.head.starts_with("HEAD") {
                // A body that HEAD has none of, and which comes later than the head.
                client.send("HTTP/1.1 200 OK\r\nContent-Length: 45\r\n\r\n");
                std::thread::sleep(Duration::from_millis(50));
                client.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen");
            } else {
                client.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
                std::thread::sleep(Duration::from_millis(50));
                client.send("HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            }
        }
    });
    over_both(|start| {
        let lab = start(to(talkative));
        let mut client = lab.connect();
        for _ in 0..3 {
            client.send("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n");
            assert!(client.head().unwrap().starts_with("HTTP/1.1 200 "));
            std::thread::sleep(Duration::from_millis(100));
            assert_eq!(client.ask(GET).text(), "ok");
            std::thread::sleep(Duration::from_millis(100));
        }
    });
}

/// A backend that says that there will be an answer, and then nothing for so long.
fn promising(silence: Duration) -> std::net::SocketAddr {
    backend(move |mut client| {
        while client.receive().is_some() {
            client.send("HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n");
            std::thread::sleep(silence);
            client.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    })
}

#[test]
fn a_backend_that_promises_an_answer_is_not_waited_for_any_longer() {
    let promising = promising(Duration::from_secs(20));
    over_both(|start| {
        let mut proxy = to_by_http2(promising);
        proxy.services[0].deadlines.first_byte = Duration::from_millis(300);
        let lab = start(proxy);
        let mut client = lab.connect();
        let begin = Instant::now();
        client.send(GET);
        assert!(client.head().unwrap().starts_with("HTTP/1.1 103 "));
        assert_eq!(client.receive().unwrap().status(), 504);
        run(async {
            let mut client = speak::Client::connect(&lab).await;
            assert_eq!(client.ask(speak::get("/")).await.status(), 504);
        });
        assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    });
}

#[test]
fn promises_without_end_are_no_answer() {
    let promising = backend(|mut client| {
        while client.receive().is_some() {
            let promise = "HTTP/1.1 102 Processing\r\n\r\n".repeat(10);
            while std::io::Write::write_all(client.0.get_mut(), promise.as_bytes()).is_ok() {}
        }
    });
    over_both(|start| {
        let lab = start(to_by_http2(promising));
        let mut client = lab.connect();
        client.send(GET);
        let answers = std::iter::from_fn(|| client.receive()).take(200);
        let last = answers.map(|answer| answer.status()).find(|status| *status != 102);
        assert_eq!(last, Some(502));
        run(async {
            let mut client = speak::Client::connect(&lab).await;
            assert_eq!(client.ask(speak::get("/")).await.status(), 502);
        });
    });
}

#[test]
fn a_client_that_hears_no_promise_is_not_waited_for() {
    let promising = backend(|mut client| {
        // More than the buffers of the system hold, within as many as may come.
        let link = format!("Link: {}\r\n", "x".repeat(31_000));
        let long = format!("HTTP/1.1 103 Early Hints\r\n{link}{link}\r\n");
        while client.receive().is_some() {
            while std::io::Write::write_all(client.0.get_mut(), long.as_bytes()).is_ok() {}
        }
    });
    over_both(|start| {
        let mut proxy = to(promising);
        proxy.listeners[0].deadlines.send = Duration::from_millis(300);
        let lab = start(proxy);
        let mut client = narrow(&lab);
        client.send(GET);
        let begin = Instant::now();
        // The lab has connected once itself.
        let accepted = || lab.counters.accepted.load(Ordering::Relaxed);
        while accepted() < 2 || lab.counters.open.load(Ordering::Relaxed) > 0 {
            assert!(begin.elapsed() < Duration::from_secs(10), "it is still waited for");
            std::thread::sleep(Duration::from_millis(20));
        }
    });
}

#[test]
fn an_answer_whose_first_chunk_is_none_is_answered_for() {
    let broken = backend(|mut client| {
        while client.receive().is_some() {
            client.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nmuch\r\n");
        }
    });
    over_both(|start| {
        let lab = start(to_by_http2(broken));
        let mut client = lab.connect();
        assert_eq!(client.ask(GET).status(), 502);
        assert_eq!(client.ask(GET).status(), 502, "and its connection may be used again");
        run(async {
            let mut client = speak::Client::connect(&lab).await;
            assert_eq!(client.ask(speak::get("/")).await.status(), 502);
        });
    });
}

#[test]
fn a_worker_that_is_told_twice_to_end_waits_for_nobody() {
    let slow = backend(|mut client| {
        client.receive();
        client.rest();
    });
    over_both(|start| {
        let lab = start(to(slow));
        let mut client = lab.connect();
        client.send(GET);
        let begin = Instant::now();
        for patience in [30, 0] {
            std::thread::sleep(Duration::from_millis(200));
            lab.orders.send(Order::Drain(Duration::from_secs(patience))).unwrap();
        }
        client.rest();
        drop(lab);
        assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    });
}

/// How a connection by HTTP/1.0 ends that is answered so, be HTTP/2 or HTTP/1.1 spoken to the backend.
fn end_of(lab: &super::lab::Lab) -> (String, Result<usize, ErrorKind>) {
    let mut client = lab.connect();
    client.send("GET / HTTP/1.0\r\nHost: h\r\n\r\n");
    let (mut all, mut piece) = (Vec::new(), [0; 1024]);
    loop {
        match client.0.read(&mut piece) {
            Ok(count @ 1..) => all.extend_from_slice(&piece[..count]),
            end => return (String::from_utf8(all).unwrap(), end.map_err(|error| error.kind())),
        }
    }
}

#[test]
fn an_answer_that_only_the_end_ends_is_seen_to_be_cut_off() {
    let cut_off = backend(|mut client| {
        client.receive();
        client.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
        std::thread::sleep(Duration::from_millis(100));
    });
    let reset = backend(|mut client| {
        client.receive();
        client.send("HTTP/1.1 200 OK\r\n\r\nhalf");
        std::thread::sleep(Duration::from_millis(100));
        socket2::SockRef::from(client.0.get_ref()).set_linger(Some(Duration::ZERO)).unwrap();
    });
    let cut_off_by_http2 = speak::backend_by_http2(|_, _, (_, mut respond)| async move {
        let mut body = respond.send_response(http::Response::new(()), false).unwrap();
        body.send_data("half".into(), false).unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        body.send_reset(h2::Reason::INTERNAL_ERROR);
    });
    for proxy in [to(cut_off), to(reset), through(cut_off_by_http2)] {
        over_both(|start| {
            let (answer, end) = end_of(&start(proxy.clone()));
            assert!(answer.ends_with("\r\n\r\nhalf"), "{answer}");
            assert_eq!(end, Err(ErrorKind::ConnectionReset));
        });
    }
}

#[test]
fn an_answer_that_only_the_end_ends_and_is_whole_ends_in_order() {
    let whole = backend(|mut client| {
        client.receive();
        client.send("HTTP/1.1 200 OK\r\n\r\nwhole");
    });
    over_both(|start| {
        let (answer, end) = end_of(&start(to(whole)));
        assert!(answer.ends_with("\r\n\r\nwhole"), "{answer}");
        assert_eq!(end, Ok(0));
    });
}
