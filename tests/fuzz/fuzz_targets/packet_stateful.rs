#![no_main]
//! See [`lb_fuzz::packet_stateful`].

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lb_fuzz::packet_stateful(bytes));
