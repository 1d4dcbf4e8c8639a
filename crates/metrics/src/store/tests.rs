//! The store: what is acknowledged is found, at once and after a restart; what is not taken is told.

mod damage;
mod model;
mod tiers;

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use promql::{Labels, MatchOp, Sample, Samples, Select, Series, Source, SourceError, Value};
use tempfile::TempDir;

use super::Metrics;
use crate::fixture::{self, BEGIN_MS, STALE, all, batch, labels, matcher, sample, source};
use crate::{
    Aggregate, Batch, Config, Exemplar, Kind, Limits, Metadata, OpenError, Refusal, RefusedSamples,
    Retention, SourceName,
};

fn dir() -> TempDir {
    TempDir::new().expect("a directory")
}

/// Sends samples of one series that are all taken.
fn send(store: &Metrics, labels: &Labels, samples: impl IntoIterator<Item = Sample>) {
    let samples: Vec<Sample> = samples.into_iter().collect();
    let count = samples.len() as u64;
    let admission = store.append(&source(), batch(labels, samples)).expect("taken in");
    assert_eq!((admission.accepted, admission.reason), (count, None));
}

/// Times after the beginning and values of the only series.
fn only(series: &[Series]) -> Vec<(i64, f64)> {
    assert_eq!(series.len(), 1, "{series:?}");
    let one = |sample: &Sample| match sample.value {
        Value::Float(value) => (sample.at_ms - BEGIN_MS, value),
        Value::Histogram(_) => panic!("a number was sent"),
    };
    series[0].samples.iter().map(one).collect()
}

fn files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path());
    let mut paths: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|found| found == ending)).collect();
    paths.sort();
    paths
}

/// A counter of an hour, one a second, that begins anew once; in four blocks.
fn hour(store: &Metrics) {
    let value = |second: i64| if second < 2000 { second } else { second - 1999 };
    let series = labels("requests_total", "a");
    for from in (0..3600).step_by(900) {
        send(store, &series, (from..from + 900).map(|second| sample(second * 1000, value(second) as f64)));
        store.flush().expect("blocks");
    }
}

#[test]
fn what_is_acknowledged_is_found_at_once_after_a_flush_and_after_a_restart() {
    let dir = dir();
    let store = fixture::open(dir.path());
    let up = labels("up", "a");
    let samples = [(0, 1.0), (1000, 0.0), (2000, f64::from_bits(STALE)), (3000, 0.1)];
    let bits =
        |found: Vec<(i64, f64)>| found.into_iter().map(|(at, v)| (at, v.to_bits())).collect::<Vec<_>>();
    let wanted = bits(samples.to_vec());
    send(&store, &up, samples[..2].iter().map(|(at, value)| sample(*at, *value)));
    store.flush().expect("blocks");
    send(&store, &up, samples[2..].iter().map(|(at, value)| sample(*at, *value)));
    assert_eq!(bits(only(&all(&store, 0))), wanted);
    drop(store);
    let store = fixture::open(dir.path());
    assert_eq!(bits(only(&all(&store, 0))), wanted);
    assert_eq!(store.recovered().torn_bytes, 0);
    store.flush().expect("blocks");
    assert_eq!(bits(only(&all(&store, 0))), wanted);
    assert!(files(&dir.path().join("log"), "log").is_empty());
    drop(store);
    assert_eq!(bits(only(&all(&fixture::open(dir.path()), 0))), wanted);
}

#[test]
fn late_samples_are_taken_repeated_and_too_old_ones_are_told() {
    for flushed in [false, true] {
        let dir = dir();
        let open = || {
            let (config, _) = fixture::config(dir.path());
            Metrics::open(Config { late: Duration::from_secs(60), ..config }).expect("a store opens")
        };
        let store = open();
        let up = labels("up", "a");
        send(&store, &up, [sample(0, 1.0), sample(100_000, 2.0)]);
        if flushed {
            store.flush().expect("blocks");
        }
        let sent = [
            sample(50_000, 3.0),
            sample(50_000, 3.0),
            sample(50_000, 4.0),
            sample(100_000, 2.0),
            sample(100_000, 5.0),
            sample(39_999, 6.0),
            sample(101_000, 7.0),
        ];
        let admission = store.append(&source(), batch(&up, sent)).expect("taken in");
        let refused = RefusedSamples { repeated: 2, duplicate: 2, too_old: 1, ..RefusedSamples::default() };
        assert_eq!((admission.accepted, admission.refused), (2, refused), "flushed: {flushed}");
        let reason = admission.reason.expect("a reason");
        assert!(reason.contains("up{instance=\"a\"}") && reason.contains("another value"), "{reason}");
        let wanted = [(0, 1.0), (50_000, 3.0), (100_000, 2.0), (101_000, 7.0)];
        assert_eq!(only(&all(&store, 0)), wanted);
        drop(store);
        assert_eq!(only(&all(&open(), 0)), wanted);
    }
}

