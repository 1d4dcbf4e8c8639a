//! See `provider::properties::keeper_line`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| provider::properties::keeper_line(input));
