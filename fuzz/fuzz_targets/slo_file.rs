//! See `slo::properties::slo_file`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| slo::properties::slo_file(input));
