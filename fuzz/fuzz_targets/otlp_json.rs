//! See `gateway::properties::otlp_json`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gateway::properties::otlp_json(input));
