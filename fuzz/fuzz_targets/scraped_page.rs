//! See `metrics::properties::scraped_page`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| metrics::properties::scraped_page(input));
