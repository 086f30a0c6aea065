//! Probes that speak what requests speak, against real backends, each scenario under both transports.

use std::cell::Cell;
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Response, Version};
use rustls::HandshakeKind::{Full, Resumed};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::unbounded_channel;
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::probe_tests::{LOOPBACK, TIMEOUT, on_both_transports, page, params};
use super::turns::{Waited, by_turns};
use super::{HealthState, Kind, Layers, Params, ProbeError, Prober, Stage, Transport, spawn};
use crate::config::StatusRange;
use crate::config::proxy::{ProxyHeader, UpstreamTls};
use crate::l7::proxy_protocol::{Proxied, parse};
use crate::l7::tls::made::{Files, OURS, STRANGER};
use crate::l7::tls::{ClientTls, Shared};

on_both_transports! {
    a_page_by_tls_passes
    a_connection_by_tls_passes_when_hands_were_shaken
    an_unknown_issuer_is_told
    a_certificate_for_another_name_is_told_with_both
    a_plain_backend_is_not_taken_for_tls
    a_backend_that_wants_a_certificate_is_shown_one_or_it_is_told
    a_silent_tls_port_times_out_in_the_handshake
    a_check_of_a_silent_tls_port_stops_in_time
    each_proxy_header_tells_of_nobody
    a_connection_with_a_proxy_header_sends_it
    the_proxy_header_comes_before_tls
    a_page_by_http2_passes
    a_page_by_http2_and_tls_passes
    a_wrong_status_by_http2_is_told
    a_backend_without_http2_is_told
    a_refused_stream_is_told
    a_silent_http2_backend_times_out
    probes_by_tls_leave_no_sockets_behind
    a_check_by_tls_reports_the_rise
    a_settled_check_resumes_its_session_until_a_probe_fails
    what_other_handshakes_take_is_not_held_against_the_backend
}

fn chain() -> Vec<CertificateDer<'static>> {
    vec![CertificateDer::from_pem_file(&OURS.0).unwrap()]
}

fn key() -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_file(&OURS.1).unwrap()
}

/// How to believe this authority, and to show the backend's own certificate as ours.
fn upstream((ca, _): &Files, sni: Option<&str>, certificate: bool, http2: bool) -> ClientTls {
    let own = certificate.then(|| OURS.clone());
    let tls =
        UpstreamTls { ca: Some(ca.clone()), sni: sni.map(str::to_owned), certificate: own, verify: true };
    Shared::new().unwrap().client(&tls, http2).unwrap()
}

fn by_tls() -> Layers {
    Layers { tls: Some(upstream(&OURS, None, false, false)), ..Layers::default() }
}

fn by_http2() -> Layers {
    Layers { http2: true, ..Layers::default() }
}

fn layered(target: SocketAddr, kind: Kind, layers: Layers) -> Params {
    Params { layers, ..params(target, kind) }
}

async fn probe(
    target: SocketAddr,
    kind: Kind,
    layers: Layers,
    transport: Transport,
) -> Result<Duration, ProbeError> {
    Prober::new(layered(target, kind, layers), transport, 1).probe().await
}

/// A server that does what it is told to with each connection.
async fn serve<F: Future<Output = ()> + 'static>(answer: impl Fn(TcpStream) -> F + 'static) -> SocketAddr {
    let listener = TcpListener::bind(LOOPBACK).await.unwrap();
    let address = listener.local_addr().unwrap();
    spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            spawn_local(answer(stream));
        }
    });
    address
}

/// Accepts, says nothing, and hangs up no sooner than the other end.
async fn serve_silence() -> SocketAddr {
    serve(|mut stream| async move { while matches!(stream.read(&mut [0; 1024]).await, Ok(1..)) {} }).await
}

fn acceptor(wants_certificates: bool, protocol: &[u8]) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = if wants_certificates {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(chain().remove(0)).unwrap();
        let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        builder.with_client_cert_verifier(verifier.build().unwrap())
    } else {
        builder.with_no_client_auth()
    };
    let mut config = builder.with_single_cert(chain(), key()).unwrap();
    config.alpn_protocols = vec![protocol.to_vec()];
    Arc::new(config).into()
}

