//! See `domain::properties::units`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| domain::properties::units(input));
