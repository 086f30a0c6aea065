//! What the operator orders of backends of layer 7: drains and weights. They are laid over the file's words, and hold until they
//! are taken back or the daemon ends.

use super::super::orders::{Ordered, find_backend};
use super::{Error, Front, Key};
use crate::config::proxy::{Proxy, Service};
use crate::l7::settings::Settings;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What was ordered of each backend.
#[derive(Clone, Debug, Default)]
pub(super) struct Orders(BTreeMap<Key, Said>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Said {
    drain: bool,
    weight: Option<u16>,
}

impl Orders {
    /// The configuration as it is to be served.
    pub(super) fn over(&self, proxy: &Proxy) -> Proxy {
        let mut proxy = proxy.clone();
        for service in &mut proxy.services {
            let Service { name, backends, .. } = service;
            for backend in backends {
                if let Some(said) = self.0.get(&(name.clone(), backend.addr)) {
                    backend.drain |= said.drain;
                    backend.weight = said.weight.unwrap_or(backend.weight);
                }
            }
        }
        proxy
    }

    /// Forgets what was ordered of backends that are no more.
    pub(super) fn follow(&mut self, proxy: &Proxy) {
        let is_there = |(name, addr): &Key| {
            proxy.service(name).is_some_and(|service| service.backends.iter().any(|one| one.addr == *addr))
        };
        self.0.retain(|key, _| is_there(key));
    }
}

impl Front {
    /// Whether a service is layer 7's.
    pub(in crate::daemon) fn has(&self, service: &str) -> bool {
        self.file.service(service).is_some()
    }

    /// Does what is ordered of a backend, and says what it changes.
    pub(in crate::daemon) fn order(
        &mut self,
        service: &str,
        backend: &str,
        ordered: Ordered,
    ) -> Result<String, String> {
        let names = self.file.services.iter().map(|service| service.name.as_str());
        let found =
            self.file.service(service).ok_or_else(|| super::super::orders::no_service(service, names))?;
        let present = found.backends.iter().map(|one| (one.name.as_str(), one));
        let member = find_backend(service, backend, present)?;
        let (key, by_file) = ((found.name.clone(), member.addr), (member.drain, member.weight));
        let before = self.orders.0.get(&key).copied().unwrap_or_default();
        if let Some(answer) = ordered.beside_the_point(by_file, (before.drain, before.weight)) {
            return Ok(format!("{service}/{backend} {answer}"));
        }
        let said = match ordered {
            Ordered::Drain { undo } => Said { drain: !undo, ..before },
            Ordered::Weight(weight) => Said { weight, ..before },
        };
        let former = self.orders.clone();
        self.orders.0.insert(key, said);
        if let Err(error) = self.serve_ordered() {
            self.orders = former;
            return Err(format!("{}\nnothing changed", super::super::chain(&error)));
        }
        Ok(format!(
            "{service}/{backend} {}{}",
            ordered.told("requests", by_file.1),
            self.warn_if_nobody_is_left(service)
        ))
    }

    /// Has the workers serve the file with the orders over it.
    fn serve_ordered(&mut self) -> Result<(), Error> {
        let settings = Settings::build(&self.orders.over(&self.file), Some(&self.snapshot.settings))?;
        self.snapshot.settings = Arc::new(settings);
        if let Some(workers) = &self.workers {
            workers.serve(&self.snapshot, self.checks.down());
        }
        Ok(())
    }

    fn warn_if_nobody_is_left(&self, service: &str) -> &'static str {
        let open = self
            .snapshot
            .settings
            .services
            .by_name(service)
            .is_some_and(|service| service.config.backends.iter().any(|backend| !backend.drain));
        if open { "" } else { "; no backend of the service takes new requests now" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    const TEXT: &str = "[[service]]\nname = \"web\"\nkind = \"http\"\n[[service.backend]]\nname = \"a\"\naddr = \"10.0.0.1:80\"\n\
                        [[service.backend]]\nname = \"b\"\naddr = \"10.0.0.2:80\"\nweight = 3\ndrain = true\n";

    fn proxy() -> Proxy {
        config::parse("test", TEXT).unwrap().config.proxy
    }

    fn backends(orders: &Orders) -> Vec<(bool, u16)> {
        orders.over(&proxy()).services[0].backends.iter().map(|one| (one.drain, one.weight)).collect()
    }

    #[test]
    fn orders_lie_over_the_file_and_take_no_drain_of_it_back() {
        let mut orders = Orders::default();
        assert_eq!(backends(&orders), [(false, 1), (true, 3)]);
        let key = |addr: &str| ("web".to_owned(), addr.parse().unwrap());
        orders.0.insert(key("10.0.0.1:80"), Said { drain: true, weight: None });
        orders.0.insert(key("10.0.0.2:80"), Said { drain: false, weight: Some(7) });
        assert_eq!(backends(&orders), [(true, 1), (true, 7)]);
    }

    #[test]
    fn orders_go_with_their_backend() {
        let mut orders = Orders::default();
        orders
            .0
            .insert(("web".to_owned(), "10.0.0.9:80".parse().unwrap()), Said { drain: true, weight: None });
        orders
            .0
            .insert(("web".to_owned(), "10.0.0.1:80".parse().unwrap()), Said { drain: true, weight: None });
        orders.follow(&proxy());
        assert_eq!(orders.0.len(), 1);
    }
}
