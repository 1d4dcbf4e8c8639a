//! Objectives that PromQL says.
//!
//! In: the expressions of an objective, and stored series. Out: events by the second of the samples that told of them.
//!
//! Where both expressions are the sum of what counters rose by, as Sloth's, Pyrra's and OpenSLO's are
//! (`sum(rate(SELECTOR[{{.window}}]))`, `increase` likewise), the samples themselves are compared: every counter counts by
//! the difference to its last sample, or by all of it where it began anew. Nothing is extrapolated, and nothing is missed
//! between two looks, nor while Homeostat did not run. A counter that is seen for the first time counts from there on.
//!
//! Any other expression is evaluated at the end of every minute over that minute, [`LAG`] later, as exactly as its
//! extrapolation is.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use domain::Time;
use metrics::Metrics;
use promql::{Answered, Engine, Limits, Options, Series, Value};
use serde::{Deserialize, Serialize};
use slo::{Counts, Promql, Template};

/// Seconds after the end of a minute until its samples are there: scrapes come every 15 s or so.
const LAG: i64 = 20;

/// Counters that were not seen for longer are forgotten, in milliseconds.
const FORGOTTEN_MS: i64 = 24 * 3_600_000;

/// How far a look reaches back for samples that came late, in milliseconds.
const REACH_MS: i64 = 5 * 60_000;

/// Minutes that are made up for after a time in which nobody evaluated.
const MINUTES_MAX: i64 = 60;

/// Samples that one expression may read: an objective of more would take seconds of every second.
const SAMPLES_MAX: u64 = 1_000_000;

/// Where the samples of an objective were read up to.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Counters {
    /// The last sample of every counter, by its labels: of what is good or bad, and of all.
    part: BTreeMap<String, (i64, f64)>,
    total: BTreeMap<String, (i64, f64)>,
    /// When it was last looked, in milliseconds since 1970.
    looked_ms: Option<i64>,
    /// The last minute since 1970 that was evaluated.
    minute: Option<i64>,
}

impl Counters {
    /// What came since the last call.
    pub(super) fn measure(
        &mut self,
        promql: &Promql,
        metrics: &Metrics,
        now: Time,
    ) -> Result<Vec<(i64, Counts)>, String> {
        let templates = match promql {
            Promql::Good { good: part, total, .. } | Promql::Bad { bad: part, total, .. } => {
                Some((part, total))
            }
            Promql::ErrorRatio { .. } => None,
        };
        let counters = templates.and_then(|(part, total)| Some((counter(part)?, counter(total)?)));
        match counters {
            Some((part, total)) => self.differences(promql, part, total, metrics, now),
            None => self.minutes(promql, metrics, now),
        }
    }

    fn differences(
        &mut self,
        promql: &Promql,
        part: &str,
        total: &str,
        metrics: &Metrics,
        now: Time,
    ) -> Result<Vec<(i64, Counts)>, String> {
        let now_ms = now.wall_us.div_euclid(1000);
        let reach = now_ms.saturating_sub(self.looked_ms.unwrap_or(now_ms)).max(0).saturating_add(REACH_MS);
        let read =
            |selector: &str| samples(&format!("{selector}[{}ms]", reach.min(FORGOTTEN_MS)), now_ms, metrics);
        let (part_series, total_series) = (read(part)?, read(total)?);
        let mut rose: BTreeMap<i64, (f64, f64)> = BTreeMap::new();
        risen(&mut self.part, part_series, |second, by| rose.entry(second).or_default().0 += by);
        risen(&mut self.total, total_series, |second, by| rose.entry(second).or_default().1 += by);
        for known in [&mut self.part, &mut self.total] {
            known.retain(|_, (at_ms, _)| now_ms.saturating_sub(*at_ms) < FORGOTTEN_MS);
        }
        self.looked_ms = Some(now_ms);
        let counts = |(second, (part, total))| Some((second, promql.counts(part, total)?));
        Ok(rose.into_iter().filter_map(counts).collect())
    }

