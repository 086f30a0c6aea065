//! Paths of one host and the rules of each.

use std::collections::HashMap;

use regex::{Regex, RegexSet};

use super::{RuleIndex, Table};
use crate::config::proxy::{PathPattern, whole_match};

/// Rules by path.
#[derive(Debug)]
pub(super) struct Paths {
    exact: Table<Box<[RuleIndex]>>,
    expressions: Expressions,
    prefixes: Prefixes,
}

impl Paths {
    /// The first rule for this path, in the order of precedence, that `takes` agrees to.
    pub(super) fn find<R>(&self, path: &str, takes: impl Fn(RuleIndex) -> Option<R>) -> Option<R> {
        let first = |rules: &[RuleIndex]| rules.iter().find_map(|rule| takes(*rule));
        let exact = if self.exact.is_empty() { None } else { self.exact.get(path) };
        exact
            .and_then(|rules| first(rules))
            .or_else(|| self.expressions.matching(path).find_map(&takes))
            .or_else(|| self.prefixes.matching(path).find_map(first))
    }
}

/// Regular expressions, each with its rule, in the order of the file.
#[derive(Debug, Default)]
struct Expressions {
    /// All of them in one, to tell by one walk over the path that there is none.
    any: Option<RegexSet>,
    each: Vec<(Regex, RuleIndex)>,
}

impl Expressions {
    fn matching<'a>(&'a self, path: &'a str) -> impl Iterator<Item = RuleIndex> {
        let some = self.any.as_ref().is_none_or(|any| any.is_match(path));
        let each = if some { self.each.as_slice() } else { &[] };
        each.iter().filter(|(expression, _)| expression.is_match(path)).map(|(_, rule)| *rule)
    }
}

/// A tree of path segments.
#[derive(Debug)]
struct Prefixes {
    nodes: Vec<Node>,
}

/// The prefix that ends with a segment.
#[derive(Debug, Default)]
struct Node {
    rules: Box<[RuleIndex]>,
    children: Table<usize>,
    /// The prefix that is one segment shorter; the empty one is its own.
    parent: usize,
}

impl Prefixes {
    /// The rules of each prefix of this path, the longest first.
    fn matching(&self, path: &str) -> impl Iterator<Item = &[RuleIndex]> {
        let deepest = self.deepest(path);
        let up = |at: &usize| self.nodes.get(*at).map(|node| node.parent).filter(|parent| parent != at);
        std::iter::successors(Some(deepest), up).filter_map(|at| self.nodes.get(at)).map(|node| &*node.rules)
    }

    fn deepest(&self, path: &str) -> usize {
        let (mut at, mut segments) = (0, segments(path));
        let children = |at: usize| self.nodes.get(at).map(|node| &node.children);
        // A path is cut no further than there are children.
        while let Some(children) = children(at).filter(|children| !children.is_empty())
            && let Some(child) = segments.next().and_then(|segment| children.get(segment))
        {
            at = *child;
        }
        at
    }
}

/// The parts between slashes; `*` and the empty prefix have none.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.strip_prefix('/').into_iter().flat_map(|path| path.split('/'))
}

/// [`Paths`] while routes are added.
#[derive(Default)]
pub(super) struct Builder {
    exact: HashMap<Box<str>, Vec<RuleIndex>>,
    expressions: Vec<(String, RuleIndex)>,
    prefixes: HashMap<String, Vec<RuleIndex>>,
}

impl Builder {
    pub(super) fn add(&mut self, path: Option<&PathPattern>, rule: RuleIndex) {
        match path {
            None => self.prefixes.entry(String::new()).or_default().push(rule),
            Some(PathPattern::Prefix(prefix)) => self.prefixes.entry(prefix.clone()).or_default().push(rule),
            Some(PathPattern::Exact(path)) => self.exact.entry(path.as_str().into()).or_default().push(rule),
            Some(PathPattern::Regex(text)) => self.expressions.push((whole_match(text), rule)),
        }
    }

    pub(super) fn finish<R: Ord>(self, rank: &impl Fn(RuleIndex) -> R) -> Result<Paths, regex::Error> {
        let sorted = |mut rules: Vec<RuleIndex>| {
            rules.sort_by_key(|rule| rank(*rule));
            rules.into_boxed_slice()
        };
        Ok(Paths {
            exact: self.exact.into_iter().map(|(path, rules)| (path, sorted(rules))).collect(),
            expressions: expressions(&self.expressions)?,
            prefixes: prefixes(self.prefixes, sorted),
        })
    }
}

fn expressions(texts: &[(String, RuleIndex)]) -> Result<Expressions, regex::Error> {
    let any = if texts.len() > 1 { Some(RegexSet::new(texts.iter().map(|(text, _)| text))?) } else { None };
    let each = texts
        .iter()
        .map(|(text, rule)| Ok((Regex::new(text)?, *rule)))
        .collect::<Result<_, regex::Error>>()?;
    Ok(Expressions { any, each })
}

fn prefixes(
    rules: HashMap<String, Vec<RuleIndex>>,
    sorted: impl Fn(Vec<RuleIndex>) -> Box<[RuleIndex]>,
) -> Prefixes {
    let mut nodes = vec![Node::default()];
    for (prefix, rules) in rules {
        let at = segments(&prefix).fold(0, |at, segment| child(&mut nodes, at, segment));
        nodes[at].rules = sorted(rules);
    }
    Prefixes { nodes }
}

/// The child of a node, made if it is not there.
fn child(nodes: &mut Vec<Node>, parent: usize, segment: &str) -> usize {
    if let Some(at) = nodes[parent].children.get(segment) {
        return *at;
    }
    let at = nodes.len();
    nodes.push(Node { parent, ..Node::default() });
    nodes[parent].children.insert(segment.into(), at);
    at
}
