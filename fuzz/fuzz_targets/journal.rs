//! See `store::properties::journal`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| store::properties::journal(input));
