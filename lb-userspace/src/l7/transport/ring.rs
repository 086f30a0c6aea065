//! Readiness by `io_uring`: one poll operation a wait, submitted with all others when the worker has nothing else to do.

use super::{Moved, Watch};
use crate::health::ring_builder;
use io_uring::{cqueue, opcode, types};
use socket2::Socket;
use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::AsRawFd as _;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio_uring::{InFlightOneshot, OneshotOutputTransform, UnsubmittedOneshot};

/// A socket watched through the worker's ring.
#[derive(Debug)]
pub struct Ring {
    socket: Rc<Socket>,
    read: Side,
    write: Side,
}

/// One direction of a socket.
enum Side {
    /// Ready, as far as we know.
    Hot,
    /// The last call showed that the next would block.
    Cold,
    /// Waited for.
    Armed(Wait),
}

/// A poll under way. It holds the socket until it completes, even if nobody waits for it any more.
type Wait = InFlightOneshot<Rc<Socket>, Polled>;

/// Turns the completion of a poll into its meaning.
struct Polled;

impl OneshotOutputTransform for Polled {
    type Output = io::Result<()>;
    type StoredData = Rc<Socket>;

    fn transform_oneshot_output(self, _socket: Rc<Socket>, entry: cqueue::Entry) -> io::Result<()> {
        if entry.result() < 0 { Err(io::Error::from_raw_os_error(-entry.result())) } else { Ok(()) }
    }
}

impl Watch for Ring {
    fn run<T>(future: impl Future<Output = T>) -> io::Result<T> {
        Ok(tokio_uring::Runtime::new(&ring_builder())?.block_on(future))
    }

    fn new(socket: Rc<Socket>) -> io::Result<Self> {
        Ok(Self { socket, read: Side::Cold, write: Side::Hot })
    }

    fn socket(&self) -> &Rc<Socket> {
        &self.socket
    }

    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        call: impl FnMut(&Socket) -> io::Result<Moved>,
    ) -> Poll<io::Result<usize>> {
        self.read.poll(cx, &self.socket, libc::POLLIN | libc::POLLRDHUP, call)
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        call: impl FnMut(&Socket) -> io::Result<Moved>,
    ) -> Poll<io::Result<usize>> {
        self.write.poll(cx, &self.socket, libc::POLLOUT, call)
    }
}

impl Side {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        socket: &Rc<Socket>,
        events: libc::c_short,
        mut call: impl FnMut(&Socket) -> io::Result<Moved>,
    ) -> Poll<io::Result<usize>> {
        loop {
            match self {
                Self::Hot => match call(socket) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => *self = Self::Cold,
                    Ok(moved) => {
                        if moved.is_last {
                            *self = Self::Cold;
                        }
                        return Poll::Ready(Ok(moved.count));
                    }
                    Err(error) => return Poll::Ready(Err(error)),
                },
                Self::Cold => *self = Self::Armed(arm(socket, events)),
                Self::Armed(wait) => {
                    let told = ready!(Pin::new(wait).poll(cx));
                    *self = Self::Hot;
                    told?;
                }
            }
        }
    }
}

/// A poll tells once, of readiness that is there already too, so that nothing is missed between a call and the next wait.
fn arm(socket: &Rc<Socket>, events: libc::c_short) -> Wait {
    let events = u32::from(events.unsigned_abs());
    let entry = opcode::PollAdd::new(types::Fd(socket.as_raw_fd()), events).build();
    UnsubmittedOneshot::new(Rc::clone(socket), Polled, entry).submit()
}

/// A poll that nobody waits for any more keeps its socket open until it completes: a socket shut down completes it at
/// once, and the peer learns of the end.
impl Drop for Ring {
    fn drop(&mut self) {
        if matches!(self.read, Side::Armed(_)) || matches!(self.write, Side::Armed(_)) {
            // It fails where the connection has ended already, and then the poll has completed.
            let _ = self.socket.shutdown(std::net::Shutdown::Both);
        }
    }
}

impl fmt::Debug for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hot => "Hot",
            Self::Cold => "Cold",
            Self::Armed(_) => "Armed",
        })
    }
}
