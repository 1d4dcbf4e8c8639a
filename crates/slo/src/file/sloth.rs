//! Sloth's `prometheus/v1` and its Kubernetes form (sloth.dev/specs): the same fields, once with underscores, once without.
//!
//! Sloth's files say no period; it is 30 days there unless it is told otherwise on the command line, and 30 days here.
//! Its SLI plugins are Go programs, which cannot run here.

use std::collections::BTreeMap;

use domain::SloSeverity;

use super::promql;
use super::{Fields, Place, Value};
use crate::indicator::{Indicator, Promql};
use crate::minutes::Minutes;
use crate::objective::{AlertRule, Budgeting, Format, Objective};
use crate::target::Target;

/// Sloth's own default.
const PERIOD: Minutes = Minutes::days(30);

/// How a form spells the fields that differ.
struct Spelling {
    format: Format,
    error_query: &'static str,
    total_query: &'static str,
    error_ratio_query: &'static str,
    page_alert: &'static str,
    ticket_alert: &'static str,
}

const PLAIN: Spelling = Spelling {
    format: Format::Sloth,
    error_query: "error_query",
    total_query: "total_query",
    error_ratio_query: "error_ratio_query",
    page_alert: "page_alert",
    ticket_alert: "ticket_alert",
};

const KUBERNETES: Spelling = Spelling {
    format: Format::SlothKubernetes,
    error_query: "errorQuery",
    total_query: "totalQuery",
    error_ratio_query: "errorRatioQuery",
    page_alert: "pageAlert",
    ticket_alert: "ticketAlert",
};

/// The objectives of a `prometheus/v1` document.
pub(super) fn plain(fields: Fields<'_>) -> Vec<(Objective, Place<'_>)> {
    let found = group(&fields, &PLAIN);
    fields.end();
    found
}

/// The objectives of a `PrometheusServiceLevel`.
pub(super) fn kubernetes(fields: Fields<'_>) -> Vec<(Objective, Place<'_>)> {
    super::only_kind(&fields, "PrometheusServiceLevel");
    super::kubernetes_metadata(&fields);
    fields.ignore(&["status"]);
    let spec = fields.required("spec").and_then(|spec| spec.fields());
    fields.end();
    let Some(spec) = spec else { return Vec::new() };
    let found = group(&spec, &KUBERNETES);
    spec.end();
    found
}

fn group<'a>(fields: &Fields<'a>, spelling: &Spelling) -> Vec<(Objective, Place<'a>)> {
    let service = fields.required("service").and_then(|service| name(&service));
    let labels = fields.optional("labels").and_then(|labels| label_set(&labels)).unwrap_or_default();
    let Some(slos) = fields.required("slos").and_then(|slos| slos.list()) else { return Vec::new() };
    if slos.is_empty() {
        fields.place_of("slos").refuse("is empty; at least one SLO was expected");
    }
    // Every SLO is looked at, so that all that is wrong is told.
    let found = slos.iter().filter_map(|slo| {
        let objective = objective(slo, service.unwrap_or_default(), &labels, spelling)?;
        Some((objective, slo.place.clone()))
    });
    let found: Vec<_> = found.collect();
    if service.is_some() { found } else { Vec::new() }
}

fn objective(
    slo: &Value<'_>,
    service: &str,
    group_labels: &BTreeMap<String, String>,
    spelling: &Spelling,
) -> Option<Objective> {
    let fields = slo.fields()?;
    let name = fields.required("name").and_then(|value| name(&value));
    let description = fields.optional("description").and_then(|description| description.text());
    let target = fields.required("objective").and_then(|objective| {
        Target::from_percent(objective.number()?).map_err(|error| objective.place.refuse(error)).ok()
    });
    let own_labels = fields.optional("labels").and_then(|labels| label_set(&labels));
    let sli = fields.required("sli").and_then(|sli| indicator(&sli, spelling));
    let alerts = fields.required("alerting").and_then(|alerting| alert_rules(&alerting, spelling));
    fields.end();
    let (name, target, indicator, alerts) = (name?, target?, sli?, alerts?);
    let mut labels = group_labels.clone();
    labels.extend(own_labels.unwrap_or_default());
    Some(Objective {
        id: format!("{service}-{name}"),
        name: name.to_owned(),
        service: service.to_owned(),
        description: description.unwrap_or_default().to_owned(),
        labels,
        indicator,
        target,
        period: PERIOD,
        budgeting: Budgeting::Occurrences,
        alerts,
        format: spelling.format,
    })
}

