//! The door of this host's stack: the program that names a socket for what services leave to this host, and its maps.
//!
//! It is an instance of the object of its own, without tables to speak of: a host whose services all go elsewhere has no
//! program in its search for sockets at all.

use super::maps::{Raw, failed, take};
use super::programs::{explain_program, load_uninterrupted};
use super::{LoadError, Programs, TableError};
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{MapData, SockMap};
use aya::programs::sk_lookup::SkLookupLink;
use aya::programs::{ProgramError, SkLookup};
use lb_common::abi::{ListenerId, Listening, PrefixKey};
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

const PROGRAM: &str = "lb_listen";
const LISTENING: &str = "LISTENING";
const LISTENERS: &str = "LISTENERS";

/// The network namespace of this thread; `/proc/self/ns/net` is that of the process's first.
const NAMESPACE: &str = "/proc/thread-self/ns/net";

/// Connections and datagrams cannot be handed to listeners.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The program was not loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The kernel would not put the program into the search for sockets.
    #[error("cannot attach `lb_listen` to this network namespace: {reason}")]
    Attach {
        /// What the errno means here, and what to try.
        reason: &'static str,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A map could not be written.
    #[error(transparent)]
    Table(#[from] TableError),
}

/// The attached program and its maps. Dropping it detaches the program, and so does the end of the process.
pub struct Door {
    listening: LpmTrie<MapData, [u32; 5], Raw<Listening>>,
    listeners: SockMap<MapData>,
    written: HashMap<PrefixKey, Listening>,
    _link: SkLookupLink,
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door").field("written", &self.written.len()).finish_non_exhaustive()
    }
}

impl Door {
    /// Loads the program and attaches it to this thread's network namespace. Nothing is written yet, so nothing changes.
    pub fn open() -> Result<Self, ListenError> {
        let mut programs = Programs::without_tables(0)?;
        let link = attach(&mut programs)?;
        let object = programs.object();
        let (listening, listeners) = (take(object, LISTENING)?, take(object, LISTENERS)?);
        Ok(Self { listening, listeners, written: HashMap::new(), _link: link })
    }

    /// Makes the table this one: what is new first, then what is no more goes. What stays is not touched.
    pub fn write(&mut self, table: &HashMap<PrefixKey, Listening>) -> Result<(), TableError> {
        for (prefix, listening) in table {
            if self.written.get(prefix) != Some(listening) {
                self.listening
                    .insert(&key(prefix), Raw(*listening), 0)
                    .map_err(failed("write to", LISTENING))?;
                self.written.insert(*prefix, *listening);
            }
        }
        let gone: Vec<_> =
            self.written.keys().filter(|prefix| !table.contains_key(prefix)).copied().collect();
        for prefix in gone {
            self.listening.remove(&key(&prefix)).map_err(failed("delete from", LISTENING))?;
            self.written.remove(&prefix);
        }
        Ok(())
    }

    /// Puts a listener's socket in its place, instead of one that may be there. The descriptor may be closed then; when the
    /// socket itself is closed, the kernel takes it out.
    pub fn place(&mut self, listener: ListenerId, socket: BorrowedFd<'_>) -> Result<(), TableError> {
        let place = listener.get().into();
        self.listeners.set(place, &socket.as_raw_fd(), 0).map_err(failed("put a socket into", LISTENERS))
    }

    /// Takes a listener's socket out; there may be none.
    pub fn clear(&mut self, listener: ListenerId) -> Result<(), TableError> {
        let cleared = self.listeners.clear_index(&listener.get().into());
        match cleared.map_err(failed("delete from", LISTENERS)) {
            // What sockmaps say of an empty place.
            Err(error) if matches!(error.source.raw_os_error(), Some(libc::EINVAL | libc::ENOENT)) => Ok(()),
            cleared => cleared,
        }
    }
}

fn key(prefix: &PrefixKey) -> Key<[u32; 5]> {
    Key::new(prefix.bits, prefix.to_words())
}

fn attach(programs: &mut Programs) -> Result<SkLookupLink, ListenError> {
    let missing = || LoadError::Incomplete { what: "program", name: PROGRAM };
    let program = programs.object().program_mut(PROGRAM).ok_or_else(missing)?;
    let program: &mut SkLookup = program.try_into().map_err(|_| missing())?;
    load_uninterrupted(|| program.load()).map_err(|error| explain_program(PROGRAM, error))?;
    let namespace = File::open(NAMESPACE).map_err(refused)?;
    let link = program.attach(namespace).map_err(attach_refused)?;
    program.take_link(link).map_err(attach_refused)
}

fn attach_refused(error: ProgramError) -> ListenError {
    refused(match error {
        ProgramError::SyscallError(error) => error.io_error,
        error => io::Error::other(error),
    })
}

fn refused(source: io::Error) -> ListenError {
    let reason = match source.raw_os_error() {
        Some(libc::EPERM) => "not permitted; run as root or grant CAP_NET_ADMIN and CAP_BPF",
        Some(libc::ENOENT) => "/proc is not there; mount it",
        // NETNS_BPF_MAX_PROGS is 64 (kernel/bpf/net_namespace.c).
        Some(libc::E2BIG) => "there are 64 such programs already; `bpftool link show` lists them",
        _ => "the kernel gave no reason; Linux 6.0 or newer is needed",
    };
    ListenError::Attach { reason, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_to_try() {
        let said = |errno| refused(io::Error::from_raw_os_error(errno)).to_string();
        assert!(said(libc::EPERM).contains("CAP_NET_ADMIN"));
        assert!(said(libc::E2BIG).contains("64"));
        assert!(said(libc::EINVAL).contains("6.0"));
    }
}
