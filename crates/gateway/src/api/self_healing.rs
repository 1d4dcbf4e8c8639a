//! `/api/v3/self-healing/…` (specification §2).

use axum::http::StatusCode;
use domain::{Issue, IssueKind, Permission, PlanId, PlanStatus, ResourceId, Severity};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::{IssueFilter, IssueState, PlanFilter, PlanPurpose, PlanRecord};

use super::{Answer, Asked, LIMIT_MAX, PAGE, PLANS, back, json, names, planned};
use crate::auditing::about;
use crate::baseline::{Baseline, Times};
use crate::control::{Automation, RunMode};
use crate::deed::Deed;
use crate::endpoint::{Endpoint, Parameter, RESOURCE};
use crate::problem::{Code, Listed, Problem};
use crate::serve::App;
use crate::shapes::{
    HealthScore, IssueShape, RemediationShape, StatisticsShape, StrategyShape, TrendShape, status_name,
};

/// Whether repairs run by themselves.
pub(crate) const SWITCH: &str = "/api/v3/self-healing/toggle-auto-remediation";

const WINDOWS: [(&str, i64); 3] = [("24h", 86_400), ("7d", 7 * 86_400), ("30d", 30 * 86_400)];

const TREND_WINDOWS: [(&str, i64); 4] = [("1h", 3600), ("6h", 6 * 3600), ("24h", 86_400), ("7d", 7 * 86_400)];

/// A repair, or what somebody asked for.
pub(crate) const REMEDIATION: &str = "/api/v3/self-healing/remediations/{id}";

pub(crate) const STATUSES: [PlanStatus; 7] = [
    PlanStatus::Pending,
    PlanStatus::AwaitingApproval,
    PlanStatus::InProgress,
    PlanStatus::Success,
    PlanStatus::Failed,
    PlanStatus::RolledBack,
    PlanStatus::Refused,
];

/// What a list of remediations can be about; nothing in particular is `any`.
const PURPOSES: [(&str, Option<PlanPurpose>); 5] = [
    ("remediation", Some(PlanPurpose::Remediation)),
    ("operation", Some(PlanPurpose::Operation)),
    ("experiment", Some(PlanPurpose::Experiment)),
    ("lift", Some(PlanPurpose::Lift)),
    ("any", None),
];

pub(crate) const SEVERITIES: [Severity; 4] =
    [Severity::Critical, Severity::High, Severity::Medium, Severity::Low];