fn indicator(sli: &Value<'_>, spelling: &Spelling) -> Option<Indicator> {
    let fields = sli.fields()?;
    let (events, raw, plugin) =
        (fields.optional("events"), fields.optional("raw"), fields.optional("plugin"));
    fields.end();
    match (events, raw, plugin) {
        (Some(events), None, None) => {
            let fields = events.fields()?;
            let bad = fields.required(spelling.error_query).and_then(|query| promql::windowed(&query));
            let total = fields.required(spelling.total_query).and_then(|query| promql::windowed(&query));
            let place = fields.place_of(spelling.total_query);
            fields.end();
            let (bad, total) = (bad?, total?);
            if bad == total {
                place.refuse("is the same as the query of errors: every event would be bad");
                return None;
            }
            Some(Indicator::Promql(Promql::Bad { bad, total, grouping: Vec::new() }))
        }
        (None, Some(raw), None) => {
            let fields = raw.fields()?;
            let ratio =
                fields.required(spelling.error_ratio_query).and_then(|query| promql::windowed(&query));
            fields.end();
            Some(Indicator::Promql(Promql::ErrorRatio { ratio: ratio? }))
        }
        (None, None, Some(plugin)) => {
            plugin.place.refuse(
                "is a plugin, a Go program that cannot run here; write its queries as `events` or `raw`",
            );
            None
        }
        _ => {
            sli.place.refuse("must have one of `events` and `raw`");
            None
        }
    }
}

fn alert_rules(alerting: &Value<'_>, spelling: &Spelling) -> Option<Vec<AlertRule>> {
    let fields = alerting.fields()?;
    let name = fields.optional("name").and_then(|name| name.words());
    let labels = fields.optional("labels").and_then(|labels| label_set(&labels)).unwrap_or_default();
    let annotations =
        fields.optional("annotations").and_then(|texts| texts.map_of_texts()).unwrap_or_default();
    let severities = [(spelling.page_alert, SloSeverity::Page), (spelling.ticket_alert, SloSeverity::Ticket)];
    let mut rules = Vec::new();
    for (field, severity) in severities {
        let own = match fields.optional(field) {
            Some(alert) => own_alert(&alert)?,
            None => Some((BTreeMap::new(), BTreeMap::new())),
        };
        let Some((own_labels, own_annotations)) = own else { continue };
        let Some(name) = name else {
            alerting
                .place
                .refuse(format_args!("has no `name` for its alerts; write one, or disable {field}"));
            continue;
        };
        let mut rule = AlertRule::by_burn_table(name, severity, PERIOD);
        rule.labels = labels.clone();
        rule.labels.extend(own_labels);
        rule.annotations.extend(annotations.clone());
        rule.annotations.extend(own_annotations);
        rules.push(rule);
    }
    fields.end();
    Some(rules)
}

type Texts = BTreeMap<String, String>;

/// Labels and annotations of one of the two alerts; `Some(None)` where it is disabled.
fn own_alert(alert: &Value<'_>) -> Option<Option<(Texts, Texts)>> {
    let fields = alert.fields()?;
    let disabled = fields.optional("disable").and_then(|disable| disable.boolean());
    let labels = fields.optional("labels").and_then(|labels| label_set(&labels));
    let annotations = fields.optional("annotations").and_then(|texts| texts.map_of_texts());
    fields.end();
    Some((disabled != Some(true)).then(|| (labels.unwrap_or_default(), annotations.unwrap_or_default())))
}

/// Prometheus' labels: their names are checked.
fn label_set(value: &Value<'_>) -> Option<BTreeMap<String, String>> {
    let labels = value.map_of_texts()?;
    for name in labels.keys() {
        if !is_label_name(name) {
            value.place.refuse(format_args!(
                "{name:?} is no name of a label: letters, digits and _ were expected, not beginning with a digit"
            ));
        }
    }
    Some(labels)
}

pub(super) fn is_label_name(name: &str) -> bool {
    let begins = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(begins) && name.chars().all(|c| begins(c) || c.is_ascii_digit()) && name != "__name__"
}

/// Sloth's names: letters, digits, `-`, `_` and `.`, beginning and ending with a letter or digit.
fn name<'a>(value: &Value<'a>) -> Option<&'a str> {
    let text = value.words()?;
    let edge = |c: char| c.is_ascii_alphanumeric();
    let inner = |c: char| edge(c) || ['-', '_', '.'].contains(&c);
    if !(text.starts_with(edge) && text.ends_with(edge) && text.chars().all(inner)) {
        value.place.refuse(format_args!(
            "{text:?} is no name: letters, digits, -, _ and . were expected, with a letter or digit at both ends"
        ));
        return None;
    }
    Some(text)
}
