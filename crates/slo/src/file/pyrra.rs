//! Pyrra's `pyrra.dev/v1alpha1` `ServiceLevelObjective`.
//!
//! Its selectors become sums over a window: `increase` of counters, `histogram_fraction` of native histograms, sums and
//! counts of a boolean gauge, as Pyrra has them. An objective belongs to the service that its label `pyrra.dev/service` or
//! `service` names, else to itself. Its alerts are by the same table as all others here, 14.4, 6, 3 and 1 over 30 days;
//! Pyrra's own table differs a little (14, 7, 2, 1 over 28 days).

use std::collections::BTreeMap;
use std::time::Duration;

use domain::SloSeverity;

use super::promql;
use super::{Fields, Place, Value};
use crate::indicator::{Indicator, Promql};
use crate::minutes::{self, Minutes};
use crate::objective::{AlertRule, Budgeting, Format, Objective};
use crate::target::Target;

/// Labels whose names begin so are for the rules.
const PROPAGATED: &str = "pyrra.dev/";

/// What Pyrra calls an alert that has no name.
const ALERT_NAME: &str = "ErrorBudgetBurn";

pub(super) fn objective(fields: Fields<'_>) -> Option<(Objective, Place<'_>)> {
    super::only_kind(&fields, "ServiceLevelObjective");
    let metadata = super::kubernetes_metadata(&fields);
    fields.ignore(&["status"]);
    let place = fields.place.clone();
    let spec = fields.required("spec").and_then(|spec| spec.fields());
    fields.end();
    let spec = spec?;
    let description = spec.optional("description").and_then(|description| description.text());
    let target = spec.required("target").and_then(|value| target(&value));
    let period = spec.required("window").and_then(|window| {
        let minutes =
            Minutes::from_prometheus(window.words()?).map_err(|error| window.place.refuse(error)).ok()?;
        super::openslo::period(&window, minutes)
    });
    let indicator = spec.required("indicator").and_then(|value| indicator(&value));
    let alerts = alert_rules(&spec, period.unwrap_or(Minutes::days(30)));
    // For Pyrra's own rules and for Thanos; nothing of the objective.
    spec.ignore(&["partial_response_strategy", "performanceOverAccuracy", "ruleOutput"]);
    spec.end();
    let (metadata, target, period, indicator, alerts) = (metadata?, target?, period?, indicator?, alerts?);
    let service = ["pyrra.dev/service", "service"].iter().find_map(|name| metadata.labels.get(*name));
    let dash = if metadata.namespace.is_empty() { "" } else { "-" };
    let mut labels: BTreeMap<String, String> = metadata
        .labels
        .iter()
        .filter_map(|(name, value)| Some((name.strip_prefix(PROPAGATED)?.to_owned(), value.clone())))
        .collect();
    if !metadata.namespace.is_empty() {
        labels.insert("namespace".to_owned(), metadata.namespace.clone());
    }
    let objective = Objective {
        id: format!("{}{dash}{}", metadata.namespace, metadata.name),
        service: service.cloned().unwrap_or_else(|| metadata.name.clone()),
        name: metadata.name,
        description: description.unwrap_or_default().to_owned(),
        labels,
        indicator,
        target,
        period,
        budgeting: Budgeting::Occurrences,
        alerts,
        format: Format::Pyrra,
    };
    Some((objective, place))
}

/// A number in quotes, such as '99.9'.
fn target(value: &Value<'_>) -> Option<Target> {
    let text = value.words()?;
    let Ok(percent) = text.trim().parse::<f64>() else {
        value
            .place
            .refuse(format_args!("{text:?} is no number; write a percentage in quotes, such as '99.9'"));
        return None;
    };
    Target::from_percent(percent).map_err(|error| value.place.refuse(error)).ok()
}

fn indicator(value: &Value<'_>) -> Option<Indicator> {
    const KINDS: [&str; 4] = ["ratio", "latency", "latencyNative", "bool_gauge"];
    let fields = value.fields()?;
    let found: Vec<Value<'_>> = KINDS.iter().filter_map(|kind| fields.optional(kind)).collect();
    fields.end();
    let [one] = &found[..] else {
        value.place.refuse(format_args!(
            "has {} of {}; exactly one was expected",
            found.len(),
            KINDS.join(", ")
        ));
        return None;
    };
    let inner = one.fields()?;
    let grouping = inner.optional("grouping").and_then(|grouping| grouping.texts()).unwrap_or_default();
    for label in grouping.iter().filter(|label| !super::sloth::is_label_name(label)) {
        inner.place_of("grouping").refuse(format_args!("{label:?} is no name of a label"));
    }
    let indicator = match one.place.field.rsplit('.').next() {
        Some("ratio") => ratio(&inner, grouping),
        Some("latency") => latency(&inner, grouping),
        Some("latencyNative") => latency_native(&inner, grouping),
        _ => bool_gauge(&inner, grouping),
    };
    inner.end();
    indicator.map(Indicator::Promql)
}

