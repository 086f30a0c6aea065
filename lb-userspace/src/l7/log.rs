//! The access log: a line for each exchange, written by a thread of its own.
//!
//! ```text
//! account ─► desk (a buffer of each worker) ─► queue, bounded ─► writer, one thread ─► file or stdout
//! ```
//!
//! A worker writes lines into a buffer that it uses again and again, and hands it on when it is full or a tick has passed. Where
//! the disk stalls, the queue fills and lines are lost and counted: a request never waits. What clients send is escaped, so that
//! nobody but us begins a line.

mod desk;
mod line;
mod note;
mod time;
mod writer;

pub use crate::config::proxy::LogField as Field;
pub use desk::Desk;
pub use line::Closing;
pub use note::Note;
pub use writer::{Batch, Log, Queue, open};

use crate::config::proxy::{AccessLog, LogPiece, LogTarget};
use std::sync::Arc;

/// A log as a listener keeps it.
#[derive(Debug)]
pub struct Plan {
    /// What the file says of it.
    pub config: AccessLog,
    /// Where its lines go.
    pub target: Arc<LogTarget>,
}

impl Plan {
    /// How this configuration is carried out.
    #[must_use]
    pub fn new(config: AccessLog) -> Self {
        Self { target: Arc::new(config.to.clone()), config }
    }

    /// The fields of requests that its lines have.
    pub fn headers(&self) -> impl Iterator<Item = &str> {
        self.config.format.pieces().iter().filter_map(|piece| match piece {
            LogPiece::Header(name) => Some(&**name),
            LogPiece::Text(_) | LogPiece::Field(_) => None,
        })
    }
}
