//! See `chaos::properties::matrix`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| chaos::properties::matrix(input));
