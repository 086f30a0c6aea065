#![no_main]
//! See [`lb_fuzz::http2_session`].

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lb_fuzz::http2_session(bytes));
