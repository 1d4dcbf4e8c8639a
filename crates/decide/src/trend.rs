//! Where a score is going (SPEC H7): rising, falling or steady over a stated window.
//!
//! In: scores with their times. Out: a direction with the figures it stands on. Scores jump and stay, so a line through
//! them would be moved by one jump: the direction is that of the test of Mann and Kendall, which counts in how many
//! pairs the later score is above the earlier one, with its correction for equal ones; how fast is the median slope of
//! all pairs (Theil, Sen). Rising or falling is said where p ≤ [`P_MAX`] (both sides) and the median slope makes
//! [`CHANGE_MIN`] points or more over the window; steady is said otherwise, and nothing below [`POINTS_MIN`] points.

mod growth;

use std::fmt;

pub use growth::growth;
use serde::Serialize;

use crate::correlate::shift::upper_tail;

/// The largest probability of a chance finding.
pub const P_MAX: f64 = 0.05;

/// The least change over the window that is worth a word, in points of the score.
pub const CHANGE_MIN: f64 = 1.0;

/// With fewer points nothing is said.
pub const POINTS_MIN: usize = 10;

/// More points are averaged to so many: the test looks at every pair.
const POINTS_MAX: usize = 60;

/// Where it is going.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Up.
    Rising,
    /// Down.
    Falling,
    /// Neither, as far as can be told.
    Steady,
}

