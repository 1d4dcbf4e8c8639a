//! Alerts of rules and of objectives as happenings.
//!
//! Which alerts fire now, and in which words, the rules say; when they fired before, the series `ALERTS` that rules
//! keep. A run of its samples is one alert: it ends with a stale marker, or where no sample came for [`STALE_MS`], the
//! time after which Prometheus takes a series for gone.

use std::collections::BTreeMap;
use std::sync::Arc;

use decide::correlate::Span;
use domain::{Bearing, Happening, HappeningKind, HappeningLink, Severity, SloAlert, SloSeverity};
use promql::rules::{ActiveAlert, ActivePhase, RuleKind};
use promql::{Labels, MatchOp, Matcher, Select, Series, Source as _};

use crate::body::encode;
use crate::serve::App;

const STALE_MS: i64 = 300_000;

/// Labels that name the alert's state and not what it is about.
const OF_STATE: [&str; 2] = ["__name__", "alertstate"];

/// Labels that name a service, the best first.
const SERVICE_LABELS: [&str; 4] = ["service", "service_name", "to", "job"];

/// The alerts of rules that fired at some time of a range.
pub(super) fn of_rules(app: &App, span: Span, now_us: i64) -> Vec<Happening> {
    let mut active: BTreeMap<String, ActiveAlert> = BTreeMap::new();
    for group in app.rules.as_ref().map(|rules| rules.groups()).unwrap_or_default() {
        for rule in group.rules {
            if let RuleKind::Alerting { alerts, .. } = rule.kind {
                let firing = alerts.into_iter().filter(|alert| alert.phase == ActivePhase::Firing);
                active.extend(firing.map(|alert| (key(&alert.labels), alert)));
            }
        }
    }
    let mut found = Vec::new();
    for series in kept(app, span) {
        let key = key(&series.labels);
        for (from_ms, to_ms) in runs(&series, now_us.div_euclid(1000)) {
            let still = if to_ms.is_none() { active.remove(&key) } else { None };
            let to_ms =
                to_ms.or_else(|| series.samples.last().map(|last| last.at_ms).filter(|_| still.is_none()));
            let annotations = still.as_ref().map(|alert| &alert.annotations);
            found.push(happening(&series.labels, &key, (from_ms, to_ms), annotations));
        }
    }
    // Where no series are kept, or none yet, the rules alone tell.
    for (key, alert) in active {
        found.push(happening(&alert.labels, &key, (alert.active_at_ms, None), Some(&alert.annotations)));
    }
    found.retain(|alert| span.holds(alert));
    found
}

/// The alerts of objectives that fire; where their budgets burned before, the issues say.
pub(super) fn of_objectives(app: &App, span: Span) -> Vec<Happening> {
    let Some(objectives) = app.objectives.as_deref() else { return Vec::new() };
    let states = app.control.snapshot().map(|snapshot| snapshot.objectives.clone()).unwrap_or_default();
    let mut found = Vec::new();
    for detail in objectives.details() {
        let id = &detail.objective.id;
        let place =
            states.get(id).and_then(|state| state.resource.as_ref()?.service()).map(ToString::to_string);
        let service =
            place.or_else(|| Some(detail.objective.service.clone()).filter(|name| !name.is_empty()));
        for alert in &detail.firing {
            found.push(of_objective(alert, service.clone()));
        }
    }
    found.retain(|alert| span.holds(alert));
    found
}

fn of_objective(alert: &SloAlert, service: Option<String>) -> Happening {
    let severity = match alert.severity {
        SloSeverity::Page => Severity::Critical,
        SloSeverity::Ticket => Severity::Medium,
    };
    let fastest = alert.burns.iter().map(|burn| burn.rate).fold(0.0_f64, f64::max);
    let burns = match alert.burns.is_empty() {
        true => "was not measured".to_owned(),
        false => format!("burns {fastest:.1} times as fast as it may"),
    };
    Happening {
        id: format!("{}/{}@{}", alert.objective, alert.name, alert.started_at.wall_us),
        kind: HappeningKind::Alert,
        from_us: alert.started_at.wall_us,
        to_us: alert.ended_at.map(|at| at.wall_us.max(alert.started_at.wall_us)),
        service,
        caller: None,
        label: format!("{} budget", alert.objective),
        title: format!(
            "the error budget of {} {burns}; {:.1} % of it is left",
            alert.objective,
            alert.budget_remaining * 100.0
        ),
        severity: Some(severity),
        bearing: Bearing::of_severity(severity),
        signs: Default::default(),
        of: None,
        links: vec![HappeningLink {
            rel: "page".to_owned(),
            href: format!("/slos/{}", encode(&alert.objective)),
        }],
    }
}

