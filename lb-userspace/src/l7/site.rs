//! What a worker serves: listeners with their routes, and services with the connections to their backends.
//!
//! A site is made whole of one configuration. What did not change is taken over from the one before, so that its
//! connections live on; a connection asks its [`Place`] for the listener's current settings at each request.

use super::http1::Limits;
use super::message::{Fields, Request};
use super::pool::Backend;
use super::route::Router;
use super::transport::Watch;
use crate::config::proxy::{self, Proxy};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

/// Everything that one worker serves.
#[derive(Debug)]
pub struct Site<W> {
    /// The configuration it was made of.
    pub proxy: Arc<Proxy>,
    doors: Vec<Rc<Door<W>>>,
    services: HashMap<String, Rc<Service<W>>>,
}

/// A listener: what holds for its connections.
#[derive(Debug)]
pub struct Door<W> {
    /// As configured.
    pub listener: proxy::Listener,
    /// What a head may take.
    pub limits: Limits,
    router: Router<Rc<Way<W>>>,
    fallback: Option<Rc<Way<W>>>,
    /// What all listeners have in common.
    pub proxy: Arc<Proxy>,
}

/// A listener's place in the worker, which outlives its settings.
#[derive(Debug)]
pub struct Place<W> {
    door: RefCell<Rc<Door<W>>>,
}

/// Where a route leads.
#[derive(Debug)]
pub struct Way<W> {
    /// The route; none for a listener's own service.
    pub route: Option<proxy::Route>,
    shares: Vec<(Rc<Service<W>>, u16)>,
}

/// A service and its backends.
#[derive(Debug)]
pub struct Service<W> {
    /// As configured.
    pub config: proxy::Service,
    /// In the order of the configuration.
    pub backends: Vec<Rc<Backend<W>>>,
    turn: Cell<usize>,
}

impl<W: Watch> Site<W> {
    /// A site of a configuration, which takes over what it shares with the former.
    pub fn new(proxy: &Arc<Proxy>, former: Option<&Self>) -> Result<Self, regex::Error> {
        let service = |config: &proxy::Service| {
            let kept = former.and_then(|former| former.services.get(&config.name));
            let kept = kept.filter(|kept| kept.config == *config).cloned();
            (config.name.clone(), kept.unwrap_or_else(|| Rc::new(Service::new(config, former))))
        };
        let services: HashMap<_, _> = proxy.services.iter().map(service).collect();
        let doors = proxy.listeners.iter().map(|listener| Door::new(listener, proxy, &services).map(Rc::new));
        Ok(Self { doors: doors.collect::<Result<_, _>>()?, proxy: Arc::clone(proxy), services })
    }

    /// Its listeners.
    pub fn doors(&self) -> &[Rc<Door<W>>] {
        &self.doors
    }

    /// Its services.
    pub fn services(&self) -> impl Iterator<Item = &Rc<Service<W>>> {
        self.services.values()
    }
}

impl<W: Watch> Door<W> {
    fn new(
        listener: &proxy::Listener,
        proxy: &Arc<Proxy>,
        services: &HashMap<String, Rc<Service<W>>>,
    ) -> Result<Self, regex::Error> {
        let here = |route: &&proxy::Route| route.listeners.is_empty() || route.listeners.contains(&listener.name);
        let ways = proxy.routes.iter().filter(here).map(|route| (route, Rc::new(Way::of(route, services))));
        let fallback = listener.service.as_ref().and_then(|name| services.get(name));
        Ok(Self {
            router: Router::new(ways)?,
            fallback: fallback.map(|service| Rc::new(Way { route: None, shares: vec![(Rc::clone(service), 1)] })),
            limits: limits(&listener.limits),
            listener: listener.clone(),
            proxy: Arc::clone(proxy),
        })
    }

    /// Where a request goes.
    pub fn find<F: Fields + ?Sized>(&self, request: &Request<'_, F>) -> Option<&Rc<Way<W>>> {
        self.router.find(request).or(self.fallback.as_ref())
    }
}

fn limits(limits: &proxy::ClientLimits) -> Limits {
    let size = |value: u32| usize::try_from(value).unwrap_or(usize::MAX);
    Limits { head: size(limits.head), line: size(limits.line), fields: limits.fields.into() }
}

impl<W> Place<W> {
    /// A place for a listener.
    pub const fn new(door: Rc<Door<W>>) -> Self {
        Self { door: RefCell::new(door) }
    }

    /// Its settings now.
    pub fn door(&self) -> Rc<Door<W>> {
        Rc::clone(&self.door.borrow())
    }

    /// Gives it other settings.
    pub fn refit(&self, door: Rc<Door<W>>) {
        self.door.replace(door);
    }
}

impl<W> Way<W> {
    fn of(route: &proxy::Route, services: &HashMap<String, Rc<Service<W>>>) -> Self {
        let shares = match &route.action {
            proxy::Action::Forward(shares) => shares.as_slice(),
            _ => &[],
        };
        let share = |share: &proxy::Share| Some((Rc::clone(services.get(&share.service)?), share.weight));
        Self { shares: shares.iter().filter_map(share).collect(), route: Some(route.clone()) }
    }

    /// The service that a request goes to which drew this number, by share.
    pub fn service(&self, drawn: u32) -> Option<&Rc<Service<W>>> {
        if let [(only, _)] = self.shares.as_slice() {
            return Some(only);
        }
        let whole: u32 = self.shares.iter().map(|(_, weight)| u32::from(*weight)).sum();
        let mut at = drawn.checked_rem(whole)?;
        let mut shares = self.shares.iter();
        let holds = |(_, weight): &&(Rc<Service<W>>, u16)| match at.checked_sub(u32::from(*weight)) {
            Some(left) => {
                at = left;
                false
            }
            None => true,
        };
        shares.find(holds).map(|(service, _)| service)
    }
}

impl<W: Watch> Service<W> {
    fn new(config: &proxy::Service, former: Option<&Site<W>>) -> Self {
        let former = former.and_then(|former| former.services.get(&config.name));
        let backend = |config: &proxy::Backend| {
            let kept = former.and_then(|former| former.backends.iter().find(|kept| kept.addr == config.addr));
            kept.map_or_else(|| Rc::new(Backend::new(config.addr)), Rc::clone)
        };
        let backends = config.backends.iter().map(backend).collect();
        Self { backends, config: config.clone(), turn: Cell::new(0) }
    }

    /// The backend whose turn it is, of those that are up.
    pub fn choose(&self) -> Option<&Rc<Backend<W>>> {
        let count = self.backends.len();
        let turn = self.turn.get();
        let next = (0..count).map(|step| (turn + step) % count.max(1));
        let (place, chosen) = next
            .filter_map(|place| Some((place, self.backends.get(place)?)))
            .find(|(_, backend)| backend.is_up.get())?;
        self.turn.set(place + 1);
        Some(chosen)
    }
}
