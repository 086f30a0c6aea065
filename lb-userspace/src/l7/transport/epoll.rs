//! Readiness by tokio's reactor, for hosts and containers where rings are forbidden.

use super::{Moved, Watch, is_blocked};
use socket2::Socket;
use std::future::Future;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::Interest;
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};
use tokio::task::LocalSet;

/// A socket registered with epoll, edge-triggered: what is not known to be ready has to be waited for.
#[derive(Debug)]
pub struct Epoll {
    socket: AsyncFd<Rc<Socket>>,
}

impl Watch for Epoll {
    fn run<T>(future: impl Future<Output = T>) -> io::Result<T> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(LocalSet::new().block_on(&runtime, future))
    }

    fn new(socket: Rc<Socket>) -> io::Result<Self> {
        // SAFETY: the registration holds the socket, and nobody takes the descriptor out of a shared socket, so it is open
        // and the same for as long as it is registered.
        #[allow(unsafe_code, reason = "tokio has no other way to wait for a socket that is shared")]
        let registered = unsafe { AsyncFd::register(socket) };
        Ok(Self { socket: registered? })
    }

    fn socket(&self) -> &Rc<Socket> {
        self.socket.get_ref()
    }

    /// The reactor tells of what comes, so that mostly there is nothing to call for.
    fn would_block(&self, call: impl FnOnce(&Socket) -> io::Result<usize>) -> bool {
        is_blocked(&self.socket.try_io(Interest::READABLE, |socket| call(socket)))
    }

    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        mut call: impl FnMut(&Socket) -> io::Result<Moved>,
    ) -> Poll<io::Result<usize>> {
        loop {
            let guard = ready!(self.socket.poll_read_ready(cx))?;
            if let Some(outcome) = settle(call(self.socket.get_ref()), guard) {
                return Poll::Ready(outcome);
            }
        }
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        mut call: impl FnMut(&Socket) -> io::Result<Moved>,
    ) -> Poll<io::Result<usize>> {
        loop {
            match call(self.socket.get_ref()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return Poll::Ready(outcome.map(|moved| moved.count)),
            }
            // What was known of the socket is from before that call.
            ready!(self.socket.poll_write_ready(cx))?.clear_ready();
        }
    }
}

/// The call's outcome, `None` to wait again. Edges come once: readiness is forgotten as soon as it is used up, and not
/// later, lest a new edge be forgotten with it.
fn settle(
    outcome: io::Result<Moved>,
    mut guard: AsyncFdReadyGuard<'_, Rc<Socket>>,
) -> Option<io::Result<usize>> {
    match outcome {
        Ok(moved) => {
            if moved.is_last {
                guard.clear_ready();
            }
            Some(Ok(moved.count))
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            guard.clear_ready();
            None
        }
        Err(error) => Some(Err(error)),
    }
}
