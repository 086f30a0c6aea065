//! Probes and checks against real listeners, each scenario under both transports.

use crate::config::StatusRange;
use std::future::Future;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc::unbounded_channel;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{sleep, timeout};

use super::stream::Stream;
use super::{
    HealthState, Kind, Layers, Params, ProbeError, Prober, Stage, Transport, ring_builder, socket, spawn,
};

pub(super) const TIMEOUT: Duration = Duration::from_millis(200);
pub(super) const LOOPBACK: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// Makes of each scenario one test a transport.
macro_rules! on_both_transports {
    ($($scenario:ident)*) => {
        mod on_epoll {
            use crate::health::{Transport, probe_tests::run_on_epoll};
            $(#[test] fn $scenario() { run_on_epoll(super::$scenario(Transport::Epoll)); })*
        }
        mod on_io_uring {
            use crate::health::{Transport, probe_tests::run_on_ring};
            $(#[test] fn $scenario() {
                run_on_ring(stringify!($scenario), || super::$scenario(Transport::Ring));
            })*
        }
    };
}
pub(super) use on_both_transports;

on_both_transports! {
    a_healthy_page_passes
    an_accepted_connection_passes
    a_closed_port_is_refused
    a_silent_server_times_out
    a_slow_drip_times_out
    an_address_that_drops_times_out_while_connecting
    a_shut_down_connect_completes
    a_timed_out_probe_hangs_up
    a_wrong_status_is_told
    garbage_is_not_http
    an_early_close_is_told
    an_endless_head_is_cut_off
    probes_leave_no_sockets_behind
    the_source_port_range_is_kept_to
    a_shortage_of_ports_is_not_held_against_the_backend
    a_check_reports_fall_and_rise
    a_stopped_check_reports_nothing_more
    dropping_a_handle_ends_the_check
}

pub(super) fn run_on_epoll(scenario: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, scenario);
}

pub(super) fn run_on_ring<F: Future<Output = ()>>(name: &str, scenario: impl FnOnce() -> F) {
    match Transport::detect() {
        (Transport::Ring, _) => ring_builder().start(scenario()),
        (Transport::Epoll, why) => println!("SKIP {name}: no io_uring here: {why:?}"),
    }
}

pub(super) fn params(target: SocketAddr, kind: Kind) -> Params {
    let interval = Duration::from_millis(250);
    Params {
        kind,
        target,
        interval,
        timeout: TIMEOUT,
        rise: 2,
        fall: 2,
        jitter_percent: 10,
        source_ports: None,
        layers: Layers::default(),
    }
}

pub(super) fn page() -> Kind {
    Kind::Http { path: "/healthz".into(), status: StatusRange::default(), host: None }
}

async fn probe_once(target: SocketAddr, kind: Kind, transport: Transport) -> Result<Duration, ProbeError> {
    Prober::new(params(target, kind), transport, 1).probe().await
}

/// A server that reads a request, then does what it is told to with each connection.
async fn serve<F: Future<Output = ()> + 'static>(answer: impl Fn(TcpStream) -> F + 'static) -> SocketAddr {
    let listener = TcpListener::bind(LOOPBACK).await.unwrap();
    let address = listener.local_addr().unwrap();
    spawn_local(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 1024]).await;
            spawn_local(answer(stream));
        }
    });
    address
}

async fn serve_bytes(bytes: &'static [u8]) -> SocketAddr {
    serve(move |mut stream| async move {
        let _ = stream.write_all(bytes).await;
    })
    .await
}

