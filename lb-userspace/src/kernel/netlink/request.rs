//! The questions put to the kernel.

use super::super::nexthop::{self, Links, Neighbour, NeighbourKey, NextHopError, Route};
use super::super::{Link, NetlinkError};
use futures_util::{StreamExt, TryStreamExt};
use rtnetlink::packet_route::neighbour::{NeighbourFlags, NeighbourState};
use rtnetlink::packet_route::route::RouteMessage;
use rtnetlink::{Handle, RouteMessageBuilder};
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Route lookups on their way at once, so that their answers fit a socket buffer of the default size.
const LOOKUPS: usize = 32;

/// All interfaces.
pub(super) async fn request_links(requests: &Handle) -> Result<Links, NetlinkError> {
    let links = requests.link().get().execute().map_ok(|message| Link::parse(&message));
    let links: Vec<Link> = links.try_collect().await.map_err(failed("list the interfaces"))?;
    Ok(links.into_iter().map(|link| (link.index, link)).collect())
}

/// The neighbours of both families.
pub(super) async fn request_neighbours(
    requests: &Handle,
) -> Result<HashMap<NeighbourKey, Neighbour>, NetlinkError> {
    let dump = requests.neighbours().get().execute();
    let parsed = dump.try_filter_map(async |message| Ok(Neighbour::parse(&message)));
    parsed.try_collect().await.map_err(failed("list the neighbours"))
}

/// The way to each of these addresses.
pub(super) async fn request_routes(
    requests: &Handle,
    addresses: &BTreeSet<IpAddr>,
) -> Result<HashMap<IpAddr, Result<Route, NextHopError>>, NetlinkError> {
    let lookups = addresses.iter().map(|address| request_route(requests, *address));
    futures_util::stream::iter(lookups).buffer_unordered(LOOKUPS).try_collect().await
}

/// The way to one address; that there is none is an answer too.
async fn request_route(
    requests: &Handle,
    address: IpAddr,
) -> Result<(IpAddr, Result<Route, NextHopError>), NetlinkError> {
    if let Some(error) = nexthop::refuse(address) {
        return Ok((address, Err(error)));
    }
    let mut answers = std::pin::pin!(requests.route().get(question(address)).execute());
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

fn question(address: IpAddr) -> RouteMessage {
    match address {
        IpAddr::V4(address) => RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(address, 32).build(),
        IpAddr::V6(address) => {
            RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(address, 128).build()
        }
    }
}

/// Has the kernel ask who has an address, as `ip neighbour … use` does.
pub(super) async fn look_for(requests: &Handle, index: u32, address: IpAddr) -> Result<(), rtnetlink::Error> {
    requests
        .neighbours()
        .add(index, address)
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
