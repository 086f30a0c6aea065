//! A WebSocket to a backend that speaks HTTP/2.

use super::lab::{Lab, backend, over_both, to, to_by_http2};
use super::speak::{Client, Exchange, PATIENCE, backend_by_http2, backend_of_connections, get, read, run};
use crate::config::proxy::Proxy;
use bytes::Bytes;
use h2::ext::Protocol;
use http::{Method, Response};
use std::io::Read as _;
use std::net::SocketAddr;
use std::time::Duration;

/// A backend by HTTP/2 that lets streams become others' or not, and greets, then repeats what it hears.
fn echo(takes_tunnels: bool) -> SocketAddr {
    backend_of_connections(move |_, stream| async move {
        let mut builder = h2::server::Builder::new();
        if takes_tunnels {
            builder.enable_connect_protocol();
        }
        // The lab's own first connection says nothing.
        let Ok(mut streams) = builder.handshake(stream).await else { return };
        while let Some(Ok(exchange)) = streams.accept().await {
            tokio::spawn(answer(exchange));
        }
    })
}

async fn answer((request, mut respond): Exchange) {
    let asked = (request.method(), request.extensions().get::<Protocol>().map(Protocol::as_str));
    assert_eq!(asked, (&Method::CONNECT, Some("websocket")));
    assert_eq!(request.uri().path(), "/chat");
    for name in ["upgrade", "connection", "sec-websocket-key"] {
        assert!(!request.headers().contains_key(name), "{name}");
    }
    let head = Response::builder().header("sec-websocket-protocol", "v1").body(()).unwrap();
    let mut stream = respond.send_response(head, false).unwrap();
    stream.send_data(Bytes::from_static(b"hello,"), false).unwrap();
    let said = read(&mut request.into_body()).await.unwrap();
    stream.send_data(said.into(), true).unwrap();
}

fn http2_to(backend: SocketAddr, proxy: fn(SocketAddr) -> Proxy) -> Proxy {
    let mut proxy = proxy(backend);
    proxy.services[0].http2 = true;
    proxy
}

const ASKED: &str = "GET /chat HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

#[test]
fn a_client_s_upgrade_becomes_an_extended_connect() {
    let backend = echo(true);
    over_both(|start| {
        let lab = start(http2_to(backend, to));
        for _ in 0..2 {
            let mut client = lab.connect();
            client.send(ASKED);
            let head = client.head().unwrap().to_ascii_lowercase();
            assert!(head.starts_with("http/1.1 101 "), "{head}");
            for field in ["upgrade: websocket", "connection: upgrade", "sec-websocket-protocol: v1"] {
                assert!(head.contains(&format!("\r\n{field}\r\n")), "{field} in {head}");
            }
            assert!(head.contains("\r\nsec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"), "{head}");
            assert!(!head.contains("transfer-encoding"), "{head}");
            let mut greeting = [0; 6];
            client.0.read_exact(&mut greeting).unwrap();
            assert_eq!(&greeting, b"hello,");
            client.send(" world");
            client.finish();
            assert_eq!(client.rest(), " world");
        }
    });
}

/// Asks for a WebSocket by HTTP/2.
async fn connect(lab: &Lab) -> (h2::client::ResponseFuture, h2::SendStream<Bytes>) {
    let mut client = Client::connect(lab).await;
    client.0 = client.0.clone().ready().await.unwrap();
    while !client.0.is_extended_connect_protocol_enabled() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut request = get("/chat");
    *request.method_mut() = Method::CONNECT;
    request.extensions_mut().insert(Protocol::from_static("websocket"));
    client.begin(request, false).await
}

#[test]
fn a_client_s_extended_connect_becomes_one() {
    let backend = echo(true);
    over_both(|start| {
        let lab = start(http2_to(backend, to_by_http2));
        run(async {
            let (answer, mut stream) = connect(&lab).await;
            let answer = answer.await.unwrap();
            assert_eq!(answer.status(), 200);
            assert_eq!(answer.headers()["sec-websocket-protocol"], "v1");
            assert!(!answer.headers().contains_key("sec-websocket-accept"));
            stream.send_data(Bytes::from_static(b" world"), true).unwrap();
            assert_eq!(read(&mut answer.into_body()).await.unwrap(), b"hello, world");
        });
    });
}

/// How often there was no tunnel to be had.
fn without_tunnel(lab: &Lab) -> u64 {
    let failures = lab.counters.tally.failures.each();
    failures.filter(|(label, _)| *label == "no_tunnel").map(|(_, count)| count).sum()
}

