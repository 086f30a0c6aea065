#![no_main]
//! See [`lb_fuzz::proxy_protocol`].

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lb_fuzz::proxy_protocol(bytes));
