//! What a range query costs without the source: series are given to it as they are.
//!
//! Corpus: 1,000 counters of 50 jobs and 20 instances each, a sample every 15 s for 6 h and 5 min before, and the same as
//! gauges. Queries over the 6 h at a step of 1 min, 361 times. What the source does here, and a real one would have to do as
//! well, is clone the samples it hands over; `select` is that alone. Run: `cargo bench -p promql`.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use promql::{Engine, Labels, Limits, Sample, Select, Series, Source, SourceError, Value};

const MINUTE: i64 = 60_000;
const HOURS_6: i64 = 360 * MINUTE;
const LIMITS: Limits<'static> = Limits { samples: u64::MAX, points: u64::MAX, cancelled: &|| false };

struct Corpus(Vec<Series>);

impl Corpus {
    fn new() -> Self {
        let series = (0..1_000_u32).map(|n| {
            let labels = [
                ("__name__", "http_requests_total".to_string()),
                ("instance", format!("10.0.0.{}:8080", n % 20)),
                ("job", format!("job-{}", n / 20)),
                ("method", "GET".to_string()),
            ];
            let samples = (-5 * MINUTE..=HOURS_6).step_by(15_000).enumerate();
            let sample = |(at, at_ms): (usize, i64)| {
                let value = at as f64 * f64::from(n % 17 + 1) + f64::from(n % 5);
                Sample { at_ms, value: Value::Float(value) }
            };
            Series { labels: Labels::new(labels), samples: samples.map(sample).collect() }
        });
        let mut series: Vec<Series> = series.collect();
        series.sort_by(|a, b| a.labels.cmp(&b.labels));
        Self(series)
    }
}

impl Source for Corpus {
    fn select(&self, _: &Select) -> Result<Vec<Series>, SourceError> {
        Ok(self.0.clone())
    }
}

fn range(c: &mut Criterion) {
    let corpus = Corpus::new();
    let engine = Engine::default();
    let mut group = c.benchmark_group("1000 series, 6 h, step 1 min");
    group.sample_size(10);
    group.bench_function("select", |b| b.iter(|| black_box(corpus.0.clone())));
    for text in [
        "http_requests_total",
        "rate(http_requests_total[5m])",
        "sum by (job) (rate(http_requests_total[5m]))",
        "sum by (job) (http_requests_total)",
        "http_requests_total / on (job, instance) http_requests_total",
        "max_over_time(http_requests_total[1h])",
        "avg_over_time(http_requests_total[1h])",
    ] {
        let expression = engine.parse(text).expect("an expression");
        group.bench_function(text, |b| {
            b.iter(|| engine.range(&expression, 0, HOURS_6, MINUTE, &corpus, &LIMITS).expect("an answer"));
        });
    }
    group.finish();
}

fn parse(c: &mut Criterion) {
    let engine = Engine::default();
    let text = "histogram_quantile(0.99, sum by (le, job) (rate(http_request_duration_seconds_bucket{job=~\"api|web\"}[5m])))";
    c.bench_function("parse", |b| b.iter(|| engine.parse(black_box(text)).expect("an expression")));
}

criterion_group!(benches, range, parse);
criterion_main!(benches);
