//! The thread that writes logs.
//!
//! It owns the open files. A file that was renamed is written on until it is told to open its path anew, as `logrotate` expects;
//! between two batches, so that no line is parted or lost.

use crate::config::proxy::LogTarget;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

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
    /// Lines in the queue and in the writer's hand.
    waiting: AtomicU64,
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
        let Some(sender) = &self.sender else { return false };
        let lines = batch.lines;
        // First, so that the writer never takes away what was not added.
        self.shared.waiting.fetch_add(lines, Ordering::Relaxed);
        let is_taken = sender.try_send(Message::Lines(batch)).is_ok();
        if !is_taken {
            self.shared.waiting.fetch_sub(lines, Ordering::Relaxed);
        }
        is_taken
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
    /// Closed when the thread ends.
    end: Receiver<()>,
}

impl Log {
    /// Starts it. It sleeps while nothing is logged.
    pub fn start() -> io::Result<Self> {
        let (sender, batches) = sync_channel(WAITING);
        let shared = Arc::new(Shared::default());
        let writer = Writer { files: HashMap::new(), shared: Arc::clone(&shared), failing: HashMap::new() };
        let (living, end) = sync_channel(0);
        let work = move || {
            let _living = living;
            writer.run(&batches);
        };
        std::thread::Builder::new().name("access-log".to_owned()).spawn(work)?;
        Ok(Self { queue: Queue { sender: Some(sender), shared }, end })
    }

    /// Waits until everything is written that was handed on, and all other queues are gone, but not for longer than this: a
    /// pipe that nobody reads takes nothing, and neither does a disk that stalls. Gives the number of lines that are lost so.
    pub fn finish(self, patience: Duration) -> u64 {
        let Self { queue: Queue { sender, shared }, end } = self;
        drop(sender);
        if end.recv_timeout(patience) != Err(RecvTimeoutError::Timeout) {
            return 0;
        }
        let lines = shared.waiting.load(Ordering::Relaxed);
        if lines > 0 {
            shared.unwritten.fetch_add(lines, Ordering::Relaxed);
            tracing::error!(
                lines,
                "the access log was not written within {patience:?}; its last lines are lost"
            );
        }
        lines
    }
}

/// Opens a log for more lines. A FIFO that nobody reads is refused, for to open it waits for a reader.
pub fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let opened = options.append(true).create(true).mode(0o640).custom_flags(libc::O_NONBLOCK).open(path);
    let file = opened.map_err(|error| match error.raw_os_error() {
        Some(libc::ENXIO) => io::Error::other("it is a FIFO that nobody reads; start its reader first"),
        _ => error,
    })?;
    // The writer has a thread of its own and may wait with what it writes.
    let flags = OFlag::from_bits_retain(fcntl(&file, FcntlArg::F_GETFL)?) & !OFlag::O_NONBLOCK;
    fcntl(&file, FcntlArg::F_SETFL(flags))?;
    Ok(file)
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
    /// The lines that were lost in a row, of each place that cannot be written.
    failing: HashMap<Arc<LogTarget>, u64>,
}

impl Writer {
    fn run(mut self, messages: &Receiver<Message>) {
        for message in messages {
            if self.shared.reopen.swap(false, Ordering::Acquire) {
                self.files.clear();
            }
            if let Message::Lines(batch) = message {
                self.take(&batch);
                self.shared.waiting.fetch_sub(batch.lines, Ordering::Relaxed);
            }
        }
    }

    fn take(&mut self, batch: &Batch) {
        match self.write(batch) {
            Ok(()) => {
                if let Some(lost) = self.failing.remove(&batch.target) {
                    tracing::info!(log = %batch.target, lost, "the access log is written again");
                }
            }
            Err(error) => {
                self.shared.unwritten.fetch_add(batch.lines, Ordering::Relaxed);
                // A file that fails may be one that is there no more.
                self.files.remove(&batch.target);
                if self.note_lost(batch) {
                    tracing::error!(log = %batch.target, %error, "the access log cannot be written; lines are lost");
                }
            }
        }
    }

