//! A backend on loopback, asked over real sockets.

use std::future::Future;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Backend, Error, Options, body_chunk, parse_name};

/// Nothing here takes nearly so long; a hang must fail.
const PATIENCE: Duration = Duration::from_secs(20);

struct Addresses {
    http: SocketAddr,
    tcp: SocketAddr,
    udp: SocketAddr,
}

fn options() -> Options {
    let any = || vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    Options { name: "web1".into(), http: any(), tcp: any(), udp: any() }
}

/// Runs a scenario beside a backend of its own.
fn with_backend<F: Future<Output = ()>>(scenario: impl FnOnce(Addresses) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let backend = Backend::bind(options()).unwrap();
        let [http, tcp, udp] =
            backend.addresses().map(|(_, address)| address).collect::<Vec<_>>().try_into().unwrap();
        tokio::spawn(backend.serve());
        timeout(PATIENCE, scenario(Addresses { http, tcp, udp })).await.expect("the scenario hangs");
    });
}

/// Sends the bytes and reads until the backend closes.
async fn exchange(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    answer
}

async fn exchange_text(address: SocketAddr, text: &str) -> String {
    String::from_utf8(exchange(address, text.as_bytes()).await).unwrap()
}

/// A one-shot request's status line and body.
async fn ask(address: SocketAddr, method: &str, target: &str) -> (String, Vec<u8>) {
    let request = format!("{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let answer = exchange(address, request.as_bytes()).await;
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    (head, answer[end + 4..].to_vec())
}

#[test]
fn the_front_page_says_who_answered_whom() {
    with_backend(|at| async move {
        let mut stream = TcpStream::connect(at.http).await.unwrap();
        let peer = stream.local_addr().unwrap();
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\nx-backend: web1\r\n"), "{answer}");
        assert!(answer.ends_with(&format!("\r\n\r\nname=web1 peer={peer} local={}\n", at.http)), "{answer}");
    });
}

#[test]
fn the_health_page_can_be_made_to_fail_and_pass() {
    with_backend(|at| async move {
        assert_eq!(ask(at.http, "GET", "/healthz").await.1, b"ok\n");
        ask(at.http, "POST", "/healthz/fail").await;
        let (head, body) = ask(at.http, "GET", "/healthz").await;
        assert!(head.starts_with("HTTP/1.1 503 Service Unavailable"), "{head}");
        assert_eq!(body, b"failing\n");
        ask(at.http, "POST", "/healthz/ok").await;
        assert!(ask(at.http, "GET", "/healthz").await.0.starts_with("HTTP/1.1 200 OK"));
    });
}

#[test]
fn a_download_has_the_bytes_of_the_stream() {
    with_backend(|at| async move {
        for length in [0, 1, 7, 65_536, 300_001] {
            let (head, body) = ask(at.http, "GET", &format!("/bytes/{length}")).await;
            let mut want = vec![0; length];
            body_chunk(0, &mut want);
            assert!(head.contains(&format!("content-length: {length}\r\n")), "{head}");
            assert!(body == want, "{length} bytes differ");
        }
    });
}

#[test]
fn a_rate_makes_a_download_take_its_time() {
    with_backend(|at| async move {
        let start = Instant::now();
        let (_, body) = ask(at.http, "GET", "/bytes/10000?rate=20000").await;
        let mut want = vec![0; 10_000];
        body_chunk(0, &mut want);
        assert!(body == want);
        let took = start.elapsed();
        assert!((500..1500).contains(&took.as_millis()), "{took:?}");
    });
}

#[test]
fn a_head_request_gets_no_body() {
    with_backend(|at| async move {
        let (head, body) = ask(at.http, "HEAD", "/bytes/1000").await;
        assert!(head.contains("content-length: 1000\r\n") && body.is_empty(), "{head}");
    });
}

#[test]
fn bodies_are_echoed_however_they_are_framed() {
    with_backend(|at| async move {
        let fixed = "POST /echo HTTP/1.1\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello";
        assert!(exchange_text(at.http, fixed).await.ends_with("\r\n\r\nhello"));
        let chunked = "POST /echo HTTP/1.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
                       3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nX-Trailer: 1\r\n\r\n";
        assert!(
            exchange_text(at.http, chunked)
                .await
                .ends_with("content-length: 5\r\nconnection: close\r\n\r\nhello")
        );
    });
}

#[test]
fn requests_that_come_together_are_answered_in_turn() {
    with_backend(|at| async move {
        let requests = "POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n\
                        POST /echo HTTP/1.1\r\nContent-Length: 1\r\n\r\nb\
                        POST /echo HTTP/1.1\r\nConnection: close\r\nContent-Length: 1\r\n\r\nc";
        let answers = exchange_text(at.http, requests).await;
        let bodies: Vec<_> = answers.split("\r\n\r\n").skip(1).map(|rest| &rest[..1]).collect();
        assert_eq!(bodies, ["a", "b", "c"]);
    });
}

#[test]
fn a_client_that_waits_to_continue_is_told_to() {
    with_backend(|at| async move {
        let mut stream = TcpStream::connect(at.http).await.unwrap();
        let head =
            "POST /echo HTTP/1.1\r\nExpect: 100-continue\r\nConnection: close\r\nContent-Length: 2\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut interim = [0; 25];
        stream.read_exact(&mut interim).await.unwrap();
        assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(b"hi").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("\r\n\r\nhi"), "{answer}");
    });
}

