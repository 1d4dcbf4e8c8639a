//! See `metrics::properties::columns`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| metrics::properties::columns(input));
