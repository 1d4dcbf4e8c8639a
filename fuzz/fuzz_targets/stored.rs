//! See `store::properties::stored`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| store::properties::stored(input));
