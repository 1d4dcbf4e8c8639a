//! See `homeostat_tracer::properties::trace_headers`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| homeostat_tracer::properties::trace_headers(input));
