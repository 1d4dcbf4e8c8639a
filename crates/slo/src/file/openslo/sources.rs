//! What OpenSLO's SLIs count: data sources, metric sources, ratios and thresholds.

use std::time::Duration;

use super::super::promql::{self, Samples};
use super::super::{Fields, Value};
use super::{Named, Object, Op};
use crate::indicator::{Events, Exact, Good, Indicator, Promql, SpanRole};

/// What a data source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SourceType {
    Prometheus,
    Homeostat,
}

/// What an SLI counts.
#[derive(Clone)]
pub(super) enum Sli<'a> {
    /// Known as it is.
    Ratio(Indicator),
    /// Samples, or durations, that an objective's `op` and `value` judge.
    Threshold(Source<'a>),
}

/// Where numbers come from.
#[derive(Clone)]
pub(super) enum Source<'a> {
    Promql(Value<'a>),
    Own(Own<'a>),
}

/// Events of ours, and what is said of them.
#[derive(Clone)]
pub(super) struct Own<'a> {
    spec: Value<'a>,
    events: Events,
    says: Says,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    All,
    OnlyGood,
    OnlyBad,
    Duration,
}

pub(super) fn data_source(object: &Object<'_>) -> Option<SourceType> {
    let fields = object.spec.as_ref()?.fields()?;
    let source = fields.required("type").and_then(|value| source_type(&value));
    fields.optional("description").and_then(|description| description.text());
    // Where Prometheus is asked is the configuration's business; secrets in here are not looked at.
    fields.ignore(&["connectionDetails"]);
    fields.end();
    source
}

fn source_type(value: &Value<'_>) -> Option<SourceType> {
    let text = value.words()?;
    match &*text.to_ascii_lowercase() {
        "prometheus" => Some(SourceType::Prometheus),
        "homeostat" => Some(SourceType::Homeostat),
        _ => {
            value.place.refuse(format_args!(
                "is {text:?}, which cannot be asked; Prometheus or Homeostat was expected"
            ));
            None
        }
    }
}

/// An SLI's `spec`.
pub(super) fn sli<'a>(spec: &Value<'a>, sources: &Named<SourceType>) -> Option<Sli<'a>> {
    let fields = spec.fields()?;
    fields.optional("description").and_then(|description| description.text());
    let (ratio, threshold) = (fields.optional("ratioMetric"), fields.optional("thresholdMetric"));
    fields.end();
    match (ratio, threshold) {
        (Some(value), None) => ratio_metric(&value, sources).map(Sli::Ratio),
        (None, Some(value)) => metric(&value, sources).map(Sli::Threshold),
        _ => {
            spec.place.refuse("must have one of `ratioMetric` and `thresholdMetric`");
            None
        }
    }
}

/// `metricSource` of a metric.
fn metric<'a>(value: &Value<'a>, sources: &Named<SourceType>) -> Option<Source<'a>> {
    let outer = value.fields()?;
    let inner = outer.required("metricSource").and_then(|source| source.fields());
    outer.end();
    let fields = inner?;
    let named = fields.optional("metricSourceRef");
    let written = fields.optional("type");
    let spec = fields.required("spec");
    let place = fields.place.clone();
    fields.end();
    let by_name = named.as_ref().map(|name| sources.find(name).copied());
    let by_type = written.as_ref().map(source_type);
    let source = match (by_name, by_type) {
        (Some(by_name), Some(by_type)) => {
            let (by_name, by_type) = (by_name?, by_type?);
            if by_name != by_type {
                place.refuse("has another `type` than the data source it refers to");
            }
            by_name
        }
        (Some(one), None) | (None, Some(one)) => one?,
        (None, None) => {
            place.refuse("has neither `type` nor `metricSourceRef`, one of which is needed");
            return None;
        }
    };
    match source {
        SourceType::Prometheus => query(&spec?).map(Source::Promql),
        SourceType::Homeostat => own(&spec?).map(Source::Own),
    }
}

