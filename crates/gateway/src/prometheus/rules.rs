//! `/api/v1/rules` and `/api/v1/alerts`: how rules stand.

use std::time::Duration;

use promql::rules::{ActiveAlert, ActivePhase, GroupState, Health, RuleKind, RuleState};
use promql::{Labels, Matcher};
use serde_json::{Map, Value, json};

use super::answer::whole;
use super::number::shown;
use super::parameter;
use super::refused::Refused;
use super::{Answer, Asked};

/// Which rules are asked for.
struct Wanted<'a> {
    kinds: Kinds,
    names: Vec<&'a str>,
    groups: Vec<&'a str>,
    files: Vec<&'a str>,
    selectors: Vec<Vec<Matcher>>,
    /// Without the alerts that are active.
    bare: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kinds {
    All,
    Alerting,
    Recording,
}

/// `GET /api/v1/rules`
pub(crate) fn rules(asked: &Asked<'_>) -> Answer {
    let wanted = Wanted::of(asked)?;
    let groups = asked.app.rules.as_ref().map(|rules| rules.groups()).unwrap_or_default();
    let groups = groups.iter().filter(|group| wanted.has_group(group)).filter_map(|group| {
        let rules: Vec<&RuleState> = group.rules.iter().filter(|rule| wanted.has(rule)).collect();
        // A group of which nothing is wanted is left out; one that is empty is shown where all are.
        (!rules.is_empty() || group.rules.is_empty()).then(|| shown_group(group, &rules, wanted.bare))
    });
    Ok(whole(json!({"groups": groups.collect::<Vec<Value>>()}), &[]))
}

/// `GET /api/v1/alerts`
pub(crate) fn alerts(asked: &Asked<'_>) -> Answer {
    let groups = asked.app.rules.as_ref().map(|rules| rules.groups()).unwrap_or_default();
    let active = groups.iter().flat_map(|group| &group.rules).flat_map(|rule| match &rule.kind {
        RuleKind::Alerting { alerts, .. } => alerts.as_slice(),
        RuleKind::Recording => &[],
    });
    Ok(whole(json!({"alerts": active.map(alert).collect::<Vec<Value>>()}), &[]))
}

impl<'a> Wanted<'a> {
    fn of(asked: &'a Asked<'_>) -> Result<Self, Refused> {
        let kind = asked.form.text("type").unwrap_or_default().to_ascii_lowercase();
        let kinds = match kind.as_str() {
            "" => Kinds::All,
            "alert" => Kinds::Alerting,
            "record" => Kinds::Recording,
            other => return Err(Refused::parameter("type", format_args!("not supported value {other:?}"))),
        };
        let bare = match asked.form.text("exclude_alerts") {
            None | Some("false" | "0") => false,
            Some("true" | "1") => true,
            Some(other) => {
                return Err(Refused::parameter(
                    "exclude_alerts",
                    format_args!("{other:?} is not true or false"),
                ));
            }
        };
        Ok(Self {
            kinds,
            names: asked.form.all("rule_name[]").collect(),
            groups: asked.form.all("rule_group[]").collect(),
            files: asked.form.all("file[]").collect(),
            selectors: parameter::selectors(&asked.form)?,
            bare,
        })
    }

    fn has_group(&self, group: &GroupState) -> bool {
        let among = |names: &[&str], name: &str| names.is_empty() || names.contains(&name);
        among(&self.groups, &group.name) && among(&self.files, &group.file)
    }

