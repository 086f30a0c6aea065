//! Health: whether a backend answers, decided by probes.
//!
//! One [`Machine`] a backend holds the rules and nothing else: results and `now` go in, verdicts and the time of the
//! next probe come out. A [`Prober`] asks the backend over a [`Transport`]; the [`driver`](spawn) lets the two turn
//! round each other and reports each [`Transition`] to the owner. The owner decides what a verdict means for slots.
//!
//! **Invariant**: nothing here touches tables, flows or configuration; and no pending `io_uring` operation is dropped.

mod driver;
mod error;
mod evidence;
mod http;
mod http2;
mod layers;
mod machine;
mod params;
mod probe;
mod random;
mod sessions;
mod socket;
mod stream;
mod turns;

#[cfg(test)]
mod layer_tests;
#[cfg(test)]
mod probe_tests;
#[cfg(test)]
mod simulation;

pub use driver::{Handle, Report, spawn};
pub use error::{ProbeError, Stage};
pub use evidence::{Evidence, HealthState, Transition};
pub use layers::Layers;
pub use machine::{Machine, Next};
pub use params::{Kind, Params};
pub use probe::Prober;
pub use stream::{Transport, ring_builder};
