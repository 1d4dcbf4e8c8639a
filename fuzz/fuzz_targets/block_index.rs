//! See `metrics::properties::block_index`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| metrics::properties::block_index(input));
