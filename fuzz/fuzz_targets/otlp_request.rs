//! See `telemetry::properties::otlp_request`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| telemetry::properties::otlp_request(input));
