//! See `gateway::properties::otlp_compressed`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gateway::properties::otlp_compressed(input));
