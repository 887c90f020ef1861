//! The target `proxy` for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| snapback_fuzz::proxy::run(bytes));
