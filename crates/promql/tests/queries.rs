//! What a caller may rely on: how the source is asked, which samples count, which limits hold.

use std::sync::Mutex;

use promql::{
    Answer, Answered, Engine, ErrorKind, Labels, Limits, MetricNames, Options, QueryError, STALE_BITS,
    Sample, Select, Series, Source, SourceError, Value,
};

const MINUTE: i64 = 60_000;
const LIMITS: Limits<'static> = Limits { samples: 100_000, points: 100_000, cancelled: &|| false };

/// Series in memory, and what was asked of them.
#[derive(Default)]
struct Memory {
    series: Vec<Series>,
    asked: Mutex<Vec<Select>>,
}

impl Memory {
    /// Numbers at minutes.
    fn with(mut self, metric: &str, job: &str, samples: &[(i64, f64)]) -> Self {
        let sample =
            |(minute, value): &(i64, f64)| Sample { at_ms: minute * MINUTE, value: Value::Float(*value) };
        let labels = Labels::new([("__name__", metric), ("job", job)]);
        self.series.push(Series { labels, samples: samples.iter().map(sample).collect() });
        self.series.sort_by(|a, b| a.labels.cmp(&b.labels));
        self
    }

    fn asked(&self) -> Vec<(i64, i64, i64)> {
        self.asked.lock().expect("not poisoned").iter().map(|s| (s.from_ms, s.to_ms, s.step_ms)).collect()
    }
}

impl Source for Memory {
    fn select(&self, select: &Select) -> Result<Vec<Series>, SourceError> {
        self.asked.lock().expect("not poisoned").push(select.clone());
        let matchers: Vec<_> = select.matchers.iter().map(|m| m.compiled().expect("a pattern")).collect();
        let within = |sample: &&Sample| (select.from_ms..=select.to_ms).contains(&sample.at_ms);
        let found =
            self.series.iter().filter(|series| matchers.iter().all(|m| m.matches_labels(&series.labels)));
        let found = found.map(|series| Series {
            labels: series.labels.clone(),
            samples: series.samples.iter().filter(within).cloned().collect(),
        });
        Ok(found.filter(|series| !series.samples.is_empty()).collect())
    }
}

fn instant(memory: &Memory, text: &str, at: i64) -> Result<Answer, QueryError> {
    let engine = Engine::default();
    engine.instant(&engine.parse(text)?, at, memory, &LIMITS)
}

/// `labels value` of each point.
fn shown(memory: &Memory, text: &str, at: i64) -> Vec<String> {
    match instant(memory, text, at).unwrap_or_else(|error| panic!("{text}: {error}")).value {
        Answered::Vector(points) => points.iter().map(|p| format!("{:?} {:?}", p.labels, p.value)).collect(),
        other => vec![format!("{other:?}")],
    }
}

#[test]
fn every_selector_is_asked_once_for_all_times() {
    let memory = Memory::default().with("a", "x", &[(0, 1.0), (1, 2.0)]);
    let engine = Engine::default();
    let expression = engine.parse("rate(a[5m] offset 1m) + a + a @ 120").expect("an expression");
    engine.range(&expression, 10 * MINUTE, 20 * MINUTE, MINUTE, &memory, &LIMITS).expect("an answer");
    let minutes = |minutes: i64| minutes * MINUTE;
    assert_eq!(
        memory.asked(),
        [
            (minutes(4) + 1, minutes(19), 15_000),
            (minutes(5) + 1, minutes(20), MINUTE),
            (minutes(-3) + 1, minutes(2), 0),
        ]
    );
}

#[test]
fn a_sample_counts_for_less_than_the_lookback() {
    let memory = Memory::default().with("a", "x", &[(0, 1.0)]);
    assert_eq!(shown(&memory, "a", 5 * MINUTE - 1).len(), 1);
    assert_eq!(shown(&memory, "a", 5 * MINUTE).len(), 0);
    assert_eq!(shown(&memory, "a", -1).len(), 0);
}

