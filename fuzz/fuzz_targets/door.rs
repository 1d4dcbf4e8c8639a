//! See `gateway::properties::door`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gateway::properties::door(input));
