//! Hosts and what is routed on each.

use std::collections::HashMap;

use super::paths::{self, Paths};
use super::{RuleIndex, Table};
use crate::config::proxy::{HostPattern, Route};

/// Paths by host.
#[derive(Debug)]
pub(super) struct Hosts {
    exact: Table<Paths>,
    /// By what stands behind the `*`, with its dot.
    wildcards: Table<Paths>,
    /// Bit n is set if there is a wildcard with n dots, so that a host of many labels costs no lookup that cannot succeed.
    dots: u128,
    any: Paths,
}

impl Hosts {
    /// What `in_paths` finds in the paths of this host, the most special first.
    pub(super) fn find<R>(&self, host: &str, in_paths: impl Fn(&Paths) -> Option<R>) -> Option<R> {
        let exact = self.exact.get(host).and_then(&in_paths);
        let wildcard = || if self.dots == 0 { None } else { self.wildcards(host).find_map(&in_paths) };
        exact.or_else(wildcard).or_else(|| in_paths(&self.any))
    }

    fn wildcards<'a>(&'a self, host: &'a str) -> impl Iterator<Item = &'a Paths> {
        let mut dots = dots(host);
        host.match_indices('.').filter_map(move |(at, _)| {
            let might_be = at > 0 && self.dots & dots_bit(dots) != 0;
            dots -= 1;
            might_be.then(|| self.wildcards.get(host.get(at..)?)).flatten()
        })
    }
}

fn dots(host: &str) -> usize {
    host.bytes().filter(|&byte| byte == b'.').count()
}

/// All numbers too great for a bit of their own share the last.
fn dots_bit(dots: usize) -> u128 {
    1 << dots.min(127)
}

/// [`Hosts`] while routes are added.
#[derive(Default)]
pub(super) struct Builder {
    exact: HashMap<Box<str>, paths::Builder>,
    wildcards: HashMap<Box<str>, paths::Builder>,
    any: paths::Builder,
}

impl Builder {
    pub(super) fn add(&mut self, route: &Route, index: RuleIndex) {
        if route.hosts.is_empty() {
            self.any.add(route.path.as_ref(), index);
        }
        for host in &route.hosts {
            let paths = match host {
                HostPattern::Exact(host) => self.exact.entry(host.as_str().into()),
                HostPattern::Wildcard(rest) => self.wildcards.entry(rest.as_str().into()),
            };
            paths.or_default().add(route.path.as_ref(), index);
        }
    }

    /// The rules of each path come in the order of `rank`.
    pub(super) fn finish<R: Ord>(self, rank: impl Fn(RuleIndex) -> R) -> Result<Hosts, regex::Error> {
        let dots = self.wildcards.keys().fold(0, |bits, rest| bits | dots_bit(dots(rest)));
        Ok(Hosts {
            exact: finished(self.exact, &rank)?,
            wildcards: finished(self.wildcards, &rank)?,
            dots,
            any: self.any.finish(&rank)?,
        })
    }
}

fn finished<R: Ord>(
    hosts: HashMap<Box<str>, paths::Builder>,
    rank: &impl Fn(RuleIndex) -> R,
) -> Result<Table<Paths>, regex::Error> {
    hosts.into_iter().map(|(host, paths)| Ok((host, paths.finish(rank)?))).collect()
}
