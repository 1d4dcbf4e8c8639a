//! See `gateway::properties::query`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gateway::properties::query(input));
