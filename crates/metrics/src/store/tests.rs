//! The store: what is acknowledged is found, at once and after a restart, whatever the tail of a file looks like.

use std::fs::{self, OpenOptions};
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
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
fn a_log_cut_at_any_byte_of_its_last_frame_keeps_what_was_acknowledged_before() {
    let dir = dir();
    let store = fixture::open(dir.path());
    let up = labels("up", "a");
    send(&store, &up, [sample(0, 1.0)]);
    let log = files(&dir.path().join("log"), "log").pop().expect("a segment");
    let first = fs::metadata(&log).expect("a segment").len();
    let other = labels("up", "b");
    send(&store, &other, [sample(1000, 2.0)]);
    drop(store);
    let whole = fs::read(&log).expect("a segment");
    for cut in first as usize..whole.len() {
        for zeros in [0, 100] {
            let mut torn = whole[..cut].to_vec();
            torn.resize(cut + zeros, 0);
            // What lies behind the cut was zero in the frame itself: then nothing was torn.
            if torn.starts_with(&whole) {
                continue;
            }
            fs::write(&log, &torn).expect("a torn segment");
            let store = fixture::open(dir.path());
            assert_eq!(only(&all(&store, 0)), [(0, 1.0)], "cut at {cut}");
            assert_eq!(store.recovered().torn_bytes, torn.len() as u64 - first);
            assert_eq!(store.recovered().damaged_bytes, 0);
        }
    }
    fs::write(&log, &whole).expect("the whole segment");
    assert_eq!(all(&fixture::open(dir.path()), 0).len(), 2);
}

#[test]
fn a_damaged_place_in_the_log_costs_what_was_in_it_and_is_told() {
    let dir = dir();
    let store = fixture::open(dir.path());
    send(&store, &labels("up", "a"), [sample(0, 1.0)]);
    let log = files(&dir.path().join("log"), "log").pop().expect("a segment");
    let first = fs::metadata(&log).expect("a segment").len();
    send(&store, &labels("up", "b"), [sample(0, 2.0)]);
    send(&store, &labels("up", "b"), [sample(1000, 2.0)]);
    send(&store, &labels("up", "a"), [sample(1000, 3.0)]);
    drop(store);
    let file = OpenOptions::new().write(true).open(&log).expect("a segment");
    file.write_all_at(b"!", first + 40).expect("damage");
    let store = fixture::open(dir.path());
    assert_eq!(only(&all(&store, 0)), [(0, 1.0), (1000, 3.0)]);
    let recovered = store.recovered();
    assert!(recovered.damaged_bytes > 0, "{recovered:?}");
    assert_eq!((recovered.frames, recovered.nameless_samples), (3, 1));
}

