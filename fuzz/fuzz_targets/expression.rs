//! See `promql::properties::expression`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| promql::properties::expression(input));
