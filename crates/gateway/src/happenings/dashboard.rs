//! The unified dashboard document (specification O7): health, services, issues, repairs, experiments, alerts, stores, and
//! what the last hour looks like.

use std::collections::{BTreeMap, BTreeSet};

use decide::correlate::Span;
use domain::{Happening, HappeningKind, Lane};
use schemars::JsonSchema;
use serde::Serialize;
use store::PlanPurpose;
use telemetry::Telemetry;

use super::{DAY_SECONDS, active_alerts, correlated, service};
use crate::api::{self, SloShape};
use crate::problem::Problem;
use crate::serve::App;
use crate::shapes::{
    CorrelationShape, EventShape, FaultShape, HealthScore, IssueShape, ServiceHealthShape, StatisticsShape,
    TrendShape,
};

/// What "lately" is.
const HOUR_US: i64 = 3_600_000_000;

/// Services shown with their figures; the rest is counted.
const SERVICES_MAX: usize = 200;

/// Everything that is shown first. What is not known is null; what no engine tells is not in it.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Dashboard {
    timestamp: String,
    health: Option<HealthScore>,
    health_trend: Option<TrendShape>,
    services: Vec<ServiceHealthShape>,
    services_total: usize,
    issues: IssuesNow,
    remediations: StatisticsShape,
    experiments: ExperimentsNow,
    slos: Option<Vec<SloShape>>,
    alerts: Vec<EventShape>,
    deployments: Vec<EventShape>,
    traces: Option<TracesTaken>,
    /// How many series are kept.
    series: Option<u64>,
    last_hour: LastHour,
    /// What the loop cannot do now and tries again.
    troubles: Vec<String>,
}

/// Open issues.
#[derive(Serialize, JsonSchema)]
struct IssuesNow {
    open: usize,
    by_severity: BTreeMap<&'static str, usize>,
    worst: Option<IssueShape>,
}

/// What is being disturbed, and how many experiments there were in the last hour.
#[derive(Serialize, JsonSchema)]
struct ExperimentsNow {
    active_faults: Vec<FaultShape>,
    last_hour: usize,
}

/// What was taken since the start.
#[derive(Serialize, JsonSchema)]
struct TracesTaken {
    spans_taken: u64,
    log_records_taken: u64,
    /// `open` or `refused`.
    intake: &'static str,
}

/// Events by lane, and what belongs together of them.
#[derive(Serialize, JsonSchema)]
struct LastHour {
    events: BTreeMap<&'static str, usize>,
    correlation: CorrelationShape,
}

/// The whole document. What is not known is null; what no engine tells is not in it.
pub(crate) fn document(app: &App) -> Result<Dashboard, Problem> {
    let now = app.clock.now();
    let window = Span { from_us: now.wall_us - HOUR_US, to_us: now.wall_us };
    let lately = correlated(app, window, now.wall_us, None)?;
    let issues = app.store.open_issues()?;
    let mut by_severity: BTreeMap<&'static str, usize> = BTreeMap::new();
    for issue in &issues {
        *by_severity.entry(issue.severity.name()).or_default() += 1;
    }
    let (services, all) = services(app, &issues)?;
    let alerts = active_alerts(app, None, now)?;
    let experiments = app.store.plans_within(PlanPurpose::Experiment, super::time(window.from_us), now)?;
    let count = |lane: Lane| lately.events.iter().filter(|event| event.kind.lane() == lane).count();
    let lanes: BTreeMap<&'static str, usize> = Lane::ALL
        .into_iter()
        .filter(|lane| *lane != Lane::Budget)
        .map(|lane| (lane.name(), count(lane)))
        .collect();
    let deployments: Vec<&Happening> =
        lately.events.iter().filter(|event| event.kind == HappeningKind::Deployment).collect();
    Ok(Dashboard {
        timestamp: now.rfc3339(),
        health: app.control.health().as_ref().map(HealthScore::from),
        health_trend: api::health_trend(app, DAY_SECONDS)?.as_ref().map(TrendShape::from),
        services,
        services_total: all,
        issues: IssuesNow {
            open: issues.len(),
            by_severity,
            worst: issues.iter().max_by_key(|issue| (issue.severity, issue.id)).map(IssueShape::from),
        },
        remediations: api::statistics_of(app, "24h", DAY_SECONDS)?,
        experiments: ExperimentsNow {
            active_faults: app.control.running_faults().iter().map(FaultShape::from).collect(),
            last_hour: experiments.len(),
        },
        slos: app.objectives.as_ref().map(|all| all.details().iter().map(SloShape::of).collect()),
        alerts: alerts.iter().map(EventShape::from).collect(),
        deployments: deployments.into_iter().map(EventShape::from).collect(),
        traces: app.telemetry.as_ref().map(traces),
        series: app.metrics.as_ref().map(|metrics| metrics.status().series),
        last_hour: LastHour { events: lanes, correlation: CorrelationShape::new(&lately, now.wall_us, None) },
        troubles: app.troubles(),
    })
}

/// The services of the fleet and those that spans tell of, with how each is.
fn services(app: &App, issues: &[domain::Issue]) -> Result<(Vec<ServiceHealthShape>, usize), Problem> {
    let mut names: BTreeSet<String> = BTreeSet::new();
    if let Some(snapshot) = app.control.snapshot() {
        names.extend(snapshot.services.keys().map(ToString::to_string));
    }
    if let Some(telemetry) = &app.telemetry {
        names.extend(telemetry.services());
    }
    let all = names.len();
    let now = app.clock.now();
    let mut shapes = Vec::new();
    for name in names.into_iter().take(SERVICES_MAX) {
        shapes.extend(service::of(app, &name, issues)?.map(|known| known.shape(now)));
    }
    Ok((shapes, all))
}

fn traces(telemetry: &Telemetry) -> TracesTaken {
    let (backlog, counts) = (telemetry.backlog(), telemetry.counters());
    TracesTaken {
        spans_taken: counts.spans.get(),
        log_records_taken: counts.log_records.get(),
        intake: if backlog.refusing { "refused" } else { "open" },
    }
}
