//! What detection found, as it finds it.

use async_graphql::{Enum, ID, SimpleObject};

use super::issue::Issue;
use crate::graphql::scalars::DateTime;

/// What became of an issue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
pub(in crate::graphql) enum AnomalyChange {
    /// It was found.
    Opened,
    /// Its severity, its reason or how often it came back changed, or what was foretold came to pass.
    Changed,
    /// Its signal was back in bounds for good.
    Closed,
}

/// What detection found: an issue was opened, changed or closed. There are no models yet that would find anomalies beside
/// the issue types.
#[derive(Clone, SimpleObject)]
pub(in crate::graphql) struct AnomalyEvent {
    /// Names the event: the issue's id and how many were told of it before.
    pub(in crate::graphql) id: ID,
    /// What became of the issue.
    pub(in crate::graphql) change: AnomalyChange,
    /// When it was told.
    pub(in crate::graphql) at: DateTime,
    /// The issue with its evidence, as it is since then.
    pub(in crate::graphql) issue: Issue,
}