pub(super) fn endpoints() -> Vec<Endpoint> {
    let at = |path: &str| format!("/api/v3/self-healing/{path}");
    let read = Permission::StateRead;
    let mut all = scores(at);
    all.extend([
        Endpoint::get(read, &at("issues"), "issues.list", issues)
            .says("What is wrong, or was, newest first")
            .query([
                Parameter::limit(LIMIT_MAX, PAGE),
                Parameter::id("before", "Only older ones than this issue; the Link header has it"),
                Parameter::choice(
                    "state",
                    IssueState::ALL.map(IssueState::name),
                    "Only open issues, or only those that are over; both where it is left out",
                ),
                Parameter::choice("type", IssueKind::ALL.map(IssueKind::name), "Only issues of this type"),
                Parameter::choice("severity", SEVERITIES.map(Severity::name), "Only issues of this severity"),
                Parameter::form(
                    "resource",
                    RESOURCE,
                    "instance/cart-0",
                    "Only issues of this resource, such as instance/cart-0",
                ),
                Parameter::time("since", "Only issues detected since"),
            ])
            .answers::<Vec<IssueShape>>("Issues"),
        Endpoint::get(read, &at("issues/{id}"), "issues.get", issue)
            .says("One issue")
            .placeholder(Parameter::id("id", "The id of an issue"))
            .answers::<IssueShape>("The issue"),
        Endpoint::get(read, &at("statistics"), "statistics.get", statistics)
            .says("What was detected and repaired within a window")
            .query([Parameter::choice("window", WINDOWS.map(|(name, _)| name), "How far back")])
            .answers::<StatisticsShape>("Counts, rates and times"),
        Endpoint::get(read, &at("strategies"), "strategies.list", strategies)
            .says("What may be tried for which issue, with its learned success rate")
            .answers::<Vec<StrategyShape>>("Strategies"),
        Endpoint::get(read, SWITCH, "automation.get", automation)
            .says("Whether repairs run by themselves")
            .answers::<Toggled>("How it is"),
        Endpoint::post(Permission::ServicesOperate, SWITCH, "automation.set", toggle)
            .says("Switches automatic repair on or off")
            .overwrites(SWITCH, automation)
            .refuses([Code::Unavailable])
            .takes::<Toggle>()
            .answers::<Toggled>("How it is now"),
        Endpoint::post(
            Permission::ServicesOperate,
            &at("manual-remediate/{id}"),
            "issues.remediate",
            manual_remediate,
        )
        .says("Repairs an issue now, as far as guard and ladder allow")
        .refuses(PLANS)
        .placeholder(Parameter::id("id", "The id of an issue"))
        .answers_with::<RemediationShape>(StatusCode::ACCEPTED, "The plan, on its way"),
        Endpoint::post(Permission::ServicesOperate, &at("dry-run/{id}"), "issues.dry_run", dry_run)
            .says("Shows the plan that a repair would run; changes nothing")
            .refuses(PLANS)
            .placeholder(Parameter::id("id", "The id of an issue"))
            .answers::<RemediationShape>("The plan"),
    ]);
    all.extend(remediation_endpoints(at));
    all
}

fn scores(at: impl Fn(&str) -> String) -> Vec<Endpoint> {
    let read = Permission::StateRead;
    vec![
        Endpoint::get(read, &at("health-score"), "health_score.get", health_score)
            .says("How well everything is, 0 to 100")
            .refuses([Code::NotKnownYet])
            .answers::<HealthScoreWithTrend>("The score with its components; unknown ones are null"),
        Endpoint::get(read, &at("health-score/history"), "health_score.history", health_history)
            .says("Recorded scores, oldest first")
            .query([Parameter::time("since", "From when on; a day ago where it is left out")])
            .answers::<Vec<HealthScore>>("Scores"),
        Endpoint::get(read, &at("health-score/trend"), "health_score.trend", health_score_trend)
            .says("Where the score is going")
            .query([Parameter::choice("window", TREND_WINDOWS.map(|(name, _)| name), "How far back")])
            .answers::<TrendOfWindow>("The trend; null where there are too few records"),
    ]
}

fn remediation_endpoints(at: impl Fn(&str) -> String) -> Vec<Endpoint> {
    let id = || Parameter::id("id", "The id of a remediation");
    let decides = |path: &str, name, handler| {
        Endpoint::post(Permission::PlansApprove, &at(path), name, handler)
            .placeholder(id())
            .overwrites(REMEDIATION, remediation)
            .refuses(PLANS)
    };
    vec![
        Endpoint::get(Permission::StateRead, &at("remediations"), "remediations.list", remediations)
            .says("Repairs, newest first")
            .query([
                Parameter::limit(LIMIT_MAX, PAGE),
                Parameter::id("before", "Only older ones than this remediation; the Link header has it"),
                Parameter::choice("status", STATUSES.map(status_name), "Only remediations in this state"),
                Parameter::form(
                    "resource",
                    RESOURCE,
                    "instance/cart-0",
                    "Only remediations of this resource, such as instance/cart-0",
                ),
                Parameter::time("since", "Only remediations made since"),
                Parameter::choice(
                    "purpose",
                    PURPOSES.map(|(name, _)| name),
                    "What plans are for: repairs alone where it is left out; what waits for a person is found by `any`",
                ),
            ])
            .answers::<Vec<RemediationShape>>("Remediations, without the state of their steps"),
        Endpoint::get(Permission::StateRead, &at("remediations/{id}"), "remediations.get", remediation)
            .says("One remediation with its steps")
            .placeholder(id())
            .answers::<RemediationShape>("The remediation"),
        decides("remediations/{id}/approve", "remediations.approve", approve)
            .says("Lets a plan run that waits for a person")
            .answers::<RemediationShape>("The remediation"),
        decides("remediations/{id}/reject", "remediations.reject", reject)
            .says("Ends a plan that waits for a person, or what somebody asked for and waits for its turn")
            .answers::<RemediationShape>("The remediation"),
        decides("remediations/{id}/rollback", "remediations.roll_back", roll_back)
            .says("Takes a finished plan back")
            .answers_with::<RemediationShape>(StatusCode::ACCEPTED, "The remediation, being taken back"),
    ]
}

