//! The thread that writes logs.
//!
//! It owns the open files. A file that was renamed is written on until it is told to open its path anew, as `logrotate` expects;
//! between two batches, so that no line is parted or lost.

use crate::config::proxy::LogTarget;
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Batches that wait for the disk: some 8 MiB, which is a second or two of a busy host.
const WAITING: usize = 256;

/// Lines for one place.
#[derive(Debug)]
pub struct Batch {
    /// The place.
    pub target: Arc<LogTarget>,
    /// The lines.
    pub bytes: Vec<u8>,
    /// How many they are.
    pub lines: u64,
}

enum Message {
    Lines(Batch),
    /// Look at the switch.
    Wake,
}

/// The way to the writer. Without one, everything put into it is lost.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    sender: Option<SyncSender<Message>>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    reopen: AtomicBool,
    unwritten: AtomicU64,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Lines(_) => "Lines",
            Self::Wake => "Wake",
        })
    }
}

impl Queue {
    /// Hands lines on, if there is room. Never waits.
    #[must_use]
    pub fn put(&self, batch: Batch) -> bool {
        self.sender.as_ref().is_some_and(|sender| sender.try_send(Message::Lines(batch)).is_ok())
    }

    /// Has all files opened anew before the next line.
    pub fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::Release);
        if let Some(sender) = &self.sender {
            // Where there is no room, the writer sees the switch by what is in its way.
            let _ = sender.try_send(Message::Wake);
        }
    }

    /// Lines that were handed on and could not be written.
    #[must_use]
    pub fn unwritten(&self) -> u64 {
        self.shared.unwritten.load(Ordering::Relaxed)
    }
}

/// The writer.
#[derive(Debug)]
pub struct Log {
    /// The way to it.
    pub queue: Queue,
    thread: JoinHandle<()>,
}

impl Log {
    /// Starts it. It sleeps while nothing is logged.
    pub fn start() -> io::Result<Self> {
        let (sender, batches) = sync_channel(WAITING);
        let shared = Arc::new(Shared::default());
        let writer = Writer { files: HashMap::new(), shared: Arc::clone(&shared), is_failing: false };
        let thread =
            std::thread::Builder::new().name("access-log".to_owned()).spawn(move || writer.run(&batches))?;
        Ok(Self { queue: Queue { sender: Some(sender), shared }, thread })
    }

    /// Waits until everything is written that was handed on. Ends only when all other queues are gone.
    pub fn finish(self) {
        drop(self.queue);
        if self.thread.join().is_err() {
            tracing::error!("the log's writer ended by a bug");
        }
    }
}

/// Opens a log for more lines.
pub fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

/// Whether a file ends within a line, which a full disk or a kill has cut.
fn is_torn(path: &Path) -> bool {
    let ends_otherwise = || -> io::Result<bool> {
        let (mut file, mut last) = (File::open(path)?, [0]);
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        Ok(last != *b"\n")
    };
    // Whatever else may be written to need not be readable, nor let itself be opened twice.
    path.is_file() && ends_otherwise().unwrap_or(false)
}

struct Writer {
    files: HashMap<Arc<LogTarget>, File>,
    shared: Arc<Shared>,
    is_failing: bool,
}

impl Writer {
    fn run(mut self, messages: &Receiver<Message>) {
        for message in messages {
            if self.shared.reopen.swap(false, Ordering::Acquire) {
                self.files.clear();
            }
            if let Message::Lines(batch) = message {
                self.take(&batch);
            }
        }
    }

    fn take(&mut self, batch: &Batch) {
        match self.write(batch) {
            Ok(()) => self.is_failing = false,
            Err(error) => {
                self.shared.unwritten.fetch_add(batch.lines, Ordering::Relaxed);
                // A file that fails may be one that is there no more.
                self.files.remove(&batch.target);
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::error!(log = %batch.target, %error, "the access log cannot be written; lines are lost");
                }
            }
        }
    }

    fn write(&mut self, batch: &Batch) -> io::Result<()> {
        let LogTarget::File(path) = &*batch.target else {
            let mut out = io::stdout().lock();
            return out.write_all(&batch.bytes).and_then(|()| out.flush());
        };
        if !self.files.contains_key(&batch.target) {
            let is_torn = is_torn(path);
            let mut file = open(path)?;
            if is_torn {
                file.write_all(b"\n")?;
            }
            self.files.insert(Arc::clone(&batch.target), file);
        }
        self.files.get_mut(&batch.target).map_or(Ok(()), |file| file.write_all(&batch.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(path: &Path, text: &str) -> Batch {
        let target = Arc::new(LogTarget::File(path.to_owned()));
        Batch { target, bytes: text.as_bytes().to_vec(), lines: 1 }
    }

    #[test]
    fn a_renamed_file_gets_lines_until_its_path_is_opened_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
        let log = Log::start().unwrap();
        assert!(log.queue.put(batch(&path, "one\n")));
        while !std::fs::read_to_string(&path).is_ok_and(|text| text == "one\n") {
            std::thread::yield_now();
        }
        std::fs::rename(&path, &old).unwrap();
        assert!(log.queue.put(batch(&path, "two\n")));
        while std::fs::read_to_string(&old).unwrap() != "one\ntwo\n" {
            std::thread::yield_now();
        }
        log.queue.reopen();
        assert!(log.queue.put(batch(&path, "three\n")));
        log.finish();
        assert_eq!(std::fs::read_to_string(&old).unwrap(), "one\ntwo\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "three\n");
    }

    #[test]
    fn what_was_cut_spoils_no_line_but_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        for (before, after) in [("", "two\n"), ("one\n", "one\ntwo\n"), ("on", "on\ntwo\n")] {
            std::fs::write(&path, before).unwrap();
            let log = Log::start().unwrap();
            assert!(log.queue.put(batch(&path, "two\n")));
            log.finish();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), after);
        }
    }

    #[test]
    fn what_cannot_be_written_is_counted() {
        let log = Log::start().unwrap();
        let shared = Arc::clone(&log.queue.shared);
        assert!(log.queue.put(batch(Path::new("/no/such/folder/access.log"), "lost\n")));
        log.finish();
        assert_eq!(shared.unwritten.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_disk_that_stalls_costs_lines_and_nobody_waits() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("stalled");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let log = Log::start().unwrap();
        // Opening a pipe that nobody reads from does not return.
        let taken = (0..WAITING + 10).filter(|_| log.queue.put(batch(&pipe, "line\n"))).count();
        assert!((WAITING..WAITING + 10).contains(&taken), "{taken} taken");
        let reader = std::thread::spawn(move || std::fs::read_to_string(&pipe).unwrap());
        log.finish();
        assert_eq!(reader.join().unwrap().lines().count(), taken);
    }

    #[test]
    fn a_queue_to_nobody_takes_nothing() {
        assert!(!Queue::default().put(batch(Path::new("/dev/null"), "line\n")));
    }
}
