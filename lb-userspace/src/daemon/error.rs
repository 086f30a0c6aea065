//! Why the daemon does not run. Printed once, at the top.

use crate::control::server;
use crate::kernel::{AttachError, LoadError, NetlinkError, TableError};
use crate::{config, plan};
use std::io;
use std::net::SocketAddr;

/// Why the daemon does not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operator's file.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// The operator's file would end all that is served.
    #[error(
        "{config} has neither a [[listener]] nor a [[service]] of layer 4, so that nothing would be served any more; if the file was \
         cut short, write it again and reload. To serve nothing on purpose, take backends out by `lb-userspace drain`, or stop the \
         daemon"
    )]
    NothingLeft {
        /// The file.
        config: String,
    },
    /// The operator's file asks for more than the tables hold.
    #[error("the configuration cannot be carried out")]
    Plan(#[from] plan::PlanError),
    /// Layer 7.
    #[error(transparent)]
    Proxy(#[from] super::proxy::Error),
    /// The control socket.
    #[error(transparent)]
    Control(#[from] server::Error),
    /// The address of metrics.
    #[error("cannot serve metrics on {address}; `[metrics]` may name another address")]
    Metrics {
        /// The address.
        address: SocketAddr,
        /// What the kernel says.
        source: io::Error,
    },
    /// The kernel would not take the programs.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The kernel would not attach them.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The kernel would not tell of the network.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// The kernel would not take a table's entry.
    #[error(transparent)]
    Table(#[from] TableError),
    /// No runtime.
    #[error("cannot set up the daemon's I/O: {0}")]
    Runtime(io::Error),
    /// No signals.
    #[error("cannot wait for signals: {0}")]
    Signals(io::Error),
    /// A list of the guard's cannot be used.
    #[error(transparent)]
    List(#[from] crate::guard::lists::ListError),
    /// Several files that the configuration names cannot be used.
    #[error("{}", .0.join("\n"))]
    Files(Vec<String>),
    /// No clock.
    #[error("cannot read the length of the kernel's tick: {0}")]
    Clock(io::Error),
}
