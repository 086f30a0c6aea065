//! What becomes of the requests that a route takes.

use std::sync::Arc;

use super::ServiceId;
use crate::config::proxy::{self, RouteDeadlines};
use crate::l7::rewrite::{PathEdit, Redirect, RequestEdits, ResponseEdits};
use crate::l7::tally::RouteTally;

/// A route as it is carried out.
#[derive(Debug)]
pub struct Route {
    /// Its name; of a listener's own service `*`.
    pub name: Box<str>,
    /// What becomes of its requests.
    pub action: Action,
    /// How the path is changed on the way to the service.
    pub path: Option<PathEdit>,
    /// What the Host field says to backends, before what the service says.
    pub host: Option<Box<str>>,
    /// How the fields of requests are changed. Shared by all routes that change nothing of their own.
    pub request: Arc<RequestEdits>,
    /// How the fields of answers are changed. Shared like those.
    pub response: Arc<ResponseEdits>,
    /// Who gets a copy of each request.
    pub mirror: Option<ServiceId>,
    /// Bytes of a request's body.
    pub body_limit: Option<u64>,
    /// Deadlines of its own.
    pub deadlines: RouteDeadlines,
    /// Whether its requests are logged, where there is a log.
    pub log: bool,
    /// What was answered by it.
    pub tally: RouteTally,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Action {
    /// To a service.
    Forward(Shares),
    /// The client is sent elsewhere.
    Redirect(Redirect),
    /// A fixed answer.
    Respond(Answer),
}

/// A fixed answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its body.
    pub body: Box<[u8]>,
    /// Its `Content-Type`.
    pub content_type: Box<[u8]>,
}

impl From<&proxy::Respond> for Answer {
    fn from(respond: &proxy::Respond) -> Self {
        Self {
            status: respond.status,
            body: respond.body.as_bytes().into(),
            content_type: respond.content_type.as_bytes().into(),
        }
    }
}

/// Services by their share. Never none.
#[derive(Debug)]
pub struct Shares {
    /// Each with the sum of the weights up to its own.
    shares: Box<[(u32, ServiceId)]>,
}

impl Shares {
    /// Services with their weights, of which one at least is not 0.
    pub(super) fn new(services: impl IntoIterator<Item = (u16, ServiceId)>) -> Self {
        let mut sum = 0;
        let up_to = |(weight, service)| {
            sum += u32::from(weight);
            (sum, service)
        };
        Self { shares: services.into_iter().map(up_to).collect() }
    }

    /// The service of a request with these random bits.
    #[must_use]
    pub fn pick(&self, random: u32) -> Option<ServiceId> {
        match &*self.shares {
            [(_, only)] => Some(*only),
            shares => {
                let sum = shares.last()?.0;
                let drawn = u32::try_from((u64::from(random) * u64::from(sum)) >> 32).unwrap_or(0);
                shares.iter().find(|(up_to, _)| drawn < *up_to).map(|(_, service)| *service)
            }
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = ServiceId> {
        self.shares.iter().map(|(_, service)| *service)
    }
}
