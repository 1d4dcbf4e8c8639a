//! Extremes, sums and means of ranges that slide on: each sample is looked at once, not once for each range that it lies in.
//!
//! Only where that changes no bit. The greatest and the least of a range are the same however they are found. A sum is where
//! all values are whole and none of the sums that come up is too large to be exact: then nothing is lost by rounding, and
//! the sum of a range is the difference of two. Everything else is for the functions that see a whole range.

use std::collections::VecDeque;

/// Up to here every whole number is a number.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// What is known of the values so far.
pub(super) enum Sliding {
    /// Places of values that nothing better came after, the best first; of equal ones all.
    Extreme {
        better: fn(f64, f64) -> bool,
        places: VecDeque<usize>,
        next: usize,
    },
    /// For each place the sum of all values before it.
    Sum(Vec<i64>),
    Mean(Vec<i64>),
}

impl Sliding {
    /// For a function over the ranges of these values; none where it has to see each range.
    pub(super) fn new(function: &str, values: &[f64]) -> Option<Self> {
        let extreme =
            |better: fn(f64, f64) -> bool| Some(Self::Extreme { better, places: VecDeque::new(), next: 0 });
        match function {
            "max_over_time" => extreme(|new, best| new > best),
            "min_over_time" => extreme(|new, best| new < best),
            "sum_over_time" => sums(values).map(Self::Sum),
            "avg_over_time" => sums(values).map(Self::Mean),
            _ => None,
        }
    }

    /// Of the values from one place to another, the latter not included and behind the first; neither may be before what
    /// was asked last.
    pub(super) fn at(&mut self, values: &[f64], from: usize, to: usize) -> f64 {
        match self {
            Self::Extreme { better, places, next } => {
                for (place, value) in values.iter().enumerate().take(to).skip(*next) {
                    // NaN is neither greater nor less.
                    if value.is_nan() {
                        continue;
                    }
                    while places.back().is_some_and(|last| better(*value, values[*last])) {
                        places.pop_back();
                    }
                    places.push_back(place);
                }
                *next = to.max(*next);
                while places.front().is_some_and(|first| *first < from) {
                    places.pop_front();
                }
                // Where there is nothing but NaN, that is what it is.
                places.front().map_or(f64::NAN, |first| values[*first])
            }
            Self::Sum(sums) => (sums[to] - sums[from]) as f64,
            Self::Mean(sums) => (sums[to] - sums[from]) as f64 / (to - from) as f64,
        }
    }
}

/// Of whole numbers; none where one is not, or a sum would not be exact.
fn sums(values: &[f64]) -> Option<Vec<i64>> {
    let mut sums = Vec::with_capacity(values.len() + 1);
    let (mut sum, mut size) = (0, 0.0);
    sums.push(0);
    for value in values {
        size += value.abs();
        // Rounding makes `size` no smaller than the limit where it passes it: the limit is a power of two.
        if value.fract() != 0.0 || size > EXACT_MAX {
            return None;
        }
        sum += *value as i64;
        sums.push(sum);
    }
    Some(sums)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::Sliding;
    use crate::kahan::{Kahan, Mean};

    /// As the functions that see a whole range find it.
    fn scanned(function: &str, range: &[f64]) -> f64 {
        let extreme = |better: fn(f64, f64) -> bool| {
            range
                .iter()
                .skip(1)
                .fold(range[0], |best, new| if better(*new, best) || best.is_nan() { *new } else { best })
        };
        match function {
            "max_over_time" => extreme(|new, best| new > best),
            "min_over_time" => extreme(|new, best| new < best),
            "sum_over_time" => {
                let mut sum = Kahan::default();
                range.iter().for_each(|value| sum.add(*value));
                sum.total()
            }
            _ => {
                let mut mean = Mean::of(range[0]);
                range[1..].iter().for_each(|value| mean.add(*value));
                mean.get()
            }
        }
    }

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            6 => (-1_000_000i64..1_000_000).prop_map(|whole| whole as f64),
            1 => Just(-0.0),
            1 => Just(9e15),
        ]
    }

    fn odd() -> impl Strategy<Value = f64> {
        prop_oneof![4 => value(), 1 => Just(f64::NAN), 1 => Just(f64::INFINITY), 1 => any::<f64>()]
    }

    proptest! {
        /// Sliding finds what looking at each range finds, to the bit.
        #[test]
        fn every_range_is_as_if_it_were_looked_at(
            whole in vec(value(), 1..60),
            any in vec(odd(), 1..60),
            steps in vec((0usize..4, 0usize..4), 1..60),
        ) {
            for (function, values) in [
                ("max_over_time", &any), ("min_over_time", &any), ("sum_over_time", &whole), ("avg_over_time", &whole),
                ("sum_over_time", &any), ("avg_over_time", &any),
            ] {
                let Some(mut sliding) = Sliding::new(function, values) else { continue };
                let (mut from, mut to) = (0, 0);
                for (left, right) in &steps {
                    to = (to + right).min(values.len());
                    from = (from + left).min(to);
                    if from == to {
                        continue;
                    }
                    let (found, wanted) = (sliding.at(values, from, to), scanned(function, &values[from..to]));
                    prop_assert!(
                        found.to_bits() == wanted.to_bits() || (found.is_nan() && wanted.is_nan()),
                        "{function} of {:?}: {found}, not {wanted}", &values[from..to]
                    );
                }
            }
        }
    }

    #[test]
    fn what_is_not_exact_is_looked_at() {
        for values in [&[0.5][..], &[9e15, 9e15], &[f64::NAN], &[f64::INFINITY]] {
            assert!(Sliding::new("sum_over_time", values).is_none(), "{values:?}");
        }
        assert!(Sliding::new("stddev_over_time", &[1.0]).is_none());
    }
}
