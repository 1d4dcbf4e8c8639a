//! See `metrics::properties::otlp_metrics`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| metrics::properties::otlp_metrics(input));
