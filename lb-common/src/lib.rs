//! What the kernel programs and the daemon of `lb` share.
//!
//! - [`abi`]: the bytes that cross the kernel border, with sizes and padding checked.
//! - [`wire`]: one protocol a file, and the [`wire::Packet`] trait through which all packet bytes go.
//! - [`datapath`]: the decisions, from parsing to the verdict, over packets and [`datapath::Tables`].
//!
//! No I/O, no clock, no randomness: the BPF build, the tests and the daemon run this one source.
#![cfg_attr(not(any(test, feature = "host")), no_std)]
#![cfg_attr(target_arch = "bpf", feature(core_intrinsics))]
#![cfg_attr(target_arch = "bpf", allow(internal_features, reason = "what atomics BPF has are there alone"))]
#![allow(
    clippy::inline_always,
    reason = "the packet path is one program: a real call cannot return an aggregate on BPF, and costs on the way"
)]
#![allow(clippy::many_single_char_names, reason = "the words of an address have no names")]
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
