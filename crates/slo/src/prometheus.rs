//! Objectives as Prometheus rules, as Sloth generates them (sloth.dev), so that a Prometheus of one's own can record and
//! alert on the same, and Grafana's dashboards for Sloth work on it.
//!
//! In: objectives. Out: a rule file: of each objective the error ratio over every window, what describes it, and its alerts.
//!
//! This is for export. Sloth's ratio over the whole period is the mean of five-minute ratios, which weighs a quiet night
//! like a busy noon; [`Tracker`](crate::Tracker) counts events instead.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::burn::{BurnTable, Factor};
use crate::indicator::{Indicator, Promql};
use crate::minutes::Minutes;
use crate::objective::{AlertRule, Bound, Burning, Format, Objective};

/// A rule file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RuleFile {
    /// Evaluated side by side.
    pub groups: Vec<RuleGroup>,
}

/// Rules that are evaluated one after the other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RuleGroup {
    /// Its name, once in a file.
    pub name: String,
    /// The rules.
    pub rules: Vec<Rule>,
}

/// A rule: it has either `record` or `alert`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// The name of the series it records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<String>,
    /// The name of the alert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert: Option<String>,
    /// PromQL.
    pub expr: String,
    /// How long it has to hold.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
    /// Labels of the series or of the alert.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Texts for people.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// What a rule file says of where it is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// The label `sloth_mode`.
    pub mode: String,
    /// The label `sloth_version`.
    pub version: String,
    /// Labels for every recorded series, over those of the objective.
    pub labels: BTreeMap<String, String>,
}

/// Why an objective cannot be exported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    /// Prometheus does not have the events.
    #[error(
        "objective {objective:?} is counted by Homeostat itself, there is no PromQL for it; leave it out"
    )]
    Exact {
        /// The id of the objective.
        objective: String,
    },
}

const INFO: &str = "sloth_slo_info";

impl RuleFile {
    /// The rules of objectives, in their order.
    ///
    /// # Errors
    ///
    /// [`ExportError`] for the first objective that Prometheus does not have the events of.
    pub fn of<'a>(
        objectives: impl IntoIterator<Item = &'a Objective>,
        provenance: &Provenance,
    ) -> Result<Self, ExportError> {
        let mut groups = Vec::new();
        for objective in objectives {
            let Indicator::Promql(promql) = &objective.indicator else {
                return Err(ExportError::Exact { objective: objective.id.clone() });
            };
            let names = Names::of(objective, provenance);
            let id = &objective.id;
            let mut add = |kind: &str, rules: Vec<Rule>| {
                if !rules.is_empty() {
                    groups.push(RuleGroup { name: format!("sloth-slo-{kind}-{id}"), rules });
                }
            };
            add("sli-recordings", ratios(objective, promql, &names));
            add("meta-recordings", descriptions(objective, &names, provenance));
            add("alerts", objective.alerts.iter().map(|rule| alert(objective, rule, &names)).collect());
        }
        Ok(Self { groups })
    }

    /// As the text of a file.
    pub fn to_yaml(&self) -> String {
        // Only what has no place in YAML can fail, and there is nothing of it: lists, maps with text keys, text.
        serde_saphyr::to_string(self).unwrap_or_default()
    }
}

/// What the series of an objective have in common.
struct Names {
    labels: BTreeMap<String, String>,
    filter: String,
    short: Minutes,
    period: Minutes,
}

impl Names {
    fn of(objective: &Objective, provenance: &Provenance) -> Self {
        let ids = [
            ("sloth_id", &objective.id),
            ("sloth_service", &objective.service),
            ("sloth_slo", &objective.name),
        ];
        let filter: Vec<String> =
            ids.iter().map(|(name, value)| format!("{name}={}", quoted(value))).collect();
        let mut labels = texts(&ids.map(|(name, value)| (name, &**value)));
        labels.extend(objective.labels.iter().map(|(name, value)| (label_name(name), value.clone())));
        labels.extend(provenance.labels.clone());
        let period = objective.period;
        let short = BurnTable::of(period).page[0].short;
        Self { labels, filter: format!("{{{}}}", filter.join(", ")), short, period }
    }

    /// The series of the error ratio over a window.
    fn ratio(&self, window: Minutes) -> String {
        format!("{}{}", ratio_name(window), self.filter)
    }

    fn record(&self, name: impl Into<String>, expr: String) -> Rule {
        Rule {
            record: Some(name.into()),
            alert: None,
            expr,
            hold: None,
            labels: self.labels.clone(),
            annotations: BTreeMap::new(),
        }
    }
}

fn ratio_name(window: Minutes) -> String {
    format!("slo:sli_error:ratio_rate{window}")
}