/// Reads a request and answers with an empty page.
async fn answer(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin) {
    let _ = stream.read(&mut [0; 1024]).await;
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let _ = stream.flush().await;
    let _ = stream.read(&mut [0; 1]).await;
}

async fn serve_tls(wants_certificates: bool) -> SocketAddr {
    let acceptor = acceptor(wants_certificates, b"http/1.1");
    serve(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                answer(stream).await;
            }
        }
    })
    .await
}

/// Answers each request of a connection by HTTP/2 with this status.
async fn answer_http2(stream: impl AsyncReadExt + AsyncWriteExt + Unpin, status: u16, uri: &str) {
    let mut connection = h2::server::handshake(stream).await.unwrap();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        assert_eq!((request.version(), request.uri().to_string()), (Version::HTTP_2, uri.to_owned()));
        let answer = Response::builder().status(status).body(()).unwrap();
        respond.send_response(answer, true).unwrap();
    }
}

async fn serve_http2(status: u16) -> SocketAddr {
    serve(move |stream| async move {
        let uri = format!("http://{}/healthz", stream.local_addr().unwrap());
        answer_http2(stream, status, &uri).await;
    })
    .await
}

async fn a_page_by_tls_passes(transport: Transport) {
    let target = serve_tls(false).await;
    assert!(probe(target, page(), by_tls(), transport).await.unwrap() < TIMEOUT);
}

async fn a_connection_by_tls_passes_when_hands_were_shaken(transport: Transport) {
    let target = serve_tls(false).await;
    assert!(probe(target, Kind::Tcp, by_tls(), transport).await.is_ok());
}

async fn an_unknown_issuer_is_told(transport: Transport) {
    let target = serve_tls(false).await;
    let layers = Layers { tls: Some(upstream(&STRANGER, None, false, false)), ..Layers::default() };
    for kind in [page(), Kind::Tcp] {
        let said = probe(target, kind, layers.clone(), transport).await.unwrap_err().to_string();
        assert!(said.starts_with("TLS: unknown issuer"), "{said}");
    }
}

async fn a_certificate_for_another_name_is_told_with_both(transport: Transport) {
    let target = serve_tls(false).await;
    let tls = Some(upstream(&OURS, Some("www.example.org"), false, false));
    let layers = Layers { tls, ..Layers::default() };
    let said = probe(target, page(), layers, transport).await.unwrap_err().to_string();
    assert!(said.starts_with("TLS: certificate not valid for name www.example.org, but for"), "{said}");
    assert!(said.ends_with("127.0.0.1, backend.test"), "{said}");
}

async fn a_plain_backend_is_not_taken_for_tls(transport: Transport) {
    let target = serve(|mut stream| async move {
        let _ = stream.read(&mut [0; 1024]).await;
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
        let _ = stream.read(&mut [0; 1024]).await;
    })
    .await;
    let said = probe(target, page(), by_tls(), transport).await.unwrap_err().to_string();
    assert!(said.ends_with("does it speak TLS on this port?"), "{said}");
    let target = serve(|stream| async move { drop(stream) }).await;
    let said = probe(target, Kind::Tcp, by_tls(), transport).await.unwrap_err();
    assert!(matches!(said, ProbeError::Tls(_) | ProbeError::Reset), "{said}");
}

async fn a_backend_that_wants_a_certificate_is_shown_one_or_it_is_told(transport: Transport) {
    let target = serve_tls(true).await;
    let said = probe(target, page(), by_tls(), transport).await.unwrap_err().to_string();
    assert!(said.starts_with("TLS: the backend asks for a client certificate"), "{said}");
    let layers = Layers { tls: Some(upstream(&OURS, None, true, false)), ..Layers::default() };
    probe(target, page(), layers, transport).await.unwrap();
}

/// The probe's result, which must be a time-out in this stage, told neither early nor late.
async fn assert_times_out(target: SocketAddr, layers: Layers, stage: Stage, transport: Transport) {
    let start = Instant::now();
    let outcome = probe(target, page(), layers, transport).await;
    assert_eq!(outcome, Err(ProbeError::TimedOut { after: TIMEOUT, stage }));
    let took = start.elapsed();
    assert!(took >= TIMEOUT && took < TIMEOUT * 2, "{took:?}");
}