    fn minutes(
        &mut self,
        promql: &Promql,
        metrics: &Metrics,
        now: Time,
    ) -> Result<Vec<(i64, Counts)>, String> {
        // The last minute whose samples are all there.
        let last = (now.wall_us.div_euclid(1_000_000) - LAG).div_euclid(60) - 1;
        let first = self.minute.map_or(last, |minute| (minute + 1).max(last - MINUTES_MAX));
        let mut found = Vec::new();
        for minute in first..=last {
            let at_ms = (minute + 1) * 60_000;
            let ask = |template: &Template| value(&template.over("1m"), at_ms, metrics);
            let (part, total) = match promql {
                Promql::Good { good: part, total, .. } | Promql::Bad { bad: part, total, .. } => {
                    (ask(part)?, ask(total)?)
                }
                Promql::ErrorRatio { ratio } => (ask(ratio)?, Some(1.0)),
            };
            // No bad ones are none; without all of them nothing was measured.
            if let Some(total) = total
                && let Some(part) = part.or(matches!(promql, Promql::Bad { .. }).then_some(0.0))
                && let Some(counts) = promql.counts(part, total)
            {
                found.push((minute * 60, counts));
            }
            self.minute = Some(minute);
        }
        Ok(found)
    }
}

/// The selector of a template that sums up what counters rose by.
fn counter(template: &Template) -> Option<&str> {
    let text = template.as_str().trim();
    let inner = text.strip_prefix("sum(")?.strip_suffix(')')?.trim();
    let inner =
        inner.strip_prefix("rate(").or_else(|| inner.strip_prefix("increase("))?.strip_suffix(')')?.trim();
    let (selector, window) = inner.rsplit_once('[')?;
    let window = window.strip_suffix(']')?.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    // Another bracket outside of strings would be another range.
    (window.trim() == ".window" && is_selector(selector)).then_some(selector)
}

/// Whether a text selects series and does nothing else: it reads as a range when one follows.
fn is_selector(text: &str) -> bool {
    let engine = Engine::new(Options::default());
    !text.contains(" offset ") && !text.contains('@') && engine.parse(&format!("{text}[1m]")).is_ok()
}

/// Tells by which second each counter rose by how much.
fn risen(known: &mut BTreeMap<String, (i64, f64)>, series: Vec<Series>, mut tell: impl FnMut(i64, f64)) {
    for Series { labels, samples } in series {
        let name = format!("{labels:?}");
        let mut last = known.get(&name).copied();
        for sample in samples {
            let Value::Float(value) = sample.value else { continue };
            if value.is_nan() || last.is_some_and(|(at_ms, _)| sample.at_ms <= at_ms) {
                continue;
            }
            if let Some((_, before)) = last {
                tell(sample.at_ms.div_euclid(1000), if value >= before { value - before } else { value });
            }
            last = Some((sample.at_ms, value));
        }
        if let Some(last) = last {
            known.insert(name, last);
        }
    }
}

/// The samples of a range.
fn samples(text: &str, at_ms: i64, metrics: &Metrics) -> Result<Vec<Series>, String> {
    match answer(text, at_ms, metrics)? {
        Answered::Matrix(series) => Ok(series),
        _ => Err(format!("{text} is no range of samples")),
    }
}

/// The one number an expression has; `None` where it has none.
fn value(text: &str, at_ms: i64, metrics: &Metrics) -> Result<Option<f64>, String> {
    match answer(text, at_ms, metrics)? {
        Answered::Scalar(value) => Ok(Some(value)),
        Answered::Vector(points) => match points.as_slice() {
            [] => Ok(None),
            [point] => match &point.value {
                Value::Float(value) => Ok(Some(*value)),
                Value::Histogram(_) => Err(format!("{text} is a histogram, a number was expected")),
            },
            several => Err(format!("{text} has {} values, one was expected; sum them up", several.len())),
        },
        Answered::String(_) | Answered::Matrix(_) => Err(format!("{text} is no number")),
    }
}

fn answer(text: &str, at_ms: i64, metrics: &Metrics) -> Result<Answered, String> {
    let engine = Engine::new(Options::default());
    let expression = engine.parse(text).map_err(|error| error.to_string())?;
    let limits = Limits { samples: SAMPLES_MAX, points: SAMPLES_MAX, cancelled: &|| false };
    let answer = engine.instant(&expression, at_ms, metrics, &limits);
    answer.map(|answer| answer.value).map_err(|error| error.to_string())
}
