//! The only door to the kernel: loading and attaching the programs, their maps, and what netlink says of the network.
//!
//! No other module names `aya` or `rtnetlink`. What is decided here is decided in pure functions ([`expire`],
//! [`nexthop`]) that take bytes and times; the rest does what the daemon says and explains the kernel's refusals.

pub mod attach;
mod bpf;
pub mod capture;
pub mod census;
mod classifier;
mod cookies;
mod counted;
mod direct;
mod dump;
mod error;
mod ethtool;
pub mod expire;
mod facts;
pub mod guard;
pub mod link;
pub mod listener;
#[cfg(test)]
mod live;
pub mod local_route;
pub mod maps;
mod memory;
pub mod netlink;
pub mod nexthop;
pub mod object;
pub mod occupant;
pub mod own_source;
pub mod owner;
pub mod prefix;
mod program;
mod programs;
pub mod records;
mod remedy;
mod rights;
mod settings;
mod trial;
pub mod waiting;

pub use attach::{AttachedMode, Attachment, Mode, Step};
pub use bpf::Ran;
pub use capture::{Capture, CaptureSettings};
pub use error::{AttachError, LoadError, NetlinkError, TableError};
pub use link::Link;
pub use listener::{Door, ListenError};
pub use maps::{Tables, Written};
pub use netlink::{NextHops, Resolver};
pub use nexthop::{Links, NextHop, NextHopError};
pub use object::{Datapath, probe_features};
pub use prefix::Prefix;
pub use program::Program;
pub use programs::Programs;
pub use settings::Settings;
pub use trial::Trial;
