//! Learning: what was recorded of finished runs in, smoothed shares out.

pub mod confidence;
