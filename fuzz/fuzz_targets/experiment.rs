//! See `gateway::properties::experiment`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gateway::properties::experiment(input));
