//! See `provider::properties::process_status`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| provider::properties::process_status(input));
