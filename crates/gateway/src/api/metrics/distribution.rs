//! Values counted in buckets, as Prometheus' histograms have them: cheap to keep and to add up.

use std::time::Duration;

/// How many values are within each of some bounds.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Distribution {
    bounds: &'static [f64],
    /// For each bound, how many are no greater.
    within: Vec<u64>,
    all: u64,
    sum: f64,
}

impl Distribution {
    /// Counts values.
    pub(super) fn of(bounds: &'static [f64], values: impl IntoIterator<Item = f64>) -> Self {
        let mut counted = Self { bounds, within: vec![0; bounds.len()], all: 0, sum: 0.0 };
        for value in values {
            counted.all += 1;
            counted.sum += value;
            for (bound, within) in bounds.iter().zip(&mut counted.within) {
                *within += u64::from(value <= *bound);
            }
        }
        counted
    }

    /// Counts durations, in seconds.
    pub(super) fn of_seconds(bounds: &'static [f64], values: &[Duration]) -> Self {
        Self::of(bounds, values.iter().map(Duration::as_secs_f64))
    }

    /// Both together; they have the same bounds.
    pub(super) fn with(mut self, other: &Self) -> Self {
        for (within, more) in self.within.iter_mut().zip(&other.within) {
            *within += more;
        }
        self.all += other.all;
        self.sum += other.sum;
        self
    }

    /// Each bound with how many are no greater.
    pub(super) fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        self.bounds.iter().copied().zip(self.within.iter().copied())
    }

    pub(super) fn all(&self) -> u64 {
        self.all
    }

    pub(super) fn sum(&self) -> f64 {
        self.sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_that_are_added_are_as_one_of_all_values() {
        const BOUNDS: &[f64] = &[1.0, 10.0];
        let one = Distribution::of(BOUNDS, [0.5, 1.0, 11.0]);
        let other = Distribution::of(BOUNDS, [2.0]);
        assert_eq!(one.with(&other), Distribution::of(BOUNDS, [0.5, 1.0, 11.0, 2.0]));
        let all = Distribution::of(BOUNDS, [0.5, 1.0, 11.0, 2.0]);
        assert_eq!(all.buckets().collect::<Vec<_>>(), [(1.0, 2), (10.0, 3)]);
        assert_eq!((all.all(), all.sum()), (4, 14.5));
    }
}
