//! The suites of lb that need a kernel, and the harness they stand on.
//!
//! From the ground up: [`netns`] makes namespaces and [`net`] furnishes them; [`topology`] builds a house of client, balancer
//! and backends from them; [`fleet`] runs the backends and [`daemon`] the balancer; [`stage`] is all of these at once;
//! [`traffic`] is what clients do; [`suites`] are the claims, which [`runner`] tries one after the other. [`demo`] shows some
//! of them to a newcomer.
//!
//! Nothing here outlives the process, however it ends: see [`netns`], [`sweep`] and [`interrupt`].

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking"))]

pub mod capture;
pub mod churn;
pub mod daemon;
pub mod demo;
pub mod family;
pub mod fleet;
pub mod flood;
pub mod guest;
pub mod interrupt;
pub mod net;
pub mod netns;
pub mod packets;
pub mod patience;
pub mod process;
pub mod runner;
pub mod service;
pub mod skip;
pub mod smuggling;
pub mod stage;
pub mod suites;
pub mod sweep;
pub mod topology;
pub mod traffic;
