//! Tests of the request log, apart because they are as long as what they test.

use super::*;

fn at(boot_us: u64) -> Time {
    Time { boot_us, wall_us: 1_700_000_000_000_000 + boot_us as i64 }
}

fn record(boot_us: u64, outcome: Outcome) -> Record {
    let latency = Duration::from_micros(boot_us % 100 + 1);
    Record { ended: at(boot_us), kind: Kind::Browse, status: 200, latency, outcome }
}

fn written(path: &Path, records: &[Record]) {
    let mut log = RequestLog::open(path, at(u64::MAX)).unwrap();
    for record in records {
        log.append(record);
    }
    log.flush().unwrap();
}

#[test]
fn any_span_counts_the_same_as_counting_line_by_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("requests.log");
    let mut rng = fastrand::Rng::with_seed(11);
    let mut boot_us = 5_000;
    let records: Vec<Record> = (0..20_000)
        .map(|_| {
            boot_us += rng.u64(..50);
            record(boot_us, rng.choice(Outcome::ALL).unwrap())
        })
        .collect();
    written(&path, &records);
    for _ in 0..200 {
        let (from, to) = (rng.u64(..boot_us + 9_000), rng.u64(..boot_us + 9_000));
        let expected: Vec<&Record> =
            records.iter().filter(|one| (from..to).contains(&one.ended.boot_us)).collect();
        let seen = read_log(&path, at(from), at(to)).unwrap();
        assert_eq!(seen.requests, expected.len() as u64, "{from}..{to}");
        assert_eq!(seen.failed, expected.iter().filter(|one| one.outcome.is_failure()).count() as u64);
        assert_eq!(
            seen.degraded,
            expected.iter().filter(|one| one.outcome == Outcome::Degraded).count() as u64
        );
    }
}

#[test]
fn percentiles_are_by_nearest_rank_and_leave_out_what_was_not_sent() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("requests.log");
    let mut records: Vec<Record> = (0..100).map(|boot_us| record(boot_us, Outcome::Ok)).collect();
    records.push(Record { latency: Duration::ZERO, ..record(100, Outcome::Overload) });
    written(&path, &records);
    let counts = read_log(&path, at(0), at(1000)).unwrap();
    assert_eq!((counts.requests, counts.failed), (101, 1));
    assert_eq!(counts.p50, Some(Duration::from_micros(50)));
    assert_eq!(counts.p95, Some(Duration::from_micros(95)));
    assert_eq!(read_log(&path, at(500), at(1000)).unwrap(), RequestCounts::default());
}

#[test]
fn a_line_cut_short_is_left_out_and_spoils_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("requests.log");
    written(&path, &[record(1, Outcome::Ok)]);
    let mut file = OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"1700000000000002,2,browse,20").unwrap();
    written(&path, &[record(3, Outcome::Timeout)]);
    let counts = read_log(&path, at(0), at(10)).unwrap();
    assert_eq!((counts.requests, counts.failed), (2, 1));
}

#[test]
fn a_log_that_is_not_there_counts_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let counts = read_log(&directory.path().join("none"), at(0), at(10)).unwrap();
    assert_eq!(counts, RequestCounts::default());
}

#[test]
fn requests_before_a_rotation_still_count() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("requests.log");
    written(&path, &[record(1, Outcome::Ok), record(2, Outcome::Error)]);
    std::fs::rename(&path, rotated(&path)).unwrap();
    written(&path, &[record(3, Outcome::Ok)]);
    let counts = read_log(&path, at(2), at(10)).unwrap();
    assert_eq!((counts.requests, counts.failed), (2, 1));
}

#[test]
fn the_log_of_an_earlier_boot_is_put_aside() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("requests.log");
    written(&path, &[record(9_000_000, Outcome::Error)]);
    let mut log = RequestLog::open(&path, at(50)).unwrap();
    log.append(&record(60, Outcome::Ok));
    log.flush().unwrap();
    let counts = read_log(&path, at(0), at(u64::MAX)).unwrap();
    assert_eq!((counts.requests, counts.failed), (1, 0));
    assert!(suffixed(&path, ".earlier").exists());
}

proptest::proptest! {
    /// Whatever a crash or a full disk left in the log: what can be read is counted, the rest is left out.
    #[test]
    fn no_log_panics(
        lines in proptest::collection::vec(
            "[0-9]{1,20},[0-9]{1,20},browse,200,[0-9]{1,20},(ok|error|overload)\n|.{0,20}\n?",
            0..30,
        ),
        // Over 16 KiB a span is looked for by bisection.
        times in 1..60_usize,
        junk in proptest::collection::vec(proptest::arbitrary::any::<u8>(), 0..100),
        from in proptest::arbitrary::any::<u64>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let whole = [lines.concat().repeat(times).into_bytes(), junk].concat();
        std::fs::write(&path, &whole).unwrap();
        let time = |boot_us| Time { boot_us, wall_us: 0 };
        let counts = read_log(&path, time(0), time(u64::MAX)).unwrap();
        assert!(counts.failed + counts.degraded <= counts.requests);
        read_log(&path, time(from), time(u64::MAX)).unwrap();
    }
}
