//! Which route a request takes: everything is compiled when the configuration is read, so that a request costs a few lookups,
//! however many hosts and routes there are.
//!
//! A route takes a request if all that it asks for holds: host, path, method, fields, cookies and query. Of several that do, the
//! first in this order wins (after the Gateway API's `HTTPRoute`):
//!
//! 1. by host: one that is named whole, then the wildcard with the longest rest, then any host;
//! 2. by path: one that is named whole, then the first regular expression of the file, then the longest prefix. Expressions
//!    stand before prefixes, or a route for everything else (`/`) would hide them all;
//! 3. one that names methods;
//! 4. the one with more conditions on fields and cookies;
//! 5. the one with more conditions on the query;
//! 6. the one that comes first in the file.
//!
//! Between two expressions only the last of these counts.
//!
//! Expressions need working memory, which they take from a pool of their own by an atomic operation: routes without them share
//! nothing between workers.
//!
//! Pure. A lookup allocates nothing, but for a percent-encoded query parameter that is matched by an expression, and for a path with
//! empty segments.

mod condition;

mod hosts;
mod paths;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use condition::Rule;
pub(super) use condition::{all_cookies, query_value};
use hosts::Hosts;

use super::http1::merged;
use super::message::{Fields, Request};
use crate::config::proxy::Route;

/// A table by text. Its keys come from the configuration alone, so nobody can fill it with keys that collide.
type Table<V> = HashMap<Box<str>, V, foldhash::fast::FixedState>;

/// The place of a rule in [`Router::rules`].
type RuleIndex = u32;

/// Routes, compiled, each with what it leads to.
#[derive(Debug)]
pub struct Router<T> {
    hosts: Hosts,
    rules: Vec<Rule<T>>,
}

impl<T> Router<T> {
    /// Compiles routes, in the order of the file. Fails if an expression does not compile, which the configuration has ruled out.
    pub fn new<'a>(routes: impl IntoIterator<Item = (&'a Route, T)>) -> Result<Self, regex::Error> {
        let (mut hosts, mut rules) = (hosts::Builder::default(), Vec::new());
        for (index, (route, leads_to)) in (0..).zip(routes) {
            hosts.add(route, index);
            rules.push(Rule::new(route, leads_to)?);
        }
        Ok(Self { hosts: hosts.finish(|index| rank(&rules, index))?, rules })
    }

    /// What the route leads to that takes this request.
    pub fn find<F: Fields + ?Sized>(&self, request: &Request<'_, F>) -> Option<&T> {
        if self.rules.is_empty() {
            return None;
        }
        let takes = |index: RuleIndex| self.rules.get(index as usize).filter(|rule| rule.takes(request));
        let path = merged(request.path);
        let rule = self.hosts.find(request.host(), |paths| paths.find(&path, takes));
        rule.map(Rule::leads_to)
    }
}

fn rank<T>(rules: &[Rule<T>], index: RuleIndex) -> impl Ord + use<T> {
    (rules.get(index as usize).map(Rule::rank), index)
}
