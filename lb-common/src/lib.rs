//! What the kernel programs and the daemon of `lb` share.
//!
//! - [`abi`]: the bytes that cross the kernel border, with sizes and padding checked.
//! - [`wire`]: one protocol a file, and the [`wire::Packet`] trait through which all packet bytes go.
//! - [`datapath`]: the decisions, from parsing to the verdict, over packets and [`datapath::Tables`].
//!
//! No I/O, no clock, no randomness: the BPF build, the tests and the daemon run this one source.
#![cfg_attr(not(any(test, feature = "host")), no_std)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::panic,
        clippy::indexing_slicing,
        reason = "a test fails by panicking"
    )
)]

#[macro_use]
pub mod wire;
pub mod abi;
pub mod datapath;