/// Whether repairs are to run by themselves.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Toggle {
    enabled: bool,
}

/// Whether repairs run by themselves.
#[derive(Serialize, JsonSchema)]
struct Toggled {
    auto_remediation_enabled: bool,
    message: &'static str,
}

/// Where the score was going within a window.
#[derive(Serialize, JsonSchema)]
struct TrendOfWindow {
    window: &'static str,
    trend: Option<TrendShape>,
}

pub(crate) fn health_score(asked: &Asked<'_>) -> Answer {
    let record = asked.app.control.health().ok_or_else(|| {
        Problem::new(Code::NotKnownYet, "no health was computed yet; ask again in a few seconds")
    })?;
    let trend = health_trend(asked.app, TREND_WINDOWS[0].1)?;
    let shape = HealthScoreWithTrend {
        score: HealthScore::from(&record),
        trend: trend.as_ref().map(TrendShape::from),
    };
    json(StatusCode::OK, &shape)
}

/// The score with where it was going in the last hour; null where there are too few records of it.
#[derive(Serialize, JsonSchema)]
struct HealthScoreWithTrend {
    #[serde(flatten)]
    score: HealthScore,
    trend: Option<TrendShape>,
}

/// `GET …/health-score/trend?window=1h|6h|24h|7d`: where the overall score is going.
pub(crate) fn health_score_trend(asked: &Asked<'_>) -> Answer {
    let window = |text: &str| TREND_WINDOWS.into_iter().find(|(name, _)| *name == text);
    let (name, seconds) = asked
        .query
        .read("window", window, || names(TREND_WINDOWS.map(|(name, _)| name), |name| name))?
        .unwrap_or(TREND_WINDOWS[0]);
    let trend = health_trend(asked.app, seconds)?;
    json(StatusCode::OK, &TrendOfWindow { window: name, trend: trend.as_ref().map(TrendShape::from) })
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
        state: query.read("state", issue_state, issue_states)?,
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
    let issue = asked
        .app
        .store
        .issue(id)?
        .ok_or_else(|| Problem::not_among(Listed::Issues, format!("there is no issue {id}")))?;
    json(StatusCode::OK, &IssueShape::from(&issue))
}