    fn has(&self, rule: &RuleState) -> bool {
        let kind = match rule.kind {
            RuleKind::Alerting { .. } => self.kinds != Kinds::Recording,
            RuleKind::Recording => self.kinds != Kinds::Alerting,
        };
        let labels = Labels::new(rule.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let meets = |matchers: &Vec<Matcher>| {
            matchers
                .iter()
                .all(|matcher| matcher.compiled().is_ok_and(|compiled| compiled.matches_labels(&labels)))
        };
        kind && (self.names.is_empty() || self.names.contains(&rule.name.as_str()))
            && (self.selectors.is_empty() || self.selectors.iter().any(meets))
    }
}

fn shown_group(group: &GroupState, rules: &[&RuleState], bare: bool) -> Value {
    json!({
        "name": group.name,
        "file": group.file,
        "rules": rules.iter().map(|rule| shown_rule(rule, bare)).collect::<Vec<Value>>(),
        "interval": group.interval.as_secs_f64(),
        "limit": group.limit,
        "evaluationTime": group.evaluation_time.as_secs_f64(),
        "lastEvaluation": time(group.last_evaluation_ms),
    })
}

fn shown_rule(rule: &RuleState, bare: bool) -> Value {
    let (health, error) = match &rule.health {
        Health::Unknown => ("unknown", None),
        Health::Good => ("ok", None),
        Health::Bad(why) => ("err", Some(why)),
    };
    let mut shown = Map::new();
    let mut put = |name: &str, value: Value| shown.insert(name.to_owned(), value);
    put("name", json!(rule.name));
    put("query", json!(rule.query));
    put("health", json!(health));
    put("evaluationTime", json!(rule.evaluation_time.as_secs_f64()));
    put("lastEvaluation", time(rule.last_evaluation_ms));
    if let Some(error) = error {
        put("lastError", json!(error));
    }
    match &rule.kind {
        RuleKind::Recording => {
            put("type", json!("recording"));
            if !rule.labels.is_empty() {
                put("labels", json!(rule.labels));
            }
        }
        RuleKind::Alerting { hold, keep_firing, annotations, alerts } => {
            let seconds = |span: &Duration| json!(span.as_secs_f64());
            put("type", json!("alerting"));
            put("state", json!(rule.phase().map_or("inactive", phase)));
            put("labels", json!(rule.labels));
            put("duration", seconds(hold));
            put("keepFiringFor", seconds(keep_firing));
            put("annotations", json!(annotations));
            let active: Vec<Value> = if bare { Vec::new() } else { alerts.iter().map(alert).collect() };
            put("alerts", json!(active));
        }
    }
    Value::Object(shown)
}

fn phase(phase: ActivePhase) -> &'static str {
    match phase {
        ActivePhase::Pending => "pending",
        ActivePhase::Firing => "firing",
    }
}

fn alert(alert: &ActiveAlert) -> Value {
    let labels: Map<String, Value> =
        alert.labels.iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
    let mut shown_alert = json!({
        "labels": labels,
        "annotations": alert.annotations,
        "state": phase(alert.phase),
        "activeAt": time(Some(alert.active_at_ms)),
        "value": shown_exponent(alert.value),
    });
    if let Some(since) = alert.keep_firing_since_ms {
        shown_alert["keepFiringSince"] = time(Some(since));
    }
    shown_alert
}

/// A value of an alert, which Prometheus writes with an exponent always: `1e+00`.
fn shown_exponent(value: f64) -> String {
    if !value.is_finite() {
        return shown(value);
    }
    let shortest = format!("{value:e}");
    let (digits, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// RFC 3339; what was never is the year 1, as Go has it.
pub(super) fn time(at_ms: Option<i64>) -> Value {
    let stamp = at_ms.and_then(|at_ms| jiff::Timestamp::from_millisecond(at_ms).ok());
    json!(stamp.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), |stamp| stamp.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_alerts_have_an_exponent() {
        let all = [1.0, 0.0, 123.5, 2.5e-7, f64::INFINITY].map(shown_exponent);
        assert_eq!(all, ["1e+00", "0e+00", "1.235e+02", "2.5e-07", "+Inf"]);
        assert_eq!(time(None), json!("0001-01-01T00:00:00Z"));
        assert_eq!(time(Some(1_500)), json!("1970-01-01T00:00:01.5Z"));
    }
}
