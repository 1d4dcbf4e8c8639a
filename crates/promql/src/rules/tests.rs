//! Rules as a user writes them, and what becomes of them over time.

mod alerts;
mod files;
mod groups;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use super::{Beginning, Evaluated, Progress, RuleGroup, World, evaluate, read_all};
use crate::{Engine, Labels, Limits, Sample, Select, Series, Source, SourceError, Value};

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;

/// Series kept as a store keeps them.
#[derive(Default)]
struct Memory(Mutex<BTreeMap<Labels, Vec<Sample>>>);

impl Memory {
    fn put(&self, labels: Labels, sample: Sample) {
        self.0.lock().unwrap().entry(labels).or_default().push(sample);
    }

    fn set(&self, name: &str, labels: &[(&str, &str)], at_ms: i64, value: f64) {
        let pairs = [("__name__", name)].into_iter().chain(labels.iter().copied());
        self.put(Labels::new(pairs), Sample { at_ms, value: Value::Float(value) });
    }
}

impl Source for Memory {
    fn select(&self, select: &Select) -> Result<Vec<Series>, SourceError> {
        let matchers: Vec<_> = select.matchers.iter().map(|matcher| matcher.compiled().unwrap()).collect();
        let all = self.0.lock().unwrap();
        let found = all.iter().filter(|(labels, _)| matchers.iter().all(|m| m.matches_labels(labels)));
        let within = |sample: &&Sample| (select.from_ms..=select.to_ms).contains(&sample.at_ms);
        let series = found.map(|(labels, samples)| Series {
            labels: labels.clone(),
            samples: samples.iter().filter(within).cloned().collect(),
        });
        Ok(series.filter(|series| !series.samples.is_empty()).collect())
    }
}

/// A group that is evaluated, and whose samples are kept.
struct Running {
    group: RuleGroup,
    memory: Memory,
    progress: Progress,
}

impl Running {
    fn new(yaml: &str) -> Self {
        Self::beginning(yaml, Beginning::Anew, Memory::default())
    }

    fn beginning(yaml: &str, beginning: Beginning, memory: Memory) -> Self {
        let group = group(yaml);
        let progress = Progress::new(&group, beginning);
        Self { group, memory, progress }
    }

    fn evaluate(&mut self, at_ms: i64) -> Evaluated {
        let evaluated = with_world(&self.memory, |world| {
            evaluate(&self.group, std::mem::take(&mut self.progress), at_ms, world)
        });
        for (labels, sample) in &evaluated.samples {
            self.memory.put(labels.clone(), sample.clone());
        }
        self.progress = evaluated.progress.clone();
        evaluated
    }
}

fn group(yaml: &str) -> RuleGroup {
    let read = read_all(&[("rules.yaml", yaml.as_bytes())], &Engine::default());
    read.unwrap_or_else(|error| panic!("{error}")).groups.remove(0)
}

fn with_world<T>(source: &dyn Source, then: impl FnOnce(&World<'_>) -> T) -> T {
    let (engine, external) = (Engine::default(), Labels::new([("region", "eu")]));
    then(&World {
        engine: &engine,
        source,
        limits: Limits { samples: 100_000, points: 100_000, cancelled: &|| false },
        external_labels: &external,
        external_url: "http://here",
        interval: Duration::from_secs(60),
        query_offset: Duration::ZERO,
        outage_tolerance: Duration::from_secs(3600),
        grace: Duration::from_secs(600),
        stopwatch: &|| Duration::ZERO,
    })
}

/// Labels, time and value, as one line each.
fn shown(samples: &[(Labels, Sample)]) -> Vec<String> {
    let line = |(labels, sample): &(Labels, Sample)| match &sample.value {
        value if value.is_stale() => format!("{labels:?} ends"),
        Value::Float(value) => format!("{labels:?} {value}"),
        Value::Histogram(histogram) => format!("{labels:?} {histogram}"),
    };
    samples.iter().map(line).collect()
}
