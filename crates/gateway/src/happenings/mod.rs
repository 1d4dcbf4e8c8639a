//! What lies on the time line, read where it lies.
//!
//! In: a range of time. Out: [`Happening`]s of it, and what services were asked in steps. Nothing is copied: issues,
//! repairs and experiments come from the store, traces from the spans, and only what was posted from outside has a
//! table of its own.
//!
//! Deliberately absent: what belongs together. `decide::correlate` says it.

mod alerts;
mod counted;
pub(crate) mod dashboard;
mod records;
pub(crate) mod service;
mod traces;

use std::collections::{BTreeMap, BTreeSet};

use decide::correlate::{Correlation, Graph, Question, Span, correlate};
use domain::{Happening, HappeningKind, Intent, Lane, ServiceName, Time};
use store::{PlanPurpose, PlanRecord};

use crate::problem::Problem;
use crate::serve::App;

pub(crate) use records::of_deployment;

pub(crate) use counted::{DAY_SECONDS, RECENT_SECONDS, Source, calls_over, minutes, steps};

/// A fault is in force at most this long after its plan is over (see `domain::fault`), and the plan of a longer one is
/// over when the fault is proven: so far back plans of experiments are looked for.
const FAULT_US: i64 = 3_600_000_000;

/// A deployment is under way at most this long.
const DEPLOYING_US: i64 = 86_400_000_000;

/// All that lies in a range, of these lanes; about one service and those it stands between, where one is named.
pub(crate) fn gather(
    app: &App,
    span: Span,
    lanes: &[Lane],
    service: Option<&str>,
) -> Result<Vec<Happening>, Problem> {
    let wants = |lane: Lane| lanes.contains(&lane);
    let (from, to) = (time(span.from_us), time(span.to_us));
    let mut found = Vec::new();
    if wants(Lane::Issues) {
        found.extend(app.store.issues_within(from, to)?.iter().map(records::of_issue));
    }
    if wants(Lane::Actions) {
        let plans = app.store.plans_within(PlanPurpose::Remediation, from, to)?;
        found.extend(plans.iter().map(records::of_repair));
    }
    if wants(Lane::Faults) {
        let plans = app.store.plans_within(PlanPurpose::Experiment, time(span.from_us - FAULT_US), to)?;
        let of = |record: &PlanRecord| match record.plan.intent {
            Intent::Experiment { experiment } => Some(experiment),
            _ => None,
        };
        let named: Vec<_> = plans.iter().filter_map(of).collect();
        let experiments = app.store.experiments_by_id(&named)?;
        let experiments: BTreeMap<_, _> = experiments.into_iter().map(|record| (record.id, record)).collect();
        found.extend(plans.iter().filter_map(|record| records::of_fault(record, &experiments)));
    }
    if wants(Lane::Deployments) {
        // One that is under way began before, but not by a day.
        let deployments = app.store.deployments(time(span.from_us - DEPLOYING_US))?;
        found.extend(deployments.iter().map(of_deployment));
    }
    if wants(Lane::Alerts) {
        found.extend(alerts::of_rules(app, span, app.clock.now().wall_us));
        found.extend(alerts::of_objectives(app, span));
    }
    found.extend(
        app.store.posted_events(None, from, to)?.into_iter().filter(|event| wants(event.kind.lane())),
    );
    if let Some(service) = service {
        found.retain(|event| event.services().any(|name| name == service) || event.service.is_none());
    }
    if wants(Lane::Traces)
        && let Some(telemetry) = &app.telemetry
    {
        found.extend(traces::standing_out(telemetry, span, service));
    }
    found.retain(|event| span.holds(event));
    newest_first(&mut found);
    Ok(found)
}

/// Newest first within each lane, as lists are everywhere.
pub(crate) fn newest_first(found: &mut [Happening]) {
    found.sort_by(|a, b| (b.from_us, b.kind, &b.id).cmp(&(a.from_us, a.kind, &a.id)));
}

/// What belongs together in a range, and what changed before a time in it.
pub(crate) fn correlated(
    app: &App,
    window: Span,
    around_us: i64,
    service: Option<&str>,
) -> Result<Correlation, Problem> {
    let happenings = gather(app, window, &Lane::ALL, None)?;
    let graph = graph(app, window);
    let named: BTreeSet<&str> = happenings.iter().filter_map(|event| event.service.as_deref()).collect();
    let steps = steps(app, named, window);
    Ok(correlate(&Question {
        window,
        around_us,
        service,
        happenings: &happenings,
        graph: &graph,
        steps: &steps,
    }))
}

/// Who calls whom: what is declared, what proxies see, and what spans of the range tell.
fn graph(app: &App, window: Span) -> Graph {
    let mut graph = app.control.snapshot().map(|snapshot| Graph::of(&snapshot)).unwrap_or_default();
    if let Some(telemetry) = &app.telemetry {
        let range = nano(window.from_us)..nano(window.to_us);
        for dependency in telemetry.dependencies(range).unwrap_or_default() {
            graph.add(&dependency.caller, &dependency.callee);
        }
    }
    graph
}

/// Alerts about a service that are active, and those about none.
pub(crate) fn active_alerts(app: &App, service: Option<&str>, now: Time) -> Result<Vec<Happening>, Problem> {
    let mut alerts = app.store.posted_events(Some(HappeningKind::Alert), now, now)?;
    let instant = Span { from_us: now.wall_us, to_us: now.wall_us };
    alerts.extend(alerts::of_rules(app, instant, now.wall_us));
    alerts.extend(alerts::of_objectives(app, instant));
    alerts.retain(|alert| {
        alert.to_us.is_none_or(|end| end > now.wall_us)
            && service.is_none_or(|service| alert.service.as_deref() == Some(service))
    });
    Ok(alerts)
}

/// The newest deployment of a service.
pub(crate) fn last_deployment(app: &App, service: &str) -> Result<Option<Happening>, Problem> {
    let Ok(service) = ServiceName::new(service) else { return Ok(None) };
    Ok(app.store.last_deployment(&service)?.as_ref().map(of_deployment))
}

/// A time of which only the wall clock is known.
pub(crate) fn time(wall_us: i64) -> Time {
    Time { boot_us: 0, wall_us }
}

/// Nanoseconds since 1970; what is earlier counts as 1970.
fn nano(wall_us: i64) -> u64 {
    u64::try_from(wall_us).unwrap_or(0).saturating_mul(1000)
}

#[cfg(test)]
mod tests;
