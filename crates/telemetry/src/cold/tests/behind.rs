//! Intake is refused while compaction is behind, and goes on when it has caught up.

use std::sync::mpsc;

use super::*;
use crate::Refusal;

/// A store whose segments close at once.
fn behind(dir: &TempDir, compact_after: Option<Duration>, backlog_bytes_max: u64) -> Telemetry {
    open_with(Config { segment_bytes: 1, compact_after, backlog_bytes_max, ..Config::new(dir.path()) })
}

const LATE: Option<Duration> = Some(Duration::from_secs(3600));

fn one_span(trace: u64) -> Vec<u8> {
    fixture::traces("cart", [fixture::span(trace, 1, 5)])
}

fn found(store: &Telemetry, trace: u64) -> usize {
    store.trace(TraceId(fixture::trace_id(trace))).expect("readable").len()
}

fn wait_until_open(store: &Telemetry) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while store.backlog().refusing {
        assert!(Instant::now() < deadline, "compaction did not catch up: {:?}", store.backlog());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Runs something while a compaction of what is there is under way.
fn during_a_compaction(store: &Telemetry, during: impl FnOnce()) {
    store.open.shared.seal();
    std::thread::scope(|scope| {
        let (reached, under_way) = mpsc::channel();
        let (go_on, wait) = mpsc::channel::<()>();
        scope.spawn(move || {
            let watch = |step| {
                if step == Step::SpansWritten {
                    reached.send(()).expect("waited for");
                    // Goes on when the other end is gone, however that came about.
                    let _ = wait.recv();
                }
                Ok(())
            };
            store.open.work.compact_watched(Take::All, &watch).expect("compacted");
        });
        under_way.recv().expect("a compaction began");
        during();
        drop(go_on);
    });
}

#[test]
fn intake_is_refused_while_compaction_is_behind_and_goes_on_when_it_has_caught_up() {
    let dir = TempDir::new().expect("a directory");
    let store = behind(&dir, LATE, 2000);
    send(&store, &one_span(1));
    let mut acknowledged = 1;
    during_a_compaction(&store, || {
        let refused = loop {
            match store.intake().traces(&one_span(acknowledged + 1)) {
                Ok(admission) => admission.durable.wait().expect("on disk"),
                Err(refused) => break refused,
            }
            acknowledged += 1;
            assert!(acknowledged < 1000, "a bound of 2,000 bytes is met: {:?}", store.backlog());
        };
        let Refusal::Backlog { waiting_bytes, retry_after } = refused else { panic!("{refused:?}") };
        assert!(waiting_bytes >= 2000 && retry_after >= Duration::from_secs(1));
        assert!(store.backlog().refusing && store.backlog().bytes == waiting_bytes, "{:?}", store.backlog());
        let logs = fixture::logs("cart", [fixture::log_record(1, 9, "a body")]);
        assert!(matches!(store.intake().logs(&logs), Err(Refusal::Backlog { .. })));
        assert_eq!(store.counters().backlogged.get(), 2);
        assert_eq!(store.counters().overloaded.get(), 0);
    });
    wait_until_open(&store);
    send(&store, &one_span(acknowledged + 1));
    let all = (1..=acknowledged + 1).all(|trace| found(&store, trace) == 1);
    assert!(all, "what was acknowledged is found, before and after");
}

#[test]
fn a_backlog_of_an_earlier_process_counts_and_a_bound_compacts_before_its_time() {
    let dir = TempDir::new().expect("a directory");
    let store = behind(&dir, None, 1);
    (1..=20).for_each(|trace| send(&store, &one_span(trace)));
    drop(store);
    // Sealed when it was closed, if not before.
    let store = behind(&dir, None, 1);
    let waiting = store.backlog().bytes;
    assert!(waiting > 20 * 100, "{:?}", store.backlog());
    drop(store);
    let store = behind(&dir, LATE, waiting);
    wait_until_open(&store);
    assert!(store.counters().units_written.get() > 0, "the bound was met");
    assert_eq!((1..=20).map(|trace| found(&store, trace)).sum::<usize>(), 20);
}

#[test]
fn a_store_that_never_compacts_refuses_nothing_for_want_of_it() {
    let dir = TempDir::new().expect("a directory");
    let store = behind(&dir, None, 1);
    (1..=5).for_each(|trace| send(&store, &one_span(trace)));
    assert!(store.backlog().bytes > 1 && !store.backlog().refusing, "{:?}", store.backlog());
}