/// The query of a Prometheus source.
fn query<'a>(spec: &Value<'a>) -> Option<Value<'a>> {
    let fields = spec.fields()?;
    let query = fields.required("query");
    if let Some(kind) = fields.optional("queryType")
        && kind.text().is_some_and(|text| !text.eq_ignore_ascii_case("promql"))
    {
        kind.place.refuse("must be promql");
    }
    fields.end();
    query
}

fn own<'a>(spec: &Value<'a>) -> Option<Own<'a>> {
    let fields = spec.fields()?;
    let text = |name: &'static str| fields.optional(name).and_then(|value| value.words()).map(str::to_owned);
    let kind = fields.required("events");
    let events = kind.as_ref().and_then(|kind| match kind.text()? {
        "spans" => Some(Events::Spans {
            service: text("service"),
            operation: text("operation"),
            role: role(&fields),
        }),
        "requests" => Some(Events::Requests { from: text("from"), to: text("to") }),
        "remediations" => Some(Events::Remediations),
        "gateway" => Some(Events::Gateway),
        other => {
            kind.place
                .refuse(format_args!("is {other:?}; spans, requests, remediations or gateway was expected"));
            None
        }
    });
    let outcome = fields.optional("outcome").map(|value| match value.text()? {
        "good" => Some(Says::OnlyGood),
        "bad" => Some(Says::OnlyBad),
        other => {
            value.place.refuse(format_args!("is {other:?}; good or bad was expected"));
            None
        }
    });
    let measure = fields.optional("measure").map(|value| match value.text()? {
        "duration_seconds" => Some(Says::Duration),
        other => {
            value.place.refuse(format_args!("is {other:?}; duration_seconds was expected"));
            None
        }
    });
    fields.end();
    let says = match (outcome, measure) {
        (None, None) => Says::All,
        (Some(says), None) | (None, Some(says)) => says?,
        (Some(_), Some(_)) => {
            spec.place
                .refuse("has both `outcome` and `measure`; a ratio has an outcome, a threshold a measure");
            return None;
        }
    };
    let events = events?;
    if says == Says::Duration && matches!(events, Events::Remediations | Events::Gateway) {
        spec.place.refuse("measures a duration that is not counted; those of spans and of requests are");
        return None;
    }
    Some(Own { spec: spec.clone(), events, says })
}

fn role(fields: &Fields<'_>) -> Option<SpanRole> {
    let value = fields.optional("role")?;
    match value.text()? {
        "server" => Some(SpanRole::Server),
        "client" => Some(SpanRole::Client),
        "database" => Some(SpanRole::Database),
        other => {
            value.place.refuse(format_args!("is {other:?}; server, client or database was expected"));
            None
        }
    }
}

fn ratio_metric(value: &Value<'_>, sources: &Named<SourceType>) -> Option<Indicator> {
    let fields = value.fields()?;
    let samples = match fields.optional("counter").and_then(|counter| counter.boolean()) {
        Some(true) => Samples::Counter,
        Some(false) | None => Samples::Gauge,
    };
    let read = |name: &'static str| fields.optional(name).map(|part| (part.clone(), metric(&part, sources)));
    let (good, bad, total, raw) = (read("good"), read("bad"), read("total"), read("raw"));
    let raw_type = fields.optional("rawType");
    fields.end();
    match (good, bad, total, raw) {
        (Some((place, part)), None, Some((_, total)), None) => {
            of_parts(&place, (part?, true), total?, samples)
        }
        (None, Some((place, part)), Some((_, total)), None) => {
            of_parts(&place, (part?, false), total?, samples)
        }
        (None, None, None, Some((place, raw))) => of_raw(&place, raw?, raw_type.as_ref()),
        _ => {
            value.place.refuse("must have `total` and one of `good` and `bad`, or `raw` alone");
            None
        }
    }
}

