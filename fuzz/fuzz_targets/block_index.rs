//! See `metrics::properties::files::block_index`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| metrics::properties::files::block_index(input));
