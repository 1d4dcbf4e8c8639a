//! See `telemetry::properties::bucket_listing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| telemetry::properties::bucket_listing(input));