pub(crate) fn remediations(asked: &Asked<'_>) -> Answer {
    let limit = asked.limit()?;
    let query = &asked.query;
    let of = |text: &str| PURPOSES.iter().find(|(name, _)| *name == text).map(|(_, purpose)| *purpose);
    let purpose = query.read("purpose", of, || names(PURPOSES, |(name, _)| name))?;
    let filter = PlanFilter {
        limit: limit + 1,
        before: query.read("before", |text| text.parse().ok(), || "the id of a remediation".to_owned())?,
        status: query.read("status", status, statuses)?,
        resource: query.read("resource", resource, || "a resource, such as instance/cart-0".to_owned())?,
        since: asked.since()?,
        only: purpose.unwrap_or(Some(PlanPurpose::Remediation)),
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
    let record = app
        .store
        .plan(id)?
        .ok_or_else(|| Problem::not_among(Listed::Remediations, format!("there is no remediation {id}")))?;
    Ok(about(id, json(status, &RemediationShape::new(&record, &app.store.journal(id)?))?))
}

pub(crate) fn statistics(asked: &Asked<'_>) -> Answer {
    let window = |text: &str| WINDOWS.into_iter().find(|(name, _)| *name == text);
    let (name, seconds) = asked
        .query
        .read("window", window, || names(WINDOWS.map(|(name, _)| name), |name| name))?
        .unwrap_or(WINDOWS[0]);
    json(StatusCode::OK, &statistics_of(asked.app, name, seconds)?)
}

/// What happened in a window, beside what it was like before.
pub(crate) fn statistics_of(
    app: &App,
    window: &'static str,
    seconds: i64,
) -> Result<StatisticsShape, Problem> {
    let since = back(app.clock.now(), seconds);
    let baseline = Baseline::kept(app)?;
    // Repairs are read one by one, and only where there is something to compare them with.
    let mean = match baseline.mttr_minutes {
        Some(_) => Times::of(app.store.repaired_since(since)?.into_iter()).mean(),
        None => None,
    };
    let against = baseline.against(mean);
    Ok(StatisticsShape::new(&app.store.statistics(since)?, against, window))
}

pub(crate) fn strategies(asked: &Asked<'_>) -> Answer {
    let rates = asked.app.control.strategies();
    json(StatusCode::OK, &rates.iter().map(StrategyShape::from).collect::<Vec<_>>())
}

pub(crate) fn toggle(asked: &Asked<'_>) -> Answer {
    let Toggle { enabled } = asked.body()?;
    let automation = if enabled { Automation::On } else { Automation::Off };
    asked.deed.tell(Deed::automation(automation));
    asked.app.control.set_automation(automation, asked.who)?;
    json(StatusCode::OK, &Toggled::new(enabled))
}

fn automation(asked: &Asked<'_>) -> Answer {
    json(StatusCode::OK, &Toggled::new(asked.app.store.switches()?.automation))
}

impl Toggled {
    fn new(enabled: bool) -> Self {
        let message = match enabled {
            true => "automatic repair is on, as far as the trust ladder allows",
            false => "automatic repair is off; standing restarts go on",
        };
        Self { auto_remediation_enabled: enabled, message }
    }
}

pub(crate) fn manual_remediate(asked: &Asked<'_>) -> Answer {
    remediate(asked, RunMode::Run)
}

pub(crate) fn dry_run(asked: &Asked<'_>) -> Answer {
    remediate(asked, RunMode::DryRun)
}

fn remediate(asked: &Asked<'_>, mode: RunMode) -> Answer {
    let id = asked.id("issue")?;
    asked.deed.tell(Deed::repair(id));
    planned(asked, mode, &asked.app.control.remediate(id, mode, asked.who)?)
}

pub(crate) fn approve(asked: &Asked<'_>) -> Answer {
    let id = asked.id("remediation")?;
    asked.deed.tell(Deed::remediation(id).and("approved"));
    asked.app.control.approve(id, asked.who)?;
    answer_with(asked.app, id, StatusCode::OK)
}

pub(crate) fn reject(asked: &Asked<'_>) -> Answer {
    let id = asked.id("remediation")?;
    asked.deed.tell(Deed::remediation(id).and("rejected"));
    asked.app.control.reject(id, asked.who)?;
    answer_with(asked.app, id, StatusCode::OK)
}

pub(crate) fn roll_back(asked: &Asked<'_>) -> Answer {
    let id = asked.id("remediation")?;
    asked.deed.tell(Deed::remediation(id).and("taken back"));
    asked.app.control.roll_back(id, asked.who)?;
    answer_with(asked.app, id, StatusCode::ACCEPTED)
}

/// What a filter takes, in words for an error.
pub(crate) fn kinds() -> String {
    names(IssueKind::ALL, IssueKind::name)
}

pub(crate) fn issue_states() -> String {
    names(IssueState::ALL, IssueState::name)
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

pub(crate) fn issue_state(text: &str) -> Option<IssueState> {
    IssueState::ALL.into_iter().find(|state| state.name() == text)
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
