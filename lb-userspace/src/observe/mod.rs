//! What the daemon shows of itself besides the control socket.

pub mod log;
pub mod page;
mod stderr;
