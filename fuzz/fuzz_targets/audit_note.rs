//! See `audit::properties::audit_note`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| audit::properties::audit_note(input));
