//! What is left of samples later: tiers that answer for them, and bytes that are given back.

use std::time::Duration;

use promql::Select;

use super::{dir, hour, only, send};
use crate::fixture::{self, BEGIN_MS, all, labels, sample};
use crate::{Aggregate, Config, Metrics, Retention};

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