#[test]
fn a_range_is_open_to_the_left() {
    let memory = Memory::default().with("a", "x", &[(0, 1.0), (1, 1.0), (2, 1.0)]);
    assert_eq!(shown(&memory, "count_over_time(a[2m])", 2 * MINUTE), ["{job=\"x\"} Float(2.0)"]);
    assert_eq!(shown(&memory, "count_over_time(a[2m1ms])", 2 * MINUTE), ["{job=\"x\"} Float(3.0)"]);
}

#[test]
fn a_stale_marker_ends_a_series_at_once() {
    let memory = Memory::default().with("a", "x", &[(0, 1.0), (1, f64::from_bits(STALE_BITS)), (3, 2.0)]);
    assert_eq!(shown(&memory, "a", MINUTE - 1).len(), 1);
    assert_eq!(shown(&memory, "a", 2 * MINUTE).len(), 0);
    assert_eq!(shown(&memory, "a", 3 * MINUTE).len(), 1);
    assert_eq!(shown(&memory, "count_over_time(a[5m])", 3 * MINUTE), ["{job=\"x\"} Float(2.0)"]);
}

#[test]
fn names_are_removed_at_once_unless_it_is_wanted_otherwise() {
    let memory = Memory::default().with("a", "x", &[(0, 1.0)]).with("b", "x", &[(0, 2.0)]);
    let text = "sum by (__name__) (-{job=\"x\"})";
    let error = instant(&memory, text, 0).expect_err("both are the same without their names");
    assert_eq!((error.kind, error.position.to_string().as_str()), (ErrorKind::Execution, "1:21"));
    assert_eq!(error.message, "vector cannot contain metrics with the same labelset");
    let engine = Engine::new(Options { metric_names: MetricNames::RemovedLast, ..Options::default() });
    let late = engine
        .parse("label_replace(sum by (__name__) (-{job=\"x\"}), \"m\", \"$1\", \"__name__\", \"(.*)\")");
    let answer = engine.instant(&late.expect("an expression"), 0, &memory, &LIMITS).expect("an answer");
    let Answered::Vector(points) = answer.value else { panic!("a vector") };
    assert_eq!(points.len(), 2);
    assert_eq!(format!("{:?}", points[0].labels), "{m=\"a\"}");
}

#[test]
fn limits_are_kept_before_memory_is_taken() {
    let memory = Memory::default().with("a", "x", &[(0, 1.0), (1, 2.0)]);
    let engine = Engine::default();
    let within =
        |text: &str, limits: &Limits<'_>| engine.instant(&engine.parse(text)?, MINUTE, &memory, limits);
    for text in
        ["max_over_time(vector(1)[100y:1ms])", "a[100y:1ms]", "sum(a) + max_over_time((a + 1)[50y:1s])"]
    {
        let error = within(text, &LIMITS).expect_err(text);
        assert_eq!(error.kind, ErrorKind::TooMuch, "{error}");
    }
    let few = Limits { samples: 1, ..LIMITS };
    assert_eq!(within("a[2m]", &few).expect_err("two samples").kind, ErrorKind::TooMuch);
    assert!(within("a", &few).is_err(), "what the source hands over counts");
    let expression = engine.parse("1").expect("an expression");
    let error = engine.range(&expression, 0, i64::MAX, 1, &memory, &LIMITS).expect_err("too many times");
    assert_eq!(error.kind, ErrorKind::TooMuch);
}

#[test]
fn a_query_can_be_given_up() {
    let memory = Memory::default().with("a", "x", &[(0, 1.0)]);
    let engine = Engine::default();
    let expression = engine.parse("sum(a)").expect("an expression");
    let limits = Limits { cancelled: &|| true, ..LIMITS };
    let error = engine.range(&expression, 0, MINUTE, 1000, &memory, &limits).expect_err("given up");
    assert_eq!(error.kind, ErrorKind::Cancelled);
    assert_eq!(memory.asked(), []);
}

