//! What the guard's tables are made of: lists of prefixes from files, rules from the configuration, and timed blocks.
//!
//! Pure but for [`lists::load`], which reads files. [`crate::daemon`] writes what comes out of it.

pub mod lists;
pub mod martians;
pub mod network;
pub mod trie;
