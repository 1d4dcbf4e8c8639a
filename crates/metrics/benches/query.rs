//! What it costs to read 1,000 series of 6 h at 1 s (21.6 M samples), and to evaluate expressions over them.
//!
//! Corpus: a target shaped like node-exporter (`metrics::bench`). "blocks": all samples on disk, merged; "fed": the last
//! ones in memory, as while a store is fed. Bytes of each sample on disk are printed before the times. Run:
//! `cargo bench -p metrics --features bench --bench query`.

use std::hint::black_box;
use std::ops::ControlFlow;

use criterion::{Criterion, criterion_group, criterion_main};
use metrics::Metrics;
use metrics::bench::{FILLED_FROM_MS, filled};
use promql::{Engine, Labels, Limits, MatchOp, Matcher, MetricNames, Options, Samples, Select, Source};

const SECONDS: u32 = 6 * 3600;
const MINUTE_MS: i64 = 60_000;
const LIMITS: Limits<'static> = Limits { samples: u64::MAX, points: u64::MAX, cancelled: &|| false };

fn asked(criterion: &mut Criterion, name: &str, store: &Metrics) {
    let mut group = criterion.benchmark_group(name);
    group.sample_size(10);
    let to_ms = FILLED_FROM_MS + i64::from(SECONDS) * 1000;
    let instance = "node-00000.fleet.example:9100";
    for (name, step_ms) in [("select, all samples", 0), ("select, minutes", MINUTE_MS)] {
        let matchers = vec![Matcher { name: "instance".into(), op: MatchOp::Equal, value: instance.into() }];
        let select = Select { matchers, from_ms: FILLED_FROM_MS, to_ms, step_ms };
        group.bench_function(name, |bencher| {
            bencher.iter(|| black_box(store.select(&select).expect("series")));
        });
    }
    let matchers = vec![Matcher { name: "instance".into(), op: MatchOp::Equal, value: instance.into() }];
    let select = Select { matchers, from_ms: FILLED_FROM_MS, to_ms, step_ms: 0 };
    group.bench_function("each, all samples", |bencher| {
        let take = |_: &Labels, samples: &mut Samples| {
            black_box(samples.len());
            ControlFlow::Continue(())
        };
        bencher.iter(|| store.each(&select, &take).expect("series"));
    });
    // So that series of several metrics stay apart until they are added up.
    let engine = Engine::new(Options { metric_names: MetricNames::RemovedLast, ..Options::default() });
    for text in
        ["{I}", "sum(rate({I}[5m]))", "sum(max_over_time({I}[5m]))", "sum(quantile_over_time(0.9, {I}[1m]))"]
    {
        let selector = format!("{{instance=\"{instance}\"}}");
        let expression = engine.parse(&text.replace("{I}", &selector)).expect("an expression");
        group.bench_function(text, |bencher| {
            bencher.iter(|| {
                engine
                    .range(&expression, FILLED_FROM_MS, to_ms, MINUTE_MS, store, &LIMITS)
                    .expect("an answer")
            });
        });
    }
    group.finish();
}

/// What samples take on disk, in bytes for each, by tier.
fn sizes() {
    for (targets, step) in [(2, 1), (10, 15), (10, 30)] {
        let dir = tempfile::TempDir::new().expect("a directory");
        let store = filled(dir.path(), targets, SECONDS, step, true).expect("a store");
        let tiers = store.status().tiers;
        let samples = f64::from(targets * 1000 * (SECONDS / step));
        let each: Vec<String> =
            tiers.iter().map(|tier| format!("{:.3}", tier.bytes as f64 / samples)).collect();
        let all: u64 = tiers.iter().map(|tier| tier.bytes).sum();
        eprintln!("every {step} s: {:.3} B a sample; {} by tier", all as f64 / samples, each.join(" + "));
    }
}

fn query(criterion: &mut Criterion) {
    sizes();
    for (name, flushed) in [("blocks", true), ("fed", false)] {
        let dir = tempfile::TempDir::new().expect("a directory");
        let store = filled(dir.path(), 1, SECONDS, 1, flushed).expect("a store");
        asked(criterion, name, &store);
    }
}

criterion_group!(benches, query);
criterion_main!(benches);