/// The error ratio over every window, and over the period.
fn ratios(objective: &Objective, promql: &Promql, names: &Names) -> Vec<Rule> {
    let windows = objective.windows();
    let shorter = windows.iter().filter(|window| **window != objective.period);
    let rule = |window: Minutes, expr: String| {
        let mut rule = names.record(ratio_name(window), expr);
        rule.labels.entry("sloth_window".to_owned()).or_insert_with(|| window.to_string());
        rule
    };
    let mut rules: Vec<Rule> = shorter.map(|window| rule(*window, error_ratio(promql, *window))).collect();
    let short = names.ratio(names.short);
    let whole = format!(
        "sum_over_time({short}[{0}])\n/ ignoring (sloth_window)\ncount_over_time({short}[{0}])\n",
        names.period
    );
    rules.push(rule(objective.period, whole));
    rules
}

fn error_ratio(promql: &Promql, window: Minutes) -> String {
    let window = &window.to_string();
    match promql {
        Promql::Bad { bad, total, .. } => format!("({})\n/\n({})\n", bad.over(window), total.over(window)),
        Promql::Good { good, total, .. } => format!(
            "(\n  1 - (\n    (\n      {}\n    )\n    /\n    (\n      {}\n    )\n  )\n)",
            good.over(window),
            total.over(window)
        ),
        Promql::ErrorRatio { ratio } => format!("({})", ratio.over(window)),
    }
}

/// Target, budget, period, and how fast the budget burns.
fn descriptions(objective: &Objective, names: &Names, provenance: &Provenance) -> Vec<Rule> {
    let target = shortest(objective.target.percent() / 100.0);
    let days = shortest(f64::from(names.period.get()) / (24.0 * 60.0));
    let filter = &names.filter;
    let burn = |window| {
        format!(
            "{}\n/ on(sloth_id, sloth_slo, sloth_service) group_left\nslo:error_budget:ratio{filter}\n",
            names.ratio(window)
        )
    };
    let mut info = names.record(INFO, "vector(1)".to_owned());
    info.labels.extend(texts(&[
        ("sloth_mode", &provenance.mode),
        ("sloth_objective", &objective.target.percent().to_string()),
        ("sloth_spec", specification(objective.format)),
        ("sloth_version", &provenance.version),
    ]));
    vec![
        names.record("slo:objective:ratio", format!("vector({target})")),
        names.record("slo:error_budget:ratio", format!("vector(1-{target})")),
        names.record("slo:time_period:days", format!("vector({days})")),
        names.record("slo:current_burn_rate:ratio", burn(names.short)),
        names.record("slo:period_burn_rate:ratio", burn(names.period)),
        names.record(
            "slo:period_error_budget_remaining:ratio",
            format!("1 - slo:period_burn_rate:ratio{filter}"),
        ),
        info,
    ]
}

fn specification(format: Format) -> &'static str {
    match format {
        Format::OpenSlo => "openslo/v1",
        Format::Sloth => "prometheus/v1",
        Format::SlothKubernetes => "sloth.slok.dev/v1",
        Format::Pyrra => "pyrra.dev/v1alpha1",
    }
}

fn alert(objective: &Objective, rule: &AlertRule, names: &Names) -> Rule {
    let budget = shortest((100.0 - objective.target.percent()) / 100.0);
    let burning = rule.when.iter().map(|burning| condition(burning, &budget, names));
    let silent = rule.no_data.map(|window| format!("absent({})", names.ratio(window)));
    let conditions: Vec<String> = burning.chain(silent).collect();
    let severity = rule.severity.as_str();
    let subject = "{{$labels.sloth_service}} {{$labels.sloth_slo}} SLO error budget burn rate is";
    let mut annotations = texts(&[
        ("summary", &format!("{subject} over expected.")),
        ("title", &format!("({severity}) {subject} too fast.")),
    ]);
    annotations.extend(rule.annotations.clone());
    let mut labels = texts(&[("sloth_severity", severity)]);
    labels.extend(rule.labels.iter().map(|(name, value)| (label_name(name), value.clone())));
    let minutes = Minutes::new(u32::try_from(rule.hold.as_secs() / 60).unwrap_or(u32::MAX));
    Rule {
        record: None,
        alert: Some(rule.name.clone()),
        expr: conditions.join("\nor\n") + "\n",
        hold: (minutes.get() > 0).then(|| minutes.to_string()),
        labels,
        annotations,
    }
}

fn condition(burning: &Burning, budget: &str, names: &Names) -> String {
    let factor = shortest(factor(burning.factor));
    let sign = match burning.bound {
        Bound::Above => ">",
        Bound::AtLeast => ">=",
    };
    let exceeds = |window: Minutes| {
        format!("    max({} {sign} ({factor} * {budget})) without (sloth_window)\n", names.ratio(window))
    };
    let short = burning.short.map_or(String::new(), |short| exceeds(short) + "    and\n");
    format!("(\n{short}{})", exceeds(burning.long))
}

