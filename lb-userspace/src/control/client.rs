//! The command line's side of the control socket.

use super::{Request, Response};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a command may take: a reload writes every table.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why a command got no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens.
    #[error(
        "no lb-userspace answers at {path}: {source}. Is it running? `--control PATH` names another socket"
    )]
    Nobody {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The connection broke.
    #[error("the daemon at {path} broke off: {source}")]
    BrokeOff {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The answer is not one of ours; the daemon may be of another version.
    #[error("the daemon at {path} gave an answer this version does not know: {source}")]
    Unknown {
        /// The socket.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// Asks the daemon and waits for its answer.
pub fn ask(path: &Path, request: &Request) -> Result<Response, Error> {
    let stream =
        UnixStream::connect(path).map_err(|source| Error::Nobody { path: path.to_owned(), source })?;
    let line =
        exchange(stream, request).map_err(|source| Error::BrokeOff { path: path.to_owned(), source })?;
    serde_json::from_str(&line).map_err(|source| Error::Unknown { path: path.to_owned(), source })
}

fn exchange(mut stream: UnixStream, request: &Request) -> io::Result<String> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_string(request)?;
    line.push('\n');
    stream.write_all(line.as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(answer)
}
