//! What the operator orders: status, reload, drain and captures. Every answer says what happened, or why nothing did.

use super::balancer::{Balancer, LoadedWith, chain};
use super::proxy::Prepared;
use super::tables::Cause;
use super::{Error, with_all};
use crate::config::{Config, MAX_WEIGHT, Service};
use crate::control::server::Asked;
use crate::control::{Explanation, Request, Response, metrics};
use crate::plan::{BackendKey, Plan, PlanError, stages};
use lb_common::abi::StageSet;
use std::time::Duration;

impl Balancer {
    /// Does what is asked, and answers: a reload perhaps later, when programs are loaded that it takes.
    pub(super) async fn obey(&mut self, (request, asker): Asked) {
        let response = match &request {
            Request::Status => match self.status().await {
                Ok(status) => Response::Status(Box::new(status)),
                Err(error) => Response::Refused { message: chain(&error) },
            },
            Request::Metrics => match self.status().await {
                Ok(status) => Response::Metrics { text: metrics::render(&status) },
                Err(error) => Response::Refused { message: chain(&error) },
            },
            Request::Reload => match self.reload().await {
                Err(NotReloaded::Lacks(stages)) => return self.loader.load(stages, asker),
                Err(NotReloaded::Told(message)) => {
                    self.reloads.note_refused(&message);
                    answer(Err(message))
                }
                Err(NotReloaded::Unwritten(message)) => answer(Err(message)),
                Ok(message) => answer(Ok(message)),
            },
            Request::Block { address, milliseconds, reason } => {
                answer(self.block(*address, Duration::from_millis(*milliseconds), reason))
            }
            Request::Unblock { address } => answer(self.unblock(*address)),
            Request::Blocks => Response::Blocks { blocks: self.list_blocks() },
            Request::Explain(order) => explained(self.explain(order).await),
            Request::Drain { service, backend, undo } => {
                answer(self.order(service, backend, Ordered::Drain { undo: *undo }))
            }
            Request::Weight { service, backend, weight } => {
                answer(Ordered::weight(*weight).and_then(|ordered| self.order(service, backend, ordered)))
            }
            Request::Capture(order) => {
                drop(asker.send(self.capture(order)));
                return;
            }
        };
        // Whoever asked may have gone.
        drop(asker.send(response.into()));
    }

    /// Reads the configuration again. Whatever is wrong with it, the old one stays in force.
    async fn reload(&mut self) -> Result<String, NotReloaded> {
        let source = self.source.again();
        let kept = |error: &dyn std::error::Error| kept(&chain(error));
        let config = source.load_again(self.config.serves()).await.map_err(|error| kept(&error))?;
        let stages = stages(&config.services);
        if !self.loader.has(stages) {
            return Err(NotReloaded::Lacks(stages));
        }
        let kept_all = |first: Error| kept(&with_all(&config, first));
        let lists = self.load_lists(&config).map_err(|error| kept_all(error.into()))?;
        let front = self.front.prepare(&config).map_err(|error| kept_all(error.into()))?;
        let metrics = self.scraping.prepare(config.metrics).await.map_err(|error| kept(&error))?;
        let former = (std::mem::replace(&mut self.config, config), self.planner.clone());
        self.checks.trust_unchecked(&former.0, &self.config);
        let plan = match self.take_up(front) {
            Ok(plan) => plan,
            Err(error) => {
                (self.config, self.planner) = former;
                return Err(kept(&error).into());
            }
        };
        // In force from here on: what the kernel may yet refuse is written again.
        self.source = source;
        self.reloads.note_taken();
        self.scraping.take_up(metrics);
        self.follow_config();
        self.guard.bring(lists);
        let summary = describe(&plan, self.config.proxy != former.0.proxy);
        self.apply(&plan, Cause::Reload).map_err(|error| NotReloaded::Unwritten(tried_again(&error)))?;
        Ok(format!("reloaded {}: {summary}{}", self.source, needs_restart(&self.loaded_with, &self.config)))
    }

    /// Plans the tables for the configuration and has layer 7 serve it. If one cannot be, the other is not.
    fn take_up(&mut self, front: Prepared) -> Result<Plan, Error> {
        let plan = self.make_plan()?;
        self.front.take_up(&self.config, front)?;
        Ok(plan)
    }