async fn a_healthy_page_passes(transport: Transport) {
    let target =
        serve_bytes(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n").await;
    let latency = probe_once(target, page(), transport).await.unwrap();
    assert!(latency < TIMEOUT, "{latency:?}");
}

async fn an_accepted_connection_passes(transport: Transport) {
    let target = serve_bytes(b"").await;
    assert!(probe_once(target, Kind::Tcp, transport).await.is_ok());
}

/// A port on which nobody listens, and nobody else can while the socket lives.
fn reserve_port() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(LOOPBACK).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

async fn a_closed_port_is_refused(transport: Transport) {
    let (_reserved, target) = reserve_port();
    for kind in [Kind::Tcp, page()] {
        assert_eq!(probe_once(target, kind, transport).await, Err(ProbeError::Refused));
    }
}

/// The probe's result, which must be a time-out in this stage, told neither early nor late.
async fn assert_times_out(target: SocketAddr, transport: Transport, kind: Kind, stage: Stage) {
    let start = Instant::now();
    let outcome = probe_once(target, kind, transport).await;
    assert_eq!(outcome, Err(ProbeError::TimedOut { after: TIMEOUT, stage }));
    let took = start.elapsed();
    assert!(took >= TIMEOUT && took < TIMEOUT * 2, "{took:?}");
}

async fn a_silent_server_times_out(transport: Transport) {
    let target = serve(|stream| async move {
        sleep(TIMEOUT * 10).await;
        drop(stream);
    })
    .await;
    assert_times_out(target, transport, page(), Stage::Answering).await;
}

async fn a_slow_drip_times_out(transport: Transport) {
    let target = serve(|mut stream| async move {
        for byte in b"HTTP/1.1 200 OK\r\nX-Patience: wanted\r\n\r\n" {
            sleep(TIMEOUT / 10).await;
            let _ = stream.write_all(&[*byte]).await;
        }
    })
    .await;
    assert_times_out(target, transport, page(), Stage::Answering).await;
}

/// A listener whose backlog is full: loopback then drops further SYNs, as a black hole does. The streams fill it.
async fn black_hole() -> (SocketAddr, TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(LOOPBACK).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut streams = Vec::new();
    while let Ok(Ok(stream)) = timeout(Duration::from_millis(50), TcpStream::connect(address)).await {
        streams.push(stream);
    }
    (address, listener, streams)
}

async fn an_address_that_drops_times_out_while_connecting(transport: Transport) {
    let (target, _listener, _streams) = black_hole().await;
    assert_times_out(target, transport, Kind::Tcp, Stage::Connecting).await;
}

async fn a_shut_down_connect_completes(transport: Transport) {
    let (target, _listener, _streams) = black_hole().await;
    let socket = socket::open(target, transport.wants_nonblocking()).unwrap();
    let alarm = socket.try_clone().unwrap();
    let connect = spawn_local(Stream::connect(transport, socket, target));
    sleep(TIMEOUT / 4).await;
    assert!(!connect.is_finished(), "the black hole answered");
    alarm.shutdown(std::net::Shutdown::Both).unwrap();
    let ended = timeout(TIMEOUT, connect).await.expect("the pending connect never completed").unwrap();
    assert!(ended.is_err());
}

async fn a_timed_out_probe_hangs_up(transport: Transport) {
    let (hung_up, mut seen) = unbounded_channel();
    let target = serve(move |mut stream| {
        let hung_up = hung_up.clone();
        async move {
            let _ = stream.read(&mut [0; 16]).await;
            let _ = hung_up.send(Instant::now());
        }
    })
    .await;
    assert!(probe_once(target, page(), transport).await.is_err());
    let seen = timeout(TIMEOUT, seen.recv()).await;
    assert!(matches!(seen, Ok(Some(_))), "the connection outlived its probe");
}

async fn a_wrong_status_is_told(transport: Transport) {
    let target = serve_bytes(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n").await;
    let outcome = probe_once(target, page(), transport).await;
    assert_eq!(outcome, Err(ProbeError::Status { got: 503, want: StatusRange::default() }));
}

async fn garbage_is_not_http(transport: Transport) {
    let target = serve_bytes(b"SSH-2.0-OpenSSH\r\n").await;
    let outcome = probe_once(target, page(), transport).await;
    assert!(matches!(outcome, Err(ProbeError::NotHttp(_))), "{outcome:?}");
}

async fn an_early_close_is_told(transport: Transport) {
    let target = serve_bytes(b"HTTP/1.1 200 OK\r\n").await;
    assert_eq!(probe_once(target, page(), transport).await, Err(ProbeError::Closed));
}

async fn an_endless_head_is_cut_off(transport: Transport) {
    let target = serve(|mut stream| async move {
        let _ =
            stream.write_all(format!("HTTP/1.1 200 OK\r\nX-More: {}", "a".repeat(10_000)).as_bytes()).await;
        sleep(TIMEOUT * 10).await;
    })
    .await;
    assert_eq!(probe_once(target, page(), transport).await, Err(ProbeError::HeadTooLong { limit: 8192 }));
}

/// How many TCP sockets this host still knows that have `port` on either end, whatever their state.
fn sockets_with_port(port: u16) -> usize {
    let needle = format!(":{port:04X} ");
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    table.lines().filter(|line| line.contains(&needle)).count()
}

async fn probes_leave_no_sockets_behind(transport: Transport) {
    let target = serve(|mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        let _ = stream.read(&mut [0; 1]).await;
    })
    .await;
    for _ in 0..20 {
        probe_once(target, page(), transport).await.unwrap();
    }
    sleep(TIMEOUT).await;
    assert_eq!(sockets_with_port(target.port()), 1, "more than the listener is left");
}

async fn the_source_port_range_is_kept_to(transport: Transport) {
    let listener = TcpListener::bind(LOOPBACK).await.unwrap();
    let target = listener.local_addr().unwrap();
    // Outside the ephemeral range, where no other test's socket lands by chance.
    let ports = 20_000..=20_063;
    let params = Params { source_ports: Some(ports.clone()), ..params(target, Kind::Tcp) };
    let mut prober = Prober::new(params, transport, 3);
    for _ in 0..4 {
        prober.probe().await.unwrap();
        let (_, peer) = listener.accept().await.unwrap();
        assert!(ports.contains(&peer.port()), "{peer}");
    }
}

async fn a_shortage_of_ports_is_not_held_against_the_backend(transport: Transport) {
    let target = serve_bytes(b"").await;
    let taken = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let params = Params { source_ports: Some(port..=port), ..params(target, Kind::Tcp) };
    let outcome = Prober::new(params, transport, 3).probe().await;
    assert!(matches!(&outcome, Err(error) if error.is_ours()), "{outcome:?}");
}

async fn a_check_reports_fall_and_rise(transport: Transport) {
    let (_reserved, target) = reserve_port();
    let listen = || {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(target).unwrap();
        socket.listen(16).unwrap()
    };
    let listener = listen();
    let params = params(target, Kind::Tcp);
    let (tx, mut reports) = unbounded_channel();
    let check = spawn("web1", params.clone(), 5, transport, tx);

    let first = reports.recv().await.unwrap();
    assert_eq!((first.key, first.transition.to), ("web1", HealthState::Up));

    drop(listener);
    let failed = Instant::now();
    assert_eq!(reports.recv().await.unwrap().transition.to, HealthState::Down);
    let bound = params.interval * params.fall + Duration::from_millis(50);
    assert!(failed.elapsed() <= bound, "{:?} > {bound:?}", failed.elapsed());
    assert_eq!(check.evidence().error, Some(ProbeError::Refused));

    let _listener = listen();
    assert_eq!(reports.recv().await.unwrap().transition.to, HealthState::Up);
    let evidence = check.evidence();
    assert_eq!((evidence.state, evidence.transitions, evidence.error), (HealthState::Up, 3, None));
    assert!(evidence.latency.is_some() && evidence.failures >= 2);
    check.stop().await;
}

async fn a_stopped_check_reports_nothing_more(transport: Transport) {
    let target = serve(|stream| async move {
        sleep(TIMEOUT * 10).await;
        drop(stream);
    })
    .await;
    let (tx, mut reports) = unbounded_channel();
    let check = spawn((), params(target, page()), 5, transport, tx);
    sleep(TIMEOUT / 4).await;
    let start = Instant::now();
    check.stop().await;
    assert!(start.elapsed() < TIMEOUT * 2, "the probe under way held it up: {:?}", start.elapsed());
    assert_eq!(reports.recv().await, None);
}

async fn dropping_a_handle_ends_the_check(transport: Transport) {
    let target = serve_bytes(b"").await;
    let (tx, mut reports) = unbounded_channel();
    drop(spawn((), params(target, Kind::Tcp), 5, transport, tx));
    assert_eq!(timeout(TIMEOUT, reports.recv()).await, Ok(None), "the task outlived its handle");
}
