//! See `provider::properties::proxy_request`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| provider::properties::proxy_request(input));