/// A factor, rounded where Sloth rounds it: 2.8000000000000003 of 28 days, not 2.8.
fn factor(factor: Factor) -> f64 {
    match factor {
        Factor::Share { share, period, window } => {
            let hours = |minutes: Minutes| f64::from(minutes.get()) / 60.0;
            f64::from(share) / 100.0 * hours(period) / 100.0 / hours(window)
        }
        Factor::Millionths(_) => factor.value(),
    }
}

/// A number as Go's `%v` writes it, which is what Sloth's templates do: the fewest digits that read back as the same
/// number, with an exponent from a million on and below 1e-4.
fn shortest(number: f64) -> String {
    let scientific = format!("{number:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    match exponent.parse::<i32>() {
        Ok(exponent @ (..-4 | 6..)) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
        }
        _ => number.to_string(),
    }
}

/// A text as PromQL has it in quotes.
fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
    format!("\"{escaped}\"")
}

/// A name of a label that Prometheus takes: what it does not is an underscore.
fn label_name(name: &str) -> String {
    let first = name.starts_with(|c: char| c.is_ascii_digit());
    let inner = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' });
    first.then_some('_').into_iter().chain(inner).collect()
}

fn texts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOTH: &str = include_str!("file/tests/sloth.yaml");

    fn provenance() -> Provenance {
        Provenance {
            mode: "cli-gen-prom".to_owned(),
            version: "dev".to_owned(),
            labels: texts(&[("cmd", "test")]),
        }
    }

    fn rules() -> RuleFile {
        RuleFile::of(&crate::read("sloth.yaml", SLOTH.as_bytes()).unwrap(), &provenance()).unwrap()
    }

    fn rule(name: &str) -> Rule {
        let rules = rules();
        let mut all = rules.groups.into_iter().flat_map(|group| group.rules);
        all.find(|rule| rule.record.as_deref().or(rule.alert.as_deref()) == Some(name)).unwrap()
    }

    #[test]
    fn every_window_is_recorded_and_the_period_from_the_shortest() {
        let rules = rules();
        let names: Vec<&str> =
            rules.groups[0].rules.iter().filter_map(|rule| rule.record.as_deref()).collect();
        let windows = ["5m", "30m", "1h", "2h", "6h", "1d", "3d", "30d"];
        assert_eq!(names, windows.map(|window| format!("slo:sli_error:ratio_rate{window}")));
        assert_eq!(
            rule("slo:sli_error:ratio_rate5m").expr,
            "(sum(rate(http_requests_total{job=\"cart\",code=~\"5..\"}[5m])))\n/\n(sum(rate(http_requests_total{job=\"cart\"}[5m])))\n"
        );
        let filter = "{sloth_id=\"cart-availability\", sloth_service=\"cart\", sloth_slo=\"availability\"}";
        assert_eq!(
            rule("slo:sli_error:ratio_rate30d").expr,
            format!(
                "sum_over_time(slo:sli_error:ratio_rate5m{filter}[30d])\n/ ignoring (sloth_window)\ncount_over_time(slo:sli_error:ratio_rate5m{filter}[30d])\n"
            )
        );
        assert_eq!(rule("slo:sli_error:ratio_rate1d").labels["sloth_window"], "1d");
    }

    #[test]
    fn numbers_are_rounded_as_sloth_rounds_them() {
        assert_eq!(rule("slo:objective:ratio").expr, "vector(0.9990000000000001)");
        let page = rule("CartBurns").expr;
        assert!(
            page.contains("> (14.4 * 0.0009999999999999432)) without (sloth_window)\n    and\n"),
            "{page}"
        );
        for (number, text) in
            [(1e-5, "1e-05"), (9.5e-5, "9.5e-05"), (0.0001, "0.0001"), (30.0, "30"), (1e6, "1e+06")]
        {
            assert_eq!(shortest(number), text);
        }
    }

    #[test]
    fn the_file_reads_back_as_what_was_meant() {
        let read: RuleFile = serde_saphyr::from_str(&rules().to_yaml()).unwrap();
        assert_eq!(read, rules());
    }

    #[test]
    fn what_prometheus_cannot_count_is_not_exported() {
        let text = include_str!("../../../drills/slos.yaml");
        let objectives = crate::read("slos.yaml", text.as_bytes()).unwrap();
        let error = RuleFile::of(&objectives, &provenance()).unwrap_err();
        assert!(error.to_string().contains("gateway-availability"), "{error}");
    }
}