    /// Drains a backend or gives it a weight, or takes that back.
    fn order(&mut self, service: &str, backend: &str, ordered: Ordered) -> Result<String, String> {
        if self.front.has(service) {
            return self.front.order(service, backend, ordered);
        }
        let (key, by_file) = find(&self.config, service, backend)?;
        let by_order = self.overrides.of(&key);
        if let Some(answer) = ordered.beside_the_point(by_file, by_order) {
            return Ok(format!("{service}/{backend} {answer}"));
        }
        let mut overrides = std::mem::take(&mut self.overrides);
        let planned = overrides.take(key, ordered, |overrides| self.plan_under(overrides));
        self.overrides = overrides;
        let plan = planned.map_err(|error| unchanged(&error, by_file.1, by_order))?;
        self.apply(&plan, Cause::Drain).map_err(|error| tried_again(&error))?;
        let told = ordered.told("flows", by_file.1);
        Ok(format!("{service}/{backend} {told}{}", self.warn_if_nobody_is_left(&key)))
    }

    /// A service all of whose slots are empty refuses every new flow; whoever drains should hear of it.
    fn warn_if_nobody_is_left(&self, key: &BackendKey) -> &'static str {
        let nobody = self.planner.backends(key.service).iter().all(|backend| backend.slots == 0);
        if nobody { "; no backend of the service takes new flows now" } else { "" }
    }
}

/// Why a configuration is not in force, or not in full, after it was read again.
enum NotReloaded {
    /// What to say of one that is refused.
    Told(String),
    /// What to say of one that the kernel does not know in full yet.
    Unwritten(String),
    /// It takes stages that are not loaded.
    Lacks(StageSet),
}

impl From<String> for NotReloaded {
    fn from(message: String) -> Self {
        Self::Told(message)
    }
}

/// What to say of a reload that failed.
pub(super) fn kept(reason: &str) -> String {
    format!("{reason}\nnothing changed; the old configuration serves on")
}

/// What is ordered of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ordered {
    /// No new flows or requests, or no longer so.
    Drain {
        /// Take it back.
        undo: bool,
    },
    /// This weight; `None` for the file's again.
    Weight(Option<u16>),
}

impl Ordered {
    /// A weight that a backend can have, or the file's. The command sees to that; others who ask may not.
    pub(super) fn weight(wanted: Option<u16>) -> Result<Self, String> {
        match wanted {
            Some(weight) if !(1..=MAX_WEIGHT).contains(&weight.into()) => Err(format!(
                "no backend has weight {weight}: it is from 1 to {MAX_WEIGHT}; `drain` gives one no new flows or requests"
            )),
            _ => Ok(Self::Weight(wanted)),
        }
    }

    /// What to say where the order changes nothing, by drain and weight in the file and by earlier orders.
    pub(super) fn beside_the_point(
        self,
        by_file: (bool, u16),
        by_order: (bool, Option<u16>),
    ) -> Option<&'static str> {
        match (self, by_file.0, by_order.0) {
            (Self::Drain { undo: true }, true, _) => {
                Some("is drained by the configuration: take `drain = true` out and reload")
            }
            (Self::Drain { undo: false }, true, _) => Some("is drained by the configuration already"),
            (Self::Drain { undo: true }, false, false) => Some("was not drained"),
            (Self::Drain { undo: false }, false, true) => Some("was drained already"),
            (Self::Drain { .. }, ..) => None,
            (Self::Weight(wanted), ..) => match (wanted, by_order.1) {
                (None, None) => Some("has the weight of the configuration already"),
                (Some(wanted), before) if wanted == before.unwrap_or(by_file.1) => {
                    Some("has this weight already")
                }
                _ => None,
            },
        }
    }

    /// What it does to a backend, whose weight the file says; `what` are flows or requests.
    pub(super) fn told(self, what: &str, by_file: u16) -> String {
        match self {
            Self::Drain { undo: true } => format!("gets new {what} again"),
            Self::Drain { undo: false } => format!("gets no new {what}; those it has go on"),
            Self::Weight(Some(weight)) => {
                format!("has weight {weight} until that is undone; the configuration says {by_file}")
            }
            Self::Weight(None) => format!("has weight {by_file} again, as the configuration says"),
        }
    }
}

/// What to say of an order that cannot be planned, by the weight in the file and by earlier orders.
fn unchanged(error: &PlanError, by_file: u16, (is_drained, weight): (bool, Option<u16>)) -> String {
    let (weight, drained) = (weight.unwrap_or(by_file), if is_drained { " and is drained" } else { "" });
    format!("{error}\nnothing changed; the backend has weight {weight}{drained}, as before")
}

/// What was asked for holds, though the kernel refused a table for now.
fn tried_again(error: &Error) -> String {
    format!(
        "{}\nwhat was asked for holds, and all tables are written anew after the next look at the flows, as a rule within a \
         second",
        chain(error)
    )
}

