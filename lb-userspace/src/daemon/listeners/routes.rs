//! The prefixes that are local because services of this host are in them.
//!
//! The kernel keeps these routes when the daemon is killed. So the next one begins with what it finds.

use crate::kernel::{Prefix, local_route};
use std::collections::{BTreeMap, BTreeSet};

/// Routes, each there while it is wanted. Dropping them removes them.
#[derive(Debug, Default)]
pub(super) struct Routes {
    wanted: BTreeSet<Prefix>,
    held: BTreeSet<Prefix>,
    /// Why some are not there, as it was logged.
    told: BTreeMap<Prefix, String>,
}

impl Routes {
    /// Takes over what a daemon left that could not remove its routes: those that are not wanted now will go.
    pub(super) fn inherit() -> Self {
        let left = local_route::list().unwrap_or_else(|error| {
            tracing::warn!(
                "cannot tell whether routes of an earlier daemon are left: {}",
                super::chain(&error)
            );
            Vec::new()
        });
        Self { wanted: BTreeSet::new(), held: left.into_iter().collect(), told: BTreeMap::new() }
    }

    /// Wants these from now on, and removes those that were wanted before.
    pub(super) fn want(&mut self, prefixes: impl Iterator<Item = Prefix>) {
        self.wanted = prefixes.collect();
        let gone = self.held.extract_if(.., |prefix| !self.wanted.contains(prefix));
        gone.for_each(remove);
        self.told.retain(|prefix, _| self.wanted.contains(prefix));
    }

    /// Adds what is wanted and not there.
    pub(super) fn follow(&mut self) {
        let missing: Vec<_> = self.wanted.difference(&self.held).copied().collect();
        for prefix in missing {
            match local_route::add(prefix) {
                Ok(()) => self.note_held(prefix),
                Err(error) => self.complain(prefix, super::chain(&error)),
            }
        }
    }

    /// What is wanted and not there, with the reason.
    pub(super) fn complaints(&self) -> impl Iterator<Item = (Prefix, &str)> {
        self.told.iter().map(|(prefix, reason)| (*prefix, reason.as_str()))
    }

    fn note_held(&mut self, prefix: Prefix) {
        tracing::info!(%prefix, "local to this host");
        self.held.insert(prefix);
        self.told.remove(&prefix);
    }

    fn complain(&mut self, prefix: Prefix, reason: String) {
        if self.told.get(&prefix) != Some(&reason) {
            tracing::warn!(%prefix, "{reason}");
            self.told.insert(prefix, reason);
        }
    }
}

impl Drop for Routes {
    fn drop(&mut self) {
        self.want(std::iter::empty());
    }
}

fn remove(prefix: Prefix) {
    if let Err(error) = local_route::remove(prefix) {
        tracing::warn!(%prefix, "{}", super::chain(&error));
    }
}
