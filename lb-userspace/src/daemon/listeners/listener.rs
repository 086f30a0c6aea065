//! One listener: the socket it has, or why it has none.

use super::RETRY;
use super::table::{Families, ListenerKey};
use crate::kernel::Door;
use crate::kernel::owner::{Found, Process};
use lb_common::abi::ListenerId;
use socket2::{Domain, SockRef};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Instant;
use std::{fmt, io};

/// A listener and its place in the kernel's map.
#[derive(Debug)]
pub(super) struct Listener {
    key: ListenerKey,
    place: ListenerId,
    families: Families,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Not looked for yet.
    Unseen,
    /// No socket waits there.
    Absent,
    /// A socket waits there, and its process is looked for; with the kernel's refusal, if it gave one so far.
    Sought { inode: u64, refusal: Option<String> },
    /// Connections land on it; with what does not, if anything.
    Held { inode: u64, process: Option<Process>, lack: Option<&'static str> },
    /// A socket waits there that cannot be used.
    Unusable { inode: u64, reason: String, since: Instant },
}

impl Listener {
    pub(super) const fn new(key: ListenerKey, place: ListenerId, families: Families) -> Self {
        Self { key, place, families, state: State::Unseen }
    }

    pub(super) const fn place_of(&self) -> ListenerId {
        self.place
    }

    /// The socket it has or is about to have.
    pub(super) const fn inode(&self) -> Option<u64> {
        match &self.state {
            State::Unseen | State::Absent => None,
            State::Sought { inode, .. } | State::Held { inode, .. } | State::Unusable { inode, .. } => {
                Some(*inode)
            }
        }
    }

    /// The socket to search for; one that could not be used is searched for again after a while.
    pub(super) fn sought(&self) -> Option<u64> {
        match &self.state {
            State::Sought { inode, .. } => Some(*inode),
            State::Unusable { inode, since, .. } if since.elapsed() >= RETRY => Some(*inode),
            _ => None,
        }
    }

    pub(super) const fn is_held(&self) -> bool {
        matches!(self.state, State::Held { .. })
    }

    /// Takes note of the families that rules lead here. A socket that was looked at for others is looked at anew.
    pub(super) fn want(&mut self, families: Families) {
        if let (true, Some(inode)) = (self.families != families, self.inode()) {
            self.state = State::Sought { inode, refusal: None };
        }
        self.families = families;
    }

    /// Takes note of the socket that waits there now.
    pub(super) fn see(&mut self, door: &mut Door, chosen: Option<u64>) {
        match (chosen, &self.state) {
            (None, State::Absent) => {}
            (None, _) => {
                self.leave(Some(door));
                self.change(State::Absent);
            }
            (Some(inode), _) if self.inode() == Some(inode) => {}
            (Some(inode), _) => self.change(State::Sought { inode, refusal: None }),
        }
    }

    /// Takes a socket that a search found.
    pub(super) fn take(&mut self, door: &mut Door, found: &Found) {
        match &found.socket {
            Ok(socket) => self.put(door, found.inode, socket.as_fd(), Some(&found.process)),
            Err(error) => self.note_refusal(found, error),
        }
    }

    /// Has connections land on a socket.
    pub(super) fn put(
        &mut self,
        door: &mut Door,
        inode: u64,
        socket: BorrowedFd<'_>,
        process: Option<&Process>,
    ) {
        let lack = match self.find_lack(socket) {
            Ok(lack) => lack,
            Err(reason) => return self.give_up_on(inode, reason),
        };
        let state = match door.place(self.place, socket) {
            Ok(()) => State::Held { inode, process: process.cloned(), lack },
            Err(error) => return self.give_up_on(inode, super::chain(&error)),
        };
        self.change(state);
    }

    /// Gives up what was sought and is held by no process that can be seen.
    pub(super) fn give_up(&mut self) {
        let (inode, reason) = match &self.state {
            State::Sought { inode, refusal } => (*inode, refusal.as_deref().unwrap_or(INVISIBLE)),
            State::Unusable { inode, reason, .. } => (*inode, reason.as_str()),
            _ => return,
        };
        self.give_up_on(inode, reason.to_owned());
    }

    /// Takes the socket out of its place.
    pub(super) fn leave(&self, door: Option<&mut Door>) {
        if let Some(Err(error)) = door.map(|door| door.clear(self.place)) {
            tracing::warn!(listener = %self.key, "{}", super::chain(&error));
        }
    }

    fn note_refusal(&mut self, found: &Found, error: &io::Error) {
        let refusal = format!(
            "{} does not let go of its socket ({error}); the daemon needs CAP_SYS_PTRACE, and Linux 5.6 or newer",
            found.process
        );
        self.state = State::Sought { inode: found.inode, refusal: Some(refusal) };
    }

    fn give_up_on(&mut self, inode: u64, reason: String) {
        self.change(State::Unusable { inode, reason, since: Instant::now() });
    }

