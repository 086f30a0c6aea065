//! The daemon's side of the control socket: one task a connection, each request handed to the daemon's queue.

use super::{Request, Response};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// Longest request; the longest there is has two names.
const LONGEST_REQUEST: u64 = 4096;
/// How long a connection may be silent, or leave an answer unread: nobody types requests by hand.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often the socket's file is looked for, which whoever tidies folders may have removed.
const LOOK: Duration = Duration::from_secs(1);
/// Until connections are accepted again after the system refused, which it does while descriptors are short.
const RETRY: Duration = Duration::from_millis(100);

/// A request, and where its answer goes.
pub type Asked = (Request, oneshot::Sender<Answer>);

/// What a request is answered with.
#[derive(Debug)]
pub enum Answer {
    /// One response.
    One(Response),
    /// Responses as they come. Dropped when whoever asked has gone.
    Many(mpsc::Receiver<Response>),
}

impl From<Response> for Answer {
    fn from(response: Response) -> Self {
        Self::One(response)
    }
}

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another daemon has it.
    #[error("another lb-userspace answers at {path}; stop it, or give this one `--control PATH`")]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// Something that is no socket is in its place.
    #[error("{path} is there and no socket, so it is left alone; give `--control` another path")]
    InTheWay {
        /// What is there.
        path: PathBuf,
    },
    /// The operator has no rights there.
    #[error(
        "making the control socket {path} is not permitted: run as root, or give `--control` a path you may write to"
    )]
    Permission {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The system refused.
    #[error("cannot make the control socket {path}; `--control` may name another path")]
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
    file: Option<FileId>,
}

/// What tells a file from another that took its name: device and number.
type FileId = (u64, u64);

fn file_id(path: &Path) -> Option<FileId> {
    std::fs::symlink_metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

impl Socket {
    /// Binds the socket, for root alone. One that a dead daemon left is replaced; a live one is not, and neither is
    /// anything that is no socket.
    pub fn bind(path: &Path) -> Result<Self, Error> {
        let named = || path.to_owned();
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(Error::InUse { path: named() });
        }
        if std::fs::symlink_metadata(path).is_ok_and(|present| !present.file_type().is_socket()) {
            return Err(Error::InTheWay { path: named() });
        }
        let listener = bind_anew(path).map_err(|source| match source.kind() {
            io::ErrorKind::PermissionDenied => Error::Permission { path: named(), source },
            _ => Error::Refused { path: named(), source },
        })?;
        Ok(Self { listener, file: file_id(path), path: named() })
    }

    /// Serves connections until dropped.
    pub async fn serve(mut self, queue: mpsc::UnboundedSender<Asked>) {
        let (mut failing, mut is_lost) = (false, false);
        let mut looks = tokio::time::interval(LOOK);
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                _ = looks.tick() => {
                    self.look(&mut is_lost);
                    continue;
                }
            };
            match accepted {
                Ok((stream, _)) => {
                    failing = false;
                    tokio::task::spawn_local(serve_one(stream, queue.clone()));
                }
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(%error, "control socket: no connection can be accepted for now");
                    }
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }
}

impl Socket {
    /// Makes the socket anew where its file is gone, and tells of that, or once that it cannot be made.
    fn look(&mut self, is_lost: &mut bool) {
        let seen = std::fs::symlink_metadata(&self.path);
        if !seen.is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            return;
        }
        match bind_at(&self.path) {
            Ok(listener) => {
                tracing::warn!(path = %self.path.display(), "control socket: its file was gone, and is made anew");
                (self.listener, self.file, *is_lost) = (listener, file_id(&self.path), false);
            }
            Err(error) if !std::mem::replace(is_lost, true) => {
                tracing::error!(path = %self.path.display(), %error, "control socket: its file is gone and cannot be made anew");
            }
            Err(_) => {}
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Who removed ours may have made another in its place, or another daemon has. Gone already is as good.
        if self.file.is_some() && self.file == file_id(&self.path) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn bind_anew(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => bind_at(path),
    }
}

/// Binds where nothing is.
fn bind_at(path: &Path) -> io::Result<UnixListener> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
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

/// Answers one request after the other until the other side ends, is silent for too long or sends no request.
async fn converse(stream: UnixStream, queue: mpsc::UnboundedSender<Asked>) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader.take(LONGEST_REQUEST));
    loop {
        let request = match timeout(PATIENCE, read_request(&mut reader)).await?? {
            Read::Request(request) => request,
            Read::NotOne(why) => {
                return send(&mut writer, &Response::Refused { message: format!("not a request: {why}") })
                    .await;
            }
            Read::End => return Ok(()),
        };
        match ask(request, &queue).await {
            Answer::One(response) => timeout(PATIENCE, send(&mut writer, &response)).await??,
            Answer::Many(responses) => return relay(responses, &mut reader, &mut writer).await,
        }
    }
}

