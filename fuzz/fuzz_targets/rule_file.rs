//! See `promql::properties::rule_file`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| promql::properties::rule_file(input));
