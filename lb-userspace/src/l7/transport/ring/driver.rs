//! A worker's ring: one poll for each socket, which tells of readiness again and again.
//!
//! The kernel puts completions into memory that we share with it when the thread enters or leaves it (`COOP_TASKRUN`), and
//! ends a sleep for them. So the worker looks there before and after it sleeps, which costs no call. That the reactor, in
//! which it sleeps, watches the ring too, is for what comes between the look and the sleep.

use super::place::{Armed, Place};
use io_uring::{IoUring, cqueue, opcode, squeue, types};
use slab::Slab;
use socket2::Socket;
use std::cell::RefCell;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;
use std::task::Waker;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Room for operations that are not submitted yet. They are at once.
const ENTRIES: u32 = 8;
/// Names what has no place.
const NOBODY: u64 = u64::MAX;
/// What a socket is polled for.
const EVENTS: libc::c_short = libc::POLLIN | libc::POLLRDHUP | libc::POLLOUT;

/// The ring, and what is known of the sockets that it watches.
pub(super) struct Driver {
    ring: RefCell<IoUring>,
    places: RefCell<Slab<Place>>,
}

/// What tokio's reactor watches.
struct Watched(Rc<Driver>);

impl AsRawFd for Watched {
    fn as_raw_fd(&self) -> RawFd {
        self.0.ring.borrow().as_raw_fd()
    }
}

/// Takes in what the ring has to tell for as long as the worker lives.
pub(super) async fn drive(driver: Rc<Driver>) -> io::Result<()> {
    // SAFETY: the registration holds the ring, whose descriptor is the same for as long as it lives.
    #[allow(unsafe_code, reason = "tokio has no other way to watch what is shared")]
    let watched = unsafe { AsyncFd::register_with_interest(Watched(driver), Interest::READABLE) }?;
    loop {
        let mut guard = watched.readable().await?;
        watched.get_ref().0.dispatch();
        guard.clear_ready();
    }
}

impl Driver {
    /// A ring with room for so many completions; more of them wait in the kernel. Linux 5.19 and later.
    pub(super) fn new(completions: u32) -> io::Result<Self> {
        let ring = IoUring::builder().setup_coop_taskrun().setup_cqsize(completions).build(ENTRIES)?;
        Ok(Self { ring: ring.into(), places: RefCell::default() })
    }

    /// Sends an operation through the ring: making one may be allowed and using it not.
    pub(super) fn check(&self) -> io::Result<()> {
        self.submit(&opcode::Nop::new().build().user_data(NOBODY))
    }

    /// A place for a socket.
    pub(super) fn enter(&self) -> usize {
        self.places.borrow_mut().insert(Place::new())
    }

    /// What is known of a socket.
    pub(super) fn at<T>(&self, place: usize, look: impl FnOnce(&mut Place) -> T) -> Option<T> {
        self.places.borrow_mut().get_mut(place).map(look)
    }

    /// Has the kernel tell of the socket from now on, if it does not yet: first of what is there already, so that nothing
    /// is missed between a call that would have blocked and this.
    pub(super) fn arm(&self, place: usize, socket: &Socket) -> io::Result<()> {
        if self.at(place, |known| std::mem::replace(&mut known.poll, Armed::On)) != Some(Armed::Off) {
            return Ok(());
        }
        let poll = opcode::PollAdd::new(types::Fd(socket.as_raw_fd()), u32::from(EVENTS.unsigned_abs()));
        let submitted = self.submit(&poll.multi(true).build().user_data(place as u64));
        if submitted.is_err() {
            self.at(place, |known| known.poll = Armed::Off);
        }
        submitted
    }

    /// Nobody wants to know of the socket any more. Its poll would keep the connection open.
    pub(super) fn leave(&self, place: usize) {
        let was = self.at(place, |known| {
            let poll = std::mem::replace(&mut known.poll, Armed::Leaving);
            *known = Place { poll: Armed::Leaving, ..Place::new() };
            poll
        });
        if was == Some(Armed::Off) {
            self.places.borrow_mut().remove(place);
        } else {
            let removal = opcode::PollRemove::new(place as u64).build().user_data(NOBODY);
            // It fails where the kernel is out of memory; then the connection ends when its peer ends it.
            let _ = self.submit(&removal.flags(squeue::Flags::SKIP_SUCCESS));
        }
    }

    fn submit(&self, entry: &squeue::Entry) -> io::Result<()> {
        let mut ring = self.ring.borrow_mut();
        // SAFETY: none of our operations has a buffer, and the kernel itself holds on to the file that it polls.
        #[allow(unsafe_code, reason = "the library cannot know what an operation refers to")]
        let pushed = unsafe { ring.submission().push(entry) };
        pushed.map_err(|_| io::ErrorKind::OutOfMemory)?;
        ring.submit().map(drop)
    }

    /// Takes in what there is to tell, and wakes whom it concerns.
    pub(super) fn dispatch(&self) {
        while let Some(entry) = self.next() {
            self.note(&entry);
        }
    }

    fn next(&self) -> Option<cqueue::Entry> {
        let mut ring = self.ring.borrow_mut();
        let next = ring.completion().next();
        if next.is_none() && ring.submission().cq_overflow() {
            // What there was no room for; should that fail, the next look tries again.
            let _ = ring.submit();
            return ring.completion().next();
        }
        next
    }

    fn note(&self, entry: &cqueue::Entry) {
        let Ok(place) = usize::try_from(entry.user_data()) else { return };
        let is_last = !cqueue::more(entry.flags());
        let told = self.at(place, |known| (known.poll, known.note(entry.result(), is_last)));
        let Some((poll, wakers)) = told else { return };
        if is_last && poll == Armed::Leaving {
            self.places.borrow_mut().remove(place);
        }
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}
