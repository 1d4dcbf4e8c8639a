//! See `provider::properties::infrastructure`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| provider::properties::infrastructure(input));
