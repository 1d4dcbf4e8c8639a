//! See `metrics::files::properties::log_frame`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| metrics::files::properties::log_frame(input));
