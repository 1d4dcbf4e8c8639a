//! The shapes on the wire (specification §2, §3). Field names are a promise to users' clients.
//!
//! In: values of `domain` and `store`. Out: what serde writes. Fields beyond the specified ones follow
//! them; a field without a value is null, never left out.

mod access;
mod audit;
mod cmdb;
mod experiment;
mod fleet;
mod infrastructure;
mod timeline;
mod trace;

use std::collections::BTreeMap;

use domain::{Cause, Intent, Issue, IssueKind, Plan, PlanStatus, Severity, Time};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use store::{HealthRecord, JournalEntry, PlanRecord, Statistics};

use crate::api::{SEVERITIES, STATUSES};
use crate::baseline::Against;
use crate::control::{Planned, StrategyRate};
use crate::endpoint::choices;
use crate::phrases;

pub(crate) use access::{
    EnrolmentShape, IdentityShape, MadeTokenShape, PasskeyShape, RecoveryCodesShape, RevokedTokenShape,
    SessionShape, TokenShape, UserShape, managed,
};
pub(crate) use audit::AuditRecordShape;
pub(crate) use cmdb::{ItemChangeShape, ItemShape, RelationShape};
pub(crate) use experiment::{ExperimentShape, document, experiment};
pub(crate) use fleet::{CapabilitiesShape, FaultShape, PauseShape, ServiceShape};
pub(crate) use infrastructure::InfrastructureShape;
pub(crate) use timeline::{
    CorrelationShape, EventShape, ServiceContext, ServiceHealthShape, TrendShape, WindowShape,
};
pub(crate) use trace::{LogRecordShape, SectionShape, SpanShape, TraceSummaryShape, plain_value};

#[derive(Serialize, JsonSchema)]
pub(crate) struct HealthScore {
    overall_score: Option<u8>,
    compute_score: Option<u8>,
    network_score: Option<u8>,
    storage_score: Option<u8>,
    database_score: Option<u8>,
    security_score: Option<u8>,
    timestamp: String,
    issues_detected: u32,
    auto_remediated: u32,
    coverage: f64,
}