#[test]
fn where_the_backend_takes_none_the_client_is_told_so_at_once() {
    let backend = echo(false);
    over_both(|start| {
        let lab = start(http2_to(backend, to_by_http2));
        let begin = std::time::Instant::now();
        assert_eq!(lab.connect().ask(ASKED).status(), 502);
        run(async {
            let (answer, _stream) = connect(&lab).await;
            assert_eq!(answer.await.unwrap().status(), 502);
        });
        assert_eq!(without_tunnel(&lab), 2);
        assert!(begin.elapsed() < PATIENCE / 10, "nothing was waited for");
    });
}

#[test]
fn a_backend_that_refuses_is_heard() {
    let busy = backend_by_http2(|_, _, (_, mut respond)| async move {
        let head = Response::builder().status(403).body(()).unwrap();
        drop(respond.send_response(head, true));
    });
    over_both(|start| {
        // Without extended CONNECT nothing reaches it; with an upgrade to something else it is asked as if without.
        let lab = start(http2_to(busy, to));
        assert_eq!(lab.connect().ask(&ASKED.replace("websocket", "other")).status(), 403);
    });
}

/// Ticks to hear, each `BEAT` after the one before: together several times what both sides may be silent for.
const TICKS: usize = 8;
const BEAT: Duration = Duration::from_millis(200);
const IDLE: Duration = Duration::from_millis(700);

fn impatient(mut proxy: Proxy) -> Proxy {
    proxy.services[0].deadlines.idle = IDLE;
    proxy
}

/// A backend by HTTP/1.1 that ticks, says nothing more, and sends back how often the client has ticked then.
fn ticking() -> SocketAddr {
    backend(|mut client| {
        if client.head().is_none() {
            return;
        }
        client.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n");
        for _ in 0..TICKS {
            client.send(".");
            std::thread::sleep(BEAT);
        }
        let heard = client.rest();
        client.send(&heard);
    })
}

/// The same by HTTP/2.
fn ticking_by_http2() -> SocketAddr {
    backend_of_connections(|_, stream| async {
        let mut builder = h2::server::Builder::new();
        builder.enable_connect_protocol();
        let Ok(mut streams) = builder.handshake(stream).await else { return };
        while let Some(Ok((request, mut respond))) = streams.accept().await {
            tokio::spawn(async move {
                let mut stream = respond.send_response(Response::new(()), false).unwrap();
                for _ in 0..TICKS {
                    stream.send_data(Bytes::from_static(b"."), false).unwrap();
                    tokio::time::sleep(BEAT).await;
                }
                let heard = read(&mut request.into_body()).await.unwrap();
                stream.send_data(heard.into(), true).unwrap();
            });
        }
    })
}

#[test]
fn a_side_that_only_listens_is_not_silent() {
    let (own, shared) = (ticking(), ticking_by_http2());
    let all = ".".repeat(2 * TICKS);
    over_both(|start| {
        for proxy in [to_by_http2(own), http2_to(shared, to_by_http2)] {
            let lab = start(impatient(proxy));
            let mut client = lab.connect();
            client.send(ASKED);
            assert!(client.head().unwrap().starts_with("HTTP/1.1 101 "));
            let mut ticks = [0; TICKS];
            client.0.read_exact(&mut ticks).unwrap();
            for _ in 0..TICKS {
                client.send(".");
                std::thread::sleep(BEAT);
            }
            client.finish();
            assert_eq!([std::str::from_utf8(&ticks).unwrap(), &client.rest()].concat(), all);
            run(async {
                let (answer, mut stream) = connect(&lab).await;
                let mut body = answer.await.unwrap().into_body();
                let mut heard = 0;
                while heard < TICKS {
                    heard += body.data().await.unwrap().unwrap().len();
                }
                assert_eq!(heard, TICKS);
                for _ in 0..TICKS {
                    stream.send_data(Bytes::from_static(b"."), false).unwrap();
                    tokio::time::sleep(BEAT).await;
                }
                stream.send_data(Bytes::new(), true).unwrap();
                assert_eq!(read(&mut body).await.unwrap().len(), TICKS);
            });
        }
    });
}

#[test]
fn where_both_sides_are_silent_for_too_long_the_connection_ends() {
    let silent = backend(|mut client| {
        if client.head().is_some() {
            client.send(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
            );
            client.rest();
        }
    });
    over_both(|start| {
        let lab = start(impatient(to(silent)));
        let mut client = lab.connect();
        client.send(ASKED);
        assert!(client.head().unwrap().starts_with("HTTP/1.1 101 "));
        let begin = std::time::Instant::now();
        assert_eq!(client.rest(), "");
        assert!((IDLE / 2..IDLE * 10).contains(&begin.elapsed()), "{:?}", begin.elapsed());
    });
}
