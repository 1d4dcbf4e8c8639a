//! What evaluating objectives costs: 10,000 of 30 days, each counted in and evaluated once a second.
//!
//! `cargo bench -p slo` prints the time for one such second, the turn of a minute among them in every sixtieth, and on
//! stderr the bytes that the counts of one objective take.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use domain::Time;
use slo::{Counts, Tracker, minute_of, read};

const OBJECTIVES: usize = 10_000;
const MINUTES: i64 = 30 * 24 * 60;
const BEGIN_S: i64 = 1_700_000_000;

/// One objective whose 30 days are full: every minute has events, every hundredth a failure.
fn full(events: u64) -> Tracker {
    let text = include_str!("../../../drills/slos.yaml");
    let objective = read("slos.yaml", text.as_bytes()).expect("the objectives that ship").remove(0);
    let mut tracker = Tracker::new(Arc::new(objective));
    let now = minute_of(BEGIN_S * 1_000_000);
    for minute in now - MINUTES + 1..=now {
        tracker.count(minute, Counts::of_bad(u64::from(minute % 100 == 0), events));
    }
    tracker
}

fn time(second: i64) -> Time {
    Time { boot_us: second.unsigned_abs() * 1_000_000, wall_us: (BEGIN_S + second) * 1_000_000 }
}

fn evaluate(criterion: &mut Criterion) {
    for events in [60, 600, 60_000] {
        eprintln!("{events} events a minute: {} bytes an objective", full(events).heap_bytes());
    }
    let mut trackers = vec![full(60); OBJECTIVES];
    let mut second = 0;
    criterion.bench_function("a second of 10,000 objectives", |bencher| {
        bencher.iter(|| {
            second += 1;
            let now = time(second);
            for tracker in &mut trackers {
                tracker.count(minute_of(now.wall_us), Counts::of_bad(0, 1));
                black_box(tracker.evaluate(now).standing);
            }
        });
    });
    let tracker = &mut trackers[0];
    tracker.evaluate(time(second));
    criterion.bench_function("a forecast of 30 full days", |bencher| {
        bencher.iter(|| black_box(tracker.forecast()))
    });
}

criterion_group!(benches, evaluate);
criterion_main!(benches);
