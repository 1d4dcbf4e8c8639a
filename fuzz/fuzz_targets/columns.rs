//! See `metrics::properties::files::columns`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| metrics::properties::files::columns(input));