#[test]
fn samples_of_the_future_and_of_before_retention_are_told() {
    let dir = dir();
    let (config, clock) = fixture::config(dir.path());
    clock.set_ms(BEGIN_MS);
    let raw = Retention { age: Duration::from_secs(3600), bytes: 1 << 30 };
    let store =
        Metrics::open(Config { raw, ahead: Duration::from_secs(5), ..config }).expect("a store opens");
    let sent = [sample(-3_600_001, 1.0), sample(-3_600_000, 2.0), sample(5000, 3.0), sample(5001, 4.0)];
    let admission = store.append(&source(), batch(&labels("up", "a"), sent)).expect("taken in");
    let refused = RefusedSamples { too_old: 1, ahead: 1, ..RefusedSamples::default() };
    assert_eq!((admission.accepted, admission.refused), (2, refused));
}

#[test]
fn a_source_has_its_limit_and_others_are_none_the_worse() {
    let dir = dir();
    let (config, _) = fixture::config(dir.path());
    let limits = Limits { source_series_max: 2, labels_max: 3, value_bytes_max: 10, ..Limits::default() };
    let store = Metrics::open(Config { limits, ..config }).expect("a store opens");
    for instance in ["a", "b"] {
        send(&store, &labels("up", instance), [sample(0, 1.0)]);
    }
    let third = store.append(&source(), batch(&labels("up", "c"), [sample(0, 1.0)])).expect("answered");
    assert_eq!((third.accepted, third.refused.over_limit), (0, 1));
    assert!(third.reason.expect("a reason").contains("source test has 2 active series already"));
    send(&store, &labels("up", "a"), [sample(1000, 1.0)]);
    let other = SourceName::new("other");
    assert_eq!(
        store.append(&other, batch(&labels("up", "c"), [sample(0, 1.0)])).expect("taken in").accepted,
        1
    );
    for odd in [
        labels("up", "01234567890"),
        Labels::default(),
        Labels::new([("a", "1"), ("b", "1"), ("c", "1"), ("d", "1")]),
    ] {
        let admission = store.append(&other, batch(&odd, [sample(0, 1.0)])).expect("answered");
        assert_eq!((admission.accepted, admission.refused.malformed), (0, 1), "{odd:?}");
    }
    let status = store.status();
    let sources: Vec<(&str, u64, u64)> = status
        .sources
        .iter()
        .map(|source| (source.name.as_str(), source.series, source.over_limit))
        .collect();
    assert_eq!(sources, [("other", 1, 0), ("test", 2, 1)]);
    assert_eq!((store.counters().over_limit.get(), store.counters().malformed.get()), (1, 3));
}

#[test]
fn an_idle_series_makes_room_and_stays_found() {
    let dir = dir();
    let (config, clock) = fixture::config(dir.path());
    clock.set_ms(BEGIN_MS);
    let limits = Limits { source_series_max: 1, ..Limits::default() };
    let idle = Duration::from_secs(60);
    let store = Metrics::open(Config { limits, idle, ..config }).expect("a store opens");
    send(&store, &labels("up", "a"), [sample(0, 1.0)]);
    clock.set_ms(BEGIN_MS + 61_000);
    store.flush().expect("blocks");
    assert_eq!(store.status().series, 0);
    send(&store, &labels("up", "b"), [sample(61_000, 1.0)]);
    assert_eq!(all(&store, 0).len(), 2);
    assert_eq!(store.label_values("instance", &[], i64::MIN, i64::MAX).expect("readable"), ["a", "b"]);
}

