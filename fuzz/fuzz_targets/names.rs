//! See `domain::properties::names`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| domain::properties::names(input));
