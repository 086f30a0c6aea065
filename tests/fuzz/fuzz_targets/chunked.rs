#![no_main]
//! See [`lb_fuzz::chunked`].

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lb_fuzz::chunked(bytes));
