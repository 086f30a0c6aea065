//! HTTP/2: whatever frames a client sends, each of its streams is at most one request to a backend that speaks HTTP/1.1.

use crate::oracle;
use bytes::Bytes;
use h2::ext::Protocol;
use h2::server::{Builder, Connection, SendResponse};
use lb_tests::smuggling::understand;
use lb_userspace::l7::http2::Downgrade;
use lb_userspace::l7::settings::Settings;
use std::future::Future as _;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::runtime::{Builder as RuntimeBuilder, Runtime};

/// What a client begins with: the preface, and settings of nothing.
const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// A head of more than this has lines that a reader of HTTP/1.1 may find too long.
const LONGEST: u32 = 4096;
const CLIENT: SocketAddr = SocketAddr::V4(std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 7));
/// Fields that a request may have. What is written of it has some more, and a reader of HTTP/1.1 takes a hundred.
const CONFIG: &str = "[[listener]]\nname = \"a\"\naddresses = [\"127.0.0.1:80\"]\nservice = \"b\"\nhttp2 = true\n\
     limits = { fields = 50 }\n[[service]]\nname = \"b\"\nkind = \"http\"\n\
     [[service.backend]]\nname = \"c\"\naddr = \"127.0.0.1:81\"\n";

/// Where requests go.
static SETTINGS: LazyLock<Settings> = LazyLock::new(|| {
    let config = lb_userspace::config::parse("fuzzed.toml", CONFIG).expect("a configuration").config;
    Settings::build(&config.proxy, None).expect("one that compiles")
});

/// Waits of bodies are timed, though nothing here takes any time.
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| RuntimeBuilder::new_current_thread().enable_time().build().expect("a runtime"));

/// A stream that was accepted.
struct Stream {
    method: String,
    downgrade: Downgrade,
    is_over: bool,
    /// How the body ended, if it has.
    is_whole: bool,
    _respond: SendResponse<Bytes>,
}

/// The frames of a client, behind its preface.
pub fn http2_session(bytes: &[u8]) {
    let _entered = RUNTIME.enter();
    let mut cx = Context::from_waker(Waker::noop());
    // It takes whatever is written.
    let io = tokio::io::join(HELLO.chain(bytes).chain(Silence), tokio::io::sink());
    let mut builder = Builder::new();
    builder.max_header_list_size(LONGEST).enable_connect_protocol();
    let mut handshake = pin!(builder.handshake(io));
    let Poll::Ready(Ok(mut connection)) = handshake.as_mut().poll(&mut cx) else { return };
    let mut streams = Vec::new();
    // All bytes are there, so each poll gets further; one that does not ends it.
    for _ in 0..=bytes.len() {
        let accepted = accept(&mut connection, &mut cx, &mut streams);
        streams.iter_mut().for_each(|stream| stream.poll(&mut cx));
        if !accepted {
            break;
        }
    }
    streams.iter().for_each(Stream::check);
}

/// Whether there was a stream to accept.
fn accept(
    connection: &mut Connection<impl AsyncRead + AsyncWrite + Unpin, Bytes>,
    cx: &mut Context<'_>,
    streams: &mut Vec<Stream>,
) -> bool {
    let Poll::Ready(Some(Ok((request, respond)))) = connection.poll_accept(cx) else { return false };
    let (_, listener) = SETTINGS.listeners.iter().next().expect("the listener");
    let (method, is_tunnel) =
        (request.method().to_string(), request.extensions().get::<Protocol>().is_some());
    if let Ok(downgrade) = Downgrade::new((&SETTINGS, listener), CLIENT, request, 7)
        && !is_tunnel
    {
        streams.push(Stream { method, downgrade, is_over: false, is_whole: false, _respond: respond });
    }
    true
}

impl Stream {
    fn poll(&mut self, cx: &mut Context<'_>) {
        if !self.is_over
            && let Poll::Ready(ended) = self.downgrade.poll(cx)
        {
            (self.is_over, self.is_whole) = (true, ended.is_ok());
        }
    }

    /// A stream that came to its end is one request to whoever reads it; any other is one at most.
    fn check(&self) {
        let text = self.downgrade.text();
        let (ours, theirs) = (understand(text), oracle::understand(text));
        let shown = || String::from_utf8_lossy(text);
        assert!(ours.requests.len() <= 1 && theirs.len() <= 1, "more than one request in {:?}", shown());
        if self.is_whole {
            assert_eq!((ours.requests.len(), ours.refusal), (1, None), "no request: {:?}", shown());
        }
        for (ours, theirs) in ours.requests.iter().zip(&theirs) {
            assert!(ours.starts_with(&format!("{} ", self.method)) && theirs.method == self.method, "{ours}");
            assert!(ours.ends_with(&format!(" {:?}", theirs.body)), "{ours} is not {theirs:?}");
        }
    }
}

/// A client that has said all it has to say, and waits.
struct Silence;

impl AsyncRead for Silence {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Poll::Pending
    }
}
