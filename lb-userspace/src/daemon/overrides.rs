//! What the operator ordered of backends of layer 4: drains and weights. They are laid over the file's words, and hold until they
//! are taken back or the daemon ends.

use super::orders::Ordered;
use crate::config::Service;
use crate::plan::BackendKey;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// What was ordered of each backend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Overrides {
    drained: BTreeSet<BackendKey>,
    weights: BTreeMap<BackendKey, u16>,
}

impl Overrides {
    /// Backends that get nothing new.
    pub(super) const fn drained(&self) -> &BTreeSet<BackendKey> {
        &self.drained
    }

    /// What was ordered of a backend: whether it drains, and its weight.
    pub(super) fn of(&self, key: &BackendKey) -> (bool, Option<u16>) {
        (self.drained.contains(key), self.weights.get(key).copied())
    }

    /// The services as they are to be balanced: with the weights that were ordered.
    pub(super) fn over<'a>(&self, services: &'a [Service]) -> Cow<'a, [Service]> {
        if self.weights.is_empty() {
            return Cow::Borrowed(services);
        }
        let mut services = services.to_vec();
        for service in &mut services {
            let vip = service.vip;
            for backend in &mut service.backends {
                let key = BackendKey { service: vip, addr: backend.addr };
                backend.weight = self.weights.get(&key).copied().unwrap_or(backend.weight);
            }
        }
        Cow::Owned(services)
    }

    /// Takes an order in if what comes of it can be planned. If it cannot, what was ordered before holds: an order that stayed would
    /// make every later plan fail as well.
    pub(super) fn take<P, E>(
        &mut self,
        key: BackendKey,
        ordered: Ordered,
        plan: impl FnOnce(&Self) -> Result<P, E>,
    ) -> Result<P, E> {
        let mut next = self.clone();
        match ordered {
            Ordered::Drain { undo: true } => drop(next.drained.remove(&key)),
            Ordered::Drain { undo: false } => drop(next.drained.insert(key)),
            Ordered::Weight(Some(weight)) => drop(next.weights.insert(key, weight)),
            Ordered::Weight(None) => drop(next.weights.remove(&key)),
        }
        let planned = plan(&next)?;
        *self = next;
        Ok(planned)
    }

    /// Forgets what was ordered of backends that are no more.
    pub(super) fn retain(&mut self, present: &BTreeSet<BackendKey>) {
        self.drained.retain(|key| present.contains(key));
        self.weights.retain(|key, _| present.contains(key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Encap};
    use crate::health::HealthState::{self, Down, Up};
    use crate::plan::{Inputs, Plan, PlanError, Planner};
    use std::collections::HashMap;
    use std::time::Instant;

    /// A planner whose slots are all a service's, with what it goes by.
    struct Full {
        services: Vec<Service>,
        health: HashMap<BackendKey, HealthState>,
        planner: Planner,
    }

    impl Full {
        fn new() -> Self {
            let mut services = config::parse("example", config::EXAMPLE).unwrap().config.services;
            services.truncate(1);
            let keys = services[0].backends.iter().map(|backend| BackendKey::of(&services[0], backend));
            let health = keys.map(|key| (key, Up)).collect();
            Self { services, health, planner: Planner::with_slots(4096) }
        }

        fn key(&self, backend: usize) -> BackendKey {
            BackendKey::of(&self.services[0], &self.services[0].backends[backend])
        }

        fn plan(&mut self, overrides: &Overrides) -> Result<Plan, PlanError> {
            let inputs = Inputs {
                services: &overrides.over(&self.services),
                seed: 1,
                health: &self.health,
                drained: overrides.drained(),
                ping: false,
                encap: Encap::default(),
                next_hops: &HashMap::new(),
            };
            self.planner.plan(&inputs, Instant::now())
        }
    }

    #[test]
    fn an_order_that_cannot_be_planned_is_forgotten_and_a_dead_backend_s_slots_move() {
        let (mut full, mut overrides) = (Full::new(), Overrides::default());
        full.plan(&overrides).unwrap();
        let key = full.key(0);
        overrides.take(key, Ordered::Weight(Some(2)), |overrides| full.plan(overrides)).unwrap();
        let before = overrides.clone();
        let refused = overrides.take(key, Ordered::Weight(Some(1000)), |overrides| full.plan(overrides));
        assert!(matches!(refused, Err(PlanError::SlotsFull { .. })), "{refused:?}");
        assert_eq!((&overrides, overrides.of(&key)), (&before, (false, Some(2))));
        full.health.insert(key, Down);
        let plan = full.plan(&overrides).unwrap();
        assert!(plan.summary.slots_moved > 0, "{:?}", plan.summary);
    }

    #[test]
    fn what_is_ordered_of_a_backend_goes_with_it() {
        let (full, mut overrides) = (Full::new(), Overrides::default());
        let [gone, stays] = [0, 1].map(|backend| full.key(backend));
        for key in [gone, stays] {
            for ordered in [Ordered::Drain { undo: false }, Ordered::Weight(Some(7))] {
                overrides.take(key, ordered, |_| Ok::<_, PlanError>(())).unwrap();
            }
        }
        overrides.retain(&[stays].into());
        assert_eq!([gone, stays].map(|key| overrides.of(&key)), [(false, None), (true, Some(7))]);
        overrides.take(stays, Ordered::Drain { undo: true }, |_| Ok::<_, PlanError>(())).unwrap();
        overrides.take(stays, Ordered::Weight(None), |_| Ok::<_, PlanError>(())).unwrap();
        assert_eq!(overrides, Overrides::default());
    }
}
