//! How fast something that accumulates grows, where it grows steadily (SPEC H5, proactive).
//!
//! In: values with their times. Out: a [`Growth`], or nothing. What is foretold from it makes somebody act, so it has to be
//! more than likely:
//!
//! - The slope is that of Theil and Sen, the median of the slopes of all pairs, which single jumps do not move. Its bounds
//!   are those of Sen (1968), [`SURE`] wide. It grows where the lower one is above 0.
//! - What warms up grows ever slower: the last third of the window is asked by itself, and the smaller slope counts.
//! - What falls back by itself, such as memory that is collected, does not grow: the latest value has to be the highest of
//!   the window, all but [`NEARLY`].
//! - A growth that only just began is lost in a long window, a slow one in a short one. Windows of the whole length, half
//!   of it, a quarter and so on are asked, and the one counts whose growth reaches furthest ([`Growth::reach`]).

use std::time::Duration;

use domain::Growth;

use super::{POINTS_MIN, average, slopes, spread_of_order};

/// Standard deviations from the middle to a bound: the slope is between the two in 99.9 % of cases (quantile of the normal
/// distribution). It is asked every few seconds, so one in a hundred would be too often.
const SURE: f64 = 3.290_527;

/// The latest value is the highest where it is at least this share of it.
const NEARLY: f64 = 0.98;

/// The growth of values, each with its time in seconds, oldest first. Nothing is said of less than `watched_min`.
pub fn growth(values: &[(f64, f64)], watched_min: Duration) -> Option<Growth> {
    let (first, last) = (values.first()?.0, values.last()?.0);
    let halves = std::iter::successors(Some(last - first), |length| Some(length / 2.0));
    halves
        .take_while(|length| *length > 0.0 && *length >= watched_min.as_secs_f64())
        .filter_map(|length| within(&values[values.partition_point(|(at, _)| *at < last - length)..]))
        .max_by(|a, b| a.reach().total_cmp(&b.reach()))
}

/// The growth within one window.
fn within(values: &[(f64, f64)]) -> Option<Growth> {
    let latest = values.last()?.1;
    let highest = values.iter().map(|(_, value)| *value).fold(f64::MIN, f64::max);
    if values.len() < POINTS_MIN || latest < NEARLY * highest {
        return None;
    }
    let points = average(values);
    let slopes = slopes(&points);
    let beside = SURE * spread_of_order(&points).sqrt();
    // Sen's bounds: so many places from the middle of the ordered slopes.
    let at = |place: f64| slopes.get(place.round().clamp(0.0, slopes.len() as f64 - 1.0) as usize).copied();
    let pairs = slopes.len() as f64;
    let lower = if pairs > beside { at((pairs - beside) / 2.0 - 1.0)? } else { return None };
    let upper = at((pairs + beside) / 2.0)?;
    let per_second = super::median(&slopes);
    let lately = super::median(&self::slopes(&points[points.len() * 2 / 3..]));
    let per_second_min = lower.min(lately);
    (per_second_min > 0.0).then(|| Growth {
        per_second: per_second.max(per_second_min),
        per_second_min,
        per_second_max: upper.max(per_second),
        watched: Duration::from_secs_f64(values[values.len() - 1].0 - values[0].0),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTES: Duration = Duration::from_secs(300);

    /// A value every ten seconds, for half an hour.
    fn values(value: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
        (0..180).map(|n| f64::from(n) * 10.0).map(|at| (at, value(at))).collect()
    }

    /// Reproducible noise between -1 and 1.
    fn noise(at: f64) -> f64 {
        (at * 12.9898).sin() * 43758.547 % 1.0
    }

    #[test]
    fn a_leak_is_told_with_its_pace_and_for_no_longer_than_it_was_watched() {
        let found = growth(&values(|at| 1e6 + 1000.0 * at + 500.0 * noise(at)), MINUTES).unwrap();
        assert!((990.0..1010.0).contains(&found.per_second), "{found:?}");
        assert!(found.per_second_min <= found.per_second && found.per_second <= found.per_second_max);
        assert!(found.watched <= Duration::from_secs(1790));
        assert!(found.reach() > 1000.0 * 1500.0, "{found:?}");
    }

    #[test]
    fn a_leak_that_only_just_began_is_told_from_the_short_window() {
        let began = |at: f64| 1e8 + 1e5 * noise(at) + (at - 1300.0).max(0.0) * 50_000.0;
        let found = growth(&values(began), MINUTES).unwrap();
        assert!((45_000.0..55_000.0).contains(&found.per_second), "{found:?}");
        assert!(found.watched < Duration::from_secs(500), "{found:?}");
    }

    #[test]
    fn what_stays_shakes_warms_up_or_falls_back_does_not_grow() {
        let told = |value: &dyn Fn(f64) -> f64| growth(&values(value), MINUTES);
        assert_eq!(told(&|_| 5e7), None, "the same all the time");
        assert_eq!(told(&|at| 5e7 + 1e6 * noise(at)), None, "noise");
        assert_eq!(told(&|at| if at < 900.0 { 5e7 } else { 6e7 }), None, "one step");
        assert_eq!(told(&|at| 5e7 + 1e5 * (at % 200.0)), None, "collected every 200 s");
        assert_eq!(told(&|at| 1e8 - 1000.0 * at), None, "it falls");
        // Warm after five minutes: what is left of its growth reaches next to nowhere.
        let warm = told(&|at| 1e8 * (1.0 - (-at / 100.0).exp()));
        assert!(warm.is_none_or(|found| found.reach() < 1e6), "{warm:?}");
    }

    #[test]
    fn what_fell_has_to_pass_its_highest_again() {
        let cleaned = |at: f64| if at < 1500.0 { 1000.0 * at } else { 1000.0 * (at - 1400.0) };
        assert_eq!(growth(&values(cleaned), MINUTES), None);
    }

    #[test]
    fn too_little_says_nothing() {
        let leak = values(|at| 1e6 + 1000.0 * at);
        assert_eq!(growth(&leak[..30], MINUTES), None, "290 s");
        assert!(growth(&leak[..31], MINUTES).is_some(), "300 s");
        assert_eq!(growth(&leak[..9], Duration::from_secs(10)), None, "nine values");
        assert_eq!(growth(&[], MINUTES), None);
        assert_eq!(growth(&[(5.0, 1.0); 40], Duration::ZERO), None, "no time passed");
    }

    proptest! {
        #[test]
        fn what_is_told_is_in_order_and_what_was_watched(
            steps in prop::collection::vec((1_u32..30, -1e6_f64..2e6), 0..200),
        ) {
            let mut at = (0.0, 1e7_f64);
            let values: Vec<(f64, f64)> = steps.iter().map(|(time, gain)| {
                at = (at.0 + f64::from(*time), (at.1 + gain).max(0.0));
                at
            }).collect();
            if let Some(found) = growth(&values, Duration::from_secs(30)) {
                prop_assert!(found.per_second_min > 0.0);
                prop_assert!(found.per_second_min <= found.per_second && found.per_second <= found.per_second_max);
                prop_assert!(found.watched.as_secs_f64() <= values[values.len() - 1].0 - values[0].0);
            }
        }
    }
}
