//! What the benches share: the machine they run on, and samples of time. Each bench is a binary of its own under
//! `src/bin`; the method is in this crate's README.

pub mod machine;
pub mod samples;
