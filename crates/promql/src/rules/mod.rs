//! Recording and alerting rules, as Prometheus has them.
//!
//! Out: how rules stand, to whoever shows it ([`RuleStates`]).

mod state;

pub use state::{ActiveAlert, ActivePhase, GroupState, Health, RuleKind, RuleState, RuleStates};
