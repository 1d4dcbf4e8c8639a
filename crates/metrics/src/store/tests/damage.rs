//! What a start finds that is torn, damaged, of another version or half written: what can be read is read, and the rest is
//! told.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use promql::{Select, Source};

use super::{dir, files, hour, only, send};
use crate::fixture::{self, BEGIN_MS, all, labels, sample};
use crate::{Aggregate, Metrics, OpenError};

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
fn what_was_set_aside_before_an_opening_failed_is_told_with_its_error_as_the_next_one_finds_it_no_more() {
    let dir = dir();
    let store = fixture::open(dir.path());
    send(&store, &labels("up", "a"), [sample(0, 1.0)]);
    store.flush().expect("blocks");
    drop(store);
    let (catalogue, raw) = (dir.path().join("catalogue"), files(&dir.path().join("parts"), "raw").remove(0));
    for path in [&catalogue, &raw] {
        let mut bytes = fs::read(path).expect("a file");
        *bytes.last_mut().expect("not empty") ^= 1;
        fs::write(path, bytes).expect("damage");
    }
    // It cannot have the name under which it would be left alone.
    let in_the_way = raw.with_added_extension("damaged");
    fs::create_dir(&in_the_way).expect("in the way");
    let error = Metrics::open(fixture::config(dir.path()).0).expect_err("it cannot be set aside");
    let OpenError::SetAside { damaged, .. } = &error else { panic!("{error}") };
    assert_eq!(damaged.iter().map(|one| &one.path).collect::<Vec<_>>(), [&catalogue]);
    assert!(error.to_string().contains(&catalogue.display().to_string()), "{error}");
    fs::remove_dir(in_the_way).expect("out of the way");
    let told = fixture::open(dir.path()).status().damaged;
    assert_eq!(told.iter().map(|one| &one.path).collect::<Vec<_>>(), [&raw]);
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