/// Coarser tiers answer where a window keeps samples enough, and where what lies between them does not matter.
#[test]
fn a_source_is_told_how_far_samples_may_lie_apart() {
    const HOUR: i64 = 60 * MINUTE;
    let engine = Engine::default();
    for (text, step, apart) in [
        ("a", HOUR, MINUTE),
        ("a", 1000, 1000),
        ("rate(a[20m])", HOUR, MINUTE),
        ("increase(a[20h])", HOUR, HOUR),
        ("increase(a[20h])", MINUTE, MINUTE),
        ("rate(a[1m])", MINUTE, 3_000),
        ("max_over_time(a[10h])", HOUR, 0),
        ("count_over_time(a[10h])", HOUR, 0),
        ("irate(a[10h])", HOUR, 0),
        ("a @ 60", HOUR, 0),
    ] {
        let memory = Memory::default().with("a", "x", &[(0, 1.0), (1, 2.0)]);
        let expression = engine.parse(text).expect("an expression");
        engine.range(&expression, 0, 10 * HOUR, step, &memory, &LIMITS).expect("an answer");
        let asked: Vec<i64> = memory.asked().iter().map(|asked| asked.2).collect();
        assert_eq!(asked, [apart], "{text} every {step} ms");
        instant(&memory, text, HOUR).expect("an answer");
        assert_eq!(memory.asked()[1].2, 0, "{text} at one time is exact");
    }
}

#[test]
fn times_that_make_no_range_are_refused() {
    let memory = Memory::default();
    let engine = Engine::default();
    let expression = engine.parse("a").expect("an expression");
    for (from, to, step) in [(0, 1, 0), (0, 1, -1), (1, 0, 1)] {
        let error = engine.range(&expression, from, to, step, &memory, &LIMITS).expect_err("no range");
        assert_eq!(error.kind, ErrorKind::Syntax);
    }
    let ranged = engine.parse("a[5m]").expect("an expression");
    let error = engine.range(&ranged, 0, 1, 1, &memory, &LIMITS).expect_err("no vector");
    assert!(error.message.contains("invalid expression type"), "{error}");
}

#[test]
fn a_source_that_does_not_answer_is_named() {
    struct Broken;
    impl Source for Broken {
        fn select(&self, _: &Select) -> Result<Vec<Series>, SourceError> {
            Err(SourceError::Unreadable("the disk is gone".into()))
        }
    }
    let engine = Engine::default();
    let expression = engine.parse("1 +\n  sum(a)").expect("an expression");
    let error = engine.instant(&expression, 0, &Broken, &LIMITS).expect_err("no answer");
    assert_eq!(error.kind, ErrorKind::Source);
    assert_eq!(error.to_string(), "2:7: cannot read series: the disk is gone");
}

#[test]
fn annotations_name_their_place() {
    let memory = Memory::default().with("requests", "x", &[(0, 1.0), (1, 2.0)]);
    let answer =
        instant(&memory, "sum(\n  rate(requests[5m])) + quantile(2, requests)", MINUTE).expect("an answer");
    let said = "PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \"requests\"";
    assert_eq!(answer.infos, [format!("{said} (2:8)")]);
    assert_eq!(answer.warnings, ["PromQL warning: quantile value should be between 0 and 1, got 2 (2:34)"]);
}

#[test]
fn what_the_parser_takes_can_be_evaluated_on_a_small_stack() {
    let memory = Memory::default().with("a", "x", &[(0, 1.0)]);
    let nested =
        |open: &str, close: &str, depth: usize| format!("{}a{}", open.repeat(depth), close.repeat(depth));
    let texts = [
        "a + ".repeat(900) + "a",
        nested("(", ")", 120),
        nested("sum(", ")", 120),
        nested("abs(", ")", 120),
        nested("max_over_time(", "[1m:])", 120),
        nested("label_replace(", ", \"x\", \"y\", \"z\", \"\")", 120),
        "-(".repeat(60) + "a" + &")".repeat(60),
        "(1 + a) * (".repeat(60) + "a" + &")".repeat(60),
    ];
    // As large as the stack of a thread is by default.
    let threads = std::thread::Builder::new().stack_size(2 << 20);
    let evaluated = threads.spawn(move || texts.iter().all(|text| instant(&memory, text, 0).is_ok()));
    assert!(evaluated.expect("a thread").join().expect("no overflow"));
}
