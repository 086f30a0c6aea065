//! From a configuration and the snapshot before it to the next snapshot.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::route::Shares;
use super::{Action, Listener, Numbered, Route, Service, ServiceId, Settings};
use crate::config::proxy::{self, Edits, Forwarded, Proxy, RouteDeadlines, Share};
use crate::l7::log::Plan;
use crate::l7::rewrite::{Authorities, PathEdit, Redirect, RequestEdits, ResponseEdits, written_hsts};
use crate::l7::route::Router;
use crate::l7::tally::Tallies;

/// Why a configuration could not be compiled: what its check was to rule out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An expression does not compile.
    #[error("route \"{route}\": a regular expression that was checked does not compile")]
    Expression {
        /// Whose it is.
        route: String,
        /// What the compiler says.
        source: Box<regex::Error>,
    },
    /// A service is named that there is none of.
    #[error("route \"{route}\" names service \"{service}\", which there is none of")]
    NoService {
        /// Who names it.
        route: String,
        /// Its name.
        service: String,
    },
}

impl Settings {
    /// Compiles a configuration. What did not change since `former` is taken over, see the module.
    pub fn build(config: &Proxy, former: Option<&Self>) -> Result<Self, Error> {
        let tallies = Tallies::follow(config, former.map(|former| &former.tallies));
        let services = services(config, &tallies, former)?;
        let edits = SharedEdits::follow(config, former);
        let compiler = Compiler { config, services: &services, edits: &edits, tallies: &tallies };
        let listeners = Numbered::follow(
            former.map(|former| &former.listeners),
            &config.listeners,
            |listener| &listener.name,
            |listener, before| compiler.listener(listener, before),
        )?;
        let proxy =
            Proxy { listeners: Vec::new(), routes: Vec::new(), services: Vec::new(), ..config.clone() };
        let ledger = former.map(|former| Arc::clone(&former.ledger)).unwrap_or_default();
        Ok(Self { proxy, listeners, services, tallies, ledger, edits })
    }
}

fn services(
    config: &Proxy,
    tallies: &Tallies,
    former: Option<&Settings>,
) -> Result<Numbered<Service>, Error> {
    let build = |service: &proxy::Service, before: Option<&Arc<Service>>| {
        let now = proxy::Service { line: 0, ..service.clone() };
        Ok(match before.filter(|before| before.config == now) {
            Some(same) => Arc::clone(same),
            None => Arc::new(Service::new(now, tallies)),
        })
    };
    let former = former.map(|former| &former.services);
    Numbered::follow(former, &config.services, |service| &service.name, build)
}

impl Service {
    fn new(config: proxy::Service, all: &Tallies) -> Self {
        let addresses = config.backends.iter().map(|backend| backend.addr);
        let authorities = Authorities::new(addresses.clone(), config.host.as_deref());
        let tallies = addresses.map(|addr| (addr, all.backend(&config.name, addr))).collect();
        Self { config, authorities, tallies }
    }
}

/// What all edits depend on besides their route, and the edits of the routes that have none of their own.
#[derive(Debug)]
pub(super) struct SharedEdits {
    forwarded: Forwarded,
    via: String,
    certificates: BTreeSet<String>,
    hide: Vec<String>,
    server: Option<String>,
    request: Arc<RequestEdits>,
    response: Arc<ResponseEdits>,
}

impl SharedEdits {
    fn follow(config: &Proxy, former: Option<&Settings>) -> Arc<Self> {
        let now = Self::new(config);
        match former.map(|former| &former.edits).filter(|former| former.is_like(&now)) {
            Some(same) => Arc::clone(same),
            None => Arc::new(now),
        }
    }

    fn new(config: &Proxy) -> Self {
        let tls = config.listeners.iter().filter_map(|listener| listener.tls.as_ref()?.client.as_ref());
        let certificates: BTreeSet<String> = tls.map(|client| client.field.clone()).collect();
        let (none, names) = (Edits::default(), certificates.iter().map(String::as_str));
        let request = RequestEdits::new(&none, config.forwarded, &config.via, names);
        let response = ResponseEdits::new(&none, &config.hide, config.server.as_deref());
        Self {
            forwarded: config.forwarded,
            via: config.via.clone(),
            hide: config.hide.clone(),
            server: config.server.clone(),
            request: Arc::new(request),
            response: Arc::new(response),
            certificates,
        }
    }

    fn is_like(&self, other: &Self) -> bool {
        let own = |edits: &Self| (edits.forwarded, edits.server.clone());
        own(self) == own(other)
            && (&self.via, &self.certificates, &self.hide) == (&other.via, &other.certificates, &other.hide)
    }

    fn request(&self, edits: &Edits) -> Arc<RequestEdits> {
        if *edits == Edits::default() {
            return Arc::clone(&self.request);
        }
        let certificates = self.certificates.iter().map(String::as_str);
        Arc::new(RequestEdits::new(edits, self.forwarded, &self.via, certificates))
    }

    fn response(&self, edits: &Edits) -> Arc<ResponseEdits> {
        if *edits == Edits::default() {
            return Arc::clone(&self.response);
        }
        Arc::new(ResponseEdits::new(edits, &self.hide, self.server.as_deref()))
    }
}

/// What a listener's router was compiled of.
#[derive(Debug)]
pub(super) struct Origin {
    /// The listener's routes, without their lines.
    pub(super) routes: Vec<proxy::Route>,
    /// The numbers of the services that they name, in the order in which they do.
    services: Vec<ServiceId>,
    edits: Arc<SharedEdits>,
}

impl Origin {
    fn is_like(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.edits, &other.edits)
            && self.services == other.services
            && self.routes == other.routes
    }
}

