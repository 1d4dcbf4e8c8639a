//! How one service is, in figures with their last hour: requests, failures, time, availability; what was deployed.
//!
//! The figures and the rule are those of `GET …/service/{name}/health`.

use decide::correlate::{Span, Step};
use decide::service::{DOWN_PERCENT, ERRORS_PERCENT, ServiceStatus};
use domain::ServiceName;
use maud::{Markup, html};

use super::figures::{Spark, spark};
use super::marks::{Meaning, mark, of_bearing};
use super::view::View;
use super::{slos, timeline};
use crate::api::back;
use crate::happenings::{self, service::KnownService, time};
use crate::problem::Problem;
use crate::serve::App;

/// What the little pictures are over, in seconds.
const HOUR: i64 = 3600;

/// How far back deployments are told, in seconds.
const DEPLOYED: i64 = 7 * 86_400;

/// Deployments that are told.
const DEPLOYMENTS: usize = 5;

/// The figures of a service; nothing where nobody counts its calls.
pub(super) fn figures(app: &App, view: &View, name: &str) -> Result<Markup, Problem> {
    let Some(known) = happenings::service::of(app, name, &view.issues)? else { return Ok(html! {}) };
    let now_us = view.stamp.now.wall_us;
    let span = Span { from_us: now_us - HOUR * 1_000_000, to_us: now_us };
    let steps = happenings::minutes(app, name, span);
    let health = &known.health;
    let rate = health
        .requests_per_minute
        .map(|rate| if rate >= 100.0 { format!("{rate:.0}") } else { format!("{rate:.1}") });
    let of = |value: &dyn Fn(&Step) -> Option<f64>| -> Vec<(f64, f64)> {
        let placed = steps.iter().filter(|step| step.calls > 0.0).filter_map(|step| {
            let middle = i64::midpoint(step.span.from_us, step.span.to_us);
            Some((
                ((middle - span.from_us) as f64 / (span.to_us - span.from_us) as f64).max(0.0),
                value(step)?,
            ))
        });
        placed.collect()
    };
    let per_minute = |step: &Step| Some(step.calls * 60e6 / (step.span.to_us - step.span.from_us) as f64);
    Ok(html! {
        h2 { "How it is" span class="quiet" { (source_words(&known)) } }
        p class="facts" { (word(&known)) span { (super::sentence::capital(&health.reason)) } }
        dl class="red" {
            (figure("Requests", rate, " a minute", &of(&per_minute), None))
            (figure("Failed", health.error_rate_percent.map(percent), " %", &of(&|step| Some(100.0 * step.errors / step.calls)), Some(ERRORS_PERCENT)))
            (figure("Average time", health.average_latency_ms.map(|ms| format!("{ms:.1}")), " ms", &of(&|step| step.p95_ms), None))
            div {
                dt { "Availability" }
                dd {
                    @match health.availability_percent {
                        Some(share) => { b { (percent(share)) } " %" br; span class="quiet" { "of its calls in 24 h did not fail" } },
                        None => { b { "–" } br; span class="quiet" { "its calls were not counted" } },
                    }
                }
            }
        }
    })
}

/// With as many digits as tell it from 0 and 100.
fn percent(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        100.0 => "100".to_owned(),
        v if !(1.0..99.0).contains(&v) => format!("{v:.3}"),
        v => format!("{v:.1}"),
    }
}

fn figure(
    name: &str,
    value: Option<String>,
    unit: &str,
    points: &[(f64, f64)],
    limit: Option<f64>,
) -> Markup {
    // A line is drawn of more than one figure can say.
    let (label, shown) = match name {
        "Average time" => ("p95 over the last hour, in milliseconds", "p95"),
        "Failed" => ("failed in percent over the last hour", "limit 1 %"),
        _ => ("requests a minute over the last hour", ""),
    };
    html! {
        div {
            dt { (name) }
            dd {
                @match value { Some(value) => { b { (value) } (unit) }, None => b { "–" } }
                @if points.len() > 1 {
                    (spark(&Spark { points, limit, label }))
                    span class="quiet" { "1 h" @if !shown.is_empty() { ", " (shown) } }
                } @else { br; span class="quiet" { "no calls counted" } }
            }
        }
    }
}

fn source_words(known: &KnownService) -> String {
    match known.counted() {
        Some((source, seconds)) => {
            let minutes = seconds / 60.0;
            let time = if minutes >= 1.0 { format!("{minutes:.0} min") } else { format!("{seconds:.0} s") };
            format!("the last {time}, {source}")
        }
        None => "nobody counts its calls".to_owned(),
    }
}

fn word(known: &KnownService) -> Markup {
    let health = &known.health;
    let title = format!(
        "down: no instance is ready, or {DOWN_PERCENT} % of its calls fail; degraded: instances are missing, more than \
         {ERRORS_PERCENT} % of its calls fail, or an issue or alert is open"
    );
    let (meaning, word) = match health.status {
        Some(ServiceStatus::Healthy) => (Meaning::Good, "healthy"),
        Some(ServiceStatus::Degraded) => (Meaning::Attention, "degraded"),
        Some(ServiceStatus::Down) => (Meaning::Bad, "down"),
        None => (Meaning::Unknown, "unknown"),
    };
    html! { span title=(title) { (mark(meaning, word)) } }
}

/// The error budgets of objectives about a service; nothing where there are none.
pub(super) fn budgets(app: &App, name: &ServiceName) -> Markup {
    let Some(objectives) = app.objectives.as_deref() else { return html! {} };
    let details = timeline::budgets_about(app, objectives, name.as_str());
    html! {
        @if !details.is_empty() {
            h2 { "Error budgets" a class="more" href="/slos" { "All objectives" } }
            (slos::table(&details))
        }
    }
}

/// The last deployments of a service, newest first.
pub(super) fn deployments(app: &App, view: &View, name: &ServiceName) -> Result<Markup, Problem> {
    let since = back(view.stamp.now, DEPLOYED);
    let mut found = app.store.deployments(since)?;
    found.retain(|deployment| deployment.service == *name);
    let told = found.iter().rev().take(DEPLOYMENTS).map(happenings::of_deployment);
    Ok(html! {
        h2 { "Last deployments" span class="quiet" { "7 days" } }
        @if found.is_empty() {
            p class="empty" {
                "None is known. One is seen when its spans carry another " code { "service.version" }
                ", or told with " code { "POST /api/v3/observability/events" } "."
            }
        } @else {
            ul class="rows" {
                @for event in told {
                    li data-key=(event.id) {
                        (mark(of_bearing(event.bearing), "deployed"))
                        span class="what" { (event.title) }
                        span class="side" { (view.stamp.ago(time(event.from_us))) }
                    }
                }
            }
        }
    })
}
