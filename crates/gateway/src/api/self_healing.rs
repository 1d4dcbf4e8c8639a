//! `/api/v3/self-healing/…` (specification §2).

use axum::http::StatusCode;
use domain::{Issue, IssueKind, PlanId, PlanStatus, ResourceId, Severity};
use serde::Serialize;
use serde_json::json as value;
use store::{IssueFilter, PlanFilter, PlanPurpose, PlanRecord};

use super::{Answer, Asked, back, json, names};
use crate::control::{Automation, RunMode};
use crate::problem::Problem;
use crate::serve::App;
use crate::shapes::{
    HealthScore, IssueShape, RemediationShape, StatisticsShape, StrategyShape, TrendShape, status_name,
};

const WINDOWS: [(&str, i64); 3] = [("24h", 86_400), ("7d", 7 * 86_400), ("30d", 30 * 86_400)];

const TREND_WINDOWS: [(&str, i64); 4] = [("1h", 3600), ("6h", 6 * 3600), ("24h", 86_400), ("7d", 7 * 86_400)];

const STATUSES: [PlanStatus; 7] = [
    PlanStatus::Pending,
    PlanStatus::AwaitingApproval,
    PlanStatus::InProgress,
    PlanStatus::Success,
    PlanStatus::Failed,
    PlanStatus::RolledBack,
    PlanStatus::Refused,
];

const SEVERITIES: [Severity; 4] = [Severity::Critical, Severity::High, Severity::Medium, Severity::Low];

pub(crate) fn health_score(asked: &Asked<'_>) -> Answer {
    let record = asked.app.control.health().ok_or_else(|| {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "not_known_yet",
            "no health was computed yet; ask again in a few seconds",
        )
    })?;
    let trend = health_trend(asked.app, TREND_WINDOWS[0].1)?;
    let shape = HealthScoreWithTrend {
        score: HealthScore::from(&record),
        trend: trend.as_ref().map(TrendShape::from),
    };
    json(StatusCode::OK, &shape)
}

/// The score with where it was going in the last hour; null where there are too few records of it.
#[derive(Serialize)]
struct HealthScoreWithTrend {
    #[serde(flatten)]
    score: HealthScore,
    trend: Option<TrendShape>,
}

/// `GET …/health-score/trend?window=1h|6h|24h|7d`: where the overall score is going.
pub(crate) fn health_score_trend(asked: &Asked<'_>) -> Answer {
    asked.query.only(&["window"])?;
    let window = |text: &str| TREND_WINDOWS.into_iter().find(|(name, _)| *name == text);
    let (name, seconds) = asked
        .query
        .read("window", window, || names(TREND_WINDOWS.map(|(name, _)| name), |name| name))?
        .unwrap_or(TREND_WINDOWS[0]);
    let trend = health_trend(asked.app, seconds)?;
    let body = value!({"window": name, "trend": trend.as_ref().map(TrendShape::from)});
    json(StatusCode::OK, &body)
}

/// Where the overall score is going over the last `seconds`; `None` where there are too few records.
pub(crate) fn health_trend(app: &App, seconds: i64) -> Result<Option<decide::trend::Trend>, Problem> {
    let records = app.store.health_since(back(app.clock.now(), seconds))?;
    let scores: Vec<(f64, f64)> = records
        .iter()
        .filter_map(|record| Some((record.at.wall_us as f64 / 1e6, f64::from(record.overall?))))
        .collect();
    Ok(decide::trend::trend(&scores))
}

pub(crate) fn health_history(asked: &Asked<'_>) -> Answer {
    let since = asked.since()?.unwrap_or(back(asked.app.clock.now(), 86_400));
    let records = asked.app.store.health_since(since)?;
    json(StatusCode::OK, &records.iter().map(HealthScore::from).collect::<Vec<_>>())
}

pub(crate) fn issues(asked: &Asked<'_>) -> Answer {
    let limit = asked.limit()?;
    let query = &asked.query;
    let filter = IssueFilter {
        limit: limit + 1,
        before: query.read("before", |text| text.parse().ok(), || "the id of an issue".to_owned())?,
        kind: query.read("type", kind, kinds)?,
        severity: query.read("severity", severity, severities)?,
        resource: query.read("resource", resource, || "a resource, such as instance/cart-0".to_owned())?,
        since: asked.since()?,
    };
    let rows = asked.app.store.issues(&filter)?;
    asked.list(rows, limit, |issue: &Issue| issue.id.to_string(), |issue| IssueShape::from(issue))
}

pub(crate) fn issue(asked: &Asked<'_>) -> Answer {
    let id = asked.id("issue")?;
    let issue =
        asked.app.store.issue(id)?.ok_or_else(|| Problem::not_found(format!("there is no issue {id}")))?;
    json(StatusCode::OK, &IssueShape::from(&issue))
}

