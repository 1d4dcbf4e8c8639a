//! Learning: outcomes of plans in; what the next turn believes out. Deliberately absent: the outcomes
//! themselves (the store keeps them) and any clock.

pub mod rates;
