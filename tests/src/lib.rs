//! x
pub mod packets;
