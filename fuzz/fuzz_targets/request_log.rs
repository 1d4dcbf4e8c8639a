//! See `homeostat::properties::request_log`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| homeostat::properties::request_log(input));
