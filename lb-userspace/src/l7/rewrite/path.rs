//! How a route changes a path.

use regex::Regex;

use crate::config::proxy::{PathChange, PathPattern};
use crate::l7::http1::{behind_merged, merged};

/// A change of paths, compiled.
#[derive(Debug)]
pub enum PathEdit {
    /// To this one, whole.
    Whole(Box<str>),
    /// The first so many bytes are replaced.
    Prefix {
        /// Length of what the route matched, without a `/` at its end.
        length: usize,
        /// What stands in its place, without a `/` at its end.
        to: Box<str>,
    },
    /// What the expression matches is replaced.
    Regex(Regex, Box<str>),
}

impl PathEdit {
    /// `matched` is the path of the route whose change it is.
    pub fn new(change: &PathChange, matched: Option<&PathPattern>) -> Result<Self, regex::Error> {
        Ok(match change {
            PathChange::Whole(path) => Self::Whole(path.as_str().into()),
            PathChange::Prefix(to) => {
                let length = if let Some(PathPattern::Prefix(prefix)) = matched { prefix.len() } else { 0 };
                Self::Prefix { length, to: to.as_str().into() }
            }
            PathChange::Regex { from, to } => Self::Regex(Regex::new(from)?, to.as_str().into()),
        })
    }

    /// Writes what becomes of `path`, which always begins with `/`; what a change is made to is read as routes read it. Only the change
    /// by an expression allocates.
    pub fn push(&self, path: &str, out: &mut String) {
        let begin = out.len();
        match self {
            Self::Whole(whole) => out.push_str(whole),
            Self::Prefix { length, to } => {
                out.push_str(to);
                out.push_str(behind_merged(path, *length));
            }
            Self::Regex(from, to) => out.push_str(&from.replace(&merged(path), &**to)),
        }
        if out.as_bytes().get(begin) != Some(&b'/') {
            out.insert(begin, '/');
        }
    }
}
