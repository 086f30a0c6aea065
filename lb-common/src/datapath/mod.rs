//! The packet path: what happens to a packet, and why.
//!
//! [`pipeline`] is the whole way on one page. Everything here is generic over [`crate::wire::Packet`] and [`Tables`]:
//! the kernel programs, the tests and the tools run this one source. Time and the arrival port are arguments.
//!
//! Laws: nothing but checked reads and writes of fixed size; loops with a named bound; no division; no panic.
//! *Not ours* passes untouched, *ours but malformed* drops, *our own failure* drops under a reason of its own.

mod capture;
mod classify;
mod decapsulate;
mod dnat;
mod dsr;
mod encap;
mod family;
mod fragment;
pub mod guard;
mod icmp;
mod icmp_error;
pub mod lines;
mod link;
mod listen;
mod nat;
mod parse;
mod ping;
mod pipeline;
mod plain;
mod relay;
mod reset;
mod select;
mod tables;
mod track;
mod verdict;

#[cfg(feature = "host")]
mod host;

pub use capture::{ends, is_wanted};
pub use decapsulate::decapsulate;
pub use family::{Family, Inside, Piece};
#[cfg(feature = "host")]
pub use host::{HostGuard, HostTables};
pub use listen::{ListenTable, find_listener};
pub use pipeline::{
    Next, Version, balance, control, destination_nat, full_nat, full_nat_first, leave, often, relay, seldom,
    transport, version,
};
pub use select::slot_index;
pub use tables::{Arrival, FlowTable, PortPool, Refused, Route, Tables, TablesFor};
pub use verdict::{Direction, Outcome, Reason, Steered, Verdict};
