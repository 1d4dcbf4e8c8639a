//! How well everything is, in figures.

use async_graphql::SimpleObject;
use store::HealthRecord;

use crate::graphql::scalars::DateTime;

/// How well everything is, 0 to 100; what is not known is null.
#[derive(SimpleObject)]
pub(in crate::graphql) struct HealthScore {
    /// All together.
    overall: Option<u8>,
    /// Of instances.
    compute: Option<u8>,
    /// Of links.
    network: Option<u8>,
    /// Of volumes.
    storage: Option<u8>,
    /// Of databases.
    database: Option<u8>,
    /// Of security.
    security: Option<u8>,
    /// The share of what should be known that is, 0 to 1.
    coverage: f64,
    /// Issues that are open.
    issues_detected: u32,
    /// Remediations that ran by themselves.
    auto_remediated: u32,
    /// When it was computed.
    at: DateTime,
}

impl From<&HealthRecord> for HealthScore {
    fn from(record: &HealthRecord) -> Self {
        Self {
            overall: record.overall,
            compute: record.compute,
            network: record.network,
            storage: record.storage,
            database: record.database,
            security: record.security,
            coverage: record.coverage,
            issues_detected: record.issues_detected,
            auto_remediated: record.auto_remediated,
            at: DateTime(record.at),
        }
    }
}
