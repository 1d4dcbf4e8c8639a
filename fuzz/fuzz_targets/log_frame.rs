//! See `metrics::properties::log_frame`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| metrics::properties::log_frame(input));