/// What listeners and routes are compiled with.
struct Compiler<'a> {
    config: &'a Proxy,
    services: &'a Numbered<Service>,
    edits: &'a Arc<SharedEdits>,
    tallies: &'a Tallies,
}

impl Compiler<'_> {
    fn listener(
        &self,
        config: &proxy::Listener,
        before: Option<&Arc<Listener>>,
    ) -> Result<Arc<Listener>, Error> {
        let now = proxy::Listener { line: 0, ..config.clone() };
        let origin = self.origin(config)?;
        let config = before.map(|before| &before.config).filter(|before| ***before == now);
        let router = before.filter(|before| before.origin.is_like(&origin));
        if let (Some(before), true, true) = (before, config.is_some(), router.is_some()) {
            return Ok(Arc::clone(before));
        }
        let config = config.map_or_else(|| Arc::new(now), Arc::clone);
        let (router, origin) = match router {
            Some(before) => (Arc::clone(&before.router), Arc::clone(&before.origin)),
            None => (Arc::new(self.router(&config.name, &origin.routes)?), Arc::new(origin)),
        };
        let otherwise =
            config.service.as_ref().map(|service| self.otherwise(&config.name, service)).transpose()?;
        Ok(Arc::new(Listener {
            redirect: config.redirect_to_https.map(Redirect::to_https),
            hsts: config.hsts.as_ref().map(|hsts| written_hsts(hsts).into_bytes().into()),
            otherwise: otherwise.map(Arc::new),
            log: config.access_log.clone().map(|log| Arc::new(Plan::new(log))),
            unrouted: self.tallies.route(&config.name, Tallies::NONE),
            tally: before.map(|before| Arc::clone(&before.tally)).unwrap_or_default(),
            config,
            router,
            origin,
        }))
    }

    /// The routes of a listener, and what they depend on.
    fn origin(&self, listener: &proxy::Listener) -> Result<Origin, Error> {
        let is_its =
            |route: &&proxy::Route| route.listeners.is_empty() || route.listeners.contains(&listener.name);
        let bare = |route: &proxy::Route| proxy::Route { line: 0, ..route.clone() };
        let routes: Vec<_> = self.config.routes.iter().filter(is_its).map(bare).collect();
        let named = routes.iter().flat_map(|route| {
            route
                .action
                .services()
                .chain(route.mirror.as_deref())
                .map(|service| self.service(&route.name, service))
        });
        let own = listener.service.as_ref().map(|service| self.service(&listener.name, service));
        let services = named.chain(own).collect::<Result<_, _>>()?;
        Ok(Origin { services, routes, edits: Arc::clone(self.edits) })
    }

    fn router(&self, listener: &str, routes: &[proxy::Route]) -> Result<Router<Arc<Route>>, Error> {
        let compiled = routes.iter().map(|route| Ok(Arc::new(self.route(listener, route)?)));
        let compiled = compiled.collect::<Result<Vec<_>, Error>>()?;
        Router::new(routes.iter().zip(compiled)).map_err(|source| expression("", source))
    }

    fn route(&self, listener: &str, route: &proxy::Route) -> Result<Route, Error> {
        let path =
            route.rewrite.as_ref().map(|change| PathEdit::new(change, route.path.as_ref())).transpose();
        let mirror = route.mirror.as_ref().map(|service| self.service(&route.name, service));
        Ok(Route {
            name: route.name.as_str().into(),
            action: self.action(route)?,
            path: path.map_err(|source| expression(&route.name, source))?,
            host: route.host.as_deref().map(Into::into),
            request: self.edits.request(&route.request),
            response: self.edits.response(&route.response),
            mirror: mirror.transpose()?,
            body_limit: route.body_limit,
            deadlines: route.deadlines,
            log: route.log,
            tally: self.tallies.route(listener, &route.name),
        })
    }

    fn action(&self, route: &proxy::Route) -> Result<Action, Error> {
        Ok(match &route.action {
            proxy::Action::Forward(shares) => Action::Forward(self.shares(&route.name, shares)?),
            proxy::Action::Respond(respond) => Action::Respond(respond.into()),
            proxy::Action::Redirect(redirect) => {
                let redirect = Redirect::new(redirect, route.path.as_ref());
                Action::Redirect(redirect.map_err(|source| expression(&route.name, source))?)
            }
        })
    }

    fn shares(&self, route: &str, shares: &[Share]) -> Result<Shares, Error> {
        let numbered = shares.iter().map(|share| Ok((share.weight, self.service(route, &share.service)?)));
        Ok(Shares::new(numbered.collect::<Result<Vec<_>, Error>>()?))
    }

    /// The route of what no other takes.
    fn otherwise(&self, listener: &str, service: &str) -> Result<Route, Error> {
        Ok(Route {
            name: Tallies::OWN.into(),
            action: Action::Forward(Shares::new([(1, self.service(listener, service)?)])),
            path: None,
            host: None,
            request: Arc::clone(&self.edits.request),
            response: Arc::clone(&self.edits.response),
            mirror: None,
            body_limit: None,
            deadlines: RouteDeadlines::default(),
            log: true,
            tally: self.tallies.route(listener, Tallies::OWN),
        })
    }

    fn service(&self, route: &str, name: &str) -> Result<ServiceId, Error> {
        let none = || Error::NoService { route: route.to_owned(), service: name.to_owned() };
        self.services.number(name).ok_or_else(none)
    }
}

fn expression(route: &str, source: regex::Error) -> Error {
    Error::Expression { route: route.to_owned(), source: Box::new(source) }
}
