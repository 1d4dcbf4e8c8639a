//! Samples providers and puts a Snapshot together.