#[test]
fn series_are_found_by_matchers_in_head_and_blocks_alike() {
    use MatchOp::{Equal, Matches, MatchesNot, NotEqual};
    let dir = dir();
    let store = fixture::open(dir.path());
    let zoned = Labels::new([("__name__", "up"), ("instance", "b"), ("zone", "1")]);
    for series in [&labels("up", "a"), &zoned, &labels("down", "a")] {
        send(&store, series, [sample(0, 1.0)]);
    }
    for round in 0..2 {
        let found = |matchers: &[(&str, MatchOp, &str)]| {
            let matchers: Vec<_> =
                matchers.iter().map(|(name, op, value)| matcher(name, *op, value)).collect();
            let found = store.series(&matchers, BEGIN_MS, BEGIN_MS).expect("readable");
            found.iter().map(|labels| format!("{labels:?}")).collect::<Vec<String>>()
        };
        let (a, b, down) = ("up{instance=\"a\"}", "up{instance=\"b\", zone=\"1\"}", "down{instance=\"a\"}");
        assert_eq!(found(&[]), [down, a, b], "round {round}");
        assert_eq!(found(&[("__name__", Equal, "up")]), [a, b]);
        assert_eq!(found(&[("zone", Equal, "")]), [down, a]);
        assert_eq!(found(&[("zone", NotEqual, "")]), [b]);
        assert_eq!(found(&[("__name__", Matches, "u.|down"), ("instance", Equal, "a")]), [down, a]);
        assert_eq!(found(&[("__name__", MatchesNot, "u.")]), [down]);
        assert_eq!(found(&[("instance", Equal, "nobody")]), Vec::<String>::new());
        assert!(store.series(&[], BEGIN_MS + 1, i64::MAX).expect("readable").is_empty());
        let names = store.label_names(&[], i64::MIN, i64::MAX).expect("readable");
        assert_eq!(names, ["__name__", "instance", "zone"]);
        let of_down = [matcher("__name__", Equal, "down")];
        assert_eq!(
            store.label_names(&of_down, i64::MIN, i64::MAX).expect("readable"),
            ["__name__", "instance"]
        );
        assert_eq!(store.label_values("zone", &of_down, i64::MIN, i64::MAX).expect("readable"), [""; 0]);
        store.flush().expect("blocks");
    }
}

#[test]
fn a_second_process_is_refused() {
    let dir = dir();
    let _store = fixture::open(dir.path());
    let refused = Metrics::open(fixture::config(dir.path()).0);
    assert!(matches!(refused, Err(OpenError::InUse { .. })), "{refused:?}");
}

#[test]
fn a_closed_store_refuses_and_still_answers() {
    let dir = dir();
    let store = fixture::open(dir.path());
    send(&store, &labels("up", "a"), [sample(0, 1.0)]);
    store.close();
    let refused = store.append(&source(), batch(&labels("up", "a"), [sample(1, 1.0)]));
    assert_eq!(refused, Err(Refusal::Closing));
    assert_eq!(only(&all(&store, 0)), [(0, 1.0)]);
}

#[test]
fn series_handed_over_one_by_one_are_those_that_are_selected_until_it_is_enough() {
    let dir = dir();
    let store = fixture::open(dir.path());
    for instance in 0..300 {
        let up = labels("up", &instance.to_string());
        send(&store, &up, [sample(0, 1.0), sample(90_000, f64::from(instance))]);
        if instance == 150 {
            store.flush().expect("blocks");
        }
        // Late, so that it stands behind what is later.
        send(&store, &up, [sample(30_000, 2.0)]);
    }
    for step_ms in [0, 60_000] {
        let select = Select { matchers: Vec::new(), from_ms: BEGIN_MS, to_ms: i64::MAX, step_ms };
        let handed: Mutex<Vec<Series>> = Mutex::default();
        let take = |labels: &Labels, samples: &mut Samples| {
            let series = Series { labels: labels.clone(), samples: samples.to_vec() };
            handed.lock().expect("no panic").push(series);
            ControlFlow::Continue(())
        };
        store.each(&select, &take).expect("readable");
        let mut handed = handed.into_inner().expect("no panic");
        handed.sort_by(|a, b| a.labels.cmp(&b.labels));
        assert_eq!(handed, store.select(&select).expect("readable"));
        let times =
            |series: &Series| series.samples.iter().map(|sample| sample.at_ms - BEGIN_MS).collect::<Vec<_>>();
        assert!(handed.iter().all(|series| times(series) == [0, 30_000, 90_000]), "{handed:?}");
        let taken = AtomicUsize::new(0);
        let first = |_: &Labels, _: &mut Samples| {
            taken.fetch_add(1, Ordering::Relaxed);
            ControlFlow::Break(())
        };
        store.each(&select, &first).expect("readable");
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        assert!((1..=threads).contains(&taken.into_inner()), "each thread ends where it is");
    }
}