fn ratio(fields: &Fields<'_>, grouping: Vec<String>) -> Option<Promql> {
    let by = by(&grouping);
    let errors = metric(fields, "errors");
    let total = metric(fields, "total");
    let sum = |value: &Value<'_>| {
        let (selector, _) = promql::selector(value)?;
        promql::template(value, format!("sum{by}(increase({selector}[{{{{.window}}}}]))"))
    };
    let bad = errors.and_then(|errors| sum(&errors));
    let total = total.and_then(|total| sum(&total));
    Some(Promql::Bad { bad: bad?, total: total?, grouping })
}

fn latency(fields: &Fields<'_>, grouping: Vec<String>) -> Option<Promql> {
    let by = by(&grouping);
    let success = metric(fields, "success");
    let total = metric(fields, "total");
    let sum = |value: &Value<'_>| {
        let (selector, _) = promql::selector(value)?;
        promql::template(value, format!("sum{by}(increase({selector}[{{{{.window}}}}]))"))
    };
    let limit = success.as_ref().and_then(|success| bucket(success));
    let good = success.and_then(|success| sum(&success));
    let total = total.and_then(|total| sum(&total));
    Some(Promql::Good { good: good?, total: total?, latency: Some(limit?), grouping })
}

/// The upper bound that a selector of buckets names, in seconds.
fn bucket(value: &Value<'_>) -> Option<Duration> {
    let (_, selector) = promql::selector(value)?;
    let le = selector.matchers.into_iter().find(|(label, op, _)| label == "le" && *op == "=");
    let seconds = le.and_then(|(_, _, bound)| bound.parse::<f64>().ok());
    let limit = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    if limit.is_none() {
        value
            .place
            .refuse("names no bucket; le=\"SECONDS\" was expected among its labels, such as le=\"0.5\"");
    }
    limit
}

fn latency_native(fields: &Fields<'_>, grouping: Vec<String>) -> Option<Promql> {
    let by = by(&grouping);
    let limit = fields.required("latency").and_then(|latency| {
        let limit = minutes::milliseconds(latency.words()?).map(Duration::from_millis);
        limit.map_err(|error| latency.place.refuse(error)).ok()
    });
    let total = metric(fields, "total")?;
    let (selector, _) = promql::selector(&total)?;
    let limit = limit?;
    let histogram = format!("sum{by}(increase({selector}[{{{{.window}}}}]))");
    let seconds = limit.as_secs_f64();
    let good = format!("histogram_fraction(0, {seconds}, {histogram}) * histogram_count({histogram})");
    Some(Promql::Good {
        good: promql::template(&total, good)?,
        total: promql::template(&total, format!("histogram_count({histogram})"))?,
        latency: Some(limit),
        grouping,
    })
}

fn bool_gauge(fields: &Fields<'_>, grouping: Vec<String>) -> Option<Promql> {
    let by = by(&grouping);
    let metric = fields.required("metric")?;
    let (selector, _) = promql::selector(&metric)?;
    let over = |function: &str| {
        promql::template(&metric, format!("sum{by}({function}({selector}[{{{{.window}}}}]))"))
    };
    Some(Promql::Good {
        good: over("sum_over_time")?,
        total: over("count_over_time")?,
        latency: None,
        grouping,
    })
}

/// The selector of `errors`, `total` or `success`.
fn metric<'a>(fields: &Fields<'a>, name: &'a str) -> Option<Value<'a>> {
    let inner = fields.required(name)?.fields()?;
    let metric = inner.required("metric");
    inner.end();
    metric
}

fn by(grouping: &[String]) -> String {
    if grouping.is_empty() { String::new() } else { format!(" by ({}) ", grouping.join(", ")) }
}

fn alert_rules(spec: &Fields<'_>, period: Minutes) -> Option<Vec<AlertRule>> {
    let (mut disabled, mut name) = (false, None);
    if let Some(alerting) = spec.optional("alerting") {
        let fields = alerting.fields()?;
        let is = |field: &'static str| fields.optional(field).and_then(|value| value.boolean());
        disabled = is("disabled") == Some(true) || is("burnrates") == Some(false);
        name = fields.optional("name").and_then(|name| name.words());
        // Alerts for series that are not there, and labels of Pyrra's four alerts; here there are two, of our severities.
        fields.ignore(&["absent", "absentName", "severities"]);
        fields.end();
    }
    let rule = |severity| AlertRule::by_burn_table(name.unwrap_or(ALERT_NAME), severity, period);
    let rules = [SloSeverity::Page, SloSeverity::Ticket].map(rule);
    Some(if disabled { Vec::new() } else { rules.into() })
}