fn kept(app: &App, span: Span) -> Vec<Series> {
    let Some(metrics) = &app.metrics else { return Vec::new() };
    let equal = |name: &str, value: &str| Matcher {
        name: Arc::from(name),
        op: MatchOp::Equal,
        value: Arc::from(value),
    };
    let select = Select {
        matchers: vec![equal("__name__", "ALERTS"), equal("alertstate", "firing")],
        // What fired before the range may fire in it.
        from_ms: span.from_us.div_euclid(1000) - STALE_MS,
        to_ms: span.to_us.div_euclid(1000),
        step_ms: 0,
    };
    metrics.select(&select).unwrap_or_default()
}

/// Beginnings and ends of the runs of a series; the end of one that may go on is not known.
fn runs(series: &Series, now_ms: i64) -> Vec<(i64, Option<i64>)> {
    let mut runs: Vec<(i64, Option<i64>)> = Vec::new();
    let mut last: Option<i64> = None;
    for sample in &series.samples {
        if sample.value.is_stale() {
            if let (Some(_), Some(run)) = (last.take(), runs.last_mut()) {
                run.1 = Some(sample.at_ms);
            }
            continue;
        }
        match last {
            Some(before) if sample.at_ms - before <= STALE_MS => {}
            _ => {
                if let (Some(before), Some(run)) = (last, runs.last_mut()) {
                    run.1 = Some(before);
                }
                runs.push((sample.at_ms, None));
            }
        }
        last = Some(sample.at_ms);
    }
    if let (Some(before), Some(run)) = (last, runs.last_mut())
        && now_ms - before > STALE_MS
    {
        run.1 = Some(before);
    }
    runs
}

/// What it is about, as text: the same of an alert and of its series.
fn key(labels: &Labels) -> String {
    let about = labels.iter().filter(|(name, _)| !OF_STATE.contains(&&**name));
    about.map(|(name, value)| format!("{name}={value:?}")).collect::<Vec<_>>().join(",")
}

fn happening(
    labels: &Labels,
    key: &str,
    (from_ms, to_ms): (i64, Option<i64>),
    annotations: Option<&BTreeMap<String, String>>,
) -> Happening {
    let label =
        |name: &str| labels.iter().find(|(other, _)| &**other == name).map(|(_, value)| value.to_string());
    let name = label("alertname").unwrap_or_else(|| "alert".to_owned());
    let severity = match label("severity").as_deref() {
        Some("critical" | "page") => Severity::Critical,
        Some("high" | "error") => Severity::High,
        Some("info" | "low" | "none") => Severity::Low,
        _ => Severity::Medium,
    };
    let service = SERVICE_LABELS.iter().find_map(|name| label(name));
    let words = annotations.and_then(|all| ["summary", "description"].iter().find_map(|name| all.get(*name)));
    let place = service.as_ref().map(|service| format!(" for {service}")).unwrap_or_default();
    Happening {
        id: format!("{key}@{from_ms}"),
        kind: HappeningKind::Alert,
        from_us: from_ms * 1000,
        to_us: to_ms.map(|end| end.max(from_ms) * 1000),
        service,
        caller: None,
        title: words.cloned().unwrap_or_else(|| format!("{name} fired{place}")),
        severity: Some(severity),
        bearing: Bearing::of_severity(severity),
        signs: Default::default(),
        of: None,
        links: vec![HappeningLink {
            rel: "metrics".to_owned(),
            href: format!("/metrics-explorer?query={}", encode(&format!("ALERTS{{alertname={name:?}}}"))),
        }],
        label: name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use promql::{Sample, Value};

    fn series(at_s: &[i64], stale_s: Option<i64>) -> Series {
        let sample = |at_ms, value| Sample { at_ms, value: Value::Float(value) };
        let mut samples: Vec<Sample> = at_s.iter().map(|s| sample(s * 1000, 1.0)).collect();
        samples.extend(stale_s.map(|s| sample(s * 1000, f64::from_bits(promql::STALE_BITS))));
        samples.sort_by_key(|sample| sample.at_ms);
        Series { labels: Labels::new([("alertname", "Slow"), ("alertstate", "firing")]), samples }
    }

    #[test]
    fn a_run_ends_with_a_stale_marker_or_where_nothing_came_for_five_minutes() {
        let ended = series(&[0, 15, 30], Some(45));
        assert_eq!(runs(&ended, 60_000), [(0, Some(45_000))]);
        assert_eq!(runs(&series(&[0, 15, 30], None), 60_000), [(0, None)], "it may go on");
        assert_eq!(runs(&series(&[0, 15, 30], None), 400_000), [(0, Some(30_000))]);
        let twice = series(&[0, 15, 600, 615], None);
        assert_eq!(runs(&twice, 620_000), [(0, Some(15_000)), (600_000, None)]);
        let again = series(&[0, 15, 45], Some(30));
        assert_eq!(runs(&again, 60_000), [(0, Some(30_000)), (45_000, None)]);
    }

    #[test]
    fn an_alert_and_its_series_are_about_the_same() {
        let of_series =
            Labels::new([("__name__", "ALERTS"), ("alertname", "Slow"), ("alertstate", "firing")]);
        assert_eq!(key(&of_series), key(&Labels::new([("alertname", "Slow")])));
    }
}
