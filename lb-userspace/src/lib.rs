//! The daemon's parts: pure cores (config, plan, maglev, the health machine) and the shells that drive them.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking"))]

pub mod backend;
pub mod capture;
pub mod config;
pub mod control;
pub mod daemon;
pub mod file;
pub mod guard;
pub mod health;
pub mod kernel;
pub mod l7;
pub mod maglev;
pub mod observe;
pub mod plan;
