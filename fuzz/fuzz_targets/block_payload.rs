//! See `telemetry::properties::block_payload`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| telemetry::properties::block_payload(input));
