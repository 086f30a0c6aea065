//! Readiness by `io_uring`: one poll operation for each socket, which lasts as long as the socket is watched.

mod driver;
mod place;
#[cfg(test)]
mod tests;

use super::{Moved, Watch, is_blocked};
use driver::Driver;
use place::{Place, Side};
use socket2::Socket;
use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::task::{LocalSet, coop, spawn_local};

/// More than tell something between two looks, as a rule.
const COMPLETIONS: u32 = 1024;

thread_local! {
    /// The ring of the worker that runs on this thread.
    static DRIVER: RefCell<Option<Rc<Driver>>> = const { RefCell::new(None) };
}

/// A socket watched through the worker's ring.
pub struct Ring {
    socket: Rc<Socket>,
    driver: Rc<Driver>,
    place: usize,
}

impl Ring {
    /// Tries a ring, and gives the kernel's reason if there can be none.
    pub fn check() -> io::Result<()> {
        Driver::new(COMPLETIONS)?.check()
    }

    fn poll(
        &self,
        cx: &Context<'_>,
        side: impl Fn(&mut Place) -> &mut Side,
        mut call: impl FnMut(&Socket) -> io::Result<Moved>,
    ) -> Poll<io::Result<usize>> {
        let at = |look: fn(&mut Side)| self.driver.at(self.place, |place| look(side(place)));
        loop {
            let Some(told) = self.driver.at(self.place, |place| side(place).poll(cx)) else {
                return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
            };
            if told.is_pending() {
                self.driver.arm(self.place, &self.socket)?;
            }
            ready!(told)?;
            match call(&self.socket) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => at(Side::cool),
                outcome => {
                    if outcome.as_ref().is_ok_and(|moved| moved.is_last) {
                        at(Side::drain);
                    }
                    return Poll::Ready(outcome.map(|moved| moved.count));
                }
            };
        }
    }
}

/// Looks at what the ring has to tell to the worker of this thread.
fn look() {
    DRIVER.with_borrow(|driver| driver.iter().for_each(|driver| driver.dispatch()));
}

/// Without it the ring would still be looked at whenever the worker wakes.
async fn watch(driver: Rc<Driver>) {
    if let Err(error) = driver::drive(driver).await {
        tracing::error!(%error, "a worker cannot watch its ring");
    }
}

impl Watch for Ring {
    fn run<T>(future: impl Future<Output = T>) -> io::Result<T> {
        let driver = Rc::new(Driver::new(COMPLETIONS)?);
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().on_thread_park(look).on_thread_unpark(look).build()?;
        DRIVER.set(Some(Rc::clone(&driver)));
        let output = LocalSet::new().block_on(&runtime, async {
            spawn_local(watch(driver));
            future.await
        });
        DRIVER.set(None);
        Ok(output)
    }

    fn new(socket: Rc<Socket>) -> io::Result<Self> {
        let driver = DRIVER.with_borrow(Clone::clone).ok_or(io::ErrorKind::Unsupported)?;
        let place = driver.enter();
        Ok(Self { socket, driver, place })
    }

    fn socket(&self) -> &Rc<Socket> {
        &self.socket
    }

    /// The kernel tells the ring of what comes, as late as when this thread last left it. So mostly there is nothing to call for.
    fn would_block(&self, call: impl FnOnce(&Socket) -> io::Result<usize>) -> bool {
        self.driver.dispatch();
        self.driver.at(self.place, |place| place.is_quiet()) == Some(true) || is_blocked(&call(&self.socket))
    }

    /// One who is always sent something lets others have their turn now and then, as tokio's own sockets do.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        call: impl FnMut(&Socket) -> io::Result<Moved>,
    ) -> Poll<io::Result<usize>> {
        let turn = ready!(coop::poll_proceed(cx));
        let read = self.poll(cx, |place| &mut place.read, call);
        if read.is_ready() {
            turn.made_progress();
        }
        read
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        call: impl FnMut(&Socket) -> io::Result<Moved>,
    ) -> Poll<io::Result<usize>> {
        self.poll(cx, |place| &mut place.write, call)
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        self.driver.leave(self.place);
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").field("socket", &self.socket).finish_non_exhaustive()
    }
}