fn of_parts(
    place: &Value<'_>,
    (part, is_good): (Source<'_>, bool),
    total: Source<'_>,
    samples: Samples,
) -> Option<Indicator> {
    match (part, total) {
        (Source::Promql(part), Source::Promql(total)) => {
            let place = total.place.clone();
            let (part, total) = (promql::summed(&part, samples), promql::summed(&total, samples));
            let (part, total) = (part?, total?);
            if part == total {
                place.refuse("is the same query as the other one; it would say nothing");
                return None;
            }
            let grouping = Vec::new();
            Some(Indicator::Promql(if is_good {
                Promql::Good { good: part, total, latency: None, grouping }
            } else {
                Promql::Bad { bad: part, total, grouping }
            }))
        }
        (Source::Own(part), Source::Own(total)) => {
            let (expected, says, good) = if is_good {
                ("good", Says::OnlyGood, Good::Succeeded)
            } else {
                ("bad", Says::OnlyBad, Good::NotFailed)
            };
            if part.says != says {
                part.spec.place.refuse(format_args!("must have `outcome: {expected}`"));
            }
            if total.says != Says::All {
                total.spec.place.refuse("must have neither `outcome` nor `measure`: it is all events");
            }
            if part.events != total.events {
                total
                    .spec
                    .place
                    .refuse(format_args!("must be the same events as `{expected}`, without the outcome"));
            }
            (part.says == says && total.says == Says::All && part.events == total.events)
                .then_some(Indicator::Exact(Exact { events: part.events, good }))
        }
        _ => {
            place
                .place
                .refuse("is from another type of source than `total`; the two must be counted by the same");
            None
        }
    }
}

/// A share that is already a ratio.
fn of_raw(place: &Value<'_>, raw: Source<'_>, raw_type: Option<&Value<'_>>) -> Option<Indicator> {
    let Source::Promql(query) = raw else {
        place.place.refuse("is no ratio: events of Homeostat have `good` or `bad`, and `total`");
        return None;
    };
    let Some(raw_type) = raw_type else {
        place.place.refuse("needs `rawType` beside it: success or failure");
        return None;
    };
    let complement = match raw_type.text()? {
        "success" => "1 - ",
        "failure" => "",
        other => {
            raw_type.place.refuse(format_args!("is {other:?}; success or failure was expected"));
            return None;
        }
    };
    let text = query.words()?.trim();
    let text = if text.contains("{{") {
        format!("{complement}({text})")
    } else {
        promql::checked(&query, text)?;
        format!("{complement}avg(avg_over_time(({text})[{{{{.window}}}}:]))")
    };
    promql::template(&query, text).map(|ratio| Indicator::Promql(Promql::ErrorRatio { ratio }))
}

/// What counts as good where an objective compares samples with a value.
pub(super) fn threshold(source: &Source<'_>, op: Op, limit: &Value<'_>) -> Option<Indicator> {
    let number = limit.number()?;
    match source {
        Source::Promql(query) => {
            let text = query.words()?.trim();
            promql::checked(query, text)?;
            let sign = match op {
                Op::Lte => "<=",
                Op::Gte => ">=",
                Op::Lt => "<",
                Op::Gt => ">",
            };
            let good = format!("sum(sum_over_time((({text}) {sign} bool {number})[{{{{.window}}}}:]))");
            let total = format!("sum(count_over_time(({text})[{{{{.window}}}}:]))");
            Some(Indicator::Promql(Promql::Good {
                good: promql::template(query, good)?,
                total: promql::template(query, total)?,
                latency: None,
                grouping: Vec::new(),
            }))
        }
        Source::Own(own) => {
            if own.says != Says::Duration {
                own.spec.place.refuse(
                    "must have `measure: duration_seconds`: that is what a threshold is compared with",
                );
                return None;
            }
            let Some(duration) =
                Duration::try_from_secs_f64(number).ok().filter(|duration| !duration.is_zero())
            else {
                limit.place.refuse(format_args!("is {number}, must be seconds above 0"));
                return None;
            };
            let good = match op {
                Op::Lt => Good::Faster(duration),
                Op::Lte => Good::AtMost(duration),
                Op::Gt | Op::Gte => {
                    limit.place.refuse("would call slow good; lt or lte was expected for `op`");
                    return None;
                }
            };
            Some(Indicator::Exact(Exact { events: own.events.clone(), good }))
        }
    }
}
