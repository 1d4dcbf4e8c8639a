//! What holds for every expression.
//!
//! In: any bytes. Out: a panic where a property does not hold. The fuzz targets of `fuzz/` and the tests here run the
//! same functions; nothing that ships contains them.

use std::time::Duration;

use crate::{
    Answered, Engine, Experimental, Labels, Limits, MetricNames, Options, STALE_BITS, Sample, Select, Series,
    Source, SourceError, UnquotedNames, Value, rules,
};

const MINUTE: i64 = 60_000;

/// Any text is understood or refused with a place in it; what is understood has a value or a reason why not, at one time and
/// over a range, and the values of a range are those at its times.
pub fn expression(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    for metric_names in [MetricNames::RemovedAtOnce, MetricNames::RemovedLast] {
        let engine = Engine::new(Options {
            experimental: Experimental::Known,
            unquoted_names: UnquotedNames::Utf8,
            metric_names,
            ..Options::default()
        });
        let expression = match engine.parse(&text) {
            Ok(expression) => expression,
            Err(error) => {
                assert!(error.position.line >= 1 && error.position.column >= 1, "{error}");
                assert!(error.position.line as usize <= text.split('\n').count(), "{error}");
                return;
            }
        };
        range_is_instants(&engine, &expression);
    }
}

/// Files of rules are understood, or every problem has a place in them; what is understood is evaluated, again and again,
/// and every rule then says how it went.
pub fn rule_file(input: &[u8]) {
    let engine = Engine::default();
    let lines = input.iter().filter(|byte| **byte == b'\n' || **byte == b'\r').count() as u64 + 1;
    let files = match rules::read_all(&[("rules.yaml", input)], &engine) {
        Ok(files) => files,
        Err(error) => {
            assert!(!error.problems.is_empty());
            for problem in &error.problems {
                assert!((1..=lines + 1).contains(&problem.line) && problem.column >= 1, "{problem}");
                assert!(!problem.message.is_empty(), "{problem}");
            }
            return;
        }
    };
    for group in &files.groups {
        let mut progress = rules::Progress::new(group, rules::Beginning::Anew);
        for minute in 0..5 {
            let evaluated = in_world(&engine, |world| {
                rules::evaluate(group, std::mem::take(&mut progress), minute * MINUTE, world)
            });
            progress = evaluated.progress;
            let state = progress.state(group, Duration::from_secs(60));
            let bad = |rule: &rules::RuleState| matches!(rule.health, rules::Health::Bad(_));
            assert_eq!(state.rules.iter().filter(|rule| bad(rule)).count(), evaluated.failed.len());
            assert!(state.rules.iter().all(|rule| rule.health != rules::Health::Unknown));
            let mut series: Vec<_> = evaluated.samples.iter().map(|(labels, _)| labels).collect();
            series.sort();
            // Two rules may record the same series: what one rule records, it records once.
            if group.rules.len() == 1 {
                assert!(series.windows(2).all(|pair| pair[0] != pair[1]), "{series:?}");
            }
        }
    }
}

/// A template is refused with a place in it, or says something of an alert.
pub fn rule_template(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    match rules::Template::parse(&text) {
        Ok(template) => {
            let said = in_world(&Engine::default(), |world| rules::expanded(&template, world));
            assert!(text.contains("{{") || said == text, "{text:?} {said:?}");
        }
        Err(error) => {
            let lines = text.split('\n').count();
            assert!((1..=lines).contains(&(error.position.line as usize)), "{error}");
        }
    }
}

