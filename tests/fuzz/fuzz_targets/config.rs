#![no_main]
//! See [`lb_fuzz::config`].

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lb_fuzz::config(bytes));
