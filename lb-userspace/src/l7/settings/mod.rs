//! The configuration of layer 7 as workers read it: one immutable snapshot, swapped as a whole.
//!
//! A reload touches only what changed. A listener and a service keep their number as long as a configuration has one of their name,
//! and keep their very [`Arc`] as long as nothing of them changed. So a worker takes a new snapshot in by going over the numbers
//! and comparing by [`Arc::ptr_eq`]:
//!
//! - [`Listener::config`] the same: sockets, TLS and connections stay as they are. Else what differs in it says what to do, such
//!   as `addresses` (bind, close) and `tls` (read certificates anew); connections live on in either case.
//! - [`Listener::router`] the same: nothing of its routes or their services changed. It is looked up for each request, so a
//!   connection follows a new one by itself.
//! - [`Service`] the same: balancer and pools stay as they are. Else the balancer follows the new backends and the pools of those
//!   that are gone are closed.
//!
//! Pure: files that the configuration names are read elsewhere.

mod build;
mod numbered;
mod route;
#[cfg(test)]
mod tests;

pub use build::Error;
pub use numbered::{ByNumber, Number, Numbered};
pub use route::{Action, Answer, Route, Shares};

use std::net::SocketAddr;
use std::sync::Arc;

use super::census::Tally;
use super::log::Plan;
use super::memory::Ledger;
use super::message::{Fields, Request};
use super::rewrite::{Authorities, Redirect};
use super::route::Router;
use super::tally::{BackendTally, RouteTally, Tallies};
use crate::config::proxy;

/// A listener's number.
pub type ListenerId = Number<Listener>;
/// A service's number.
pub type ServiceId = Number<Service>;

/// One snapshot.
#[derive(Debug)]
pub struct Settings {
    /// What `[proxy]` says. Its lists of listeners, routes and services are empty: they are below.
    pub proxy: proxy::Proxy,
    /// Where clients connect.
    pub listeners: Numbered<Listener>,
    /// Who answers.
    pub services: Numbered<Service>,
    /// What was counted of them. It outlives reloads.
    pub tallies: Tallies,
    /// What all workers hold. It outlives the settings.
    pub ledger: Arc<Ledger>,
    edits: Arc<build::SharedEdits>,
}

/// Where clients connect, and which way their requests go.
#[derive(Debug)]
pub struct Listener {
    /// What the file says of it.
    pub config: Arc<proxy::Listener>,
    /// Its routes.
    pub router: Arc<Router<Arc<Route>>>,
    /// What takes the requests that no route takes.
    pub otherwise: Option<Arc<Route>>,
    /// Where everything is sent instead.
    pub redirect: Option<Redirect>,
    /// What answers say as `Strict-Transport-Security`.
    pub hsts: Option<Box<[u8]>>,
    /// Counts the requests that no route answers: refused ones, and those redirected as a whole.
    pub unrouted: RouteTally,
    /// How its requests are logged, if they are.
    pub log: Option<Arc<Plan>>,
    /// Its connections. It outlives the settings, as they do.
    pub tally: Arc<Tally>,
    origin: Arc<build::Origin>,
}

impl Listener {
    /// Its routes as the file says them, in its order.
    #[must_use]
    pub fn routes(&self) -> &[proxy::Route] {
        &self.origin.routes
    }

    /// Whether it asks of a connection that begins what this one asks: one that has begun otherwise may not go on for ever.
    #[must_use]
    pub fn greets_like(&self, other: &Self) -> bool {
        let (now, then) = (&*self.config, &*other.config);
        let [asked_now, asked_then] = [now, then].map(|config| config.tls.as_ref().map(|tls| &tls.client));
        Arc::ptr_eq(&self.config, &other.config)
            || (now.proxy_protocol == then.proxy_protocol && asked_now == asked_then)
    }

    /// The route of a request: the router's, else the listener's own service.
    #[must_use]
    pub fn route<F: Fields + ?Sized>(&self, request: &Request<'_, F>) -> Option<&Arc<Route>> {
        self.router.find(request).or(self.otherwise.as_ref())
    }
}

/// Who answers.
#[derive(Debug)]
pub struct Service {
    /// What the file says of it.
    pub config: proxy::Service,
    /// What its backends call themselves.
    pub authorities: Authorities,
    /// What was counted of each of its backends.
    pub tallies: Vec<(SocketAddr, BackendTally)>,
}

impl Service {
    /// What is counted of the backend at this address.
    #[must_use]
    pub fn tally(&self, addr: SocketAddr) -> Option<&BackendTally> {
        self.tallies.iter().find(|(other, _)| *other == addr).map(|(_, tally)| tally)
    }
}