fn in_world<T>(engine: &Engine, then: impl FnOnce(&rules::World<'_>) -> T) -> T {
    then(&rules::World {
        engine,
        source: &Few,
        limits: Limits { samples: 100_000, points: 100_000, cancelled: &|| false },
        external_labels: &Labels::default(),
        external_url: "",
        interval: Duration::from_secs(60),
        query_offset: Duration::ZERO,
        outage_tolerance: Duration::from_secs(3600),
        grace: Duration::from_secs(600),
        stopwatch: &|| Duration::ZERO,
    })
}

fn range_is_instants(engine: &Engine, expression: &crate::Expression) {
    let limits = Limits { samples: 100_000, points: 100_000, cancelled: &|| false };
    let range = engine.range(expression, 0, 10 * MINUTE, MINUTE, &Few, &limits);
    // These are of the query's times, and what is chosen by hash or order is chosen alike only among the same series.
    let of_times =
        ["start", "end", "step", "range"].iter().any(|word| expression.text().to_lowercase().contains(word));
    for at in (0..=10).map(|minute| minute * MINUTE) {
        let instant = engine.instant(expression, at, &Few, &limits);
        let (Ok(range), Ok(instant), false) = (&range, &instant, of_times) else { continue };
        let Answered::Matrix(series) = &range.value else { continue };
        let mut ranged: Vec<(Labels, String)> = series
            .iter()
            .flat_map(|series| series.samples.iter().map(move |sample| (&series.labels, sample)))
            .filter(|(_, sample)| sample.at_ms == at)
            .map(|(labels, sample)| (labels.clone(), shown(&sample.value)))
            .collect();
        let mut alone: Vec<(Labels, String)> = match &instant.value {
            Answered::Scalar(value) => vec![(Labels::default(), shown(&Value::Float(*value)))],
            Answered::Vector(points) => {
                points.iter().map(|point| (point.labels.clone(), shown(&point.value))).collect()
            }
            Answered::String(_) | Answered::Matrix(_) => continue,
        };
        ranged.sort();
        alone.sort();
        assert_eq!(ranged, alone, "{} at {at}", expression.text());
    }
}

/// A NaN equals itself there.
fn shown(value: &Value) -> String {
    format!("{value:?}")
}

/// A few series with gaps, resets, an end, and histograms.
struct Few;

impl Source for Few {
    fn select(&self, select: &Select) -> Result<Vec<Series>, SourceError> {
        let compiled =
            |matcher: &crate::Matcher| matcher.compiled().map_err(|e| SourceError::Unreadable(e.to_string()));
        let matchers = select.matchers.iter().map(compiled).collect::<Result<Vec<_>, _>>()?;
        let names = ["foo", "bar", "baz_total", "http_requests_bucket", "histogram", "target_info"];
        let mut all = Vec::new();
        for (place, name) in names.iter().enumerate() {
            for job in ["a", "b"] {
                let le = if name.ends_with("_bucket") { if job == "a" { "1" } else { "+Inf" } } else { "" };
                let labels = Labels::new([
                    ("__name__", *name),
                    ("job", job),
                    ("le", le),
                    ("instance", "1"),
                    ("x", &name[..1]),
                ]);
                if matchers.iter().all(|matcher| matcher.matches_labels(&labels)) {
                    let samples = (-10..=10).filter_map(|minute| sample(name, place as i64, job, minute));
                    let within = |sample: &Sample| (select.from_ms..=select.to_ms).contains(&sample.at_ms);
                    all.push(Series { labels, samples: samples.filter(within).collect() });
                }
            }
        }
        all.retain(|series| !series.samples.is_empty());
        all.sort_by(|a, b| a.labels.cmp(&b.labels));
        Ok(all)
    }
}

fn sample(name: &str, place: i64, job: &str, minute: i64) -> Option<Sample> {
    let at_ms = minute * MINUTE;
    let value = match name {
        "histogram" => Value::Histogram(histogram(minute, job).into()),
        "foo" if minute == 4 => Value::Float(f64::from_bits(STALE_BITS)),
        "bar" if job == "b" && minute % 3 == 0 => return None,
        "bar" => Value::Float(if minute == 2 { f64::NAN } else { (minute - 3) as f64 * place as f64 }),
        _ => Value::Float(((minute + 20) % 13 * (place + 1)) as f64),
    };
    Some(Sample { at_ms, value })
}

fn histogram(minute: i64, job: &str) -> crate::Histogram {
    let counts = vec![1.0 + (minute + 10) as f64, 2.0];
    let custom = job == "b" && minute > 5;
    crate::Histogram {
        schema: if custom { crate::CUSTOM_SCHEMA } else { (minute % 3) as i8 },
        zero_threshold: 0.0,
        zero_count: 0.0,
        count: counts.iter().sum(),
        sum: minute as f64,
        positive: crate::Buckets { spans: vec![crate::Span { offset: 0, length: 2 }], counts },
        negative: crate::Buckets::default(),
        custom_values: if custom { [1.0].into() } else { [].into() },
        reset: crate::CounterReset::Unknown,
    }
}

#[cfg(test)]
#[path = "../../../fuzz/seeds.rs"]
mod seeds;

#[cfg(test)]
mod tests {
    use super::seeds::hold;

    #[test]
    fn an_expression_has_a_value_or_a_reason() {
        hold("expression", 500, super::expression);
    }

    #[test]
    fn rules_are_evaluated_or_every_problem_has_a_place() {
        hold("rule_file", 300, super::rule_file);
    }

    #[test]
    fn a_template_says_something_or_why_not() {
        hold("rule_template", 1000, super::rule_template);
    }
}
