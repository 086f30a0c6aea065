//! Clients of our own, for what wrk and h2load do not do: handshakes that resume nothing, requests at a fixed rate, connections that
//! idle. All speak TLS 1.3 with AES-128-GCM and X25519, as those are told to.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned};

use crate::proxies::{HTTP, HTTPS};

const REQUEST: &[u8] = b"GET /1k HTTP/1.1\r\nHost: localhost\r\n\r\n";
const BODY: usize = 1024;
const PATIENCE: Duration = Duration::from_secs(10);

/// A client's connection.
pub(crate) enum Client {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Client {
    fn plain() -> Result<Self> {
        Ok(Self::Plain(connect(HTTP)?))
    }

    fn tls(config: &Arc<ClientConfig>) -> Result<Self> {
        let name = ServerName::try_from("localhost")?;
        let connection = ClientConnection::new(Arc::clone(config), name)?;
        Ok(Self::Tls(Box::new(StreamOwned::new(connection, connect(HTTPS)?))))
    }

    /// Asks once and reads the answer to its end.
    fn ask(&mut self) -> Result<()> {
        self.write_all(REQUEST)?;
        let (mut read, mut room) = (Vec::with_capacity(2048), [0; 4096]);
        loop {
            let more = self.read(&mut room)?;
            read.extend_from_slice(room.get(..more).unwrap_or_default());
            if more == 0 {
                bail!("the connection ended in an answer");
            }
            if let Some(head) = read.windows(4).position(|window| window == b"\r\n\r\n") {
                if !read.starts_with(b"HTTP/1.1 200") {
                    bail!("the answer is not 200");
                }
                if read.len() >= head + 4 + BODY {
                    return Ok(());
                }
            }
        }
    }
}

impl Read for Client {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(room),
            Self::Tls(stream) => stream.read(room),
        }
    }
}

impl Write for Client {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

fn connect(port: u16) -> Result<TcpStream> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Handshakes and requests, each on a connection of its own, by 32 threads for so long; their number.
pub(crate) fn handshakes(lasting: Duration) -> Result<u64> {
    let (config, done, end) = (client_config()?, AtomicU64::new(0), Instant::now() + lasting);
    let shake = || -> Result<()> {
        while Instant::now() < end {
            Client::tls(&config)?.ask()?;
            done.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    };
    all(32, &|_| shake())?;
    Ok(done.load(Ordering::Relaxed))
}

/// Runs the work on so many threads; the first failure.
fn all(threads: u32, work: &(impl Fn(u32) -> Result<()> + Sync)) -> Result<()> {
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|number| scope.spawn(move || work(number))).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap_or_else(|_| bail!("a client panicked")))
    })
}

/// Latencies of requests that are due at random times, so many a second in all over 64 connections.
pub(crate) fn at_rate(rate: u32, lasting: Duration) -> Result<Vec<Duration>> {
    const CONNECTIONS: u32 = 64;
    let config = client_config()?;
    let (begin, all_latencies) =
        (Instant::now() + Duration::from_millis(200), std::sync::Mutex::new(Vec::new()));
    let mean = f64::from(CONNECTIONS) / f64::from(rate);
    all(CONNECTIONS, &|number| {
        let mut client = Client::tls(&config)?;
        client.ask()?;
        let (mut due, mut random, mut latencies) = (begin, u64::from(number) * 2 + 1, Vec::new());
        loop {
            due += Duration::from_secs_f64(exponential(&mut random) * mean);
            if due >= begin + lasting {
                break;
            }
            thread::sleep(due.saturating_duration_since(Instant::now()));
            client.ask()?;
            latencies.push(due.elapsed());
        }
        all_latencies.lock().map_err(|_| anyhow::anyhow!("a client panicked"))?.extend(latencies);
        Ok(())
    })?;
    all_latencies.into_inner().map_err(|_| anyhow::anyhow!("a client panicked"))
}

/// The time to the next of events that come at random, one a unit on average.
fn exponential(random: &mut u64) -> f64 {
    // Source: Sebastiano Vigna's SplitMix64.
    *random = random.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut bits = *random;
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    #[allow(clippy::cast_precision_loss, reason = "53 bits of a random number")]
    let fraction = ((bits ^ bits >> 31) >> 11) as f64 / (1_u64 << 53) as f64;
    -(1.0 - fraction).ln()
}

/// So many connections that have been answered once and now idle.
pub(crate) fn idle(count: usize, tls: bool) -> Result<Vec<Client>> {
    let config = client_config()?;
    let open = |number| -> Result<Client> {
        let mut client = if tls { Client::tls(&config)? } else { Client::plain()? };
        client.ask().with_context(|| format!("connection {number}"))?;
        Ok(client)
    };
    (0..count).map(open).collect()
}

/// Trusts everybody, offers one suite and one group, and resumes nothing.
fn client_config() -> Result<Arc<ClientConfig>> {
    let provider = CryptoProvider {
        cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256],
        kx_groups: vec![aws_lc_rs::kx_group::X25519],
        ..aws_lc_rs::default_provider()
    };
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// The certificate is of no interest here.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
