#![no_main]
//! See [`lb_fuzz::response_head`].

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lb_fuzz::response_head(bytes));
