//! What must hold for any bytes, one function a fuzz target. A broken promise panics, which is how a fuzzer hears of it.
//!
//! `cargo xtask fuzz` builds and runs them with stable Rust; `cargo fuzz run --fuzz-dir tests/fuzz TARGET` works as well, where
//! that is installed. The promises are plain functions, so that a seed or a finding can be tried without a fuzzer.

mod http;
mod http2;
mod oracle;
mod packets;
mod proxy;

pub use http::{chunked, request_head, response_head};
pub use http2::http2_session;
pub use packets::{packet_parser, packet_pipeline, packet_stateful};
pub use proxy::{config, proxy_protocol};