/// A backend by its names, and its drain and weight in the file.
fn find(config: &Config, service: &str, backend: &str) -> Result<(BackendKey, (bool, u16)), String> {
    let of_requests = config.proxy.services.iter().map(|service| service.name.as_str());
    let names = config.services.iter().map(|service| service.name.as_str()).chain(of_requests);
    let mut all = config.services.iter();
    let found = all.find(|candidate| candidate.name == service).ok_or_else(|| no_service(service, names))?;
    let present = found.backends.iter().map(|candidate| (candidate.name.as_str(), candidate));
    let member = find_backend(service, backend, present)?;
    Ok((BackendKey::of(found, member), (member.drain, member.weight)))
}

/// The one of a service's backends that has this name.
pub(super) fn find_backend<'a, T>(
    service: &str,
    backend: &str,
    mut present: impl Iterator<Item = (&'a str, T)> + Clone,
) -> Result<T, String> {
    let names = present.clone().map(|(name, _)| name);
    let missing = || format!("service `{service}` has no backend `{backend}`; it has: {}", list(names));
    present.find(|(name, _)| *name == backend).map(|(_, found)| found).ok_or_else(missing)
}

/// A service of packets by its name.
pub(super) fn find_service<'a>(config: &'a Config, service: &str) -> Result<&'a Service, String> {
    let names = config.services.iter().map(|service| service.name.as_str());
    let missing = || {
        if config.proxy.services.iter().any(|of_requests| of_requests.name == service) {
            let names = list(names.clone());
            return format!(
                "service `{service}` gets requests, no packets; those that get packets are: {names}"
            );
        }
        no_service(service, names.clone())
    };
    config.services.iter().find(|candidate| candidate.name == service).ok_or_else(missing)
}

/// What to say of a service that is not there.
pub(super) fn no_service<'a>(service: &str, present: impl Iterator<Item = &'a str>) -> String {
    format!("there is no service `{service}`; there are: {}", list(present))
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names = names.collect::<Vec<_>>().join(", ");
    if names.is_empty() { "none".to_owned() } else { names }
}

/// The answer to who asked for an explanation.
pub(super) fn explained(told: Result<Explanation, String>) -> Response {
    told.map_or_else(|message| Response::Refused { message }, Response::Explained)
}

/// The answer to whoever asked; the log gets the same.
pub(super) fn answer(result: Result<String, String>) -> Response {
    match result {
        Ok(message) => {
            tracing::info!("{message}");
            Response::Done { message }
        }
        Err(message) => {
            tracing::error!("{message}");
            Response::Refused { message }
        }
    }
}

/// A sentence on what a plan changes, beside layer 7.
fn describe(plan: &Plan, is_proxy_changed: bool) -> String {
    if plan.writes.is_empty() {
        let beside = if is_proxy_changed { "layer 7 is as the file says now, " } else { "" };
        return format!("{beside}the tables stay as they are");
    }
    let (moved, generation) = (plan.summary.slots_moved, plan.generation);
    let slots = if moved == 1 { "slot" } else { "slots" };
    format!("generation {generation}, {moved} {slots} moved")
}

