#![no_main]
//! See [`lb_fuzz::request_head`].

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lb_fuzz::request_head(bytes));
