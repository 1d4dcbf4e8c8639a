//! OpenSLO's alerts: policies, conditions and whom to tell.

use std::time::Duration;

use domain::SloSeverity;

use super::super::Value;
use super::{Book, Named, Object, Op};
use crate::burn::Factor;
use crate::minutes::Minutes;
use crate::objective::{AlertRule, Bound, Burning, Resolved};

/// When a condition holds.
#[derive(Clone)]
pub(super) struct Condition {
    name: String,
    severity: String,
    bound: Bound,
    factor: Factor,
    lookback: Minutes,
    after: Minutes,
}

/// What a policy says.
#[derive(Clone)]
pub(super) struct Policy {
    condition: Condition,
    breaching: bool,
    resolved: Resolved,
    no_data: bool,
    targets: Vec<String>,
}

/// The severities that concern somebody at once; any other is a ticket.
const PAGES: [&str; 8] = ["page", "critical", "high", "sev0", "sev1", "p0", "p1", "emergency"];

/// Faster than this is faster than anything burns whose target is below 99.9 %, and as exact as is counted.
const THRESHOLD_MAX: f64 = 1_000.0;

pub(super) fn target(object: &Object<'_>) -> Option<String> {
    target_of(object.spec.as_ref()?)
}

fn target_of(spec: &Value<'_>) -> Option<String> {
    let fields = spec.fields()?;
    let target = fields.required("target").and_then(|target| target.words());
    fields.optional("description").and_then(|description| description.text());
    fields.end();
    target.map(str::to_owned)
}

/// An AlertCondition's `spec`.
pub(super) fn condition(name: &str, spec: &Value<'_>) -> Option<Condition> {
    let fields = spec.fields()?;
    fields.optional("description").and_then(|description| description.text());
    let severity = fields.required("severity").and_then(|severity| severity.words());
    let inner = fields.required("condition").and_then(|condition| condition.fields());
    fields.end();
    let inner = inner?;
    if let Some(kind) = inner.optional("kind")
        && let Some(other) = kind.text().filter(|text| *text != "burnrate")
    {
        kind.place.refuse(format_args!("is {other:?}; burnrate was expected"));
    }
    let bound = inner.required("op").and_then(|value| super::op(&value)).map(|op| match op {
        Op::Lt | Op::Gt => Bound::Above,
        Op::Lte | Op::Gte => Bound::AtLeast,
    });
    let factor = inner.required("threshold").and_then(|value| {
        let threshold = value.number()?;
        if !(threshold > 0.0 && threshold <= THRESHOLD_MAX) {
            value
                .place
                .refuse(format_args!("is {threshold}, must be more than 0 and at most {THRESHOLD_MAX}"));
            return None;
        }
        Some(Factor::Millionths(((threshold * 1e6).round() as u64).max(1)))
    });
    let lookback = inner.required("lookbackWindow").and_then(|value| {
        let window = super::shorthand(&value)?;
        if window.get() == 0 {
            value.place.refuse("is 0, must be at least 1m");
            return None;
        }
        Some(window)
    });
    let after = inner.optional("alertAfter").map(|value| super::shorthand(&value));
    inner.end();
    Some(Condition {
        name: name.to_owned(),
        severity: severity?.to_owned(),
        bound: bound?,
        factor: factor?,
        lookback: lookback?,
        after: after.unwrap_or(Some(Minutes::new(0)))?,
    })
}

/// An AlertPolicy's `spec`.
pub(super) fn policy(
    spec: &Value<'_>,
    conditions: &Named<Condition>,
    targets: &Named<String>,
) -> Option<Policy> {
    let fields = spec.fields()?;
    fields.optional("description").and_then(|description| description.text());
    let is = |name: &'static str| fields.optional(name).and_then(|value| value.boolean()).unwrap_or(false);
    let (breaching, resolved, no_data) =
        (is("alertWhenBreaching"), is("alertWhenResolved"), is("alertWhenNoData"));
    let listed = fields.required("conditions");
    let told = fields.optional("notificationTargets").and_then(|told| told.list()).unwrap_or_default();
    fields.end();
    let listed = listed?;
    let all = listed.list()?;
    let [one] = &all[..] else {
        listed.place.refuse(format_args!("has {} conditions; exactly one was expected", all.len()));
        return None;
    };
    let condition = either(one, "conditionRef", "AlertCondition", conditions, condition);
    let inline = |_: &str, spec: &Value<'_>| target_of(spec);
    let told: Vec<Option<String>> =
        told.iter().map(|one| either(one, "targetRef", "AlertNotificationTarget", targets, inline)).collect();
    Some(Policy {
        condition: condition?,
        breaching,
        resolved: if resolved { Resolved::Told } else { Resolved::Silent },
        no_data,
        targets: told.into_iter().collect::<Option<_>>()?,
    })
}

