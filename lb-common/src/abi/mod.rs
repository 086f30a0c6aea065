//! The bytes that cross the kernel border: map keys and values, with their sizes and padding checked.
//!
//! Userspace writes services, backends and slots; the kernel programs write flows and counters. Nothing here decides.

mod address;
mod backend;
mod counters;
mod flow;
pub mod limits;
mod service;
mod slot;

pub use address::Address;
pub use backend::{Backend, BackendFlags, BackendId, OUTER_LENGTH};
pub use counters::{BackendCount, Count};
pub use flow::{Flow, FlowKey, FlowKind, FlowState, Hop, Ticks};
pub use service::{Forward, Service, ServiceFlags, ServiceKey};
pub use slot::Slot;
