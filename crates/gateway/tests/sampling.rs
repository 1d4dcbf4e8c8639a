//! A source that samples, real receivers, a real store: what is counted stays right and says that it is an estimate.

use std::time::{Duration, Instant};

use gateway::otlp::{OtlpConfig, OtlpReceivers};
use homeostat_tracer::{Adaptive, Kind, Reason, Sampler, Status, Tracer};
use telemetry::{Config, SeriesFilter, StatusFilter, Telemetry, TraceFilter};

/// How long an effect may take before a test fails.
const DEADLINE: Duration = Duration::from_secs(60);

/// The share that is kept once the sampler has looked at the load.
const SHARE: f64 = 0.25;

const FAST: u64 = 12_000;
const FAILED: u64 = 60;
const SLOW: u64 = 5;

/// Roots after which what was made is waited for: a debug build on a busy machine makes more than it sends, and what is
/// dropped because the queue is full is another test's business.
const AT_A_TIME: u64 = 500;

/// Much longer than a root that does nothing, on a machine where one of a hundred loses its processor for a while, too.
const SLOW_TIME: Duration = Duration::from_millis(500);

fn until(what: &str, mut happened: impl FnMut() -> bool) {
    let began = Instant::now();
    while !happened() {
        assert!(began.elapsed() < DEADLINE, "{what} did not happen within {DEADLINE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn root(tracer: &Tracer, number: u64) {
    let failed = number.is_multiple_of(FAST / FAILED);
    let root = tracer.root(if failed { "GET /broken" } else { "GET /cart" }).kind(Kind::Server).enter();
    root.attribute("number", number as i64);
    if failed {
        root.status(Status::Error("out of stock"));
    }
}

/// Local roots until the sampler has set its rates and knows what is slow; how many.
fn warm_up(tracer: &Tracer) -> (u64, u64) {
    let (mut roots, mut failed) = (0, 0);
    until("sampling", || {
        for number in 0..200 {
            root(tracer, number);
            roots += 1;
            failed += u64::from(number.is_multiple_of(FAST / FAILED));
        }
        tracer.flush(DEADLINE).unwrap();
        tracer.metrics().dropped_for(Reason::Unsampled) > 1000
    });
    (roots, failed)
}

#[test]
fn errors_and_slow_roots_all_arrive_and_calls_are_an_estimate_that_is_right() {
    let dir = tempfile::tempdir().unwrap();
    let store = Telemetry::open(Config::new(dir.path())).unwrap();
    let config = OtlpConfig { grpc_port: 0, http_port: 0, receivers: 2, ..OtlpConfig::default() };
    let receivers = OtlpReceivers::start(&config, || store.intake()).unwrap();
    let budget = Adaptive { overhead: 1.0, rate_min: SHARE, rate_max: SHARE, ..Adaptive::default() };
    let tracer = Tracer::builder("shop")
        .sampler(Sampler::Adaptive(budget))
        .endpoint(format!("http://{}/v1/traces", receivers.http_address()))
        .build()
        .unwrap();
    let (warm, warm_failed) = warm_up(&tracer);
    for number in 0..FAST {
        root(&tracer, number);
        if number % AT_A_TIME == 0 {
            tracer.flush(DEADLINE).unwrap();
        }
    }
    for _ in 0..SLOW {
        let root = tracer.root("GET /cart").kind(Kind::Server).enter();
        root.attribute("slow", true);
        std::thread::sleep(SLOW_TIME);
    }
    tracer.flush(DEADLINE).unwrap();
    let metrics = tracer.metrics();
    let made = warm + FAST + SLOW;
    assert_eq!((metrics.created, metrics.failed), (made, 0), "{metrics:?}");
    assert_eq!(metrics.exported + metrics.dropped_for(Reason::Unsampled), made, "{metrics:?}");
    assert!((metrics.exported as f64) < 0.9 * made as f64, "sampled at the source: {metrics:?}");

    let mut failed = TraceFilter { status: StatusFilter::Error, limit: 100_000, ..TraceFilter::default() };
    let found = store.search(&failed).unwrap().len() as u64;
    assert_eq!(found, FAILED + warm_failed, "every failed root is there");
    (failed.status, failed.tags) = (StatusFilter::Any, vec![("slow".to_owned(), "true".to_owned())]);
    assert_eq!(store.search(&failed).unwrap().len() as u64, SLOW, "every slow root is there");

    let calls = |operation: &str| {
        let filter = SeriesFilter { operation: Some(operation.to_owned()), ..SeriesFilter::default() };
        let series = store.series(&filter, 0..u64::MAX).unwrap();
        assert_eq!(series.len(), 1, "{operation}: {series:?}");
        series.into_iter().next().unwrap().calls
    };
    // What was acknowledged is counted a moment later.
    let received = metrics.exported;
    until("counting", || {
        let counted = store.counters().spans.get();
        counted == received && calls("GET /broken").calls() == (FAILED + warm_failed) as f64
    });
    let broken = calls("GET /broken");
    assert_eq!(
        (broken.errors(), broken.estimated()),
        ((FAILED + warm_failed) as f64, false),
        "each for itself"
    );
    let (cart, fine) = (calls("GET /cart"), (made - FAILED - warm_failed) as f64);
    assert!(cart.estimated(), "a source sampled");
    assert_eq!(cart.errors(), 0.0);
    // Five standard deviations of the count of what is kept with probability 1/4.
    let tolerance = 5.0 * (fine * (1.0 - SHARE) / SHARE).sqrt();
    let off = (cart.calls() - fine).abs();
    assert!(off < tolerance, "{} for {fine} calls, {tolerance} allowed", cart.calls());
    assert!(tolerance < 0.12 * fine, "{tolerance} of {fine} would say nothing");
}
