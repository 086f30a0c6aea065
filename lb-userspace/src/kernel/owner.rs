//! Whose a socket is, and a descriptor of our own for it.
//!
//! The kernel does not tell which process holds a socket; only the processes' descriptors do. On a busy host there are
//! hundreds of thousands of them, so a thread of its own goes through them.
#![allow(unsafe_code, reason = "the two system calls have no safe wrapper")]

use nix::sys::stat::fstat;
use std::collections::BTreeSet;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Instant;
use std::{fmt, fs, io, thread};

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub id: u32,
    /// Its name.
    pub name: String,
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} ({})", self.id, self.name)
    }
}

/// A socket that a process holds.
#[derive(Debug)]
pub struct Found {
    /// The socket.
    pub inode: u64,
    /// A process that holds it; others may as well.
    pub process: Process,
    /// The same socket for us, or why the kernel does not hand it out. Drop it soon: while it is open the socket waits
    /// on, even if its process is gone.
    pub socket: io::Result<OwnedFd>,
}

/// What a search has to tell.
#[derive(Debug)]
pub enum Answer {
    /// A socket, or why it cannot be had; a process that holds the same socket may still yield it.
    Found(Found),
    /// Nothing yet.
    NotYet,
    /// There is no more to come.
    Over,
}

/// A search for the processes that hold sockets, under way.
#[derive(Debug)]
pub struct Search {
    inodes: BTreeSet<u64>,
    answers: Receiver<Found>,
}

impl Search {
    /// Begins to look for these sockets. Dropping the search ends it at the next one found.
    #[must_use]
    pub fn begin(inodes: BTreeSet<u64>) -> Self {
        let (found, answers) = channel();
        let sought = inodes.clone();
        thread::spawn(move || search(sought, |owner| found.send(owner).is_ok()));
        Self { inodes, answers }
    }

    /// Whether this socket is among those it looks for.
    #[must_use]
    pub fn covers(&self, inode: Option<u64>) -> bool {
        inode.is_some_and(|inode| self.inodes.contains(&inode))
    }

    /// The next answer, waiting for it until then at most.
    #[must_use]
    pub fn next(&self, deadline: Instant) -> Answer {
        match self.answers.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(found) => Answer::Found(found),
            Err(RecvTimeoutError::Timeout) => Answer::NotYet,
            Err(RecvTimeoutError::Disconnected) => Answer::Over,
        }
    }
}

/// Goes through all processes, the youngest first: a socket that is new is likely theirs.
fn search(mut inodes: BTreeSet<u64>, mut tell: impl FnMut(Found) -> bool) {
    for process in processes() {
        for (descriptor, inode) in sockets(process) {
            if !inodes.contains(&inode) {
                continue;
            }
            let found = find(process, descriptor, inode);
            if found.socket.is_ok() {
                inodes.remove(&inode);
            }
            if !tell(found) || inodes.is_empty() {
                return;
            }
        }
    }
}

fn find(process: u32, descriptor: RawFd, inode: u64) -> Found {
    let name = fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
    let process = Process { id: process, name: name.trim().to_owned() };
    Found { inode, socket: duplicate(process.id, descriptor, inode), process }
}

fn processes() -> Vec<u32> {
    let mut processes: Vec<u32> = numbers(Path::new("/proc")).collect();
    processes.sort_unstable_by(|a, b| b.cmp(a));
    processes
}

/// The sockets among a process's descriptors; none if they may not be seen.
fn sockets(process: u32) -> impl Iterator<Item = (RawFd, u64)> {
    let folder = format!("/proc/{process}/fd");
    let descriptors = numbers(Path::new(&folder));
    descriptors.filter_map(move |descriptor: RawFd| {
        let target = fs::read_link(format!("{folder}/{descriptor}")).ok()?;
        Some((descriptor, parse_socket(target.to_str()?)?))
    })
}

/// The names in a folder that are numbers.
fn numbers<N: std::str::FromStr>(folder: &Path) -> impl Iterator<Item = N> + use<N> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn parse_socket(target: &str) -> Option<u64> {
    target.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// A descriptor of our own for a process's socket, if it still is that socket.
fn duplicate(process: u32, descriptor: RawFd, inode: u64) -> io::Result<OwnedFd> {
    let process = open_process(process)?;
    // SAFETY: no memory is handed over; a negative result is no descriptor and is refused.
    let number =
        unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), descriptor, 0 as libc::c_uint) };
    let socket = own(number)?;
    if inode_of(&socket)? != inode {
        return Err(io::Error::other("it was closed meanwhile"));
    }
    Ok(socket)
}

fn open_process(process: u32) -> io::Result<OwnedFd> {
    // SAFETY: as above.
    own(unsafe { libc::syscall(libc::SYS_pidfd_open, process, 0 as libc::c_uint) })
}

/// The number of a socket.
pub fn inode_of(socket: impl AsFd) -> io::Result<u64> {
    Ok(fstat(socket)?.st_ino)
}

fn own(number: libc::c_long) -> io::Result<OwnedFd> {
    match RawFd::try_from(number) {
        // SAFETY: the kernel just made the descriptor for us, and nobody else knows of it.
        Ok(number) if number >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(number) }),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::time::Duration;

    #[test]
    fn only_sockets_have_a_sockets_number() {
        assert_eq!(parse_socket("socket:[4711]"), Some(4711));
        for target in ["socket:[]", "pipe:[4711]", "/dev/null", "anon_inode:[eventpoll]"] {
            assert_eq!(parse_socket(target), None);
        }
    }

    #[test]
    fn a_socket_of_this_process_is_found_and_shared() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let inode = inode_of(&listener).unwrap();
        let search = Search::begin(BTreeSet::from([inode]));
        let Answer::Found(found) = search.next(Instant::now() + Duration::from_secs(20)) else { panic!() };
        assert_eq!((found.inode, found.process.id), (inode, std::process::id()));
        let copy = TcpListener::from(found.socket.unwrap());
        assert_eq!(copy.local_addr().unwrap(), listener.local_addr().unwrap());
    }

    #[test]
    fn a_search_for_what_nobody_has_ends() {
        let search = Search::begin(BTreeSet::from([u64::MAX]));
        let answer = search.next(Instant::now() + Duration::from_secs(20));
        assert!(matches!(answer, Answer::Over), "{answer:?}");
    }
}