impl Direction {
    /// The name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rising => "rising",
            Self::Falling => "falling",
            Self::Steady => "steady",
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A direction with what it stands on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trend {
    /// Where it is going.
    pub direction: Direction,
    /// The median slope, in points an hour.
    pub points_per_hour: f64,
    /// From the first score to the last, in seconds.
    pub window_seconds: f64,
    /// How many scores there were.
    pub scores: usize,
}

/// The trend of scores, each with its time in seconds, oldest first. `None` where there are too few, or no time passed.
pub fn trend(scores: &[(f64, f64)]) -> Option<Trend> {
    if scores.len() < POINTS_MIN {
        return None;
    }
    let window_seconds = scores.last()?.0 - scores.first()?.0;
    if window_seconds.is_nan() || window_seconds <= 0.0 {
        return None;
    }
    let points = average(scores);
    let slope = median(&slopes(&points));
    let p = chance(&points);
    let direction = match slope * window_seconds {
        change if p > P_MAX || change.abs() < CHANGE_MIN => Direction::Steady,
        change if change > 0.0 => Direction::Rising,
        _ => Direction::Falling,
    };
    Some(Trend { direction, points_per_hour: slope * 3600.0, window_seconds, scores: scores.len() })
}

/// At most [`POINTS_MAX`] points, each the mean of as many that follow each other.
fn average(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    points.chunks(points.len().div_ceil(POINTS_MAX)).map(mean).collect()
}

fn mean(chunk: &[(f64, f64)]) -> (f64, f64) {
    let n = chunk.len() as f64;
    let (time, score) = chunk.iter().fold((0.0, 0.0), |(t, s), point| (t + point.0, s + point.1));
    (time / n, score / n)
}

fn pairs(points: &[(f64, f64)]) -> impl Iterator<Item = ((f64, f64), (f64, f64))> {
    points.iter().enumerate().flat_map(|(at, one)| points[at + 1..].iter().map(|other| (*one, *other)))
}

/// The slopes of all pairs, smallest first.
fn slopes(points: &[(f64, f64)]) -> Vec<f64> {
    let later = pairs(points).filter(|(a, b)| b.0 > a.0);
    let mut slopes: Vec<f64> = later.map(|(a, b)| (b.1 - a.1) / (b.0 - a.0)).collect();
    slopes.sort_by(f64::total_cmp);
    slopes
}

/// The middle of what is in order; 0 of nothing.
fn median(ordered: &[f64]) -> f64 {
    match ordered.len() {
        0 => 0.0,
        n if n % 2 == 1 => ordered[n / 2],
        n => f64::midpoint(ordered[n / 2 - 1], ordered[n / 2]),
    }
}

/// The probability of as clear an order by chance, both sides.
fn chance(points: &[(f64, f64)]) -> f64 {
    let order: f64 = pairs(points)
        .map(|(a, b)| match b.1.total_cmp(&a.1) {
            std::cmp::Ordering::Less => -1.0,
            std::cmp::Ordering::Equal => 0.0,
            std::cmp::Ordering::Greater => 1.0,
        })
        .sum();
    let variance = spread_of_order(points);
    if variance > 0.0 { (2.0 * upper_tail((order.abs() - 1.0) / variance.sqrt())).min(1.0) } else { 1.0 }
}

/// The variance of the number of pairs in order less those out of order, where there is no order but chance; with the
/// correction for equal values.
fn spread_of_order(points: &[(f64, f64)]) -> f64 {
    let spread = |n: f64| n * (n - 1.0) * (2.0 * n + 5.0);
    let mut values: Vec<f64> = points.iter().map(|point| point.1).collect();
    values.sort_by(f64::total_cmp);
    let ties: f64 = values.chunk_by(|a, b| a == b).map(|same| spread(same.len() as f64)).sum();
    (spread(points.len() as f64) - ties) / 18.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// One score every 30 s.
    fn scores(score: impl Fn(usize) -> f64) -> Vec<(f64, f64)> {
        (0..120).map(|n| (n as f64 * 30.0, score(n))).collect()
    }

    fn direction(scores: &[(f64, f64)]) -> Option<Direction> {
        trend(scores).map(|trend| trend.direction)
    }

    #[test]
    fn a_score_that_sinks_is_falling_and_says_how_fast() {
        let found = trend(&scores(|n| 100.0 - n as f64 / 6.0)).unwrap();
        assert_eq!((found.direction, found.scores), (Direction::Falling, 120));
        assert!((found.points_per_hour + 20.0).abs() < 0.01, "{}", found.points_per_hour);
        assert_eq!(found.window_seconds, 3570.0);
        assert_eq!(direction(&scores(|n| 60.0 + n as f64 / 6.0)), Some(Direction::Rising));
    }

    #[test]
    fn what_stands_still_or_only_dips_once_is_steady() {
        assert_eq!(direction(&scores(|_| 97.0)), Some(Direction::Steady));
        assert_eq!(
            direction(&scores(|n| if (50..60).contains(&n) { 60.0 } else { 97.0 })),
            Some(Direction::Steady)
        );
        let shaking = scores(|n| 90.0 + (n * 7 % 5) as f64);
        assert_eq!(direction(&shaking), Some(Direction::Steady));
        assert_eq!(direction(&scores(|n| 90.0 + n as f64 / 200.0)), Some(Direction::Steady), "not a point");
    }

    #[test]
    fn few_scores_say_nothing() {
        assert_eq!(trend(&scores(|n| n as f64)[..9]), None);
        assert_eq!(trend(&[(5.0, 1.0); 20]), None, "no time passed");
    }

    proptest! {
        #[test]
        fn turned_upside_down_it_goes_the_other_way(values in prop::collection::vec(0_u8..=100, 10..200)) {
            let at = |sign: f64| -> Vec<(f64, f64)> {
                values.iter().enumerate().map(|(n, v)| (n as f64, sign * f64::from(*v))).collect()
            };
            let (up, down) = (trend(&at(1.0)).unwrap(), trend(&at(-1.0)).unwrap());
            prop_assert!((up.points_per_hour + down.points_per_hour).abs() < 1e-6);
            let expected = match up.direction {
                Direction::Rising => Direction::Falling,
                Direction::Falling => Direction::Rising,
                Direction::Steady => Direction::Steady,
            };
            prop_assert_eq!(down.direction, expected);
        }
    }
}
