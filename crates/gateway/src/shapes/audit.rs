//! Records of the audit trail on the wire.

use audit::Record;
use domain::Time;
use schemars::JsonSchema;
use serde::Serialize;

/// One record.
#[derive(Serialize, JsonSchema)]
pub(crate) struct AuditRecordShape {
    /// Its place, counted from 0.
    sequence: u64,
    time: String,
    who: String,
    via: &'static str,
    action: String,
    target: String,
    why: Option<String>,
    outcome: &'static str,
    detail: Option<String>,
    remediation_id: Option<String>,
    request: Option<String>,
}

impl From<&Record> for AuditRecordShape {
    fn from(record: &Record) -> Self {
        Self {
            sequence: record.sequence,
            time: Time { boot_us: 0, wall_us: record.time_us }.rfc3339(),
            who: record.who.clone(),
            via: record.via.name(),
            action: record.action.as_str().to_owned(),
            target: record.target.clone(),
            why: record.why.clone(),
            outcome: record.outcome.name(),
            detail: record.detail.clone(),
            remediation_id: record.plan.map(|plan| plan.to_string()),
            request: record.request.clone(),
        }
    }
}
