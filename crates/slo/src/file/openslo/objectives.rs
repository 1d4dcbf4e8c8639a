//! OpenSLO's SLOs: what each of their objectives promises.

use super::super::{Fields, Value};
use super::sources::{self, Sli};
use super::{Book, Object, Op, alerts};
use crate::indicator::Indicator;
use crate::minutes::Minutes;
use crate::objective::{AlertRule, Budgeting, Format, Objective, SLICE_MAX, SliceTarget};
use crate::target::Target;

/// Where an SLO says no window.
const PERIOD: Minutes = Minutes::days(30);

/// The objectives of an SLO; none where anything about it is wrong.
pub(super) fn of(slo: &Object<'_>, book: &Book<'_>) -> Vec<Objective> {
    let Some(fields) = slo.spec.as_ref().and_then(|spec| spec.fields()) else { return Vec::new() };
    let description = fields.optional("description").and_then(|description| description.text());
    let service = fields.required("service").and_then(|value| service(&value, book));
    let sli = indicator(&fields, book);
    let period = match fields.optional("timeWindow") {
        Some(value) => time_window(&value),
        None => Some(PERIOD),
    };
    let method = fields.required("budgetingMethod");
    let alerts =
        alerts::rules(fields.optional("alertPolicies").as_ref(), (&slo.name, period.unwrap_or(PERIOD)), book);
    let listed = fields.required("objectives").and_then(|objectives| objectives.list());
    if listed.as_ref().is_some_and(Vec::is_empty) {
        fields.place_of("objectives").refuse("is empty; at least one objective was expected");
    }
    fields.end();
    let Some(listed) = listed else { return Vec::new() };
    let threshold = matches!(sli, Some(Sli::Threshold(_)));
    if threshold && listed.len() > 1 {
        listed[1].place.refuse("is the second objective of a thresholdMetric, which can have one only");
    }
    let read = |value: &Value<'_>| one(value, sli.as_ref(), method.as_ref());
    let read: Vec<Option<One>> = listed.iter().map(read).collect();
    let (Some(service), Some(period), Some(alerts)) = (service, period, alerts) else { return Vec::new() };
    let common = Common { slo, service, description: description.unwrap_or_default(), period, alerts };
    let count = read.len();
    let objectives = read.into_iter().enumerate().map(|(at, one)| Some(common.objective(one?, (at, count))));
    objectives.collect::<Option<_>>().unwrap_or_default()
}

/// What the objectives of an SLO have in common.
struct Common<'a> {
    slo: &'a Object<'a>,
    service: &'a str,
    description: &'a str,
    period: Minutes,
    alerts: Vec<AlertRule>,
}

/// What an objective says itself.
struct One {
    indicator: Indicator,
    target: Target,
    budgeting: Budgeting,
}

impl Common<'_> {
    fn objective(&self, one: One, (at, count): (usize, usize)) -> Objective {
        let name = if count > 1 { format!("{}-{at}", self.slo.name) } else { self.slo.name.clone() };
        Objective {
            id: format!("{}-{name}", self.service),
            name,
            service: self.service.to_owned(),
            description: self.description.to_owned(),
            labels: self.slo.labels.clone(),
            indicator: one.indicator,
            target: one.target,
            period: self.period,
            budgeting: one.budgeting,
            alerts: self.alerts.clone(),
            format: Format::OpenSlo,
        }
    }
}

/// The name of a service: where there are services among the files, of one of them.
fn service<'a>(value: &Value<'a>, book: &Book<'_>) -> Option<&'a str> {
    let name = value.words()?;
    if !book.services.1.is_empty() {
        book.services.find(value)?;
    }
    Some(name)
}

fn indicator<'a>(fields: &Fields<'a>, book: &Book<'a>) -> Option<Sli<'a>> {
    let (inline, named) = (fields.optional("indicator"), fields.optional("indicatorRef"));
    match (inline, named) {
        (Some(inline), None) => {
            let fields = inline.fields()?;
            fields.optional("metadata").and_then(|metadata| super::metadata_of(&metadata));
            let spec = fields.required("spec");
            fields.ignore(&["apiVersion", "kind"]);
            fields.end();
            sources::sli(&spec?, &book.data_sources)
        }
        (None, Some(name)) => book.slis.find(&name).cloned(),
        (Some(_), Some(named)) => {
            named.place.refuse("is there beside `indicator`; one of the two was expected");
            None
        }
        (None, None) => {
            fields.place.refuse("has neither `indicator` nor `indicatorRef`, one of which is needed");
            None
        }
    }
}

