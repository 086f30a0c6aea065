//! The daemon's parts: pure cores (config, plan, maglev, the health machine) and the shells that drive them.
pub mod config;
pub mod health;
pub mod backend;
