//! Chaos: experiments that disturb on purpose, and the drill that measures the whole loop with them.

pub mod drill;
