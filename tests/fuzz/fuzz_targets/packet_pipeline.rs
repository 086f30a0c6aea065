#![no_main]
//! See [`lb_fuzz::packet_pipeline`].

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lb_fuzz::packet_pipeline(bytes));
