//! Layer 7: the reverse proxy. One worker a core accepts, terminates TLS, reads requests, routes, balances and forwards them.
//!
//! Pure parts (`message`, `http1`, `route`, `rewrite`, `balance`) take bytes, `now` and snapshots and return values; `worker`,
//! `transport`, `tls` and `pool` do the I/O.

pub mod account;
mod admission;
pub mod answer;
pub mod ask;
mod asking;
mod attempt;
pub mod balance;
pub mod buffer;
mod carry;
pub mod census;
pub mod client;
mod converse;
pub mod deadline;
mod exchange;
pub mod explain;
mod far;
mod framed;
mod going;
pub mod http1;
pub mod http2;
mod inlet;
pub mod log;
pub mod memory;
pub mod message;
mod mirror;
mod near;
mod outlet;
pub mod pace;
mod plain;
pub mod pool;
pub mod proxy_protocol;
pub mod pump;
pub mod reply;
pub mod respond;
pub mod rewrite;
pub mod route;
pub mod settings;
pub mod site;
pub mod tally;
mod textual;
pub mod tls;
pub mod transport;
mod turn;
pub mod wire;
pub mod worker;

#[cfg(test)]
mod tests;