#[test]
fn metadata_and_exemplars_are_known_after_a_restart() {
    let dir = dir();
    let store = fixture::open(dir.path());
    let known = Metadata { kind: Kind::Gauge, help: "whether it is up".to_owned(), unit: String::new() };
    let exemplar = Exemplar { labels: Labels::new([("trace_id", "abc")]), value: 0.5, at_ms: BEGIN_MS + 10 };
    let sent = Batch {
        metadata: vec![("up".to_owned(), known.clone())],
        exemplars: vec![(labels("up", "a"), exemplar.clone()), (labels("up", "b"), exemplar.clone())],
        ..Batch::default()
    };
    store.append(&source(), sent).expect("taken in");
    drop(store);
    let store = fixture::open(dir.path());
    let of_a = [matcher("instance", MatchOp::Equal, "a")];
    let found = store.exemplars(&of_a, BEGIN_MS, BEGIN_MS + 10).expect("understood");
    assert_eq!(found, [(labels("up", "a"), vec![exemplar])]);
    store.flush().expect("nothing to write");
    drop(store);
    let store = fixture::open(dir.path());
    assert_eq!(store.metadata(Some("up")), [("up".to_owned(), known)]);
    assert!(store.metadata(Some("down")).is_empty());
}

#[test]
fn a_query_for_more_than_may_be_read_is_refused() {
    let dir = dir();
    let (config, _) = fixture::config(dir.path());
    let store = Metrics::open(Config { query_samples_max: 100, ..config }).expect("a store opens");
    send(&store, &labels("up", "a"), (0..101).map(|second| sample(second * 1000, 1.0)));
    let select = Select { matchers: Vec::new(), from_ms: i64::MIN, to_ms: i64::MAX, step_ms: 0 };
    for _ in 0..2 {
        assert!(matches!(store.select(&select), Err(SourceError::TooMuch { limit: 100 })));
        store.flush().expect("blocks");
    }
    let select = Select { to_ms: BEGIN_MS + 99_000, ..select };
    assert_eq!(only(&store.select(&select).expect("few enough")).len(), 100);
}

#[test]
fn a_full_head_refuses_until_blocks_are_written() {
    let dir = dir();
    let (config, _) = fixture::config(dir.path());
    let store = Metrics::open(Config { head_bytes: 2000, ..config }).expect("a store opens");
    // Where blocks should be written is something else: as if the disk did not take them.
    let parts = dir.path().join("parts");
    fs::rename(&parts, dir.path().join("away")).expect("away");
    let up = labels("up", "a");
    let mut second = 0;
    let refused = loop {
        second += 100;
        let samples = (second - 100..second).map(|second| sample(second * 100, second as f64));
        match store.append(&source(), batch(&up, samples)) {
            Ok(admission) => assert_eq!(admission.accepted, 100),
            Err(refused) => break refused,
        }
        assert!(second < 10_000, "never refused");
    };
    assert!(matches!(&refused, Refusal::Backlog { bytes, .. } if *bytes >= 4000), "{refused}");
    assert!(store.flush().is_err());
    assert!(store.status().flush_failure.is_some());
    fs::rename(dir.path().join("away"), &parts).expect("back");
    while store.status().head_bytes >= 4000 {
        store.flush().expect("blocks");
    }
    send(&store, &up, [sample(second * 100, 1.0)]);
    assert_eq!(only(&all(&store, 0)).len() as i64, second - 100 + 1);
    assert_eq!(store.status().flush_failure, None);
}