impl From<&HealthRecord> for HealthScore {
    fn from(record: &HealthRecord) -> Self {
        Self {
            overall_score: record.overall,
            compute_score: record.compute,
            network_score: record.network,
            storage_score: record.storage,
            database_score: record.database,
            security_score: record.security,
            timestamp: record.at.rfc3339(),
            issues_detected: record.issues_detected,
            auto_remediated: record.auto_remediated,
            // Weights are tenths and hundredths, whose sums are not quite.
            coverage: (record.coverage * 1e4).round() / 1e4,
        }
    }
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct IssueShape {
    #[schemars(extend("format" = "uuid"))]
    id: String,
    #[schemars(schema_with = "issue_types")]
    r#type: &'static str,
    #[schemars(schema_with = "severities")]
    severity: &'static str,
    resource: String,
    description: String,
    detected_at: String,
    metrics: BTreeMap<String, f64>,
    reason: &'static str,
    last_seen: String,
    closed_at: Option<String>,
    recurrences: u32,
}

impl From<&Issue> for IssueShape {
    fn from(issue: &Issue) -> Self {
        Self {
            id: issue.id.to_string(),
            r#type: issue.kind.name(),
            severity: issue.severity.name(),
            resource: issue.resource.to_string(),
            description: issue.description.clone(),
            detected_at: issue.detected_at.rfc3339(),
            metrics: issue.metrics.clone(),
            reason: issue.reason.name(),
            last_seen: issue.last_seen.rfc3339(),
            closed_at: issue.closed_at.map(Time::rfc3339),
            recurrences: issue.recurrences,
        }
    }
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct RemediationShape {
    #[schemars(extend("format" = "uuid"))]
    id: String,
    issue_id: Option<String>,
    action_type: String,
    description: String,
    #[schemars(schema_with = "statuses")]
    status: &'static str,
    started_at: Option<String>,
    completed_at: Option<String>,
    success: Option<bool>,
    error_message: Option<String>,
    rollback_performed: bool,
    created_at: String,
    requested_by: String,
    expected_effect: String,
    cause: Option<CauseShape>,
    reasons: Vec<String>,
    blast_radius: Vec<String>,
    verification: Option<VerificationShape>,
    lift_after_seconds: Option<f64>,
    decision: Option<DecisionShape>,
    outcome: Option<OutcomeShape>,
    steps: Vec<StepShape>,
}

#[derive(Serialize, JsonSchema)]
struct CauseShape {
    resource: String,
    class: &'static str,
    confidence: f64,
    pattern: String,
    evidence: Vec<EvidenceShape>,
}

#[derive(Serialize, JsonSchema)]
struct EvidenceShape {
    resource: String,
    text: String,
}

#[derive(Serialize, JsonSchema)]
struct VerificationShape {
    r#type: &'static str,
    resource: String,
    deadline_seconds: f64,
    hold_seconds: f64,
}

#[derive(Serialize, JsonSchema)]
struct DecisionShape {
    who: String,
    at: String,
    #[schemars(with = "String")]
    verdict: store::Verdict,
}

#[derive(Serialize, JsonSchema)]
struct OutcomeShape {
    kind: &'static str,
    verified_at: Option<String>,
    decided_at: String,
    explanation: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct StepShape {
    index: usize,
    action: String,
    resource: String,
    undo: &'static str,
    timeout_seconds: f64,
    /// `open`, `done`, `undone`, `superseded` (to be taken back, but a later change stays), `failed` or `abandoned`.
    state: Option<&'static str>,
    started_at: Option<String>,
    ended_at: Option<String>,
}

fn issue_types(_: &mut SchemaGenerator) -> Schema {
    choices(IssueKind::ALL.map(IssueKind::name))
}

fn severities(_: &mut SchemaGenerator) -> Schema {
    choices(SEVERITIES.map(Severity::name))
}

fn statuses(_: &mut SchemaGenerator) -> Schema {
    choices(STATUSES.map(status_name))
}

/// The name of a status in the API: verifying is still in progress.
pub(crate) fn status_name(status: PlanStatus) -> &'static str {
    match status {
        PlanStatus::Verifying => PlanStatus::InProgress.name(),
        other => other.name(),
    }
}

impl RemediationShape {
    /// A stored plan, with the journal's entries of its steps where they were read.
    pub(crate) fn new(record: &PlanRecord, journal: &[JournalEntry]) -> Self {
        Self {
            started_at: record.started_at.map(Time::rfc3339),
            completed_at: record.completed_at.map(Time::rfc3339),
            success: match record.status {
                PlanStatus::Success => Some(true),
                PlanStatus::Failed | PlanStatus::RolledBack | PlanStatus::Refused => Some(false),
                _ => None,
            },
            error_message: record.error.clone(),
            rollback_performed: record.rolled_back,
            decision: record.decision.as_ref().map(|decision| DecisionShape {
                who: decision.who.clone(),
                at: decision.at.rfc3339(),
                verdict: decision.verdict,
            }),
            outcome: record.outcome.as_ref().map(|outcome| OutcomeShape {
                kind: outcome.kind.name(),
                verified_at: outcome.verified_at.map(Time::rfc3339),
                decided_at: outcome.decided_at.rfc3339(),
                explanation: outcome.explanation.clone(),
            }),
            ..Self::of_plan(&record.plan, record.status, &record.reasons, journal)
        }
    }

    /// A plan that was only just made, or only shown.
    pub(crate) fn planned(planned: &Planned) -> Self {
        Self::of_plan(&planned.plan, planned.status, &planned.reasons, &[])
    }

