//! A tracker against a recount of the events themselves, and what it is for.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::{SloSeverity, SloStatus, Time};
use proptest::prelude::*;

use super::*;
use crate::counts::Sums;
use crate::minutes::Minutes;
use crate::objective::{Budgeting, SliceTarget};

/// Not a whole number of hours since 1970, so that no window begins with a block by chance.
const BEGIN_S: i64 = 1_700_000_017;

fn objective(percent: f64, period: Minutes, budgeting: Budgeting) -> Arc<Objective> {
    let text = format!(
        "apiVersion: openslo/v1\nkind: SLO\nmetadata: {{name: answers}}\nspec:\n  service: cart\n  budgetingMethod: Occurrences\n  \
         timeWindow: [{{duration: {}m, isRolling: true}}]\n  objectives: [{{targetPercent: {percent}}}]\n  indicator:\n    spec:\n      \
         ratioMetric:\n        bad: {{metricSource: {{type: Homeostat, spec: {{events: requests, outcome: bad}}}}}}\n        \
         total: {{metricSource: {{type: Homeostat, spec: {{events: requests}}}}}}\n",
        period.get()
    );
    let mut objectives = crate::read("slos.yaml", text.as_bytes()).unwrap();
    objectives[0].budgeting = budgeting;
    Arc::new(objectives.remove(0))
}

fn at(second: i64) -> Time {
    Time {
        boot_us: 10_000_000_000 + second.unsigned_abs() * 1_000_000,
        wall_us: (BEGIN_S + second) * 1_000_000,
    }
}

fn minute(second: i64) -> i64 {
    minute_of(at(second).wall_us)
}

/// One step of a story.
#[derive(Debug, Clone)]
enum Step {
    /// Events of a second so many before the clock, or ahead of it.
    Count { ago: i64, bad: u64, good: u64 },
    /// The clock moves, either way.
    Move(i64),
    /// What is known is saved and taken up again.
    Restart,
    /// The windows are looked at.
    Look,
}

fn step() -> impl Strategy<Value = Step> {
    let traffic = prop_oneof![3 => 0..5_u64, 1 => 0..100_000_u64, 1 => Just(0)];
    let ago = prop_oneof![4 => Just(0), 2 => 0..180_i64, 1 => -400..100_000_i64];
    let moved =
        prop_oneof![4 => 0..90_i64, 2 => 60..4_000_i64, 1 => -7_200..7_200_i64, 1 => -90_000..90_000_i64];
    prop_oneof![
        8 => (ago, 0..3_u64, traffic).prop_map(|(ago, bad, good)| Step::Count { ago, bad, good }),
        5 => moved.prop_map(Step::Move),
        1 => Just(Step::Restart),
        4 => Just(Step::Look),
    ]
}

/// What a window holds, counted from the events.
fn recount(events: &[(i64, u64, u64)], budgeting: Budgeting, length: Minutes, now: i64) -> Sums {
    let cell = i64::from(budgeting.cell().get());
    let head = now.div_euclid(cell);
    let cells = i64::from(length.get().div_ceil(budgeting.cell().get()));
    let mut slices: BTreeMap<i64, (u128, u128)> = BTreeMap::new();
    for (minute, bad, total) in events {
        let slice = minute.div_euclid(cell);
        if slice <= head && slice > head - cells {
            let sums = slices.entry(slice).or_default();
            *sums = (sums.0 + u128::from(*bad), sums.1 + u128::from(*total));
        }
    }
    let weighed = slices.values().map(|(bad, total)| match budgeting {
        Budgeting::Occurrences => (*bad, *total),
        _ if *total == 0 => (0, 0),
        Budgeting::Timeslices { least, .. } => {
            let good = (total - bad) as f64 / *total as f64;
            (u128::from(good < f64::from(least.billionths()) / 1e9), 1)
        }
        Budgeting::RatioTimeslices { .. } => {
            ((*bad as f64 / *total as f64 * 1e9).round() as u128, 1_000_000_000)
        }
    });
    let (bad, total) = weighed.fold((0, 0), |(a, b), (bad, total)| (a + bad, b + total));
    Sums { bad, total, measured: slices.len() as u32 }
}

