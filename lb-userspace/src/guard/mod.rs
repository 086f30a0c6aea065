//! What the guard's tables are made of: lists of prefixes from files, rules from the configuration, and timed blocks.
//!
//! Pure but for [`lists::load`] and what calls it, which read files. [`crate::daemon`] writes what comes out of it.

pub mod blocks;
pub mod lists;
pub mod martians;
pub mod network;
mod outline;
pub mod rules;
pub mod trie;
