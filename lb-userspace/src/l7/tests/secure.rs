//! What TLS adds on either side: bytes that it has taken and the kernel has not, and ends that are said.

use super::lab::{Lab, backend, over_both, to, to_by_http2};
use super::pace::slow_readers;
use super::speak::{self, pattern, run};
use crate::config::proxy::{CertificateFiles, Proxy, Tls, TlsVersion, UpstreamTls};
use crate::l7::settings::Settings;
use crate::l7::tls::made::OURS;
use crate::l7::tls::{Shared, Store};
use rustls::Connection;
use socket2::{Domain, Socket, Type};
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// What is late after this.
const SOON: Duration = Duration::from_millis(500);
/// By then whatever was late has ended.
const LATE: Duration = Duration::from_secs(15);

/// Answers of so many different lengths.
const LENGTHS: usize = 64;
/// From one length to the next: less than the piece that the proxy reads at a time.
const STEP: usize = 8 << 10;

/// The same for clients that speak TLS.
fn secured(mut proxy: Proxy) -> Proxy {
    let (cert, key) = OURS.clone();
    let certificates = vec![CertificateFiles { cert, key, ocsp: None }];
    let tls = Tls { certificates, min_version: TlsVersion::V12, client: None, tickets: false };
    proxy.listeners[0].tls = Some(tls);
    proxy
}

/// Takes any certificate.
const UNVERIFIED: UpstreamTls = UpstreamTls { ca: None, sni: None, certificate: None, verify: false };

/// One end of a connection by TLS.
struct Secure {
    tls: Connection,
    stream: TcpStream,
}

impl Secure {
    /// A client that says it can take little, so that the kernel keeps little for it.
    fn connect(lab: &Lab) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(16 << 10).unwrap();
        socket.set_tcp_mss(1000).unwrap();
        socket.connect(&lab.address.into()).unwrap();
        let tls = Shared::new().unwrap().client(&UNVERIFIED, false).unwrap();
        Self { tls: tls.connect(lab.address.ip()).unwrap(), stream: socket.into() }.shaken()
    }

    fn shaken(mut self) -> Self {
        self.stream.set_read_timeout(Some(LATE)).unwrap();
        while self.tls.is_handshaking() {
            self.tls.complete_io(&mut self.stream).unwrap();
        }
        self
    }

    fn send(&mut self, text: &str) {
        self.tls.writer().write_all(text.as_bytes()).unwrap();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.stream).unwrap();
        }
    }

    /// What has come by the end of a head.
    fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            self.tls.complete_io(&mut self.stream).unwrap();
            let _ = self.tls.reader().read_to_end(&mut head);
        }
        String::from_utf8(head).unwrap()
    }
}

#[test]
fn a_client_that_does_not_take_the_last_piece_is_not_waited_for() {
    let sized = backend(|mut client| {
        let head = client.head().unwrap();
        let length: usize = head.split([' ', '/']).nth(2).unwrap().parse().unwrap();
        client.send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"));
        client.send_bytes(&pattern(length));
    });
    over_both(|start| {
        let mut proxy = secured(to(sized));
        proxy.listeners[0].deadlines.send = SOON;
        let lab = start(proxy);
        // Of one of these lengths at least, all but a part of the last piece is with the kernel.
        let clients: Vec<Secure> = (1..=LENGTHS)
            .map(|number| {
                let mut client = Secure::connect(&lab);
                client.send(&format!(
                    "GET /{} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
                    number * STEP
                ));
                client
            })
            .collect();
        let begin = Instant::now();
        while lab.counters.open.load(Ordering::Relaxed) > 0 {
            assert!(begin.elapsed() < LATE, "{:?} are still waited for", lab.counters.open);
            std::thread::sleep(SOON / 10);
        }
        let slow = slow_readers(&lab);
        assert!((1..LENGTHS as u64).contains(&slow), "{slow} of {LENGTHS}: none was about to end");
        drop(clients);
    });
}

/// A backend by TLS whose answers end with its connection, and that says so or does not.
fn ending(says_so: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let settings = Settings::build(&secured(to(address)), None).unwrap();
    let store = Arc::new(Store::read(&Shared::new().unwrap(), &settings).unwrap());
    let (id, _) = settings.listeners.iter().next().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let tls = store.accept(id).unwrap().unwrap();
            let mut end = Secure { tls, stream: stream.unwrap() }.shaken();
            end.head();
            if says_so {
                end.tls.writer().write_all(b"HTTP/1.1 200 OK\r\n\r\nhalf").unwrap();
                end.tls.send_close_notify();
            }
            end.send(if says_so { "" } else { "HTTP/1.1 200 OK\r\n\r\nhalf" });
            end.stream.shutdown(Shutdown::Write).unwrap();
            let _ = end.stream.read_to_end(&mut Vec::new());
        }
    });
    address
}

#[test]
fn an_answer_that_ends_with_its_connection_is_whole_only_if_tls_says_so() {
    for says_so in [true, false] {
        let address = ending(says_so);
        over_both(|start| {
            let mut proxy = to_by_http2(address);
            proxy.services[0].tls = Some(UNVERIFIED);
            let lab = start(proxy);
            let mut client = lab.connect();
            client.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
            let told = client.rest();
            assert!(told.contains("\r\n4\r\nhalf\r\n"), "{told:?}");
            assert_eq!(told.ends_with("\r\n0\r\n\r\n"), says_so, "{told:?}");
            let answer = run(async {
                let (answer, _) = speak::Client::connect(&lab).await.begin(speak::get("/"), true).await;
                speak::receive(answer).await
            });
            assert_eq!(answer.map(|answer| answer.body == b"half").ok(), says_so.then_some(true));
        });
    }
}

#[test]
fn to_a_client_by_tls_a_cut_off_answer_has_no_end_either() {
    for says_so in [true, false] {
        let address = ending(says_so);
        over_both(|start| {
            let mut proxy = secured(to(address));
            proxy.services[0].tls = Some(UNVERIFIED);
            let lab = start(proxy);
            let mut client = Secure::connect(&lab);
            // To whom only the end of the connection can tell.
            client.send("GET / HTTP/1.0\r\nHost: h\r\n\r\n");
            let mut told = Vec::new();
            while let Ok((1.., _) | (_, 1..)) = client.tls.complete_io(&mut client.stream) {
                let _ = client.tls.reader().read_to_end(&mut told);
            }
            assert!(told.ends_with(b"\r\n\r\nhalf"), "{}", told.escape_ascii());
            assert_eq!(client.tls.reader().read(&mut [0]).is_ok(), says_so);
        });
    }
}