fn time_window(value: &Value<'_>) -> Option<Minutes> {
    let windows = value.list()?;
    let [one] = &windows[..] else {
        value.place.refuse(format_args!("has {} windows; exactly one was expected", windows.len()));
        return None;
    };
    let fields = one.fields()?;
    let calendar = fields.optional("calendar");
    let rolling = fields.optional("isRolling").and_then(|rolling| rolling.boolean());
    let duration = fields.required("duration");
    let place = fields.place_of(if calendar.is_some() { "calendar" } else { "isRolling" });
    fields.end();
    if calendar.is_some() || rolling == Some(false) {
        place.refuse(
            "is a calendar-aligned window, which is not counted; write a rolling one: `isRolling: true`",
        );
        return None;
    }
    let duration = duration?;
    super::period(&duration, super::shorthand(&duration)?)
}

fn one(value: &Value<'_>, sli: Option<&Sli<'_>>, method: Option<&Value<'_>>) -> Option<One> {
    let fields = value.fields()?;
    for composite in ["indicator", "indicatorRef", "compositeWeight"] {
        if fields.optional(composite).is_some() {
            fields.place_of(composite).refuse(
                "makes this a composite SLO, which is not counted; write an SLO for each of its objectives",
            );
        }
    }
    fields.optional("displayName").and_then(|name| name.text());
    let target = target(&fields);
    let op = fields.optional("op").map(|value| super::op(&value));
    let limit = fields.optional("value");
    let budgeting = method.and_then(|method| budgeting(&fields, method));
    let place = fields.place.clone();
    fields.end();
    let indicator = match sli? {
        Sli::Ratio(indicator) => indicator.clone(),
        Sli::Threshold(source) => match (op, limit) {
            (Some(op), Some(limit)) => {
                let op: Op = op?;
                sources::threshold(source, op, &limit)?
            }
            _ => {
                place.refuse("needs `op` and `value`, which its thresholdMetric is compared with");
                return None;
            }
        },
    };
    Some(One { indicator, target: target?, budgeting: budgeting? })
}

fn target(fields: &Fields<'_>) -> Option<Target> {
    let (ratio, percent) = (fields.optional("target"), fields.optional("targetPercent"));
    let (value, target) = match (ratio, percent) {
        (Some(value), None) => (value.clone(), Target::from_ratio(value.number()?)),
        (None, Some(value)) => (value.clone(), Target::from_percent(value.number()?)),
        _ => {
            fields.place.refuse("must have one of `target` and `targetPercent`");
            return None;
        }
    };
    target.map_err(|error| value.place.refuse(error)).ok()
}

fn budgeting(fields: &Fields<'_>, method: &Value<'_>) -> Option<Budgeting> {
    let window = fields.optional("timeSliceWindow");
    let least = fields.optional("timeSliceTarget");
    let sliced = |what: &str| {
        let Some(window) = &window else {
            fields.place.refuse(format_args!("has no `timeSliceWindow`, which {what} needs"));
            return None;
        };
        slice(window)
    };
    match method.text()? {
        "Occurrences" => Some(Budgeting::Occurrences),
        "Timeslices" => {
            let slice = sliced("Timeslices");
            let Some(least) = &least else {
                fields.place.refuse("has no `timeSliceTarget`, which Timeslices needs");
                return None;
            };
            let number = least.number()?;
            let Some(share) = SliceTarget::from_ratio(number) else {
                least.place.refuse(format_args!("is {number}, must be 0 to 1"));
                return None;
            };
            Some(Budgeting::Timeslices { slice: slice?, least: share })
        }
        "RatioTimeslices" => Some(Budgeting::RatioTimeslices { slice: sliced("RatioTimeslices")? }),
        other => {
            method.place.refuse(format_args!(
                "is {other:?}; Occurrences, Timeslices or RatioTimeslices was expected"
            ));
            None
        }
    }
}

/// A number of minutes, or a duration.
fn slice(value: &Value<'_>) -> Option<Minutes> {
    let slice = match value.node() {
        yaml::Node::Integer(_) | yaml::Node::Float(_) => {
            let number = value.number()?;
            let whole = number.fract() == 0.0 && number >= 0.0 && number <= f64::from(SLICE_MAX.get());
            Minutes::new(if whole { number as u32 } else { 0 })
        }
        _ => super::shorthand(value)?,
    };
    if slice.get() == 0 || slice > SLICE_MAX {
        value.place.refuse(format_args!("must be 1m to {SLICE_MAX}, in whole minutes"));
        return None;
    }
    Some(slice)
}