#[test]
fn what_is_no_request_is_refused_with_a_reason() {
    with_backend(|at| async move {
        for (request, want) in [
            ("hello there\r\n\r\n".to_owned(), "HTTP/1.1 400 Bad Request"),
            (format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(20_000)), "HTTP/1.1 431 "),
            (
                "POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".into(),
                "HTTP/1.1 400 Bad Request",
            ),
            ("POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n".into(), "HTTP/1.1 413 "),
        ] {
            let answer = exchange_text(at.http, &request).await;
            assert!(answer.starts_with(want) && answer.contains("connection: close"), "{answer}");
        }
    });
}

#[test]
fn tcp_echoes_until_the_client_closes_its_side() {
    with_backend(|at| async move {
        let mut stream = TcpStream::connect(at.tcp).await.unwrap();
        stream.write_all(b"one ").await.unwrap();
        let mut first = [0; 4];
        stream.read_exact(&mut first).await.unwrap();
        stream.write_all(b"two").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        assert_eq!((&first, &rest[..]), (b"one ", &b"two"[..]));
    });
}

#[test]
fn udp_answers_with_the_name_and_the_datagram() {
    with_backend(|at| async move {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        for payload in [&b"ping"[..], b""] {
            socket.send_to(payload, at.udp).await.unwrap();
            let mut answer = [0; 64];
            let (length, from) = socket.recv_from(&mut answer).await.unwrap();
            assert_eq!((&answer[..length], from), (&[b"web1 ", payload].concat()[..], at.udp));
        }
    });
}

#[test]
fn hundreds_of_connections_are_served_at_once() {
    with_backend(|at| async move {
        let mut clients = JoinSet::new();
        for client in 0..300_u32 {
            clients.spawn(async move {
                let (_, body) = ask(at.http, "GET", "/bytes/20000?rate=100000").await;
                let mut want = vec![0; 20_000];
                body_chunk(0, &mut want);
                let mut echo = TcpStream::connect(at.tcp).await.unwrap();
                echo.write_all(&client.to_be_bytes()).await.unwrap();
                (body == want, echo.read_u32().await.unwrap() == client)
            });
        }
        assert!(clients.join_all().await.into_iter().all(|good| good == (true, true)));
    });
}

#[test]
fn an_address_in_use_is_named() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _context = runtime.enter();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let error = Backend::bind(Options { tcp: vec![address], ..options() }).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot listen for tcp on {address}"));
}

#[test]
fn no_address_at_all_is_refused() {
    let options = Options { http: vec![], tcp: vec![], udp: vec![], ..options() };
    assert!(matches!(Backend::bind(options), Err(Error::NothingToServe)));
}

#[test]
fn a_name_fits_into_a_header_and_a_line() {
    assert!(parse_name("web-1").is_ok());
    for name in ["", "a b", "a\r\nx: y", "é"] {
        assert!(parse_name(name).is_err(), "{name:?}");
    }
}

#[test]
fn sigterm_ends_it_without_an_error() {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let options = Options { http: vec![address], tcp: vec![], udp: vec![], ..options() };
    let running = std::thread::spawn(|| super::run(options));
    // Once it accepts connections its signal handlers stand; before that the signal would end the tests.
    while std::net::TcpStream::connect(address).is_err() {
        assert!(!running.is_finished(), "it ended before it was told to");
        std::thread::sleep(Duration::from_millis(5));
    }
    nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::SIGTERM).unwrap();
    assert!(running.join().unwrap().is_ok());
}

/// An IPv6 datagram is answered from the address it was sent to, as an IPv4 one is.
#[test]
fn both_families_are_served_at_one_port() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let port = std::net::UdpSocket::bind("[::]:0").unwrap().local_addr().unwrap().port();
        let any = ["0.0.0.0", "[::]"].map(|host| format!("{host}:{port}").parse().unwrap()).to_vec();
        let backend =
            Backend::bind(Options { http: vec![], tcp: any.clone(), udp: any, ..options() }).unwrap();
        tokio::spawn(backend.serve());
        for host in ["127.0.0.2", "[::1]"] {
            let served: SocketAddr = format!("{host}:{port}").parse().unwrap();
            assert!(TcpStream::connect(served).await.is_ok(), "{served}");
            let own = if served.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
            let socket = UdpSocket::bind(own).await.unwrap();
            socket.connect(served).await.unwrap();
            socket.send(b"hello").await.unwrap();
            let mut answer = [0; 64];
            let length = timeout(PATIENCE, socket.recv(&mut answer)).await.unwrap().unwrap();
            assert_eq!(&answer[..length], b"web1 hello");
        }
    });
}