    /// Whether they are the first that this place loses.
    fn note_lost(&mut self, batch: &Batch) -> bool {
        let before = self.failing.get(&batch.target).copied();
        self.failing.insert(Arc::clone(&batch.target), before.unwrap_or(0) + batch.lines);
        before.is_none()
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
    use std::path::PathBuf;

    const PATIENCE: Duration = Duration::from_secs(20);

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
        log.finish(PATIENCE);
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
            log.finish(PATIENCE);
            assert_eq!(std::fs::read_to_string(&path).unwrap(), after);
        }
    }

    #[test]
    fn what_cannot_be_written_is_counted() {
        let log = Log::start().unwrap();
        let shared = Arc::clone(&log.queue.shared);
        assert!(log.queue.put(batch(Path::new("/no/such/folder/access.log"), "lost\n")));
        log.finish(PATIENCE);
        assert_eq!(shared.unwritten.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_place_that_cannot_be_written_is_told_of_once_though_others_can() {
        let folder = tempfile::tempdir().unwrap();
        let (gone, there) = (folder.path().join("gone/access.log"), folder.path().join("access.log"));
        let mut writer = Writer { files: HashMap::new(), shared: Arc::default(), failing: HashMap::new() };
        let mut told = 0;
        for _ in 0..3 {
            writer.take(&batch(&there, "line\n"));
            let before = writer.failing.len();
            writer.take(&batch(&gone, "lost\n"));
            told += writer.failing.len() - before;
        }
        assert_eq!((told, writer.failing.get(&batch(&gone, "").target)), (1, Some(&3)));
        std::fs::create_dir(folder.path().join("gone")).unwrap();
        writer.take(&batch(&gone, "line\n"));
        assert!(writer.failing.is_empty());
        assert_eq!(std::fs::read_to_string(&gone).unwrap(), "line\n");
    }

    #[test]
    fn a_disk_that_stalls_costs_lines_and_nobody_waits() {
        let folder = tempfile::tempdir().unwrap();
        let (pipe, mut reader) = stalled(folder.path());
        let log = Log::start().unwrap();
        let taken = (0..WAITING + 10).filter(|_| log.queue.put(batch(&pipe, "line\n"))).count();
        assert!((WAITING..WAITING + 10).contains(&taken), "{taken} taken");
        let finish = std::thread::spawn(|| log.finish(PATIENCE));
        let mut read = vec![0; FILLING + taken * "line\n".len()];
        reader.read_exact(&mut read).unwrap();
        assert!(read.ends_with(b"\nline\n"));
        assert_eq!(finish.join().unwrap(), 0);
    }

    /// Bytes in a pipe that takes no more.
    const FILLING: usize = 4096;

    /// A pipe that is full, and its reader.
    fn stalled(folder: &Path) -> (PathBuf, File) {
        let pipe = folder.join("stalled");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let mut reader = OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
        fcntl(&reader, FcntlArg::F_SETPIPE_SZ(i32::try_from(FILLING).unwrap())).unwrap();
        reader.write_all(&[b'x'; FILLING]).unwrap();
        (pipe, reader)
    }

    #[test]
    fn the_end_does_not_wait_for_a_sink_that_takes_nothing_and_tells_what_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let (pipe, _reader) = stalled(folder.path());
        let log = Log::start().unwrap();
        let shared = Arc::clone(&log.queue.shared);
        (0..3).for_each(|_| assert!(log.queue.put(batch(&pipe, "line\n"))));
        assert_eq!(log.finish(Duration::from_millis(50)), 3);
        assert_eq!(shared.unwritten.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn a_pipe_that_nobody_reads_is_refused_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("unread");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(open(&pipe).unwrap_err().to_string().contains("start its reader first"));
    }

    #[test]
    fn a_queue_to_nobody_takes_nothing() {
        assert!(!Queue::default().put(batch(Path::new("/dev/null"), "line\n")));
    }
}
