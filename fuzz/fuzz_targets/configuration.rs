//! See `homeostat::properties::configuration`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| homeostat::properties::configuration(input));
