//! A download that stays open while something happens around it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::http::Connection;
use crate::netns::Namespace;

/// What is read at once, and how long a throttled reader then rests: about 3 MB/s.
const CHUNK: usize = 32 * 1024;
const REST: Duration = Duration::from_millis(10);

/// A download in the background, slow until it is finished.
#[derive(Debug)]
pub struct Download {
    backend: String,
    progress: Arc<Progress>,
    reader: JoinHandle<Result<Vec<u8>>>,
}

#[derive(Debug, Default)]
struct Progress {
    received: AtomicUsize,
    hurry: AtomicBool,
}

impl Download {
    /// Starts to download `path` in `namespace`, once the head of the reply is there.
    pub fn start(namespace: &Namespace, server: SocketAddr, path: &str) -> Result<Self> {
        namespace.run(|| {
            let mut connection = Connection::open(server)?;
            let head = connection.ask(path, "close")?;
            ensure!(head.status == 200, "GET {path} gave {}", head.status);
            let progress = Arc::new(Progress::default());
            let shared = Arc::clone(&progress);
            let reader = thread::spawn(move || read_slowly(&mut connection, head.length, &shared));
            Ok(Self { backend: head.backend, progress, reader })
        })
    }

    /// Who serves it.
    #[must_use]
    pub fn backend(&self) -> &str {
        &self.backend
    }

    /// Bytes of the body that have arrived.
    #[must_use]
    pub fn received(&self) -> usize {
        self.progress.received.load(Ordering::Relaxed)
    }

    /// Whether it still goes on.
    #[must_use]
    pub fn going_on(&self) -> bool {
        !self.reader.is_finished()
    }

    /// Ends the throttling, waits for the rest and gives the whole body.
    pub fn finish(self) -> Result<Vec<u8>> {
        self.progress.hurry.store(true, Ordering::Relaxed);
        let received = self.reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        received.with_context(|| format!("download from {}", self.backend))
    }
}

fn read_slowly(connection: &mut Connection, length: usize, progress: &Progress) -> Result<Vec<u8>> {
    let mut body = vec![0; length];
    let mut filled = 0;
    while filled < length {
        let end = length.min(filled + CHUNK);
        let bytes =
            connection.read(&mut body[filled..end]).with_context(|| format!("after {filled} bytes"))?;
        ensure!(bytes > 0, "it ended after {filled} of {length} bytes");
        filled += bytes;
        progress.received.store(filled, Ordering::Relaxed);
        if !progress.hurry.load(Ordering::Relaxed) {
            thread::sleep(REST);
        }
    }
    Ok(body)
}
