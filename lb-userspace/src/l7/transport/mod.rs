//! How bytes move: sockets that are read and written without blocking, and two ways to learn when that is worth a try.
//!
//! [`Watch`] is the seam. [`Ring`] has `io_uring` tell when a socket is ready, [`Epoll`] asks tokio's reactor; all
//! the rest, from accepting to TLS, is the same code for both, and so are its tests.
//!
//! Both only *wait* through the kernel's queue and then move the bytes by a non-blocking call. That is what makes the
//! ring safe to use from ordinary futures: a pending operation owns no buffer, so that dropping the future that waits
//! loses no bytes, an idle connection holds no memory for a read that may never come, and a send that the socket has
//! room for (nearly all) never travels through the ring. **Invariant**: no ring operation here carries a buffer.

mod epoll;
mod listener;
mod ring;
mod stream;
#[cfg(test)]
mod tests;

use socket2::Socket;
use std::future::Future;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};

pub use epoll::Epoll;
pub use listener::{Acceptor, bind, check_free};
pub use ring::Ring;
pub use stream::Stream;

/// What a non-blocking call has moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Bytes, or connections.
    pub count: usize,
    /// Whether the call showed that another would block.
    pub is_last: bool,
}

/// Tells when a socket is worth a try. It must live on one thread, inside its own [`run`](Self::run).
pub trait Watch: Sized + 'static {
    /// Runs a worker's future, and the tasks it spawns, on this thread.
    fn run<T>(future: impl Future<Output = T>) -> io::Result<T>;

    /// Watches a socket.
    fn new(socket: Rc<Socket>) -> io::Result<Self>;

    /// The socket.
    fn socket(&self) -> &Rc<Socket>;

    /// Whether the call would block, without making it where that is known. What has come in this very moment may be missed.
    fn would_block(&self, call: impl FnOnce(&Socket) -> io::Result<usize>) -> bool {
        is_blocked(&call(self.socket()))
    }

    /// Waits until the socket is ready to be read, and calls; again, if the call would block after all.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        call: impl FnMut(&Socket) -> io::Result<Moved>,
    ) -> Poll<io::Result<usize>>;

    /// Calls at once, for a socket usually has room; waits until it is ready to be written where the call would block.
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        call: impl FnMut(&Socket) -> io::Result<Moved>,
    ) -> Poll<io::Result<usize>>;
}

fn is_blocked<T>(outcome: &io::Result<T>) -> bool {
    outcome.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

/// Which of the two a worker uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `io_uring`.
    Ring,
    /// epoll.
    Epoll,
}

impl Kind {
    /// The ring where the kernel lets us have one, else epoll and the kernel's reason. To be called outside any runtime.
    #[must_use]
    pub fn detect() -> (Self, Option<io::Error>) {
        match Ring::check() {
            Ok(()) => (Self::Ring, None),
            Err(error) => (Self::Epoll, Some(error)),
        }
    }

    /// The word for logs and configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ring => "io_uring",
            Self::Epoll => "epoll",
        }
    }
}
