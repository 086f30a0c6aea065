//! What clients do, with nothing but the standard library's sockets.
//!
//! Plain functions act in the network namespace of the calling thread: run them by [`Namespace::run`]. What works in the
//! background ([`crowd`], [`download`], [`hammer`]) takes the namespace itself.
//!
//! [`Namespace::run`]: crate::netns::Namespace::run

pub mod crowd;
pub mod download;
pub mod eager;
pub mod echo;
pub mod hammer;
pub mod http;
pub mod limit;
pub mod ping;
pub mod tally;

use std::time::Duration;

/// How long a client waits for anything: much longer than a healthy answer takes, short enough to see an outage.
pub const TIMEOUT: Duration = Duration::from_secs(1);
