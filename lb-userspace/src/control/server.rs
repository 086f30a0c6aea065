//! The daemon's side of the control socket: one task a connection, each request handed to the daemon's queue.

use super::{Request, Response};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

/// Longest request; the longest there is has two names.
const LONGEST_REQUEST: u64 = 4096;

/// A request, and where its answer goes.
pub type Asked = (Request, oneshot::Sender<Response>);

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another daemon has it.
    #[error("another lb-userspace answers at {path}; stop it, or give this one `--control PATH`")]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot make the control socket {path}: {source}")]
    Refused {
        /// The socket.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
}

/// A bound control socket; its file goes when it is dropped.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    /// Binds the socket, for root alone. One that a dead daemon left is replaced, a live one is not.
    pub fn bind(path: &Path) -> Result<Self, Error> {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(Error::InUse { path: path.to_owned() });
        }
        let listener = bind_anew(path).map_err(|source| Error::Refused { path: path.to_owned(), source })?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Serves connections until dropped.
    pub async fn serve(self, queue: mpsc::UnboundedSender<Asked>) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    tokio::task::spawn_local(serve_one(stream, queue.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "control socket: accept failed");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn bind_anew(path: &Path) -> io::Result<UnixListener> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn serve_one(stream: UnixStream, queue: mpsc::UnboundedSender<Asked>) {
    if let Err(error) = converse(stream, queue).await {
        tracing::debug!(%error, "control socket: connection ended");
    }
}

async fn converse(stream: UnixStream, queue: mpsc::UnboundedSender<Asked>) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader.take(LONGEST_REQUEST));
    let mut line = String::new();
    while reader.read_line(&mut line).await? > 0 {
        let response = answer(&line, &queue).await;
        let mut text = serde_json::to_string(&response)?;
        text.push('\n');
        writer.write_all(text.as_bytes()).await?;
        line.clear();
        reader.get_mut().set_limit(LONGEST_REQUEST);
    }
    Ok(())
}

async fn answer(line: &str, queue: &mpsc::UnboundedSender<Asked>) -> Response {
    let request = match serde_json::from_str(line) {
        Ok(request) => request,
        Err(error) => return Response::Refused { message: format!("not a request: {error}") },
    };
    let (sender, receiver) = oneshot::channel();
    let stopping = || Response::Refused { message: "the daemon is stopping".to_owned() };
    if queue.send((request, sender)).is_err() {
        return stopping();
    }
    receiver.await.unwrap_or_else(|_| stopping())
}