/// An entry that refers to an object, or is one itself.
fn either<T: Clone>(
    entry: &Value<'_>,
    reference: &str,
    kind: &str,
    named: &Named<T>,
    read: impl Fn(&str, &Value<'_>) -> Option<T>,
) -> Option<T> {
    let fields = entry.fields()?;
    if fields.has(reference) {
        let found = fields.required(reference).and_then(|name| named.find(&name).cloned());
        fields.end();
        return found;
    }
    // What is written in place may say its version as well.
    fields.ignore(&["apiVersion"]);
    if let Some(written) = fields.optional("kind")
        && let Some(other) = written.text().filter(|text| *text != kind)
    {
        written.place.refuse(format_args!("is {other:?}; {kind} was expected"));
    }
    let metadata = fields.optional("metadata").map(|metadata| super::metadata_of(&metadata));
    let spec = fields.optional("spec");
    let place = fields.place.clone();
    fields.end();
    let Some(spec) = spec else {
        place.refuse(format_args!("has neither `{reference}` nor `spec`, one of which is needed"));
        return None;
    };
    let name = metadata.map_or(Some(String::new()), |metadata| metadata.map(|(name, _)| name))?;
    read(&name, &spec)
}

/// The rules of an SLO's `alertPolicies`; those of the burn table where it has none.
pub(super) fn rules(
    listed: Option<&Value<'_>>,
    (slo, period): (&str, Minutes),
    book: &Book<'_>,
) -> Option<Vec<AlertRule>> {
    let listed = listed.map_or(Some(Vec::new()), Value::list)?;
    if listed.is_empty() {
        let rule = |severity| AlertRule::by_burn_table(slo, severity, period);
        return Some([SloSeverity::Page, SloSeverity::Ticket].map(rule).into());
    }
    let inline = |_: &str, spec: &Value<'_>| policy(spec, &book.conditions, &book.targets);
    let rule = |entry: &Value<'_>| {
        let policy = either(entry, "alertPolicyRef", "AlertPolicy", &book.policies, inline)?;
        if policy.condition.lookback > period {
            entry.place.refuse(format_args!(
                "looks back {}, which is longer than the period of {period}",
                policy.condition.lookback
            ));
            return None;
        }
        Some(policy.rule(slo))
    };
    // Every policy is looked at, so that all that is wrong is told.
    let rules: Vec<_> = listed.iter().map(rule).collect();
    Some(rules.into_iter().collect::<Option<Vec<_>>>()?.into_iter().flatten().collect())
}

impl Policy {
    /// As a rule; `None` where it tells of nothing that begins.
    fn rule(self, slo: &str) -> Option<AlertRule> {
        let Condition { name, severity, bound, factor, lookback, after } = self.condition;
        let page = PAGES.contains(&&*severity.to_ascii_lowercase());
        let severity_level = if page { SloSeverity::Page } else { SloSeverity::Ticket };
        let name = if name.is_empty() { slo } else { &name };
        let mut rule = AlertRule::by_burn_table(name, severity_level, lookback);
        rule.when = Vec::new();
        if self.breaching {
            rule.when.push(Burning { short: None, long: lookback, factor, bound });
        }
        rule.no_data = self.no_data.then_some(lookback);
        rule.hold = Duration::from_secs(60 * u64::from(after.get()));
        rule.resolved = self.resolved;
        rule.targets = self.targets;
        rule.labels.insert("severity".to_owned(), severity);
        (self.breaching || self.no_data).then_some(rule)
    }
}
