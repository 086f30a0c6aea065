//! The ways to the backends, found by netlink and kept current.
//!
//! One task watches the kernel's notices of links, addresses, routes and neighbours. Any that may matter makes it ask
//! everything anew, once the burst is over: a few dumps and one route lookup an address are cheap, and an answer put
//! together from single changes would have to be right about all of them. Nothing is written to the kernel but the
//! request to look for a neighbour.

mod known;
mod request;

use super::NetlinkError;
use super::nexthop::{Links, NextHop, NextHopError};
use futures_util::StreamExt;
use known::Known;
use rtnetlink::packet_core::NetlinkMessage;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::{Handle, MulticastGroup};
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

/// The way to each watched address, or why there is none.
pub type NextHops = HashMap<IpAddr, Result<NextHop, NextHopError>>;

/// Quiet time that ends a burst of notices: a link going up says a dozen things within a few milliseconds.
const BURST: Duration = Duration::from_millis(20);
/// The longest a burst may put off the answer.
const LONGEST_BURST: Duration = Duration::from_millis(100);
/// Time between two attempts to open the sockets again.
const RECONNECT: Duration = Duration::from_secs(1);

/// What an answer may hang on. The interfaces' IPv6 settings are a group of their own: a router may lower the MTU.
const GROUPS: [MulticastGroup; 9] = [
    MulticastGroup::Link,
    MulticastGroup::Neigh,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv4Rule,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Route,
    MulticastGroup::Ipv6Rule,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv6Ifinfo,
];

/// Watches the ways to a set of addresses.
#[derive(Debug)]
pub struct Resolver {
    addresses: watch::Sender<BTreeSet<IpAddr>>,
    /// The current answers; changes whenever an answer does.
    pub next_hops: watch::Receiver<Arc<NextHops>>,
    /// The host's interfaces; changes whenever one does.
    pub links: watch::Receiver<Arc<Links>>,
}

/// Where the watching task puts what it finds.
struct Publish {
    next_hops: watch::Sender<Arc<NextHops>>,
    links: watch::Sender<Arc<Links>>,
}

impl Publish {
    fn answers(&self, (links, next_hops): (Links, NextHops)) {
        self.links.send_if_modified(|published| replace(published, links));
        self.next_hops.send_if_modified(|published| replace(published, next_hops));
    }
}

impl Resolver {
    /// Starts the watching task on the current thread's [`tokio::task::LocalSet`] (or tokio-uring's runtime). It ends
    /// when the resolver and every copy of its receiver are dropped.
    pub fn start() -> Result<Self, NetlinkError> {
        let (addresses, watched) = watch::channel(BTreeSet::new());
        let (publish_next_hops, next_hops) = watch::channel(Arc::default());
        let (publish_links, links) = watch::channel(Arc::default());
        let publish = Publish { next_hops: publish_next_hops, links: publish_links };
        let connection = Connection::open()?;
        tokio::task::spawn_local(run(connection, watched, publish));
        Ok(Self { addresses, next_hops, links })
    }

    /// Watches these addresses from now on, and no others. The answers follow within milliseconds.
    pub fn watch(&self, addresses: BTreeSet<IpAddr>) {
        self.addresses.send_replace(addresses);
    }
}

/// Two sockets, so that a burst of notices cannot push out an answer.
struct Connection {
    requests: Handle,
    notices: Notices,
}

type Notices = futures_util::stream::BoxStream<'static, NetlinkMessage<RouteNetlinkMessage>>;

impl Connection {
    fn open() -> Result<Self, NetlinkError> {
        Self::connect().map_err(NetlinkError::new("open a socket"))
    }

    fn connect() -> io::Result<Self> {
        let (driver, requests, _) = rtnetlink::new_connection()?;
        tokio::task::spawn_local(driver);
        let (driver, _, notices) = rtnetlink::new_multicast_connection(&GROUPS)?;
        tokio::task::spawn_local(driver);
        Ok(Self { requests, notices: notices.map(|(message, _)| message).boxed() })
    }
}

/// Ends when nobody asks or listens any more.
async fn run(mut connection: Connection, mut watched: watch::Receiver<BTreeSet<IpAddr>>, publish: Publish) {
    let mut known = Known::default();
    loop {
        let addresses = watched.borrow_and_update().clone();
        match known.resolve(&connection.requests, &addresses).await {
            Ok(answers) => publish.answers(answers),
            Err(error) => {
                tracing::warn!(%error, "cannot ask for the ways to the backends; the old ones stay");
                connection = reconnect().await;
                continue;
            }
        }
        let wake = tokio::select! {
            changed = watched.changed() => if changed.is_ok() { Wake::Now } else { Wake::Never },
            relevant = next_notice(&mut connection.notices, &known) => relevant,
            () = known.retry() => Wake::Now,
            () = publish.next_hops.closed() => Wake::Never,
        };
        match wake {
            Wake::Now => {}
            Wake::AfterBurst => drain(&mut connection.notices).await,
            Wake::Closed => connection = reconnect().await,
            Wake::Never => return,
        }
    }
}

/// Why the task woke up.
enum Wake {
    Now,
    AfterBurst,
    Closed,
    Never,
}

/// The next notice that may change an answer.
async fn next_notice(notices: &mut Notices, known: &Known) -> Wake {
    while let Some(notice) = notices.next().await {
        if known.may_change_by(&notice.payload) {
            return Wake::AfterBurst;
        }
    }
    Wake::Closed
}

/// Throws away notices until there is a pause: all that they say is asked for afterwards.
async fn drain(notices: &mut Notices) {
    let end = Instant::now() + LONGEST_BURST;
    loop {
        let quiet = (Instant::now() + BURST).min(end);
        if !matches!(timeout_at(quiet, notices.next()).await, Ok(Some(_))) {
            return;
        }
    }
}

/// Opens new sockets after the old ones failed, however long it takes.
async fn reconnect() -> Connection {
    loop {
        sleep(RECONNECT).await;
        match Connection::open() {
            Ok(connection) => return connection,
            Err(error) => tracing::warn!(%error, "no netlink socket"),
        }
    }
}

fn replace<T: PartialEq>(published: &mut Arc<T>, answers: T) -> bool {
    let changed = **published != answers;
    if changed {
        *published = Arc::new(answers);
    }
    changed
}
