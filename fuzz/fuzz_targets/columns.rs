//! See `metrics::files::properties::columns`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| metrics::files::properties::columns(input));
