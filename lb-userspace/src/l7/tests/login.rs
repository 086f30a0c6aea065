//! Backends that know by a connection who its client is: nobody else's requests go by it.

use super::lab::{self, Lab, backend, over_both, to, to_by_http2};
use super::speak::{self, backend_by_http2, run, say};
use super::upstream::through;
use crate::config::proxy::Proxy;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A backend that answers with the number of the connection that it was asked by. It wants that connection to be logged in for
/// `/secret`.
fn counting() -> SocketAddr {
    let connections = AtomicUsize::new(0);
    backend(move |mut client| {
        let number = connections.fetch_add(1, Ordering::Relaxed).to_string();
        let mut is_known = false;
        while let Some(request) = client.receive() {
            is_known |= request.field("authorization").is_some_and(|value| value.starts_with("NTLM"));
            let status = if is_known || !request.head.contains("/secret") {
                "200 OK"
            } else {
                "401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\nWWW-Authenticate: NTLM"
            };
            let length = number.len();
            client.send(&format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{number}"));
        }
    })
}

/// Asks with these fields, and is told the number of the connection to the backend.
fn ask(client: &mut lab::Client, path: &str, fields: &str) -> String {
    client.ask(&format!("GET {path} HTTP/1.1\r\nHost: h\r\n{fields}\r\n")).text().to_owned()
}

const NTLM: &str = "Authorization: NTLM TlRMTVNTUAAB\r\n";
const NEGOTIATE: &str = "authorization: negotiate YII=\r\n";

#[test]
fn a_connection_that_a_client_logs_in_is_that_clients_alone() {
    for credentials in [NTLM, NEGOTIATE] {
        over_both(|start| {
            let lab = start(to(counting()));
            let (mut ours, mut theirs) = (lab.connect(), lab.connect());
            assert_eq!(ask(&mut ours, "/", ""), ask(&mut theirs, "/", ""), "they share one until then");
            let own = ask(&mut ours, "/", credentials);
            let other = ask(&mut theirs, "/", "");
            assert_ne!(own, other);
            assert_eq!(ask(&mut ours, "/", ""), own, "also when it has told who it is");
            assert_eq!(ask(&mut theirs, "/", ""), other);
            drop(ours);
            assert_eq!(ask(&mut lab.connect(), "/", ""), other, "nobody inherits it");
        });
    }
}

#[test]
fn a_client_that_is_asked_to_log_in_does_so_by_the_same_connection() {
    over_both(|start| {
        let lab = start(to(counting()));
        let (mut ours, mut theirs) = (lab.connect(), lab.connect());
        let asked = ask(&mut ours, "/secret", "");
        assert_ne!(ask(&mut theirs, "/", ""), asked);
        assert_eq!(ask(&mut ours, "/secret", NTLM), asked);
        assert_eq!(ours.ask("GET /secret HTTP/1.1\r\nHost: h\r\n\r\n").status(), 200);
        assert_eq!(theirs.ask("GET /secret HTTP/1.1\r\nHost: h\r\n\r\n").status(), 401);
    });
}

#[test]
fn a_client_with_a_connection_of_its_own_goes_to_the_backend_that_knows_it() {
    over_both(|start| {
        let mut proxy = to(counting());
        proxy.services[0].backends.push(crate::config::proxy::Backend {
            name: "web2".to_owned(),
            addr: counting(),
            weight: 1,
            drain: false,
        });
        let lab = start(proxy);
        let mut client = lab.connect();
        ask(&mut client, "/secret", NTLM);
        for _ in 0..5 {
            assert_eq!(client.ask("GET /secret HTTP/1.1\r\nHost: h\r\n\r\n").status(), 200);
        }
    });
}

#[test]
fn credentials_of_a_request_leave_the_connection_to_all() {
    over_both(|start| {
        let lab = start(to(counting()));
        let first = ask(&mut lab.connect(), "/", "Authorization: Basic bnRsbTp4\r\n");
        assert_eq!(ask(&mut lab.connect(), "/", ""), first);
    });
}

/// The numbers of connections that three clients of HTTP/2 are told, of whom the first and the last log in.
fn numbers(lab: &Lab) -> Vec<String> {
    run(async {
        let mut told = Vec::new();
        for credentials in [Some("Negotiate YII="), None, Some("NTLM x")] {
            let mut request = speak::get("/");
            if let Some(value) = credentials {
                request.headers_mut().insert("authorization", value.parse().unwrap());
            }
            told.push(speak::Client::connect(lab).await.ask(request).await.text().to_owned());
        }
        told
    })
}

#[test]
fn a_stream_that_logs_a_connection_in_shares_it_with_nobody() {
    let by_http2 = || {
        backend_by_http2(|connection, _, (_, mut respond)| async move {
            say(&mut respond, connection.to_string());
        })
    };
    let ways: [&dyn Fn() -> Proxy; 2] = [&|| to_by_http2(counting()), &|| through(by_http2())];
    for way in ways {
        over_both(|start| {
            let lab = start(way());
            let told = numbers(&lab);
            assert_ne!(told[0], told[1]);
            let last = run(async { speak::Client::connect(&lab).await.ask(speak::get("/")).await });
            assert_ne!(last.text(), told[0]);
            assert_ne!(last.text(), told[2]);
        });
    }
}

/// A backend that says this to whoever has not shown a token of NTLM's third leg, by a connection that began with a first.
fn asking(challenge: &'static str) -> SocketAddr {
    backend(move |mut client| {
        let mut has_begun = false;
        while let Some(request) = client.receive() {
            let credentials = request.field("authorization").unwrap_or_default().to_owned();
            let answer = match (credentials.strip_prefix("NTLM "), has_begun) {
                (Some("third"), true) => "200 OK\r\nContent-Length: 0".to_owned(),
                (Some("first"), _) => {
                    has_begun = true;
                    "401 Unauthorized\r\nWWW-Authenticate: NTLM second\r\nContent-Length: 0".to_owned()
                }
                _ => format!("401 Unauthorized\r\n{challenge}\r\nContent-Length: 0"),
            };
            client.send(&format!("HTTP/1.1 {answer}\r\n\r\n"));
        }
    })
}

/// What a stream with these credentials gets: a status, or the reason that it is reset by.
async fn by_stream(client: &mut speak::Client, credentials: &str) -> Result<u16, Option<h2::Reason>> {
    let mut request = speak::get("/");
    request.headers_mut().insert("authorization", credentials.parse().unwrap());
    let (answer, _) = client.begin(request, true).await;
    answer.await.map(|answer| answer.status().as_u16()).map_err(|error| error.reason())
}

#[test]
fn a_login_that_takes_a_connection_is_sent_to_http1() {
    let required = Err(Some(h2::Reason::HTTP_1_1_REQUIRED));
    let rows = [
        ("WWW-Authenticate: NTLM", "Basic x", required),
        ("WWW-Authenticate: Negotiate", "NTLM first", required),
        ("WWW-Authenticate: Negotiate\r\nWWW-Authenticate: NTLM", "Basic x", Ok(401)),
        ("WWW-Authenticate: NTLM\r\nWWW-Authenticate: Basic realm=\"x\"", "Basic x", Ok(401)),
    ];
    for (challenge, credentials, expected) in rows {
        over_both(|start| {
            let lab = start(to_by_http2(asking(challenge)));
            run(async {
                let mut client = speak::Client::connect(&lab).await;
                assert_eq!(by_stream(&mut client, credentials).await, expected, "{challenge}");
                assert_eq!(by_stream(&mut client, credentials).await, expected, "the connection goes on");
            });
            let mut client = lab.connect();
            for (token, status) in [("first", 401), ("third", 200)] {
                let asked =
                    client.ask(&format!("GET / HTTP/1.1\r\nHost: h\r\nAuthorization: NTLM {token}\r\n\r\n"));
                assert_eq!(asked.status(), status, "by HTTP/1.1 it works");
            }
        });
    }
}