#[test]
fn a_damaged_block_is_set_aside_and_the_rest_is_read() {
    let dir = dir();
    let store = fixture::open(dir.path());
    for after_s in [0, 1] {
        send(&store, &labels("up", "a"), [sample(after_s * 1000, 1.0)]);
        store.flush().expect("blocks");
    }
    drop(store);
    let raw = files(&dir.path().join("parts"), "raw");
    let bytes = fs::read(&raw[0]).expect("a block");
    for damage in [bytes.len() - 100, bytes.len() - 3] {
        let mut damaged = bytes.clone();
        damaged[damage] ^= 1;
        fs::write(&raw[0], &damaged).expect("damage");
        let store = fixture::open(dir.path());
        assert_eq!(only(&all(&store, 0)), [(1000, 1.0)]);
        let told = store.status().damaged;
        assert_eq!((told.len(), &told[0].path), (1, &raw[0]));
        drop(store);
        let mut aside = raw[0].clone().into_os_string();
        aside.push(".damaged");
        assert_eq!(fs::read(&aside).expect("set aside"), damaged);
        fs::write(&raw[0], &bytes).expect("as it was");
        // The catalogue still names it: nothing was written since.
        assert_eq!(only(&all(&fixture::open(dir.path()), 0)).len(), 2);
    }
    // A column in the middle: the query that needs it says so, others are answered.
    let mut damaged = bytes.clone();
    damaged[9] ^= 1;
    fs::write(&raw[0], &damaged).expect("damage");
    let store = fixture::open(dir.path());
    let ask = |from_ms, to_ms| store.select(&Select { matchers: Vec::new(), from_ms, to_ms, step_ms: 0 });
    let error = ask(BEGIN_MS, BEGIN_MS + 500).expect_err("damaged").to_string();
    assert!(error.contains(".raw is damaged") && error.contains("byte 8"), "{error}");
    assert_eq!(only(&ask(BEGIN_MS + 500, i64::MAX).expect("sound")), [(1000, 1.0)]);
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

/// Makes a block say that it is of a format.
fn of_format(part: &Path, format: u8) {
    let mut bytes = fs::read(part).expect("a block");
    let foot = bytes.len() - 72;
    bytes[foot] = format;
    if format == 1 {
        // There was nothing else than the tier.
        bytes[foot + 5] = 0;
    }
    let crc = crc32fast::hash(&bytes[foot..foot + 64]).to_le_bytes();
    bytes[foot + 64..foot + 68].copy_from_slice(&crc);
    fs::write(part, bytes).expect("a block of another format");
}

#[test]
fn what_the_first_format_kept_is_found() {
    let dir = dir();
    let store = fixture::open(dir.path());
    hour(&store);
    let answers = |store: &Metrics| [0, 60_000, 3_600_000].map(|step_ms| only(&all(store, step_ms)));
    let before = answers(&store);
    drop(store);
    for tier in ["raw", "minute", "hour"] {
        files(&dir.path().join("parts"), tier).iter().for_each(|part| of_format(part, 1));
    }
    let store = fixture::open(dir.path());
    assert_eq!(answers(&store), before);
    assert_eq!(store.status().damaged, []);
}

#[test]
fn what_a_later_version_wrote_is_refused() {
    let dir = dir();
    let store = fixture::open(dir.path());
    send(&store, &labels("up", "a"), [sample(0, 1.0)]);
    store.flush().expect("blocks");
    drop(store);
    let catalogue = dir.path().join("catalogue");
    let bytes = fs::read(&catalogue).expect("a catalogue");
    let mut newer = bytes.clone();
    newer[4] = 9;
    fs::write(&catalogue, newer).expect("a later catalogue");
    let refused = Metrics::open(fixture::config(dir.path()).0).expect_err("refused").to_string();
    assert!(refused.contains("later version (format 9"), "{refused}");
    fs::write(&catalogue, bytes).expect("as it was");
    let part = files(&dir.path().join("parts"), "raw").pop().expect("a block");
    of_format(&part, 7);
    let refused = Metrics::open(fixture::config(dir.path()).0).expect_err("refused").to_string();
    assert!(refused.contains("later version (format 7"), "{refused}");
}

#[test]
fn a_damaged_catalogue_is_set_aside_and_blocks_are_found_without_it() {
    let dir = dir();
    let store = fixture::open(dir.path());
    send(&store, &labels("up", "a"), [sample(0, 1.0)]);
    store.flush().expect("blocks");
    send(&store, &labels("up", "a"), [sample(1000, 1.0)]);
    drop(store);
    let catalogue = dir.path().join("catalogue");
    let mut bytes = fs::read(&catalogue).expect("a catalogue");
    *bytes.last_mut().expect("not empty") ^= 1;
    fs::write(&catalogue, bytes).expect("damage");
    let store = fixture::open(dir.path());
    assert_eq!(only(&all(&store, 0)), [(0, 1.0), (1000, 1.0)]);
    assert_eq!(store.status().damaged[0].path, catalogue);
}

#[test]
fn blocks_of_a_flush_that_did_not_end_are_left_out() {
    let dir = dir();
    let store = fixture::open(dir.path());
    send(&store, &labels("up", "a"), [sample(0, 1.0)]);
    store.flush().expect("blocks");
    send(&store, &labels("up", "a"), [sample(1000, 1.0)]);
    let copy = dir.path().join("copy");
    fs::copy(dir.path().join("catalogue"), &copy).expect("a copy");
    let log = files(&dir.path().join("log"), "log").pop().expect("a segment");
    let segment = fs::read(&log).expect("a segment");
    store.flush().expect("blocks");
    drop(store);
    // As if the process had ended before the catalogue was replaced, and the log removed.
    fs::rename(copy, dir.path().join("catalogue")).expect("the catalogue of before");
    fs::write(&log, segment).expect("the log of before");
    let store = fixture::open(dir.path());
    assert_eq!(only(&all(&store, 0)), [(0, 1.0), (1000, 1.0)]);
    let select = Select { matchers: Vec::new(), from_ms: BEGIN_MS, to_ms: i64::MAX, step_ms: 60_000 };
    let counted = store.aggregates(&select, Aggregate::Count).expect("readable");
    assert_eq!(only(&counted), [(0, 2.0)]);
    assert_eq!(files(&dir.path().join("parts"), "raw").len(), 1);
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

fn rise(samples: &[(i64, f64)]) -> f64 {
    samples.windows(2).map(|two| if two[1].1 < two[0].1 { two[1].1 } else { two[1].1 - two[0].1 }).sum()
}

#[test]
fn a_step_of_a_minute_is_answered_from_the_tier_of_minutes_with_the_same_rise() {
    let dir = dir();
    let store = fixture::open(dir.path());
    hour(&store);
    let raw = only(&all(&store, 0));
    assert_eq!(raw.len(), 3600);
    for merged in [false, true] {
        if merged {
            store.compact().expect("merged");
            assert_eq!(store.status().tiers.iter().map(|tier| tier.blocks).collect::<Vec<_>>(), [1, 1, 1]);
        }
        let minutes = only(&all(&store, 60_000));
        // One a minute, the first, both sides of the new beginning; and a first of each block, until they are merged.
        assert!((62..=66).contains(&minutes.len()), "{}", minutes.len());
        assert!(minutes.iter().all(|sample| raw.contains(sample)));
        assert_eq!(rise(&minutes), rise(&raw));
        let hours = only(&all(&store, 3_600_000));
        assert!(hours.len() <= if merged { 4 } else { 10 }, "{}", hours.len());
        assert_eq!(rise(&hours), rise(&raw));
        let select = Select { matchers: Vec::new(), from_ms: BEGIN_MS, to_ms: i64::MAX, step_ms: 3_600_000 };
        for (aggregate, wanted) in [
            (Aggregate::Count, 3600.0),
            (Aggregate::Min, 0.0),
            (Aggregate::Max, 1999.0),
            (Aggregate::Sum, raw.iter().map(|(_, value)| value).sum()),
        ] {
            assert_eq!(only(&store.aggregates(&select, aggregate).expect("readable")), [(0, wanted)]);
        }
    }
}

#[test]
fn what_is_scraped_seldom_lies_on_disk_once_and_is_answered_as_if_there_were_tiers() {
    let dir = dir();
    let (config, clock) = fixture::config(dir.path());
    clock.set_ms(BEGIN_MS + 3_600_000);
    let raw = Retention { age: Duration::from_secs(7200), ..config.raw };
    let config = || Config { raw, ..config.clone() };
    let store = Metrics::open(config()).expect("a store opens");
    let series = labels("requests_total", "a");
    let value = |at: i64| if at < 70 { at } else { at - 69 };
    let blocks = |store: &Metrics| store.status().tiers.iter().map(|tier| tier.blocks).collect::<Vec<_>>();
    let minutes_and_their_sums = |store: &Metrics| {
        let select = Select { matchers: Vec::new(), from_ms: BEGIN_MS, to_ms: i64::MAX, step_ms: 60_000 };
        let sums = only(&store.aggregates(&select, Aggregate::Sum).expect("readable"));
        (only(&all(store, 60_000)), sums, only(&all(store, 3_600_000)))
    };
    let wanted: Vec<(i64, f64)> = (0..120).map(|at| (at * 30_000, value(at) as f64)).collect();
    let sums: Vec<(i64, f64)> = wanted.chunks(2).map(|two| (two[0].0, two[0].1 + two[1].1)).collect();
    send(&store, &series, (0..60).map(|at| sample(at * 30_000, value(at) as f64)));
    store.flush().expect("blocks");
    assert_eq!(blocks(&store), [1, 0, 0], "a minute would be made of two");
    send(&store, &series, (60..120).map(|at| sample(at * 30_000, value(at) as f64)));
    let in_memory = minutes_and_their_sums(&store);
    store.flush().expect("blocks");
    assert_eq!(blocks(&store), [2, 0, 0]);
    // The last of each minute, the first of all, and both sides of the new beginning.
    assert_eq!(in_memory.0.len(), 60 + 1 + 1);
    assert_eq!((rise(&in_memory.0), &in_memory.1), (rise(&wanted), &sums));
    assert_eq!(minutes_and_their_sums(&store).0, in_memory.0);
    assert_eq!(only(&all(&store, 0)), wanted);
    drop(store);
    let store = Metrics::open(config()).expect("it opens again");
    let on_disk = minutes_and_their_sums(&store);
    assert_eq!((on_disk.0, on_disk.1), (in_memory.0.clone(), sums.clone()));
    clock.set_ms(BEGIN_MS + 3_600_000 + 7_200_000);
    store.compact().expect("old blocks go");
    assert_eq!(blocks(&store), [0, 2, 2], "tiers are there once raw samples are gone");
    let retired = minutes_and_their_sums(&store);
    assert_eq!((retired.0, retired.1, rise(&retired.2)), (in_memory.0, sums, rise(&wanted)));
    assert!(retired.2.len() <= 2 * 2 + 2, "{:?}", retired.2);
    assert_eq!(only(&all(&store, 0)), wanted, "there are so few of them that all are kept");
}

#[test]
fn what_raw_retention_let_go_is_answered_by_minutes() {
    let dir = dir();
    let (config, clock) = fixture::config(dir.path());
    let age = Duration::from_secs(1800);
    clock.set_ms(BEGIN_MS + 1_000_000);
    let raw = Retention { age, ..config.raw };
    let store = Metrics::open(Config { raw, ..config }).expect("a store opens");
    let series = labels("requests_total", "a");
    for from in (0..3600).step_by(900) {
        clock.set_ms(BEGIN_MS + from * 1000);
        send(&store, &series, (from..from + 600).map(|second| sample(second * 1000, second as f64)));
        store.flush().expect("blocks");
    }
    let before = only(&all(&store, 0));
    clock.set_ms(BEGIN_MS + 3_400_000);
    store.compact().expect("old blocks go");
    assert_eq!(store.status().tiers.iter().map(|tier| tier.blocks).collect::<Vec<_>>(), [2, 1, 1]);
    let after = only(&all(&store, 0));
    assert!(after.len() < before.len());
    assert_eq!(rise(&after), rise(&before));
    assert_eq!(after.iter().filter(|(at_ms, _)| *at_ms >= 1_800_000).count(), 1200);
    drop(store);
    assert_eq!(only(&all(&fixture::open(dir.path()), 0)), after);
}

#[test]
fn more_bytes_than_may_be_make_the_oldest_go() {
    let dir = dir();
    let (config, _) = fixture::config(dir.path());
    let raw = Retention { bytes: 1, ..config.raw };
    let store = Metrics::open(Config { raw, ..config }).expect("a store opens");
    send(&store, &labels("up", "a"), [sample(0, 1.0)]);
    store.flush().expect("blocks");
    store.compact().expect("gone");
    let status = store.status();
    assert_eq!((status.tiers[0].blocks, status.tiers[1].blocks), (0, 1));
    assert_eq!(only(&all(&store, 0)), [(0, 1.0)], "answered by the tier of minutes");
    assert_eq!(store.counters().retired.get(), 1);
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

mod model;
