#![no_main]
//! See [`lb_fuzz::packet_parser`].

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lb_fuzz::packet_parser(bytes));
