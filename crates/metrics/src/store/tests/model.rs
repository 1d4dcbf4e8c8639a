//! The store beside a map: whatever is done, in whatever order, what was acknowledged is answered, before and after it is
//! opened again.

use std::collections::BTreeMap;
use std::time::Duration;

use promql::{Labels, Sample, Select, Source, Value};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::fixture::{histogram, number};
use crate::tier::{Nature, Tier, Windows, thin};

/// How late a sample may be here.
const LATE_MS: i64 = 30_000;

#[derive(Debug, Clone)]
enum Step {
    /// Samples of one of a few series, at seconds after the beginning.
    Send(Vec<(u8, i64, Value)>),
    Flush,
    Compact,
    /// Closed and opened.
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let value = prop_oneof![
        8 => number().prop_map(Value::Float),
        1 => histogram().prop_map(Value::Histogram),
    ];
    prop_oneof![
        8 => vec((0u8..4, 0i64..300, value), 1..30).prop_map(Step::Send),
        3 => Just(Step::Flush),
        1 => Just(Step::Compact),
        1 => Just(Step::Reopen),
    ]
}

/// What the store should hold.
#[derive(Debug, Default)]
struct Model(BTreeMap<u8, BTreeMap<i64, Value>>);

impl Model {
    /// Takes what may be taken; answers how many.
    fn take(&mut self, samples: &[(u8, i64, Value)]) -> u64 {
        let mut accepted = 0;
        for (series, second, value) in samples {
            let samples = self.0.entry(*series).or_default();
            let at_ms = BEGIN_MS + second * 1000;
            let newest_ms = samples.keys().next_back().copied().unwrap_or(i64::MIN);
            if at_ms >= newest_ms.saturating_sub(LATE_MS) && !samples.contains_key(&at_ms) {
                samples.insert(at_ms, value.clone());
                accepted += 1;
            }
        }
        accepted
    }

    /// As text: what is not a number equals itself there, and its bits are told.
    fn between(&self, from_ms: i64, to_ms: i64) -> Vec<String> {
        let lines = self.0.iter().map(|(series, samples)| {
            let samples = samples.range(from_ms..=to_ms).map(|(at_ms, value)| (*at_ms, value.clone()));
            (name(*series), samples.collect::<Vec<_>>())
        });
        lines
            .filter(|(_, samples)| !samples.is_empty())
            .map(|(labels, samples)| line(&labels, samples))
            .collect()
    }
}

fn name(series: u8) -> Labels {
    labels(&format!("m{series}_total"), "a")
}

fn line(labels: &Labels, samples: impl IntoIterator<Item = (i64, Value)>) -> String {
    let mut line = format!("{labels:?}");
    for (at_ms, value) in samples {
        match value {
            Value::Float(value) => line += &format!(" {at_ms}={:x}", value.to_bits()),
            Value::Histogram(histogram) => line += &format!(" {at_ms}={histogram:?}"),
        }
    }
    line
}

fn answered(store: &Metrics, from_ms: i64, to_ms: i64) -> Vec<String> {
    let select = Select { matchers: Vec::new(), from_ms, to_ms, step_ms: 0 };
    let series = store.select(&select).expect("readable");
    let one =
        |series: &Series| line(&series.labels, series.samples.iter().map(|s| (s.at_ms, s.value.clone())));
    series.iter().map(one).collect()
}

fn open(dir: &TempDir) -> Metrics {
    let (config, _) = fixture::config(dir.path());
    Metrics::open(Config { late: Duration::from_millis(LATE_MS as u64), ..config }).expect("a store opens")
}

/// Tiers say the same of what the store holds as if they were made from it at once.
fn tiers_agree(store: &Metrics, model: &Model) {
    for tier in [Tier::Minute, Tier::Hour] {
        let select =
            Select { matchers: Vec::new(), from_ms: BEGIN_MS, to_ms: i64::MAX, step_ms: tier.width_ms() };
        let kept = store.select(&select).expect("readable");
        assert_eq!(kept.len(), model.0.len());
        for (series, (number, wanted)) in kept.iter().zip(&model.0) {
            assert_eq!(series.labels, name(*number));
            // Everything that a tier made at once would keep is there, and nothing that was not sent.
            let is_sent = |sample: &Sample| {
                wanted
                    .get(&sample.at_ms)
                    .is_some_and(|value| format!("{value:?}") == format!("{:?}", sample.value))
            };
            assert!(series.samples.iter().all(is_sent));
            let mut at_once: Vec<Sample> =
                wanted.iter().map(|(at_ms, value)| Sample { at_ms: *at_ms, value: value.clone() }).collect();
            thin(&mut at_once, tier, Nature::Other);
            let last_of_windows = at_once
                .chunk_by(|a, b| a.at_ms.div_euclid(tier.width_ms()) == b.at_ms.div_euclid(tier.width_ms()));
            for window in last_of_windows {
                let last = window.last().expect("chunks are not empty");
                assert!(series.samples.iter().any(|sample| sample.at_ms == last.at_ms), "{last:?}");
            }
        }
        let counted = store.aggregates(&select, Aggregate::Count).expect("readable");
        let mut wanted = Vec::new();
        for (number, samples) in &model.0 {
            let samples: Vec<Sample> =
                samples.iter().map(|(at_ms, value)| Sample { at_ms: *at_ms, value: value.clone() }).collect();
            let windows = Windows::of(&samples, tier);
            if !windows.times.is_empty() {
                let counts =
                    windows.times.iter().copied().zip(windows.counts.iter().copied().map(Value::Float));
                wanted.push(line(&name(*number), counts));
            }
        }
        let of =
            |series: &Series| line(&series.labels, series.samples.iter().map(|s| (s.at_ms, s.value.clone())));
        assert_eq!(counted.iter().map(of).collect::<Vec<_>>(), wanted);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn what_was_acknowledged_is_answered(steps in vec(step(), 1..16), from in 0i64..300, length in 0i64..300) {
        let dir = dir();
        let mut store = open(&dir);
        let mut model = Model::default();
        for step in steps.into_iter().chain([Step::Reopen, Step::Flush, Step::Reopen]) {
            match step {
                Step::Send(samples) => {
                    let accepted = model.take(&samples);
                    let series = samples.into_iter().map(|(series, second, value)| {
                        (name(series), vec![Sample { at_ms: BEGIN_MS + second * 1000, value }])
                    });
                    let sent = Batch { series: series.collect(), ..Batch::default() };
                    let admission = store.append(&source(), sent).expect("taken in");
                    prop_assert_eq!(admission.accepted, accepted);
                }
                Step::Flush => store.flush().expect("blocks"),
                Step::Compact => store.compact().expect("merged"),
                Step::Reopen => {
                    drop(store);
                    store = open(&dir);
                }
            }
            prop_assert_eq!(answered(&store, i64::MIN, i64::MAX), model.between(i64::MIN, i64::MAX));
            let (from_ms, to_ms) = (BEGIN_MS + from * 1000, BEGIN_MS + (from + length) * 1000);
            prop_assert_eq!(answered(&store, from_ms, to_ms), model.between(from_ms, to_ms));
            tiers_agree(&store, &model);
        }
    }
}
