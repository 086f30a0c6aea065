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
    #[error("no lb-userspace answers at {path}. Is it running? `--control PATH` names another socket")]
    Nobody {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The socket is not the operator's.
    #[error("talking to the daemon at {path} is not permitted; run as root")]
    Permission {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is there and does not answer.
    #[error("the daemon at {path} does not answer within {} s; its log may tell why", PATIENCE.as_secs())]
    Silent {
        /// The socket.
        path: PathBuf,
    },
    /// The connection broke.
    #[error("the daemon at {path} broke off")]
    BrokeOff {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The answer is not one of ours; the daemon may be of another version.
    #[error("the daemon at {path} gave an answer this version does not know")]
    Unknown {
        /// The socket.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// Asks the daemon and waits for its answer.
pub fn ask(path: &Path, request: &Request) -> Result<Response, Error> {
    let stream = UnixStream::connect(path).map_err(|source| unreached(path.to_owned(), source))?;
    let line = exchange(stream, request).map_err(|source| broken(path.to_owned(), source))?;
    serde_json::from_str(&line).map_err(|source| Error::Unknown { path: path.to_owned(), source })
}

/// Asks the daemon for what it answers with many responses; they are waited for as long as it takes.
pub fn follow(
    path: &Path,
    request: &Request,
) -> Result<impl Iterator<Item = Result<Response, Error>> + use<>, Error> {
    let mut stream = UnixStream::connect(path).map_err(|source| unreached(path.to_owned(), source))?;
    send(&mut stream, request).map_err(|source| broken(path.to_owned(), source))?;
    let path = path.to_owned();
    Ok(BufReader::new(stream).lines().map(move |line| {
        let line = line.map_err(|source| broken(path.clone(), source))?;
        serde_json::from_str(&line).map_err(|source| Error::Unknown { path: path.clone(), source })
    }))
}

fn unreached(path: PathBuf, source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::PermissionDenied => Error::Permission { path, source },
        _ => Error::Nobody { path, source },
    }
}

fn broken(path: PathBuf, source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Error::Silent { path },
        _ => Error::BrokeOff { path, source },
    }
}

fn exchange(mut stream: UnixStream, request: &Request) -> io::Result<String> {
    stream.set_read_timeout(Some(PATIENCE))?;
    send(&mut stream, request)?;
    let mut answer = String::new();
    if BufReader::new(stream).read_line(&mut answer)? == 0 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it gave no answer"));
    }
    Ok(answer)
}

fn send(stream: &mut UnixStream, request: &Request) -> io::Result<()> {
    let mut line = serde_json::to_string(request)?;
    line.push('\n');
    stream.write_all(line.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    /// What a client gets from a daemon that answers `bytes` and goes.
    fn answered(bytes: &'static [u8]) -> Result<Response, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let daemon = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            BufReader::new(stream.try_clone().unwrap()).read_line(&mut String::new()).unwrap();
            stream.write_all(bytes).unwrap();
        });
        let response = ask(&path, &Request::Reload);
        daemon.join().unwrap();
        response
    }

    #[test]
    fn a_daemon_that_is_not_there_breaks_off_or_talks_strangely_is_told_apart() {
        let nobody = ask(Path::new("/nowhere/control.sock"), &Request::Status).unwrap_err();
        assert!(nobody.to_string().contains("Is it running?"), "{nobody}");
        let broken = answered(b"").unwrap_err();
        assert!(matches!(broken, Error::BrokeOff { .. }), "{broken}");
        assert!(matches!(answered(b"{\"answer\":\"perhaps\"}\n"), Err(Error::Unknown { .. })));
        let refused = answered(b"{\"answer\":\"refused\",\"message\":\"no\"}\n").unwrap();
        assert_eq!(refused, Response::Refused { message: "no".to_owned() });
    }

    #[test]
    fn missing_rights_and_silence_have_their_own_words() {
        let path = || PathBuf::from("/run/lb/control.sock");
        let denied = unreached(path(), io::ErrorKind::PermissionDenied.into()).to_string();
        assert!(denied.ends_with("run as root"), "{denied}");
        let silent = broken(path(), io::ErrorKind::WouldBlock.into()).to_string();
        assert!(silent.contains("within 30 s"), "{silent}");
    }
}
