//! What is known of a watched socket, and who waits for it.

use std::io;
use std::task::{Context, Poll, Waker};

/// A socket's place. It is given to another only when its poll has completed for the last time.
#[derive(Default)]
pub(super) struct Place {
    pub(super) read: Side,
    pub(super) write: Side,
    pub(super) poll: Armed,
}

/// Where a socket's poll is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Armed {
    /// Not with the kernel.
    #[default]
    Off,
    /// With the kernel.
    On,
    /// With the kernel, and nobody wants to know any more.
    Leaving,
}

/// One direction of a socket.
#[derive(Default)]
pub(super) struct Side {
    known: Known,
    waiting: Option<Waker>,
}

#[derive(Clone, Copy, Default)]
enum Known {
    /// The last call showed that the next would block.
    #[default]
    Cold,
    /// Ready, as far as we know.
    Hot,
    /// It has ended: calls do not block any more, and the kernel may not tell of that again.
    Over,
    /// It could not be polled.
    Failed(i32),
}

impl Side {
    /// Ready if a call is worth it.
    pub(super) fn poll(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        match self.known {
            Known::Hot | Known::Over => Poll::Ready(Ok(())),
            Known::Failed(error) => {
                self.known = Known::Cold;
                Poll::Ready(Err(io::Error::from_raw_os_error(error)))
            }
            Known::Cold => {
                match &mut self.waiting {
                    Some(waker) => waker.clone_from(cx.waker()),
                    waiting => *waiting = Some(cx.waker().clone()),
                }
                Poll::Pending
            }
        }
    }

    /// A call would have blocked.
    pub(super) const fn cool(&mut self) {
        self.known = Known::Cold;
    }

    /// A call took all there was. What the peer said before its end may have come with it, and the end is not told of again.
    pub(super) const fn drain(&mut self) {
        if !matches!(self.known, Known::Over) {
            self.known = Known::Cold;
        }
    }

    /// An end stays one: of a segment that brings data and the end, the kernel tells the end first, with all that is ready by
    /// then, and of the data alone afterwards.
    fn note(&mut self, is_ready: bool, is_over: bool) -> Option<Waker> {
        match (is_over || matches!(self.known, Known::Over), is_ready) {
            (true, _) => self.learn(Known::Over),
            (false, true) => self.learn(Known::Hot),
            (false, false) => None,
        }
    }

    fn learn(&mut self, known: Known) -> Option<Waker> {
        self.known = known;
        self.waiting.take()
    }
}

impl Place {
    /// A place whose socket is worth a write, as nearly all are.
    pub(super) fn new() -> Self {
        let write = Side { known: Known::Hot, waiting: None };
        Self { write, ..Self::default() }
    }

    /// Whether the kernel would tell of what there is to read, and has told of nothing since all was read.
    pub(super) const fn is_quiet(&self) -> bool {
        matches!(self.poll, Armed::On) && matches!(self.read.known, Known::Cold)
    }

    /// Notes what a completion tells; who is to be woken for it. A poll ends by itself where there was no room for a
    /// completion: then both sides have to look for themselves, and have it begun anew.
    pub(super) fn note(&mut self, result: i32, is_last: bool) -> [Option<Waker>; 2] {
        if is_last && self.poll == Armed::On {
            self.poll = Armed::Off;
        }
        if result < 0 {
            let known = Known::Failed(-result);
            return [self.read.learn(known), self.write.learn(known)];
        }
        let is = |events: libc::c_short| result & i32::from(events) != 0;
        let ends = is(libc::POLLHUP | libc::POLLERR);
        [
            self.read.note(is_last || is(libc::POLLIN), ends || is(libc::POLLRDHUP)),
            self.write.note(is_last || is(libc::POLLOUT), ends),
        ]
    }
}