async fn a_silent_tls_port_times_out_in_the_handshake(transport: Transport) {
    assert_times_out(serve_silence().await, by_tls(), Stage::Securing, transport).await;
}

async fn a_check_of_a_silent_tls_port_stops_in_time(transport: Transport) {
    let (tx, mut reports) = unbounded_channel();
    let check = spawn((), layered(serve_silence().await, page(), by_tls()), 5, transport, tx);
    sleep(TIMEOUT / 4).await;
    let start = Instant::now();
    check.stop().await;
    assert!(start.elapsed() < TIMEOUT * 2, "the probe under way held it up: {:?}", start.elapsed());
    assert_eq!(reports.recv().await, None);
}

/// What comes of a header, and the bytes that have come behind it.
async fn read_header(stream: &mut TcpStream) -> (Option<Proxied>, Vec<u8>) {
    let mut bytes = Vec::new();
    loop {
        if let Some((proxied, length)) = parse(&bytes).unwrap() {
            return (Some(proxied), bytes.split_off(length));
        }
        // One byte at a time, lest what is behind it be read as well.
        match stream.read_u8().await {
            Ok(byte) => bytes.push(byte),
            Err(_) => return (None, bytes),
        }
    }
}

/// A server that tells of the header of each connection, and answers behind it.
async fn serve_proxied() -> (SocketAddr, tokio::sync::mpsc::UnboundedReceiver<Option<Proxied>>) {
    let (told, seen) = unbounded_channel();
    let address = serve(move |mut stream| {
        let told = told.clone();
        async move {
            let (proxied, _) = read_header(&mut stream).await;
            let _ = told.send(proxied);
            answer(stream).await;
        }
    })
    .await;
    (address, seen)
}

async fn each_proxy_header_tells_of_nobody(transport: Transport) {
    let (target, mut seen) = serve_proxied().await;
    for version in [ProxyHeader::V1, ProxyHeader::V2] {
        let layers = Layers { proxy_protocol: Some(version), ..Layers::default() };
        probe(target, page(), layers, transport).await.unwrap();
        assert_eq!(seen.recv().await.unwrap(), Some(Proxied::Nobody), "{version}");
    }
}

async fn a_connection_with_a_proxy_header_sends_it(transport: Transport) {
    let (target, mut seen) = serve_proxied().await;
    let layers = Layers { proxy_protocol: Some(ProxyHeader::V2), ..Layers::default() };
    probe(target, Kind::Tcp, layers, transport).await.unwrap();
    assert_eq!(seen.recv().await.unwrap(), Some(Proxied::Nobody));
}

async fn the_proxy_header_comes_before_tls(transport: Transport) {
    let acceptor = acceptor(false, b"http/1.1");
    let target = serve(move |mut stream| {
        let acceptor = acceptor.clone();
        async move {
            assert_eq!(read_header(&mut stream).await.0, Some(Proxied::Nobody));
            answer(acceptor.accept(stream).await.unwrap()).await;
        }
    })
    .await;
    let layers = Layers { proxy_protocol: Some(ProxyHeader::V2), ..by_tls() };
    probe(target, page(), layers, transport).await.unwrap();
}

async fn a_page_by_http2_passes(transport: Transport) {
    let target = serve_http2(200).await;
    assert!(probe(target, page(), by_http2(), transport).await.unwrap() < TIMEOUT);
}

async fn a_page_by_http2_and_tls_passes(transport: Transport) {
    let acceptor = acceptor(false, b"h2");
    let target = serve(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let stream = acceptor.accept(stream).await.unwrap();
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            answer_http2(stream, 204, "https://backend.test/healthz").await;
        }
    })
    .await;
    let tls = Some(upstream(&OURS, Some("backend.test"), false, true));
    let status = StatusRange { first: 200, last: 299 };
    let kind = Kind::Http { path: "/healthz".into(), status, host: Some("backend.test".into()) };
    probe(target, kind, Layers { tls, ..by_http2() }, transport).await.unwrap();
}

