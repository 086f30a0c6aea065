//! Layer 7: the reverse proxy. One worker a core accepts, terminates TLS, reads requests, routes, balances and forwards them.
//!
//! Pure parts (`message`, `http1`, `route`, `rewrite`, `balance`) take bytes, `now` and snapshots and return values; `worker`,
//! `transport`, `tls` and `pool` do the I/O.

pub mod balance;
pub mod message;
pub mod rewrite;
pub mod route;
pub mod settings;
