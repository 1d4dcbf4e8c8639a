//! What tests are made of: a clock that is set, stores in directories that go away, samples of any kind.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use domain::{Clock, Time};
use promql::{
    Buckets, CounterReset, Histogram, Labels, MatchOp, Matcher, Sample, Select, Series, Source, Span, Value,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::head::OnDisk;
use crate::{Batch, Config, Metrics, SourceName};

/// A time at which tests begin: the beginning of an hour.
pub(crate) const BEGIN_MS: i64 = 1_700_000_000_000 / 3_600_000 * 3_600_000;

/// The bits of a stale marker.
pub(crate) const STALE: u64 = 0x7ff0_0000_0000_0002;

/// A clock that stands still until it is set.
#[derive(Debug)]
pub(crate) struct TestClock(AtomicI64);

impl TestClock {
    pub(crate) fn set_ms(&self, now_ms: i64) {
        self.0.store(now_ms, Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Time {
        let now_us = self.0.load(Ordering::Relaxed) * 1000;
        Time { boot_us: (now_us - BEGIN_MS * 1000 + 1_000_000_000_000) as u64, wall_us: now_us }
    }

    fn wait(&self, duration: Duration) {
        self.0.fetch_add(duration.as_millis() as i64, Ordering::Relaxed);
    }
}

/// A configuration for a directory, with the clock it reads.
pub(crate) fn config(dir: &Path) -> (Config, Arc<TestClock>) {
    let clock = Arc::new(TestClock(AtomicI64::new(BEGIN_MS + 3_600_000)));
    (Config::new(dir, Arc::<TestClock>::clone(&clock)), clock)
}

/// A store in a directory.
pub(crate) fn open(dir: &Path) -> Metrics {
    Metrics::open(config(dir).0).expect("a store opens")
}

/// Who sends in tests.
pub(crate) fn source() -> SourceName {
    SourceName::new("test")
}

/// Labels of a metric's name and one more label.
pub(crate) fn labels(name: &str, instance: &str) -> Labels {
    Labels::new([("__name__", name), ("instance", instance)])
}

/// A sample so many milliseconds after the beginning.
pub(crate) fn sample(after_ms: i64, value: f64) -> Sample {
    Sample { at_ms: BEGIN_MS + after_ms, value: Value::Float(value) }
}

/// A batch of one series.
pub(crate) fn batch(labels: &Labels, samples: impl IntoIterator<Item = Sample>) -> Batch {
    Batch { series: vec![(labels.clone(), samples.into_iter().collect())], ..Batch::default() }
}

/// Everything in a store, with this resolution.
pub(crate) fn all(store: &Metrics, step_ms: i64) -> Vec<Series> {
    let select = Select { matchers: Vec::new(), from_ms: i64::MIN, to_ms: i64::MAX, step_ms };
    store.select(&select).expect("readable")
}

/// A condition on a label.
pub(crate) fn matcher(name: &str, op: MatchOp, value: &str) -> Matcher {
    Matcher { name: name.into(), op, value: value.into() }
}

/// Blocks that have nothing.
pub(crate) struct Nowhere;

impl OnDisk for Nowhere {
    fn horizon_ms(&self) -> i64 {
        i64::MIN
    }

    fn newest_ms(&self, _: &Labels) -> i64 {
        i64::MIN
    }

    fn at(&self, _: &Labels, _: i64) -> Option<Value> {
        None
    }
}

/// Numbers as services send them, and any others.
pub(crate) fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => (-5i32..200).prop_map(f64::from),
        3 => (0i32..100_000).prop_map(|cents| f64::from(cents) / 100.0),
        1 => Just(f64::from_bits(STALE)),
        2 => any::<u64>().prop_map(f64::from_bits),
    ]
}

/// Any histogram, of few different shapes.
pub(crate) fn histogram() -> impl Strategy<Value = Arc<Histogram>> {
    let buckets = prop_oneof![Just(0usize), Just(3)].prop_flat_map(|len| {
        vec(number(), len).prop_map(move |counts| {
            let spans = if len == 0 { Vec::new() } else { vec![Span { offset: -2, length: len as u32 }] };
            Buckets { spans, counts }
        })
    });
    let resets = prop_oneof![
        Just(CounterReset::Unknown),
        Just(CounterReset::Reset),
        Just(CounterReset::NotReset),
        Just(CounterReset::Gauge),
    ];
    (prop_oneof![Just(0i8), Just(-53)], number(), number(), number(), buckets.clone(), buckets, resets)
        .prop_map(|(schema, zero_count, count, sum, positive, negative, reset)| {
            let custom_values: Arc<[f64]> = if schema == -53 { [1.0, 2.5].into() } else { [].into() };
            let zero_threshold = 1e-128;
            Arc::new(Histogram {
                schema,
                zero_threshold,
                zero_count,
                count,
                sum,
                positive,
                negative,
                custom_values,
                reset,
            })
        })
}