    fn of_plan(plan: &Plan, status: PlanStatus, reasons: &[String], journal: &[JournalEntry]) -> Self {
        let (issue_id, cause) = match &plan.intent {
            Intent::Remediation { issue, cause, .. } => (Some(issue.to_string()), Some(cause)),
            _ => (None, None),
        };
        Self {
            id: plan.id.to_string(),
            issue_id,
            action_type: phrases::action_type(plan).to_owned(),
            description: plan.summary.clone(),
            status: status_name(status),
            started_at: None,
            completed_at: None,
            success: None,
            error_message: None,
            rollback_performed: false,
            created_at: plan.created_at.rfc3339(),
            requested_by: phrases::actor(&plan.requested_by).to_owned(),
            expected_effect: plan.expected_effect.clone(),
            cause: cause.map(CauseShape::from),
            reasons: reasons.to_vec(),
            blast_radius: plan.blast_radius.iter().map(ToString::to_string).collect(),
            verification: plan.verify.as_ref().map(|signal| VerificationShape {
                r#type: signal.kind.name(),
                resource: signal.resource.to_string(),
                deadline_seconds: signal.deadline.as_secs_f64(),
                hold_seconds: signal.hold.as_secs_f64(),
            }),
            lift_after_seconds: plan.lift_after.map(|after| after.as_secs_f64()),
            decision: None,
            outcome: None,
            steps: steps(plan, journal),
        }
    }
}

impl From<&Cause> for CauseShape {
    fn from(cause: &Cause) -> Self {
        let evidence = |item: &domain::EvidenceItem| EvidenceShape {
            resource: item.resource.to_string(),
            text: item.text.clone(),
        };
        Self {
            resource: cause.resource.to_string(),
            class: cause.class.name(),
            confidence: cause.confidence.0,
            pattern: cause.pattern.clone(),
            evidence: cause.evidence.iter().map(evidence).collect(),
        }
    }
}

fn steps(plan: &Plan, journal: &[JournalEntry]) -> Vec<StepShape> {
    plan.tokens()
        .zip(&plan.steps)
        .enumerate()
        .map(|(index, (token, step))| {
            let entry = journal.iter().find(|entry| entry.token == token);
            StepShape {
                index,
                action: phrases::action(&step.action),
                resource: step.action.resource().to_string(),
                undo: phrases::undo_name(&step.undo),
                timeout_seconds: step.timeout.as_secs_f64(),
                state: entry.map(|entry| entry.state().name()),
                started_at: entry.map(|entry| entry.intent_at.rfc3339()),
                ended_at: entry.and_then(|entry| entry.endings.last()).map(|ended| ended.at.rfc3339()),
            }
        })
        .collect()
}

/// `mttr_reduction`, such as "-65%", is the mean time from the detection of an issue to the first passing check of its repair
/// (healed or mitigated, begun within the window) against the user's own time to repair, as entered on the page of
/// statistics: (mean − own) ÷ own. It is null while no such time above 0 is entered, or nothing was repaired.
/// `uptime_improvement` is always null: no uptime of before is asked for, so there is nothing to measure it against.
#[derive(Serialize, JsonSchema)]
pub(crate) struct StatisticsShape {
    total_issues_detected: u64,
    total_remediations: u64,
    successful_remediations: u64,
    failed_remediations: u64,
    success_rate: Option<f64>,
    average_remediation_time: Option<String>,
    uptime_improvement: Option<String>,
    mttr_reduction: Option<String>,
    rolled_back_remediations: u64,
    refused_remediations: u64,
    awaiting_approval: u64,
    faults_injected: u64,
    window: &'static str,
}

impl StatisticsShape {
    pub(crate) fn new(statistics: &Statistics, against: Option<Against>, window: &'static str) -> Self {
        Self {
            total_issues_detected: statistics.issues_detected,
            total_remediations: statistics.remediations,
            successful_remediations: statistics.successful,
            failed_remediations: statistics.failed,
            success_rate: success_rate(statistics).map(|rate| (rate * 10.0).round() / 10.0),
            average_remediation_time: statistics
                .average_remediation
                .map(|time| format!("{:.1} seconds", time.as_secs_f64())),
            uptime_improvement: None,
            mttr_reduction: against.map(|against| against.reduction()),
            rolled_back_remediations: statistics.rolled_back,
            refused_remediations: statistics.refused,
            awaiting_approval: statistics.awaiting_approval,
            faults_injected: statistics.faults_injected,
            window,
        }
    }
}

/// Successful ÷ (successful + failed) in percent; those that never ran count for neither.
pub(crate) fn success_rate(statistics: &Statistics) -> Option<f64> {
    let ended = statistics.successful + statistics.failed;
    (ended > 0).then(|| statistics.successful as f64 / ended as f64 * 100.0)
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct StrategyShape {
    issue_type: &'static str,
    reason: &'static str,
    strategy: &'static str,
    success_rate: f64,
    outcomes: u32,
    proven: bool,
    available: bool,
    unavailable_because: Option<String>,
}

impl From<&StrategyRate> for StrategyShape {
    fn from(rate: &StrategyRate) -> Self {
        Self {
            issue_type: rate.kind.name(),
            reason: rate.reason.name(),
            strategy: rate.strategy.name(),
            success_rate: rate.success_rate.0,
            outcomes: rate.outcomes,
            proven: rate.outcomes > 0,
            available: rate.unavailable.is_none(),
            unavailable_because: rate.unavailable.clone(),
        }
    }
}