pub(crate) fn remediations(asked: &Asked<'_>) -> Answer {
    let limit = asked.limit()?;
    let query = &asked.query;
    let filter = PlanFilter {
        limit: limit + 1,
        before: query.read("before", |text| text.parse().ok(), || "the id of a remediation".to_owned())?,
        status: query.read("status", status, statuses)?,
        resource: query.read("resource", resource, || "a resource, such as instance/cart-0".to_owned())?,
        since: asked.since()?,
        only: Some(PlanPurpose::Remediation),
    };
    let rows = asked.app.store.plans(&filter)?;
    asked.list(
        rows,
        limit,
        |record: &PlanRecord| record.plan.id.to_string(),
        |record| RemediationShape::new(record, &[]),
    )
}

pub(crate) fn remediation(asked: &Asked<'_>) -> Answer {
    let id: PlanId = asked.id("remediation")?;
    answer_with(asked.app, id, StatusCode::OK)
}

/// The remediation as it is now, with its steps.
fn answer_with(app: &App, id: PlanId, status: StatusCode) -> Answer {
    let record =
        app.store.plan(id)?.ok_or_else(|| Problem::not_found(format!("there is no remediation {id}")))?;
    json(status, &RemediationShape::new(&record, &app.store.journal(id)?))
}

pub(crate) fn statistics(asked: &Asked<'_>) -> Answer {
    let window = |text: &str| WINDOWS.into_iter().find(|(name, _)| *name == text);
    let (name, seconds) = asked
        .query
        .read("window", window, || names(WINDOWS.map(|(name, _)| name), |name| name))?
        .unwrap_or(WINDOWS[0]);
    let counts = asked.app.store.statistics(back(asked.app.clock.now(), seconds))?;
    json(StatusCode::OK, &StatisticsShape::new(&counts, name))
}

pub(crate) fn strategies(asked: &Asked<'_>) -> Answer {
    let rates = asked.app.control.strategies();
    json(StatusCode::OK, &rates.iter().map(StrategyShape::from).collect::<Vec<_>>())
}

pub(crate) fn toggle(asked: &Asked<'_>) -> Answer {
    let mut fields = asked.fields()?;
    let enabled = fields.boolean("enabled")?;
    fields.finish()?;
    let (automation, message) = if enabled {
        (Automation::On, "automatic repair is on, as far as the trust ladder allows")
    } else {
        (Automation::Off, "automatic repair is off; standing restarts go on")
    };
    asked.app.control.set_automation(automation, asked.who)?;
    json(StatusCode::OK, &value!({"auto_remediation_enabled": enabled, "message": message}))
}

pub(crate) fn manual_remediate(asked: &Asked<'_>) -> Answer {
    remediate(asked, RunMode::Run, StatusCode::ACCEPTED)
}

pub(crate) fn dry_run(asked: &Asked<'_>) -> Answer {
    remediate(asked, RunMode::DryRun, StatusCode::OK)
}

fn remediate(asked: &Asked<'_>, mode: RunMode, status: StatusCode) -> Answer {
    asked.takes_nothing()?;
    let planned = asked.app.control.remediate(asked.id("issue")?, mode, asked.who)?;
    json(status, &RemediationShape::planned(&planned))
}

pub(crate) fn approve(asked: &Asked<'_>) -> Answer {
    asked.takes_nothing()?;
    let id = asked.id("remediation")?;
    asked.app.control.approve(id, asked.who)?;
    answer_with(asked.app, id, StatusCode::OK)
}

pub(crate) fn reject(asked: &Asked<'_>) -> Answer {
    asked.takes_nothing()?;
    let id = asked.id("remediation")?;
    asked.app.control.reject(id, asked.who)?;
    answer_with(asked.app, id, StatusCode::OK)
}

pub(crate) fn roll_back(asked: &Asked<'_>) -> Answer {
    asked.takes_nothing()?;
    let id = asked.id("remediation")?;
    asked.app.control.roll_back(id, asked.who)?;
    answer_with(asked.app, id, StatusCode::ACCEPTED)
}

/// What a filter takes, in words for an error.
pub(crate) fn kinds() -> String {
    names(IssueKind::ALL, IssueKind::name)
}

pub(crate) fn severities() -> String {
    names(SEVERITIES, Severity::name)
}

pub(crate) fn statuses() -> String {
    names(STATUSES, PlanStatus::name)
}

pub(crate) fn kind(text: &str) -> Option<IssueKind> {
    IssueKind::ALL.into_iter().find(|kind| kind.name() == text)
}

pub(crate) fn severity(text: &str) -> Option<Severity> {
    SEVERITIES.into_iter().find(|severity| severity.name() == text)
}

pub(crate) fn status(text: &str) -> Option<PlanStatus> {
    STATUSES.into_iter().find(|status| status_name(*status) == text)
}

fn resource(text: &str) -> Option<ResourceId> {
    text.parse().ok()
}