/// Hands on what comes, until no more does. A word from the other side ends it, too, and so does its going.
async fn relay(
    mut responses: mpsc::Receiver<Response>,
    reader: &mut BufReader<tokio::io::Take<OwnedReadHalf>>,
    writer: &mut OwnedWriteHalf,
) -> io::Result<()> {
    reader.get_mut().set_limit(LONGEST_REQUEST);
    loop {
        tokio::select! {
            biased;
            gone = reader.fill_buf() => return gone.map(drop),
            response = responses.recv() => match response {
                Some(response) => send_in_time(writer, &response).await?,
                None => return Ok(()),
            },
        }
    }
}

/// Sends one of many responses, unless it is not read, which whoever asked does not notice and the log tells.
async fn send_in_time(writer: &mut OwnedWriteHalf, response: &Response) -> io::Result<()> {
    let sent = timeout(PATIENCE, send(writer, response)).await;
    sent.inspect_err(|_| {
        tracing::warn!(
            "control socket: a capture is broken off, for its packets were not read for {PATIENCE:?}"
        );
    })?
}

/// What came in.
#[derive(Debug, PartialEq, Eq)]
enum Read {
    Request(Request),
    NotOne(String),
    End,
}

async fn read_request(reader: &mut BufReader<tokio::io::Take<OwnedReadHalf>>) -> io::Result<Read> {
    let mut line = Vec::new();
    reader.get_mut().set_limit(LONGEST_REQUEST);
    reader.read_until(b'\n', &mut line).await?;
    Ok(parse(&line))
}

fn parse(line: &[u8]) -> Read {
    if line.is_empty() {
        return Read::End;
    }
    if !line.ends_with(b"\n") && line.len() as u64 >= LONGEST_REQUEST {
        return Read::NotOne(format!("longer than {LONGEST_REQUEST} bytes"));
    }
    serde_json::from_slice(line).map_or_else(|error| Read::NotOne(error.to_string()), Read::Request)
}

async fn send(writer: &mut OwnedWriteHalf, response: &Response) -> io::Result<()> {
    let mut text = serde_json::to_string(response)?;
    text.push('\n');
    writer.write_all(text.as_bytes()).await
}

/// Puts a request into the daemon's queue and waits for its answer.
async fn ask(request: Request, queue: &mpsc::UnboundedSender<Asked>) -> Answer {
    let (sender, receiver) = oneshot::channel();
    // Fails only while the daemon stops, and then the receiver does, too.
    let _ = queue.send((request, sender));
    let stopping = |_| Response::Refused { message: "the daemon is stopping".to_owned() }.into();
    receiver.await.unwrap_or_else(stopping)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_request_or_said_to_be_none() {
        assert_eq!(parse(b"{\"command\":\"reload\"}\n"), Read::Request(Request::Reload));
        assert_eq!(parse(b""), Read::End);
        for garbage in [&b"\xff\xfe\n"[..], b"{\"command\":\"rel", b"\n", b"{\"command\":\"dance\"}\n"] {
            assert!(matches!(parse(garbage), Read::NotOne(_)), "{garbage:?}");
        }
    }

    #[test]
    fn a_line_without_end_is_refused_at_its_limit() {
        let endless = vec![b'x'; 4096];
        assert_eq!(parse(&endless), Read::NotOne("longer than 4096 bytes".to_owned()));
    }

    fn bind(path: &Path) -> Result<Socket, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _inside = runtime.enter();
        Socket::bind(path)
    }

    #[test]
    fn a_socket_whose_file_is_removed_is_made_anew_unless_another_has_its_place() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _inside = runtime.enter();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/control.sock");
        let mut socket = Socket::bind(&path).unwrap();
        let mut is_lost = false;
        std::fs::remove_dir_all(folder.path().join("deep")).unwrap();
        socket.look(&mut is_lost);
        assert!(std::os::unix::net::UnixStream::connect(&path).is_ok());
        std::fs::remove_file(&path).unwrap();
        let another = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let theirs = file_id(&path);
        socket.look(&mut is_lost);
        assert_eq!(file_id(&path), theirs);
        drop((another, socket));
        assert!(path.exists(), "it is not ours to remove");
    }

    #[test]
    fn a_dead_daemons_socket_is_replaced_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/control.sock");
        drop(bind(&path).unwrap());
        assert!(!path.exists(), "a socket goes with its owner");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "the standard library leaves it, as a crash does");
        let socket = bind(&path).unwrap();
        assert!(matches!(bind(&path), Err(Error::InUse { .. })));
        drop(socket);
        std::fs::write(&path, "precious").unwrap();
        assert!(matches!(bind(&path), Err(Error::InTheWay { .. })));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn a_socket_that_took_another_s_name_stays_when_that_one_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let first = bind(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let second = bind(&path).unwrap();
        drop(first);
        assert!(path.exists(), "the second one's socket is gone");
        drop(second);
        assert!(!path.exists());
    }

    #[test]
    fn the_socket_is_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let _socket = bind(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