/// A sentence on what a reload cannot change, while it differs from what the programs were loaded with.
pub(super) fn needs_restart(loaded: &LoadedWith, now: &Config) -> String {
    let keys = [
        ("seed", loaded.seed != now.seed),
        ("limits", loaded.limits != now.limits),
        ("nat", loaded.nat != now.nat),
        ("log_packets", loaded.log_packets != now.log_packets),
        ("encap", loaded.encap != now.encap),
        ("guard", loaded.guard != LoadedWith::of(now).guard),
        ("capture", loaded.capture != now.capture),
        ("workers", loaded.workers != now.proxy.workers),
        ("io", loaded.io != now.proxy.io),
    ];
    let changed: Vec<_> = keys.iter().filter(|(_, changed)| *changed).map(|(key, _)| *key).collect();
    match changed.as_slice() {
        [] => String::new(),
        [one] => format!("; the new `{one}` takes effect at the next start"),
        several => format!("; the new {} take effect at the next start", several.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::plan::{Summary, Write};
    use lb_common::abi::{BackendId, Slot};

    fn example(extra: &str) -> Config {
        let text = format!("{extra}\n{}", config::EXAMPLE);
        config::parse("example", &text).unwrap().config
    }

    #[test]
    fn names_that_are_not_there_are_answered_with_those_that_are() {
        let requests = "[[service]]\nname = \"pages\"\nkind = \"http\"\n[[service.backend]]\nname = \"a\"\naddr = \"10.0.0.1:80\"\n";
        let config = config::parse("example", &[config::EXAMPLE, requests].concat()).unwrap().config;
        let services = &config.services;
        let known = find(&config, "web", "web1").unwrap();
        assert_eq!(known, (BackendKey::of(&services[0], &services[0].backends[0]), (false, 3)));
        assert_eq!(
            find(&config, "wbe", "web1").unwrap_err(),
            "there is no service `wbe`; there are: web, dns, pages"
        );
        assert!(
            find(&config, "web", "web9")
                .unwrap_err()
                .starts_with("service `web` has no backend `web9`; it has: web1, web2")
        );
        assert_eq!(find_service(&config, "web").unwrap().name, "web");
        assert_eq!(
            find_service(&config, "wbe").unwrap_err(),
            "there is no service `wbe`; there are: web, dns"
        );
        assert_eq!(
            find_service(&config, "pages").unwrap_err(),
            "service `pages` gets requests, no packets; those that get packets are: web, dns"
        );
        let none = config::parse("none", "").unwrap().config;
        assert_eq!(find(&none, "web", "web1").unwrap_err(), "there is no service `web`; there are: none");
    }

    #[test]
    fn a_weight_that_the_file_could_not_have_is_refused() {
        for weight in [None, Some(1), Some(1000)] {
            assert_eq!(Ordered::weight(weight), Ok(Ordered::Weight(weight)));
        }
        for weight in [0, 1001, u16::MAX] {
            let refused = Ordered::weight(Some(weight)).unwrap_err();
            assert!(
                refused.starts_with(&format!("no backend has weight {weight}: it is from 1 to 1000")),
                "{refused}"
            );
        }
    }

    #[test]
    fn an_order_that_changes_nothing_says_why() {
        let drain = |by_file, by_order, undo| {
            Ordered::Drain { undo }.beside_the_point((by_file, 1), (by_order, None))
        };
        assert_eq!(drain(false, false, false), None);
        assert_eq!(drain(false, true, true), None);
        assert_eq!(drain(false, true, false), Some("was drained already"));
        assert_eq!(drain(false, false, true), Some("was not drained"));
        let by_file = drain(true, false, true).unwrap();
        assert!(by_file.contains("take `drain = true` out and reload"), "{by_file}");
        let weight =
            |wanted, by_order| Ordered::Weight(wanted).beside_the_point((false, 3), (false, by_order));
        assert_eq!(
            (weight(Some(5), None), weight(Some(3), Some(5)), weight(None, Some(5))),
            (None, None, None)
        );
        assert_eq!(weight(Some(3), None), Some("has this weight already"));
        assert_eq!(weight(Some(5), Some(5)), Some("has this weight already"));
        assert_eq!(weight(None, None), Some("has the weight of the configuration already"));
    }

    #[test]
    fn a_reload_names_what_only_a_start_can_change_until_it_is_changed_back() {
        let loaded = LoadedWith::of(&example(""));
        assert_eq!(needs_restart(&loaded, &example("")), "");
        assert_eq!(
            needs_restart(&loaded, &example("seed = 7")),
            "; the new `seed` takes effect at the next start"
        );
        let several =
            example("log_packets = true\nlimits = { flows = 4096 }\nnat = { ports = \"2000-3000\" }");
        assert_eq!(
            needs_restart(&loaded, &several),
            "; the new limits, nat, log_packets take effect at the next start"
        );
    }

    #[test]
    fn the_reference_says_of_the_same_keys_that_they_are_read_at_start() {
        let all = "seed = 7\nlog_packets = true\nlimits = { flows = 4096 }\nnat = { ports = \"2000-3000\" }\n\
                   encap = { spread = false }\nping = false\ncapture = { enabled = true }\nguard = {}\n\
                   proxy = { workers = 3, io = \"epoll\" }";
        let told = needs_restart(&LoadedWith::of(&example("")), &example(all));
        let reference = config::reference();
        let said = |line: &&str| line.contains("Read at start");
        for line in reference.lines().filter(said) {
            let before = reference.split(line).next().unwrap_or_default();
            let title = before.lines().rfind(|line| line.starts_with('#')).unwrap_or_default();
            let key = title.trim_start_matches(['#', ' ']).trim_matches(['`', '[', ']']);
            assert!(told.contains(key), "{key} is not read at start: {told}");
        }
        assert_eq!(reference.lines().filter(said).count(), told.matches(", ").count() + 1, "{told}");
    }

    #[test]
    fn a_plan_is_described_by_what_it_moves() {
        let mut plan = Plan { generation: 3, writes: Vec::new(), summary: Summary::default() };
        assert_eq!(describe(&plan, false), "the tables stay as they are");
        assert_eq!(describe(&plan, true), "layer 7 is as the file says now, the tables stay as they are");
        plan.writes = vec![Write::Slot(0, Slot::settled_on(BackendId::from_bits(1)))];
        plan.summary.slots_moved = 1;
        assert_eq!(describe(&plan, true), "generation 3, 1 slot moved");
    }
}
