//! Learning: outcomes of plans, and in drills the true causes, in; what the next turn believes out.
//! Deliberately absent: the outcomes themselves (the store keeps them) and any clock.

pub mod confidence;
pub mod rates;
