//! Services that end on this host, and the sockets that take their connections and datagrams.
//!
//! A listener is a socket that any process of this host waits on. The daemon finds it, puts it where the kernel program
//! finds it ([`Door`]), makes the services' prefixes local, and looks each second whether the socket is still there: a
//! process that is started again waits on a new one. Without such services nothing is loaded and no route is set.
//!
//! TCP needs nothing of the listener. A UDP listener must answer from the address that was asked (`IP_PKTINFO`), and
//! answers from its own port, which should therefore be the service's.

mod listener;
mod routes;
mod table;

pub use table::{ListenRule, ListenerKey};

use super::balancer::chain;
use crate::config::Protocol;
use crate::kernel::owner::{Answer, Search, inode_of};
use crate::kernel::{Door, ListenError, Prefix, waiting};
use lb_common::abi::{ListenerId, limits};
use listener::Listener;
use routes::Routes;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};
use table::Crowded;

/// How long a look waits for a search. Most hosts are searched through in less, so that a new socket is taken in the look
/// that sees it; the rest is for the next.
const PATIENCE: Duration = Duration::from_millis(20);
/// Time until what failed is tried again: opening the door, or the search for a socket that no process seemed to hold.
const RETRY: Duration = Duration::from_secs(10);

/// What the operator sees of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerStatus {
    /// Where it waits.
    pub listener: ListenerKey,
    /// Whether connections land on it.
    pub is_held: bool,
    /// Who waits there, or why nobody is reached.
    pub state: String,
}

/// Why listeners cannot be followed.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Crowded(#[from] Crowded),
    #[error("cannot list the sockets of this host (/proc/thread-self/net)")]
    Sockets(#[source] io::Error),
}

/// The listeners of all services. Dropping them takes the program and the routes away.
#[derive(Debug, Default)]
pub struct Listeners {
    rules: Vec<ListenRule>,
    known: BTreeMap<ListenerKey, Listener>,
    door: Option<Door>,
    routes: Routes,
    search: Option<Search>,
    trouble: Option<Trouble>,
}

/// What keeps all of them from being followed.
#[derive(Debug)]
struct Trouble {
    reason: String,
    since: Instant,
}

impl Listeners {
    /// None yet, and what an earlier daemon of this host left behind.
    #[must_use]
    pub fn inherit() -> Self {
        Self { routes: Routes::inherit(), ..Self::default() }
    }

    /// Follows the rules and the host's sockets; for the start, for every reload, and for each second.
    pub fn follow(&mut self, rules: &[ListenRule]) {
        let changed = self.rules != rules;
        let waits = self.trouble.as_ref().is_some_and(|trouble| trouble.since.elapsed() < RETRY);
        if waits && !changed {
            return;
        }
        if rules.iter().all(|rule| rule.listener.is_none()) {
            *self = Self { rules: rules.to_vec(), ..Self::default() };
            return;
        }
        let adopt = changed || self.trouble.is_some();
        self.rules = rules.to_vec();
        let followed = if adopt { self.adopt() } else { Ok(()) };
        let followed = followed.and_then(|()| self.look());
        self.note(followed);
    }

    /// Has a listener use this socket from now on, without a search: for a process that has it at hand.
    pub fn place(&mut self, listener: ListenerKey, socket: BorrowedFd<'_>) -> io::Result<()> {
        let (Some(door), Some(listener)) = (&mut self.door, self.known.get_mut(&listener)) else {
            return Err(io::Error::other("no service names this listener"));
        };
        listener.put(door, inode_of(socket)?, socket, None);
        Ok(())
    }

    /// What there is to tell of each listener.
    #[must_use]
    pub fn status(&self) -> Vec<ListenerStatus> {
        let trouble = self.trouble.as_ref();
        let status = |(key, listener): (&ListenerKey, &Listener)| ListenerStatus {
            listener: *key,
            is_held: trouble.is_none() && listener.is_held(),
            state: trouble.map_or_else(|| listener.to_string(), |trouble| trouble.reason.clone()),
        };
        self.known.iter().map(status).collect()
    }

    /// Prefixes that should be local and are not, with the reason.
    pub fn unrouted(&self) -> impl Iterator<Item = (Prefix, &str)> {
        self.routes.complaints()
    }

    fn note(&mut self, followed: Result<(), Error>) {
        let Err(error) = followed else {
            self.trouble = None;
            return;
        };
        let reason = chain(&error);
        if self.trouble.as_ref().is_none_or(|trouble| trouble.reason != reason) {
            tracing::error!("services do not reach their listeners on this host: {reason}");
        }
        self.trouble = Some(Trouble { reason, since: Instant::now() });
    }