fn budgeting() -> impl Strategy<Value = Budgeting> {
    let slice = prop_oneof![Just(1_u32), Just(5), Just(7)].prop_map(Minutes::new);
    prop_oneof![
        2 => Just(Budgeting::Occurrences),
        1 => slice.clone().prop_map(|slice| {
            Budgeting::Timeslices { slice, least: SliceTarget::from_ratio(0.75).unwrap() }
        }),
        1 => slice.prop_map(|slice| Budgeting::RatioTimeslices { slice }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever comes late, however the clock is set, however often it is restarted: every window holds the events whose
    /// minutes are in it, to the last one.
    #[test]
    fn every_window_equals_a_recount(budgeting in budgeting(), steps in prop::collection::vec(step(), 1..120)) {
        let objective = objective(99.0, Minutes::days(1), budgeting);
        let mut tracker = Tracker::new(objective.clone());
        // Within three days of minutes nothing has to go; see `History`.
        let (earliest, latest) = (0, 3 * 86_400 - 20_000);
        let (mut clock, mut events) = (86_400_i64, Vec::new());
        let mut kept = BTreeMap::new();
        for step in steps {
            match step {
                Step::Count { ago, bad, good } => {
                    let minute = minute((clock - ago).clamp(earliest, latest));
                    events.push((minute, bad, bad + good));
                    tracker.count(minute, Counts::of_bad(bad, bad + good));
                }
                Step::Move(by) => clock = (clock + by).clamp(earliest, latest),
                Step::Restart => {
                    let (saved, oldest) = tracker.save_changed(at(clock));
                    kept.extend(saved.blocks.iter().map(|block| (block.index, block.clone())));
                    kept.retain(|index, _| oldest.is_some_and(|oldest| *index >= oldest));
                    let blocks: Vec<_> = kept.values().cloned().collect();
                    let saved = Saved { blocks, ..saved };
                    prop_assert_eq!(&saved, &tracker.save(at(clock)), "what changed adds up to all");
                    tracker = Tracker::restore(objective.clone(), saved, at(clock)).unwrap();
                }
                Step::Look => {
                    let evaluation = tracker.evaluate(at(clock));
                    for window in tracker.ledger.windows() {
                        let expected = recount(&events, budgeting, window.length, minute(clock));
                        prop_assert_eq!(window.sums, expected, "{}", window.length);
                    }
                    let expected = recount(&events, budgeting, Minutes::days(1), minute(clock));
                    prop_assert_eq!(evaluation.standing.sums, expected);
                }
            }
        }
    }

    /// Also where counts from far ahead push out what is still looked at, the kept sums are those of what is left.
    #[test]
    fn kept_sums_are_those_of_what_is_kept(
        ahead in prop::collection::vec((-30..30_i64, 0..240_i64), 1..80),
    ) {
        let objective = objective(99.0, Minutes::days(1), Budgeting::Occurrences);
        let mut tracker = Tracker::new(objective.clone());
        tracker.evaluate(at(0));
        for (block, cell) in ahead {
            tracker.count(minute(0) + block * 240 + cell, Counts::of_bad(1, 3));
            tracker.evaluate(at(0));
        }
        let saved = tracker.save(at(0));
        // Saving closes the open minute, for which a block may have to go in the copy alone.
        tracker.count(minute(0) + 31 * 240, Counts::NONE);
        tracker.count(minute(0) + 31 * 240 + 1, Counts::NONE);
        let kept = tracker.evaluate(at(0)).standing.sums;
        let mut again = Tracker::restore(objective, saved, at(0)).unwrap();
        again.count(minute(0) + 31 * 240, Counts::NONE);
        again.count(minute(0) + 31 * 240 + 1, Counts::NONE);
        prop_assert_eq!(again.evaluate(at(0)).standing.sums, kept);
    }
}

/// Seconds after the outage began until each severity was told, with ten requests a second before and in it.
fn told_after(percent: f64, period: Minutes, phase: i64) -> BTreeMap<SloSeverity, i64> {
    let mut tracker = Tracker::new(objective(percent, period, Budgeting::Occurrences));
    let begin = 4 * 86_400 + phase;
    let mut told = BTreeMap::new();
    for quiet in minute(0)..minute(begin) {
        tracker.count(quiet, Counts::of_bad(0, 600));
    }
    let seconds = (BEGIN_S + begin).rem_euclid(60).unsigned_abs();
    tracker.count(minute(begin), Counts::of_bad(0, 10 * seconds));
    for second in begin..begin + 600 {
        tracker.count(minute(second), Counts::of_bad(10, 10));
        for alert in tracker.evaluate(at(second)).changes {
            assert_eq!(alert.ended_at, None);
            told.entry(alert.severity).or_insert(second + 1 - begin);
        }
    }
    told
}

#[test]
fn a_full_outage_at_99_9_pages_within_a_minute_in_any_part_of_it() {
    for phase in [0, 13, 30, 47, 59] {
        let told = told_after(99.9, Minutes::days(30), phase);
        assert!((50..=52).contains(&told[&SloSeverity::Page]), "{phase}: {told:?}");
        assert!((250..=260).contains(&told[&SloSeverity::Ticket]), "{phase}: {told:?}");
    }
}

#[test]
fn the_first_failures_after_a_start_are_not_told_before_they_cost_what_they_would_later() {
    for phase in [0, 13, 43, 58] {
        let mut tracker = Tracker::new(objective(99.9, Minutes::days(30), Budgeting::Occurrences));
        for second in 0..3600 {
            // Everything fails for the first ten seconds, as where services are still coming up.
            tracker.count(minute(phase + second), Counts::of_bad(if second < 10 { 10 } else { 0 }, 10));
            assert_eq!(tracker.evaluate(at(phase + second)).changes, [], "{phase}: after {second} s");
        }
        let mut tracker = Tracker::new(objective(99.9, Minutes::days(30), Budgeting::Occurrences));
        let told = (0..600).find(|second| {
            tracker.count(minute(phase + second), Counts::of_bad(10, 10));
            !tracker.evaluate(at(phase + second)).changes.is_empty()
        });
        assert!((50..=52).contains(&told.unwrap()), "{phase}: {told:?}");
    }
}

#[test]
fn what_is_affordable_is_not_told() {
    let mut tracker = Tracker::new(objective(99.0, Minutes::days(30), Budgeting::Occurrences));
    for second in (0..4 * 86_400).step_by(10) {
        // 0.9 % fail, evenly: the budget lasts.
        tracker.count(minute(second), Counts::of_bad(9, 1000));
        assert_eq!(tracker.evaluate(at(second)).changes, []);
    }
    let standing = tracker.evaluate(at(4 * 86_400)).standing;
    assert!(standing.budget_remaining > 0.09 && standing.budget_remaining < 0.11);
    assert_eq!(standing.status, Some(SloStatus::Critical), "a tenth is left");
    assert_eq!(tracker.forecast(), Forecast::Never);
}

#[test]
fn an_outage_is_one_page_that_ends_and_says_what_burned() {
    let mut tracker = Tracker::new(objective(99.9, Minutes::days(30), Budgeting::Occurrences));
    let mut pages = Vec::new();
    for second in 0..3 * 3600 {
        // Fails for 80 seconds after an hour, and again ten seconds in each of the next three minutes: less than what
        // pages over six hours.
        let after = second - 3600;
        let fails = (0..80).contains(&after) || ((120..300).contains(&after) && after % 60 < 10);
        tracker.count(minute(second), Counts::of_bad(if fails { 10 } else { 0 }, 10));
        let changes = tracker.evaluate(at(second)).changes;
        pages.extend(
            changes
                .into_iter()
                .filter(|alert| alert.severity == SloSeverity::Page)
                .map(|alert| (after, alert)),
        );
    }
    let [(began, page), (ended, over)] = &pages[..] else { panic!("{pages:?}") };
    assert!(*began < 60, "{began}");
    assert_eq!((&*page.objective, &*page.service, &*page.name), ("cart-answers", "cart", "answers"));
    assert_eq!(page.burns.iter().map(|burn| burn.window_minutes).collect::<Vec<_>>(), [5, 60]);
    assert!(page.burns.iter().all(|burn| burn.threshold == 14.4 && burn.rate > 14.4), "{page:?}");
    // The short window is clean within five minutes after the last failure, and it is told on for five more.
    assert!((250 + 240 + 300..=250 + 300 + 300).contains(ended), "{ended}");
    assert_eq!(over.started_at, page.started_at);
    assert!(over.ended_at.is_some());
}

#[test]
fn a_restart_neither_repeats_nor_forgets_an_alert() {
    let objective = objective(99.9, Minutes::days(30), Budgeting::Occurrences);
    let mut tracker = Tracker::new(objective.clone());
    let mut changes = Vec::new();
    for second in 0..300 {
        tracker.count(minute(second), Counts::of_bad(10, 10));
        changes.extend(tracker.evaluate(at(second)).changes);
    }
    assert_eq!(changes.len(), 2, "a page and a ticket");
    let mut tracker = Tracker::restore(objective, tracker.save(at(301)), at(302)).unwrap();
    assert_eq!(tracker.evaluate(at(303)).changes, []);
    assert_eq!(tracker.firing().count(), 2);
}

#[test]
fn what_was_saved_otherwise_is_refused() {
    let one = objective(99.0, Minutes::days(1), Budgeting::Occurrences);
    let mut tracker = Tracker::new(one.clone());
    tracker.count(minute(0), Counts::of_bad(1, 2));
    let saved = tracker.save(at(0));
    let refused = |saved| Tracker::restore(one.clone(), saved, at(0)).unwrap_err();
    assert_eq!(refused(Saved { version: 2, ..saved.clone() }), RestoreError::Version { found: 2 });
    assert_eq!(
        refused(Saved { cell_minutes: 5, ..saved.clone() }),
        RestoreError::Slices { found: 5, wanted: 1 }
    );
    let mut damaged = saved;
    damaged.blocks[0].bytes.push(0x80);
    assert_eq!(refused(damaged), RestoreError::Damaged);
}

#[test]
fn a_night_without_traffic_weighs_nothing_and_one_not_measured_is_not_covered() {
    let mut tracker = Tracker::new(objective(99.0, Minutes::days(1), Budgeting::Occurrences));
    for half in 0..720 {
        tracker.count(minute(half * 60), Counts::NONE);
    }
    tracker.count(minute(720 * 60), Counts::of_bad(1, 1000));
    let standing = tracker.evaluate(at(720 * 60)).standing;
    assert_eq!(standing.good, Some(0.999));
    assert_eq!(standing.coverage, 721.0 / 1440.0);
    assert_eq!(standing.status, Some(SloStatus::Healthy));
    let standing = tracker.evaluate(at(5 * 86_400)).standing;
    assert_eq!((standing.status, standing.coverage), (None, 0.0));
}
