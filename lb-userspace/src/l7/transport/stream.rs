//! A connection: bytes in, bytes out, no buffer of its own.

use super::{Moved, Watch};
use crate::l7::buffer::Buffer;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, send, sendmsg};
use socket2::{Domain, Protocol, Socket, Type};
use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;
use std::task::{Context, Poll};

/// A TCP connection, to a client or to a backend. Its drop closes it.
#[derive(Debug)]
pub struct Stream<W> {
    watch: W,
}

impl<W: Watch> Stream<W> {
    /// Takes over an accepted socket.
    pub fn accepted(socket: Rc<Socket>) -> io::Result<Self> {
        Ok(Self { watch: W::new(socket)? })
    }

    /// A socket for a connection to `target`, and where that can be shut down while [`connect`](Self::connect) waits.
    pub fn open(target: SocketAddr) -> io::Result<Self> {
        let kind = Type::STREAM.nonblocking();
        let socket = Socket::new(Domain::for_address(target), kind, Some(Protocol::TCP))?;
        socket.set_tcp_nodelay(true)?;
        begin(&socket, target)?;
        Self::accepted(Rc::new(socket))
    }

    /// Waits until the connection stands.
    pub async fn connect(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.watch.poll_write(cx, is_connected)).await.map(|_| ())
    }

    /// The socket, to shut it down from elsewhere and to ask it for its addresses.
    pub fn socket(&self) -> &Rc<Socket> {
        self.watch.socket()
    }

    /// Waits until there is something to read, and only then has the buffer take room for it. 0 is the end.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>, buffer: &mut Buffer) -> Poll<io::Result<usize>> {
        self.watch.poll_read(cx, |socket| {
            let moved = receive(socket, buffer.room());
            buffer.commit(moved.as_ref().map_or(0, |moved| moved.count));
            buffer.release();
            moved
        })
    }

    /// Waits until there is something to read, and reads it. 0 is the end.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        self.watch.poll_read(cx, |socket| receive(socket, room))
    }

    /// Writes what the socket has room for, at once if it has.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.watch.poll_write(cx, |socket| Ok(Moved { count: transmit(socket, parts)?, is_last: false }))
    }

    /// Whether the peer has said nothing, not even that it ends: what a kept connection must be to be used again. `surely`: the
    /// system is asked, whatever is known.
    pub fn is_quiet(&self, surely: bool) -> bool {
        if surely { super::is_blocked(&peek(self.socket())) } else { self.watch.would_block(peek) }
    }

    /// Tells the peer that nothing more follows; it may still send.
    pub fn finish(&self) {
        // It fails where the connection has ended already.
        let _ = self.socket().shutdown(Shutdown::Write);
    }
}

// These four calls are what a request costs. `rustix` makes them without libc's provisions for the cancellation of threads.

/// A read that leaves room free has taken all there was. At the end, too, another call is of no use but does not block.
fn receive(socket: &Socket, room: &mut [u8]) -> io::Result<Moved> {
    let (count, _) = recv(socket, &mut *room, RecvFlags::DONTWAIT)?;
    Ok(Moved { count, is_last: 0 < count && count < room.len() })
}

fn peek(socket: &Socket) -> io::Result<usize> {
    let (count, _) = recv(socket, &mut [0], RecvFlags::PEEK | RecvFlags::DONTWAIT)?;
    Ok(count)
}

fn transmit(socket: &Socket, parts: &[IoSlice<'_>]) -> io::Result<usize> {
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    Ok(match parts {
        [one] => send(socket, one, flags)?,
        several if several.iter().map(|part| part.len()).sum::<usize>() <= JOINED => {
            JOINT.with_borrow_mut(|joint| {
                joint.clear();
                for part in several {
                    joint.extend_from_slice(part);
                }
                send(socket, joint, flags)
            })?
        }
        several => sendmsg(socket, several, &mut SendAncillaryBuffer::default(), flags)?,
    })
}

/// Bytes up to which several parts are copied together: the kernel takes 0.15 µs less for one part than for two, and 4 KiB are copied in
/// less than half of that.
const JOINED: usize = 4 << 10;

thread_local! {
    /// Where they are. A worker has one.
    static JOINT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Begins to connect, and does not wait.
fn begin(socket: &Socket, target: SocketAddr) -> io::Result<()> {
    match socket.connect(&target.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
        _ => Ok(()),
    }
}

/// Asks how a connect stands, in the way of a call that would block while it is under way.
fn is_connected(socket: &Socket) -> io::Result<Moved> {
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    match socket.peer_addr() {
        Ok(_) => Ok(Moved { count: 0, is_last: false }),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Err(io::ErrorKind::WouldBlock.into()),
        Err(error) => Err(error),
    }
}
