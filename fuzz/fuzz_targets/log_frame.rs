//! See `metrics::properties::files::log_frame`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| metrics::properties::files::log_frame(input));