async fn a_wrong_status_by_http2_is_told(transport: Transport) {
    let target = serve_http2(503).await;
    let outcome = probe(target, page(), by_http2(), transport).await;
    assert_eq!(outcome, Err(ProbeError::Status { got: 503, want: StatusRange::default() }));
}

async fn a_backend_without_http2_is_told(transport: Transport) {
    let target = serve(answer).await;
    let said = probe(target, page(), by_http2(), transport).await.unwrap_err().to_string();
    assert!(said.starts_with("HTTP/2: not spoken by the backend"), "{said}");
}

async fn a_refused_stream_is_told(transport: Transport) {
    let target = serve(|stream| async move {
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            respond.send_reset(h2::Reason::REFUSED_STREAM);
        }
    })
    .await;
    let said = probe(target, page(), by_http2(), transport).await.unwrap_err().to_string();
    assert!(said.starts_with("HTTP/2: refused by the backend: "), "{said}");
}

async fn a_silent_http2_backend_times_out(transport: Transport) {
    assert_times_out(serve_silence().await, by_http2(), Stage::Answering, transport).await;
}

async fn probes_by_tls_leave_no_sockets_behind(transport: Transport) {
    let target = serve_tls(false).await;
    let silent = serve_silence().await;
    for _ in 0..4 {
        probe(target, page(), by_tls(), transport).await.unwrap();
        probe(silent, page(), by_tls(), transport).await.unwrap_err();
    }
    sleep(TIMEOUT).await;
    for port in [target.port(), silent.port()] {
        assert_eq!(open_sockets_with(port), 1, "more than the listener is left");
    }
}

/// How many TCP sockets have this port on either end and are not over. A silent backend may close when a late probe hangs up, and
/// before the probe closes: then an end is left for a minute that nobody holds.
fn open_sockets_with(port: u16) -> usize {
    const OVER: &str = "06";
    let needle = format!(":{port:04X}");
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let fields = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let ours = fields.filter(|fields| fields[1].ends_with(&needle) || fields[2].ends_with(&needle));
    ours.filter(|fields| fields[3] != OVER).count()
}

async fn a_check_by_tls_reports_the_rise(transport: Transport) {
    let target = serve_tls(false).await;
    let (tx, mut reports) = unbounded_channel();
    let check = spawn((), layered(target, page(), by_tls()), 5, transport, tx);
    let first = timeout(TIMEOUT * 2, reports.recv()).await.unwrap().unwrap();
    assert_eq!(first.transition.to, HealthState::Up);
    check.stop().await;
}

async fn a_settled_check_resumes_its_session_until_a_probe_fails(transport: Transport) {
    let (acceptor, (told, mut seen)) = (acceptor(false, b"http/1.1"), unbounded_channel());
    let answers = Rc::new(Cell::new(true));
    let does_answer = Rc::clone(&answers);
    let target = serve(move |stream| {
        let (acceptor, told, does_answer) = (acceptor.clone(), told.clone(), does_answer.get());
        async move {
            let stream = acceptor.accept(stream).await.unwrap();
            let _ = told.send(stream.get_ref().1.handshake_kind().unwrap());
            if does_answer {
                answer(stream).await;
            }
        }
    })
    .await;
    let mut prober = Prober::new(layered(target, page(), by_tls()), transport, 1);
    let mut kinds = Vec::new();
    for passes in [true, true, true, false, true, true] {
        answers.set(passes);
        assert_eq!(prober.probe().await.is_ok(), passes);
        kinds.push(seen.recv().await.unwrap());
    }
    assert_eq!(kinds, [Full, Resumed, Resumed, Resumed, Full, Resumed]);
}

async fn what_other_handshakes_take_is_not_held_against_the_backend(transport: Transport) {
    let target = serve_tls(false).await;
    let others = (0..4).map(|_| {
        spawn_local(async {
            by_turns(async { std::thread::sleep(TIMEOUT / 2) }, &Waited::default()).await;
        })
    });
    let others: Vec<_> = others.collect();
    let begin = Instant::now();
    let latency = probe(target, page(), by_tls(), transport).await.unwrap();
    assert!(begin.elapsed() >= TIMEOUT && latency < TIMEOUT, "{latency:?} of {:?}", begin.elapsed());
    for other in others {
        other.await.unwrap();
    }
}
