//! See `provider::properties::keeper_table`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| provider::properties::keeper_table(input));