    /// What of its traffic a socket does not take; an error if it takes none.
    fn find_lack(&self, socket: BorrowedFd<'_>) -> Result<Option<&'static str>, String> {
        let takes = families(socket).map_err(|error| format!("its socket cannot be asked: {error}"))?;
        match (self.families.v4 && !takes.v4, self.families.v6 && !takes.v6) {
            (true, _) if !self.families.v6 => Err(NO_IPV4.to_owned()),
            (_, true) if !self.families.v4 => Err(NO_IPV6.to_owned()),
            (true, _) => Ok(Some(NO_IPV4)),
            (_, true) => Ok(Some(NO_IPV6)),
            _ => Ok(None),
        }
    }

    /// Goes into another state, and says so if it tells something new.
    fn change(&mut self, state: State) {
        let before = std::mem::replace(&mut self.state, state).to_string();
        let (listener, now) = (&self.key, self.state.to_string());
        match &self.state {
            _ if before == now => {}
            State::Unseen | State::Sought { .. } => {}
            State::Held { lack: None, .. } => tracing::info!(%listener, "services land on {now}"),
            State::Held { .. } => tracing::warn!(%listener, "services land on {now}"),
            State::Absent | State::Unusable { .. } => {
                tracing::warn!(%listener, "services reach no listener: {now}");
            }
        }
    }
}

const NO_IPV4: &str = "it takes IPv6 only (IPV6_V6ONLY), so no IPv4 lands on it";
const NO_IPV6: &str = "it is an IPv4 socket, so no IPv6 lands on it; listen on [::]";
const INVISIBLE: &str = "a socket waits there, and no process that can be seen holds it; the daemon must run in the same PID \
    namespace, with CAP_SYS_PTRACE";

/// The families whose packets a socket takes.
fn families(socket: BorrowedFd<'_>) -> io::Result<Families> {
    let socket = SockRef::from(&socket);
    let v6 = socket.domain()? == Domain::IPV6;
    Ok(Families { v4: !v6 || !socket.only_v6()?, v6 })
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.state.fmt(f)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unseen => f.write_str("not looked for yet"),
            Self::Absent => f.write_str("nobody listens there"),
            Self::Sought { .. } => f.write_str("its process is looked for"),
            Self::Held { process, lack, .. } => {
                match process {
                    Some(process) => write!(f, "{process}")?,
                    None => f.write_str("this daemon")?,
                }
                lack.map_or(Ok(()), |lack| write!(f, "; {lack}"))
            }
            Self::Unusable { reason, .. } => f.write_str(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Protocol;
    use socket2::{Socket, Type};
    use std::time::Duration;

    const BOTH: Families = Families { v4: true, v6: true };
    const V4: Families = Families { v4: true, v6: false };
    const V6: Families = Families { v4: false, v6: true };

    fn listener(families: Families) -> Listener {
        let key = ListenerKey { protocol: Protocol::Tcp, address: "127.0.0.1:80".parse().unwrap() };
        Listener::new(key, ListenerId::from_bits(0), families)
    }

    fn lack(families: Families, socket: &Socket) -> Result<bool, ()> {
        let lack = listener(families).find_lack(socket.as_fd());
        lack.map(|lack| lack.is_some()).map_err(drop)
    }

    #[test]
    fn a_socket_is_asked_what_it_takes() {
        let v4 = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let [dual, v6] = [false, true].map(|only| {
            let socket = Socket::new(Domain::IPV6, Type::STREAM, None).unwrap();
            socket.set_only_v6(only).unwrap();
            socket
        });
        assert_eq!([V4, V6, BOTH].map(|families| lack(families, &v4)), [Ok(false), Err(()), Ok(true)]);
        assert_eq!([V4, V6, BOTH].map(|families| lack(families, &v6)), [Err(()), Ok(false), Ok(true)]);
        assert_eq!([V4, V6, BOTH].map(|families| lack(families, &dual)), [Ok(false); 3]);
    }

    #[test]
    fn what_no_process_holds_is_searched_for_again_after_a_while() {
        let mut listener = listener(V4);
        listener.state = State::Sought { inode: 7, refusal: None };
        assert_eq!(listener.sought(), Some(7));
        listener.give_up();
        assert_eq!((listener.sought(), listener.inode()), (None, Some(7)));
        assert!(listener.to_string().contains("CAP_SYS_PTRACE"), "{listener}");
        let Some(since) = Instant::now().checked_sub(RETRY + Duration::from_secs(1)) else { return };
        listener.state = State::Unusable { inode: 7, reason: "because".into(), since };
        assert_eq!(listener.sought(), Some(7));
        listener.give_up();
        assert_eq!((listener.sought(), listener.to_string()), (None, "because".to_owned()));
    }

    #[test]
    fn a_socket_is_looked_at_anew_for_another_family() {
        let mut listener = listener(V4);
        listener.state = State::Held { inode: 7, process: None, lack: None };
        listener.want(V4);
        assert!(listener.is_held() && listener.to_string() == "this daemon");
        listener.want(BOTH);
        assert_eq!(listener.sought(), Some(7));
    }
}
