//! The ways to the backends, found by netlink and kept current.
//!
//! One task watches the kernel's notices of links, addresses, routes and neighbours. Any that may matter makes it ask
//! everything anew, once the burst is over: a few dumps and one route lookup an address are cheap, and an answer put
//! together from single changes would have to be right about all of them. Nothing is written to the kernel but the
//! request to look for a neighbour.

use super::nexthop::{self, Links, Neighbour, NeighbourKey, NextHop, NextHopError, Route};
use super::{Link, NetlinkError};
use futures_util::{StreamExt, TryStreamExt};
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::neighbour::{NeighbourFlags, NeighbourState};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::{Handle, MulticastGroup, RouteMessageBuilder};
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

/// The way to each watched address, or why there is none.
pub type NextHops = HashMap<Ipv4Addr, Result<NextHop, NextHopError>>;

/// Quiet time that ends a burst of notices: a link going up says a dozen things within a few milliseconds.
const BURST: Duration = Duration::from_millis(20);
/// The longest a burst may put off the answer.
const LONGEST_BURST: Duration = Duration::from_millis(100);
/// Time between two requests for a neighbour that does not answer: the kernel's own rate (`retrans_time_ms`).
const RETRY: Duration = Duration::from_secs(1);
/// Route lookups on their way at once, so that their answers fit a socket buffer of the default size.
const LOOKUPS: usize = 32;

/// Watches the ways to a set of addresses.
#[derive(Debug)]
pub struct Resolver {
    addresses: watch::Sender<BTreeSet<Ipv4Addr>>,
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
    pub fn watch(&self, addresses: BTreeSet<Ipv4Addr>) {
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
        let groups = [
            MulticastGroup::Link,
            MulticastGroup::Neigh,
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv4Rule,
            MulticastGroup::Ipv4Ifaddr,
        ];
        let (driver, _, notices) = rtnetlink::new_multicast_connection(&groups)?;
        tokio::task::spawn_local(driver);
        Ok(Self { requests, notices: notices.map(|(message, _)| message).boxed() })
    }
}

/// Ends when nobody asks or listens any more.
async fn run(mut connection: Connection, mut watched: watch::Receiver<BTreeSet<Ipv4Addr>>, publish: Publish) {
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
            () = retry(&known) => Wake::Now,
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
        sleep(RETRY).await;
        match Connection::open() {
            Ok(connection) => return connection,
            Err(error) => tracing::warn!(%error, "no netlink socket"),
        }
    }
}

/// When to look for a missing neighbour again; never, if none is missing.
async fn retry(known: &Known) {
    match known.missing.values().flatten().min() {
        Some(asked) => sleep_until(*asked + RETRY).await,
        None => std::future::pending().await,
    }
}

fn replace<T: PartialEq>(published: &mut Arc<T>, answers: T) -> bool {
    let changed = **published != answers;
    if changed {
        *published = Arc::new(answers);
    }
    changed
}

/// What is remembered from one answer to the next.
#[derive(Default)]
struct Known {
    /// Neighbours that the current answers go through, with the last address they had.
    hops: HashMap<NeighbourKey, Option<[u8; 6]>>,
    /// Those of them that must be looked for, with the time they last were.
    missing: HashMap<NeighbourKey, Option<Instant>>,
}

impl Known {
    /// Asks the kernel for everything and puts the answers together.
    async fn resolve(
        &mut self,
        requests: &Handle,
        addresses: &BTreeSet<Ipv4Addr>,
    ) -> Result<(Links, NextHops), NetlinkError> {
        let links = request_links(requests).await?;
        let routes = request_routes(requests, addresses).await?;
        let neighbours = request_neighbours(requests).await?;
        self.update(&routes, &neighbours);
        self.look_for_missing(requests).await;
        let answer = |(address, route): (Ipv4Addr, Result<Route, NextHopError>)| {
            let answer = route.and_then(|route| nexthop::build(&route, &links, self.hop(&route)));
            (address, answer)
        };
        let answers = routes.into_iter().map(answer).collect();
        Ok((links, answers))
    }

    fn hop(&self, route: &Route) -> Option<[u8; 6]> {
        self.hops.get(&route.neighbour()).copied().flatten()
    }