    /// Carries new rules out. Sockets of listeners that are no more leave first, so that an old rule never leads to a
    /// new listener in the same place.
    fn adopt(&mut self) -> Result<(), Error> {
        self.take_places();
        let places = |key: &ListenerKey| self.known.get(key).map(Listener::place_of);
        let table = table::build(&self.rules, places)?;
        let door = match &mut self.door {
            Some(door) => door,
            none => none.insert(Door::open()?),
        };
        door.write(&table).map_err(ListenError::from)?;
        self.routes.want(self.rules.iter().filter(|rule| rule.listener.is_some()).map(|rule| rule.prefix));
        Ok(())
    }

    /// Gives every listener that the rules name a place, and takes those of the others.
    fn take_places(&mut self) {
        let named = table::name(&self.rules);
        let gone = self.known.extract_if(.., |key, _| !named.contains_key(key));
        gone.for_each(|(_, listener)| listener.leave(self.door.as_mut()));
        let taken: BTreeSet<_> = self.known.values().map(Listener::place_of).collect();
        let mut free = places().filter(|place| !taken.contains(place));
        for (key, families) in named {
            match self.known.entry(key) {
                Entry::Occupied(mut listener) => listener.get_mut().want(families),
                // There are as many places as services, and a service names one listener at most.
                Entry::Vacant(vacant) => {
                    let place = free.next().unwrap_or(ListenerId::STACK);
                    vacant.insert(Listener::new(key, place, families));
                }
            }
        }
    }

    /// Looks which sockets there are, and takes those that are new.
    fn look(&mut self) -> Result<(), Error> {
        let Some(door) = &mut self.door else { return Ok(()) };
        self.routes.follow();
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            see(door, protocol, &mut self.known).map_err(Error::Sockets)?;
        }
        self.seek();
        Ok(())
    }

    /// Begins a search for what is sought, and takes in what was found.
    fn seek(&mut self) {
        if self.search.is_none() {
            let sought: BTreeSet<u64> = self.known.values().filter_map(Listener::sought).collect();
            self.search = (!sought.is_empty()).then(|| Search::begin(sought));
        }
        let deadline = Instant::now() + PATIENCE;
        while let (Some(search), Some(door)) = (&self.search, &mut self.door) {
            let named = self.known.values_mut().filter(|listener| listener.sought().is_some());
            match search.next(deadline) {
                Answer::Found(found) => named
                    .filter(|listener| listener.inode() == Some(found.inode))
                    .for_each(|listener| listener.take(door, &found)),
                Answer::NotYet => break,
                Answer::Over => {
                    named.filter(|one| search.covers(one.inode())).for_each(Listener::give_up);
                    self.search = None;
                }
            }
        }
    }
}

/// Shows the listeners of a protocol the sockets there are now.
fn see(
    door: &mut Door,
    protocol: Protocol,
    listeners: &mut BTreeMap<ListenerKey, Listener>,
) -> io::Result<()> {
    let mut listeners: Vec<_> = listeners.iter_mut().filter(|(key, _)| key.protocol == protocol).collect();
    let ports: BTreeSet<u16> = listeners.iter().map(|(key, _)| key.address.port()).collect();
    if ports.is_empty() {
        return Ok(());
    }
    let sockets = waiting::list(protocol, &ports)?;
    for (key, listener) in &mut listeners {
        listener.see(door, waiting::choose(&sockets, key.address, listener.inode()));
    }
    Ok(())
}

fn places() -> impl Iterator<Item = ListenerId> {
    (0..limits::LISTENERS).filter_map(|place| u16::try_from(place).ok()).map(ListenerId::from_bits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, SocketAddr};

    fn rule(port: u16, listener: Option<u16>) -> ListenRule {
        ListenRule {
            prefix: Prefix::new(Ipv4Addr::new(203, 0, 113, 0).into(), 24),
            ports: port..=port,
            protocol: Protocol::Tcp,
            listener: listener.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        }
    }

    #[test]
    fn without_a_listener_nothing_is_loaded_and_no_route_is_set() {
        let mut listeners = Listeners::default();
        listeners.follow(&[rule(80, None)]);
        assert!(listeners.door.is_none() && listeners.trouble.is_none());
        assert_eq!((listeners.status().len(), listeners.unrouted().count()), (0, 0));
    }

    #[test]
    fn what_keeps_all_from_being_followed_is_in_every_status_until_the_rules_change() {
        let crowd: Vec<_> = (1..=20).map(|port| rule(port, Some(port % 2 + 1))).collect();
        let mut listeners = Listeners::default();
        listeners.follow(&crowd);
        let since = listeners.trouble.as_ref().map(|trouble| trouble.since);
        listeners.follow(&crowd);
        assert!(since.is_some() && listeners.trouble.as_ref().map(|trouble| trouble.since) == since);
        let status = listeners.status();
        assert!(status.len() == 2 && status.iter().all(|status| !status.is_held));
        assert!(status[0].state.contains("203.0.113.0/24"), "{status:?}");
        listeners.follow(&[]);
        assert!(listeners.trouble.is_none() && listeners.status().is_empty());
    }
}
