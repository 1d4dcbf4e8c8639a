//! What goes, and when: by two clocks, and where the store itself filled the disk.

use std::path::Path;
use std::process::Command;

use super::*;
use crate::counters::Counter;
use crate::derive::now_unix_nano;
use crate::intake::Refusal;

fn found(store: &Telemetry, trace: u64) -> bool {
    !store.trace(TraceId(fixture::trace_id(trace))).expect("readable").is_empty()
}

/// Makes a file as old as if it had been written eight days ago.
fn make_old(path: &Path) {
    #[expect(clippy::disallowed_methods, reason = "files are dated by the wall clock")]
    let old = SystemTime::now() - Duration::from_secs(8 * 24 * 3600);
    fs::File::options().append(true).open(path).and_then(|file| file.set_modified(old)).expect("made old");
}

/// A clock that began in 1970 dates files so, until it is set.
#[test]
fn a_file_that_seems_old_is_kept_while_its_spans_are_not() {
    let dir = TempDir::new().expect("a directory");
    let store = open(&dir);
    let now = now_unix_nano();
    let starts = [now - 1_000_000_000, 1000, now + 1_000_000_000_000_000];
    for (trace, start) in (1..).zip(starts) {
        send(&store, &fixture::traces("s1", [fixture::span(trace, 1, start)]));
        store.compact().expect("compacted");
    }
    store.open.tiers.units().iter().for_each(|unit| make_old(&unit.files.index));
    drop(store);
    let store = open(&dir);
    for (trace, start) in (4..).zip(starts) {
        send(&store, &fixture::traces("s1", [fixture::span(trace, 1, start)]));
        store.open.shared.seal();
    }
    store.open.tiers.sealed().iter().for_each(|segment| make_old(&segment.path));
    store.open.work.retain();
    let kept: Vec<u64> = (1..=6).filter(|&trace| found(&store, trace)).collect();
    assert_eq!(kept, [1, 4], "a start that is yet to come keeps nothing");
}

const SMALL_DISK: &str = "HOMEOSTAT_TEST_SMALL_DISK";

/// Runs this test once more, where a disk of 8 MiB is mounted for it alone.
#[test]
fn a_disk_that_the_store_filled_takes_spans_again_and_one_that_others_filled_costs_nothing() {
    if let Some(disk) = std::env::var_os(SMALL_DISK) {
        return on_small_disk(Path::new(&disk));
    }
    let dir = TempDir::new().expect("a directory");
    let script = r#"mount -t tmpfs -o size=8m tmpfs "$1" || exit 77
        HOMEOSTAT_TEST_SMALL_DISK="$1" "$2" --exact --nocapture "$3""#;
    let name = std::thread::current().name().expect("tests have names").to_owned();
    let output = Command::new("unshare")
        .args(["-Urm", "sh", "-c", script, "sh"])
        .args([dir.path(), &std::env::current_exe().expect("a path"), Path::new(&name)])
        .output()
        .expect("unshare is there");
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.code() == Some(77) || text.starts_with("unshare:") {
        println!("skipped: no user namespace");
        return;
    }
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

/// About 200 KiB that cannot be packed well, all of one trace.
fn bulk(trace: u64) -> Vec<u8> {
    let mut state = trace;
    let mut letter = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b' ' + (state >> 33) as u8 % 90)
    };
    let spans = (1..=200).map(|n| {
        let value: String = (0..1000).map(|_| letter()).collect();
        fixture::span(trace, n, 1000 * trace + n).message(9, text("noise", &value))
    });
    fixture::traces("s1", spans.collect::<Vec<_>>())
}

fn on_small_disk(disk: &Path) {
    let ballast = disk.join("ballast");
    fs::write(&ballast, vec![1; 5 << 20]).expect("written");
    let config = Config {
        segment_bytes: 500_000,
        compact_after: Some(Duration::ZERO),
        ..Config::new(disk.join("telemetry"))
    };
    let store = open_with(config);
    let intake = store.intake();
    let sent = |trace| match intake.traces(&bulk(trace)) {
        Ok(admission) => admission.durable.wait(),
        Err(refusal) => Err(refusal),
    };
    let deadline = Instant::now() + Duration::from_secs(120);
    let mut trace = 1;
    let mut refused = 0;
    while refused < 5 {
        assert!(Instant::now() < deadline, "{trace} taken in");
        match sent(trace) {
            Ok(()) => trace += 1,
            Err(Refusal::Disk { .. }) => {
                refused += 1;
                store.open.work.retain();
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(store.counters().retention_removed.get(), 0, "what others filled, others must free");
    assert!(found(&store, 1));
    fs::remove_file(&ballast).expect("removed");
    // More than the disk holds, and nobody else to make room.
    while store.counters().retention_removed.get() == 0 || found(&store, 1) {
        assert!(Instant::now() < deadline, "{trace} taken in");
        if sent(trace).is_ok() {
            trace += 1;
        }
    }
    let last = trace;
    while sent(last).is_err() {
        assert!(Instant::now() < deadline, "{trace} taken in");
        std::thread::yield_now();
    }
    assert!(found(&store, last), "taken in again");
    let merges = [&store.counters().merged_units, &store.counters().merge_failures].map(Counter::get);
    assert_eq!(merges, [0, 0], "no merge is begun without the room for it");
}
