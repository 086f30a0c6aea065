//! The log's way to standard error: a bounded queue and a thread that writes.
//!
//! Whoever reads standard error may stop reading, and its disk may be full. Nobody who logs waits for it: the daemon's loop
//! checks health. What finds no room, or cannot be written, is lost, counted, and told of when lines are taken again.

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// Lines that wait to be written: more than a reload of the largest configuration says.
const WAITING: usize = 4096;
/// Until a writer that may not wait is asked again whether it takes more.
const RETRY: Duration = Duration::from_millis(10);

enum Message {
    Line(Vec<u8>),
    /// Answered when all is written that came before.
    Flush(SyncSender<()>),
}

/// The way to the writer.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    sender: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Line(_) => "Line",
            Self::Flush(_) => "Flush",
        })
    }
}

impl Queue {
    /// Starts the thread that writes what is put into the queue, and calls `tell` with the number of lines that were lost when
    /// there is room again.
    ///
    /// Signals are for others: a thread that takes one would end the process by it.
    pub(super) fn start(
        write: impl FnMut(&[u8]) -> io::Result<()> + Send + 'static,
        tell: impl Fn(u64) + Send + 'static,
    ) -> io::Result<Self> {
        let (sender, messages) = sync_channel(WAITING);
        let lost = Arc::new(AtomicU64::new(0));
        let writer = Writer { messages, lost: Arc::clone(&lost), write, tell };
        let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
        let started = thread::Builder::new().name("log".to_owned()).spawn(move || writer.run());
        before.thread_set_mask()?;
        started.map(|_| Self { sender, lost })
    }

    /// Hands a line on, if there is room. Never waits.
    pub(super) fn put(&self, line: &[u8]) {
        if self.sender.try_send(Message::Line(line.to_vec())).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until everything is written that was put in before, but not for longer than this.
    pub(super) fn flush(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let (done, written) = sync_channel(1);
        let mut message = Message::Flush(done);
        while let Err(TrySendError::Full(back)) = self.sender.try_send(message) {
            if Instant::now() >= deadline {
                return;
            }
            message = back;
            thread::sleep(RETRY);
        }
        // Whatever ends the wait, there is nothing else to be done.
        let _: Result<(), RecvTimeoutError> =
            written.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }
}

/// A line at a time, as the formatter hands them over. It is never told of a failure, which it would print.
impl Write for &Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.put(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Writer<W, T> {
    messages: Receiver<Message>,
    lost: Arc<AtomicU64>,
    write: W,
    tell: T,
}

impl<W: FnMut(&[u8]) -> io::Result<()>, T: Fn(u64)> Writer<W, T> {
    fn run(mut self) {
        let mut is_writable = true;
        loop {
            let message = match self.messages.try_recv() {
                Err(TryRecvError::Empty) => {
                    // Now there is room for that line, too.
                    let lost = if is_writable { self.lost.swap(0, Ordering::Relaxed) } else { 0 };
                    if lost > 0 {
                        (self.tell)(lost);
                    }
                    self.messages.recv().ok()
                }
                received => received.ok(),
            };
            match message {
                Some(Message::Line(line)) => {
                    is_writable = (self.write)(&line).is_ok();
                    if !is_writable {
                        self.lost.fetch_add(1, Ordering::Relaxed);
                    }
                }
                // Nobody waits any more where it cannot be sent.
                Some(Message::Flush(done)) => drop(done.try_send(())),
                None => return,
            }
        }
    }
}

/// Writes to standard error past the standard library's lock, which a panic needs while this waits.
pub(super) fn write(mut line: &[u8]) -> io::Result<()> {
    while !line.is_empty() {
        match nix::unistd::write(io::stderr(), line) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => line = line.get(written..).unwrap_or_default(),
            Err(Errno::EINTR) => {}
            // Whoever started the daemon may have made it so.
            Err(Errno::EAGAIN) => thread::sleep(RETRY),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::sync::mpsc::channel;

    #[test]
    fn a_writer_that_takes_nothing_keeps_nobody_waiting_and_what_is_lost_is_told() {
        let ((go, gate), (told, tells)) = (channel::<()>(), channel());
        let write = move |_: &[u8]| gate.recv().map_err(io::Error::other);
        let queue = Queue::start(write, move |lost| told.send(lost).unwrap()).unwrap();
        let begun = Instant::now();
        (0..WAITING + 100).for_each(|_| queue.put(b"line\n"));
        queue.flush(Duration::from_millis(50));
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        (0..WAITING + 100).for_each(|_| go.send(()).unwrap());
        let lost = tells.recv_timeout(Duration::from_secs(10)).unwrap();
        assert!((99..=100).contains(&lost), "one may be in the writer's hand: {lost}");
    }

    #[test]
    fn what_cannot_be_written_is_lost_and_told_of_when_it_can_be_again() {
        let (told, tells) = channel();
        let mut left = 3;
        let write = move |_: &[u8]| {
            left -= 1;
            if left >= 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        };
        let queue = Queue::start(write, move |lost| told.send(lost).unwrap()).unwrap();
        (0..4).for_each(|_| queue.put(b"line\n"));
        assert_eq!(tells.recv_timeout(Duration::from_secs(10)).unwrap(), 3);
    }

    #[test]
    fn a_flush_returns_when_all_is_written_in_its_order() {
        let written = Arc::new(Mutex::new(Vec::new()));
        let out = Arc::clone(&written);
        let write = move |line: &[u8]| {
            out.lock().unwrap().extend_from_slice(line);
            Ok(())
        };
        let queue = Queue::start(write, |_| {}).unwrap();
        assert_eq!((&queue).write(b"one\n").unwrap(), 4);
        queue.put(b"two\n");
        queue.flush(Duration::from_secs(10));
        assert_eq!(*written.lock().unwrap(), b"one\ntwo\n");
    }
}
