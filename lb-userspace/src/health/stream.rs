//! The two ways a probe's bytes can travel: over `io_uring`, or over epoll where a container runtime forbids rings, and for
//! probes with [layers](super::Layers).
//!
//! The rule that shapes everything here: a pending ring operation must not be dropped (it would keep its descriptor
//! and go on in the dark). So nothing is raced or cancelled; whoever wants an operation to end shuts the socket down
//! through another handle to it, and the operation completes.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use socket2::Socket;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// How probes do their input and output. Chosen once at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// `io_uring`. Its probes must run inside `tokio_uring`'s runtime.
    Ring,
    /// Non-blocking sockets and epoll. Its probes must run inside a tokio runtime, on a `LocalSet`.
    Epoll,
}

impl Transport {
    /// Tries a ring and gives [`Transport::Ring`] if it works, else epoll and the kernel's reason. To be called
    /// outside any runtime.
    #[must_use]
    pub fn detect() -> (Self, Option<io::Error>) {
        match try_ring() {
            Ok(()) => (Self::Ring, None),
            Err(error) => (Self::Epoll, Some(error)),
        }
    }

    /// The word for logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ring => "io_uring",
            Self::Epoll => "epoll",
        }
    }

    /// Whether this transport wants its sockets non-blocking. A ring waits by itself, and takes a non-blocking socket
    /// as the wish not to.
    pub(super) fn wants_nonblocking(self) -> bool {
        self == Self::Epoll
    }
}

/// The ring that [`Transport::Ring`] is meant for, and that [`Transport::detect`] tries: completions are handled when
/// the thread enters the kernel anyway, not by interrupting it, which halves the CPU time. Linux 5.19 and later.
#[must_use]
pub fn ring_builder() -> tokio_uring::Builder {
    let mut builder = tokio_uring::builder();
    builder.uring_builder(tokio_uring::uring_builder().setup_coop_taskrun());
    builder
}

/// Making a ring may be allowed and using it not, so one operation goes through it.
fn try_ring() -> io::Result<()> {
    tokio_uring::Runtime::new(&ring_builder())?.block_on(tokio_uring::no_op())
}

/// What bytes can be polled from and to.
pub(super) trait Polled: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Polled for T {}

/// A connected probe.
pub(super) enum Stream {
    Ring(tokio_uring::net::TcpStream),
    Polled(Box<dyn Polled>),
}

impl Stream {
    pub(super) async fn connect(
        transport: Transport,
        socket: Socket,
        target: SocketAddr,
    ) -> io::Result<Self> {
        match transport {
            Transport::Ring => connect_ring(socket, target).await.map(Self::Ring),
            Transport::Epoll => Ok(Self::Polled(Box::new(connect_epoll(socket, target).await?))),
        }
    }

    pub(super) async fn write_all(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        match self {
            Self::Ring(stream) => stream.write_all(bytes).await.0,
            Self::Polled(stream) => {
                stream.write_all(&bytes).await?;
                // TLS may hold some of it.
                stream.flush().await
            }
        }
    }

    /// Reads into the buffer from its start, up to its length, and gives it back with the number of bytes read.
    pub(super) async fn read(&mut self, mut buffer: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        match self {
            Self::Ring(stream) => stream.read(buffer).await,
            Self::Polled(stream) => (stream.read(&mut buffer).await, buffer),
        }
    }
}

/// Connects over the ring a socket that is set up and bound already.
///
/// `tokio_uring`'s `TcpStream` only connects sockets it made itself; its `UdpSocket` connects any descriptor it is
/// handed, by the same operation. So the connect goes through that door, on a second handle to the TCP socket.
async fn connect_ring(socket: Socket, target: SocketAddr) -> io::Result<tokio_uring::net::TcpStream> {
    let door = std::net::UdpSocket::from(OwnedFd::from(socket.try_clone()?));
    tokio_uring::net::UdpSocket::from_std(door).connect(target).await?;
    Ok(tokio_uring::net::TcpStream::from_std(socket.into()))
}

pub(super) async fn connect_epoll(socket: Socket, target: SocketAddr) -> io::Result<tokio::net::TcpStream> {
    tokio::net::TcpSocket::from_std_stream(socket.into()).connect(target).await
}
