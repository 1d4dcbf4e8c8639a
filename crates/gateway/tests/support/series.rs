//! Series to look at: an hour of a shop's numbers, with a minute in which its database is slow.

use std::sync::Arc;

use domain::Clock;
use metrics::{Batch, Exemplar, Kind, Metadata, Metrics, SourceName};
use promql::{Labels, Sample, Value};

use super::traces::{self, trace_id};

/// Milliseconds between samples.
const EVERY_MS: i64 = 15_000;
const SAMPLES: i64 = 240;

/// What is in the store of series at a time, milliseconds since 1970.
pub(crate) type Scene = fn(i64) -> Batch;

/// The scenes by name.
pub(crate) const SCENES: [(&str, Scene); 2] = [("metrics", shop), ("metrics-empty", |_| Batch::default())];

/// A store with a scene in it, in a directory.
pub(crate) fn store(dir: &std::path::Path, clock: Arc<dyn Clock>, scene: Scene) -> Metrics {
    let now_ms = clock.now().wall_us / 1000;
    let metrics = Metrics::open(metrics::Config::new(dir.join("metrics"), clock)).unwrap();
    let admission = metrics.append(&SourceName::new("shop"), scene(now_ms)).unwrap();
    assert_eq!(admission.refused.total(), 0, "{admission:?}");
    metrics
}

fn series(now_ms: i64, pairs: &[(&str, &str)], value: impl Fn(f64) -> f64) -> (Labels, Vec<Sample>) {
    let sample =
        |at: i64| Sample { at_ms: now_ms - (SAMPLES - at) * EVERY_MS, value: Value::Float(value(at as f64)) };
    (Labels::new(pairs.iter().copied()), (0..=SAMPLES).map(sample).collect())
}

/// Requests, durations as a classic histogram with exemplars, memory with a gap.
pub(crate) fn shop(now_ms: i64) -> Batch {
    let mut batch = Batch::default();
    let slow = |at: f64| (150.0..170.0).contains(&at);
    for (place, service) in
        ["cart", "catalogue", "front", "orders", "payment", "search", "shipping", "users"].iter().enumerate()
    {
        let share = 1.0 + place as f64;
        for code in ["200", "500"] {
            let pairs =
                [("__name__", "http_requests_total"), ("service", *service), ("code", code), ("job", "shop")];
            let rate = if code == "200" { 40.0 * share } else { share / 4.0 };
            batch
                .series
                .push(series(now_ms, &pairs, |at| rate * at + 6.0 * share * (at / 7.0).sin() + 6.0 * share));
        }
        let pairs = [("__name__", "process_memory_bytes"), ("service", *service), ("job", "shop")];
        let (labels, mut samples) =
            series(now_ms, &pairs, |at| 1e8 * share + 1e7 * (at / 11.0 + share).sin() + 2e5 * at);
        if *service == "search" {
            samples.drain(90..150);
        }
        batch.series.push((labels, samples));
    }
    for (bound, share) in
        [("0.05", 0.4), ("0.1", 0.7), ("0.25", 0.9), ("0.5", 0.97), ("1", 0.99), ("+Inf", 1.0)]
    {
        let pairs =
            [("__name__", "took_seconds_bucket"), ("service", "cart"), ("job", "shop"), ("le", bound)];
        let counted = move |at: f64| {
            let late = (at - 150.0).clamp(0.0, 20.0);
            let share_late = if bound == "+Inf" || bound == "1" { share } else { share * 0.3 };
            (at - late) * 100.0 * share + late * 100.0 * share_late
        };
        batch.series.push(series(now_ms, &pairs, counted));
    }
    let bucket =
        Labels::new([("__name__", "took_seconds_bucket"), ("service", "cart"), ("job", "shop"), ("le", "1")]);
    for (at, value) in [(30.0, 0.08), (95.0, 0.21), (155.0, 0.83), (162.0, 0.91), (210.0, 0.05)] {
        let labels = Labels::new([("trace_id".to_owned(), trace_id(traces::MISSING).to_string())]);
        let at_ms = now_ms - ((SAMPLES as f64 - at) * EVERY_MS as f64) as i64;
        let value = if slow(at) { value } else { value / 2.0 };
        batch.exemplars.push((bucket.clone(), Exemplar { labels, value, at_ms }));
    }
    let known = |kind, help: &str| Metadata { kind, help: help.to_owned(), unit: String::new() };
    batch.metadata = vec![
        ("http_requests_total".to_owned(), known(Kind::Counter, "Requests answered, by status.")),
        ("process_memory_bytes".to_owned(), known(Kind::Gauge, "Resident memory.")),
        ("took_seconds".to_owned(), known(Kind::Histogram, "How long requests took.")),
    ];
    batch
}
