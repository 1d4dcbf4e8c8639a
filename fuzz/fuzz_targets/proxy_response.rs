//! See `provider::properties::proxy_response`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| provider::properties::proxy_response(input));