    /// Takes over the neighbours' addresses. One that the kernel forgot, or asks for again, keeps its old address until
    /// the kernel has asked in vain: the kernel forgets neighbours that it does not itself send to.
    fn update(
        &mut self,
        routes: &HashMap<Ipv4Addr, Result<Route, NextHopError>>,
        neighbours: &HashMap<NeighbourKey, Neighbour>,
    ) {
        let keys: BTreeSet<_> = routes.values().flatten().map(Route::neighbour).collect();
        let old = std::mem::take(&mut self.hops);
        let asked = std::mem::take(&mut self.missing);
        for key in keys {
            let remembered = old.get(&key).copied().flatten();
            let (address, is_missing) = match neighbours.get(&key) {
                Some(Neighbour::At(address)) => (Some(*address), false),
                Some(Neighbour::Silent) => (None, true),
                Some(Neighbour::Asked) | None => (remembered, true),
            };
            self.hops.insert(key, address);
            if is_missing {
                self.missing.insert(key, asked.get(&key).copied().flatten());
            }
        }
    }

    /// Asks the kernel to look for the missing neighbours, for each at most once in [`RETRY`].
    async fn look_for_missing(&mut self, requests: &Handle) {
        let now = Instant::now();
        for ((index, address), asked) in &mut self.missing {
            if asked.is_some_and(|asked| now < asked + RETRY) {
                continue;
            }
            *asked = Some(now);
            if let Err(error) = look_for(requests, *index, *address).await {
                tracing::debug!(%address, index, %error, "cannot look for the neighbour");
            }
        }
    }

    /// Whether a notice may change an answer. Of neighbours only those that answers go through count, since a busy
    /// network has notices of others all the time.
    fn may_change_by(&self, notice: &NetlinkPayload<RouteNetlinkMessage>) -> bool {
        match notice {
            NetlinkPayload::InnerMessage(
                RouteNetlinkMessage::NewNeighbour(message) | RouteNetlinkMessage::DelNeighbour(message),
            ) => Neighbour::parse(message).is_some_and(|(key, state)| self.may_change(key, state)),
            NetlinkPayload::InnerMessage(_) | NetlinkPayload::Overrun(_) => true,
            _ => false,
        }
    }

    fn may_change(&self, key: NeighbourKey, state: Neighbour) -> bool {
        match (self.hops.get(&key), state) {
            (None, _) => false,
            (Some(old), Neighbour::At(address)) => *old != Some(address) || self.missing.contains_key(&key),
            (Some(_), _) => true,
        }
    }
}

async fn request_links(requests: &Handle) -> Result<Links, NetlinkError> {
    let links = requests.link().get().execute().map_ok(|message| Link::parse(&message));
    let links: Vec<Link> = links.try_collect().await.map_err(failed("list the interfaces"))?;
    Ok(links.into_iter().map(|link| (link.index, link)).collect())
}

async fn request_neighbours(requests: &Handle) -> Result<HashMap<NeighbourKey, Neighbour>, NetlinkError> {
    let dump = requests.neighbours().get().set_address_family(AddressFamily::Inet).execute();
    let parsed = dump.try_filter_map(async |message| Ok(Neighbour::parse(&message)));
    parsed.try_collect().await.map_err(failed("list the neighbours"))
}

async fn request_routes(
    requests: &Handle,
    addresses: &BTreeSet<Ipv4Addr>,
) -> Result<HashMap<Ipv4Addr, Result<Route, NextHopError>>, NetlinkError> {
    let lookups = addresses.iter().map(|address| request_route(requests, *address));
    futures_util::stream::iter(lookups).buffer_unordered(LOOKUPS).try_collect().await
}

/// The way to one address; that there is none is an answer too.
async fn request_route(
    requests: &Handle,
    address: Ipv4Addr,
) -> Result<(Ipv4Addr, Result<Route, NextHopError>), NetlinkError> {
    let request = RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(address, 32).build();
    let mut answers = std::pin::pin!(requests.route().get(request).execute());
    let route = match answers.next().await {
        Some(Ok(message)) => Route::parse(address, &message),
        Some(Err(rtnetlink::Error::NetlinkError(error))) => {
            Err(NextHopError::NoRoute(error.to_io().to_string()))
        }
        Some(Err(error)) => return Err(failed("look up a route")(error)),
        None => Err(NextHopError::NoRoute("no answer".into())),
    };
    Ok((address, route))
}

/// Has the kernel ask who has an address, as `ip neighbour … use` does.
async fn look_for(requests: &Handle, index: u32, address: Ipv4Addr) -> Result<(), rtnetlink::Error> {
    requests
        .neighbours()
        .add(index, IpAddr::V4(address))
        .state(NeighbourState::None)
        .flags(NeighbourFlags::Use)
        .replace()
        .execute()
        .await
}

fn failed(operation: &'static str) -> impl Fn(rtnetlink::Error) -> NetlinkError {
    move |error| {
        let source = match error {
            rtnetlink::Error::NetlinkError(error) => error.to_io(),
            error => io::Error::other(error),
        };
        NetlinkError { operation, source }
    }
}
