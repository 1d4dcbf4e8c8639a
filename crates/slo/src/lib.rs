//! Service level objectives.
//!
//! In: files (OpenSLO v1, Sloth, Pyrra) and counts of good and all events by minute. Out: what is left of the error budget,
//! how fast it burns, and which alerts that makes.
//!
//! Deliberately absent: a clock, storage, and where the counts come from.
