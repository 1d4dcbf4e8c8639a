//! Counts of events, and what they weigh in a budget.

use crate::objective::Budgeting;
use crate::target::WHOLE;

/// Counts of one minute are never more than this; more is counted as this. A quadrillion, which no minute has: it keeps
/// every product of the arithmetic within 128 bits.
pub const COUNT_MAX: u64 = 1 << 50;

/// Events, and how many of them were bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    bad: u64,
    total: u64,
}

impl Counts {
    /// No events, which is a measurement too: it says that there were none.
    pub const NONE: Self = Self { bad: 0, total: 0 };

    /// `bad` of `total`; at most all of them, and at most [`COUNT_MAX`].
    pub fn of_bad(bad: u64, total: u64) -> Self {
        let total = total.min(COUNT_MAX);
        Self { bad: bad.min(total), total }
    }

    /// All of `total` but `good`.
    pub(crate) fn of_good(good: u64, total: u64) -> Self {
        Self::of_bad(total.saturating_sub(good), total)
    }

    /// How many were bad.
    pub fn bad(self) -> u64 {
        self.bad
    }

    /// How many there were.
    pub fn total(self) -> u64 {
        self.total
    }

    /// Both together; at most [`COUNT_MAX`].
    pub fn plus(self, other: Self) -> Self {
        Self::of_bad(self.bad + other.bad, self.total + other.total)
    }
}

/// The contents of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sums {
    /// What was bad: events, slices, or billionths of slices, whatever the budget is of.
    pub bad: u128,
    /// All of it.
    pub total: u128,
    /// Minutes, or slices, of which something is known.
    pub measured: u32,
}

impl Sums {
    pub(crate) fn add(&mut self, other: Self) {
        self.bad += other.bad;
        self.total += other.total;
        self.measured += other.measured;
    }

    pub(crate) fn subtract(&mut self, other: Self) {
        self.bad -= other.bad;
        self.total -= other.total;
        self.measured -= other.measured;
    }
}

impl Budgeting {
    /// What a minute, or a slice, weighs; nothing where it was not measured.
    pub fn weigh(self, counts: Option<Counts>) -> Sums {
        let Some(Counts { bad, total }) = counts else { return Sums::default() };
        let (bad, total) = (u128::from(bad), u128::from(total));
        let whole = u128::from(WHOLE);
        match self {
            Self::Occurrences => Sums { bad, total, measured: 1 },
            _ if total == 0 => Sums { bad: 0, total: 0, measured: 1 },
            Self::Timeslices { least, .. } => {
                let missed = (total - bad) * whole < total * u128::from(least.billionths());
                Sums { bad: missed.into(), total: 1, measured: 1 }
            }
            Self::RatioTimeslices { .. } => {
                // To the nearest billionth of a slice.
                Sums { bad: (bad * whole + total / 2) / total, total: whole, measured: 1 }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::minutes::Minutes;
    use crate::objective::SliceTarget;

    #[test]
    fn a_slice_is_bad_below_its_share_and_not_at_it() {
        let slice = Minutes::new(1);
        let budgeting = Budgeting::Timeslices { slice, least: SliceTarget::from_ratio(0.95).unwrap() };
        let bad = |bad, total| budgeting.weigh(Some(Counts::of_bad(bad, total)));
        assert_eq!(bad(5, 100), Sums { bad: 0, total: 1, measured: 1 });
        assert_eq!(bad(6, 100), Sums { bad: 1, total: 1, measured: 1 });
        assert_eq!(bad(0, 0), Sums { bad: 0, total: 0, measured: 1 });
        assert_eq!(budgeting.weigh(None), Sums::default());
    }

    #[test]
    fn the_mean_of_slices_does_not_weigh_them_by_traffic() {
        let budgeting = Budgeting::RatioTimeslices { slice: Minutes::new(1) };
        let mut sums = budgeting.weigh(Some(Counts::of_bad(1, 2)));
        sums.add(budgeting.weigh(Some(Counts::of_bad(0, 1_000_000))));
        assert_eq!((sums.bad, sums.total), (500_000_000, 2_000_000_000));
    }

    #[test]
    fn no_count_goes_beyond_its_limit() {
        let counts = Counts::of_bad(u64::MAX, u64::MAX).plus(Counts::of_bad(u64::MAX, u64::MAX));
        assert_eq!((counts.bad(), counts.total()), (COUNT_MAX, COUNT_MAX));
        assert_eq!(Counts::of_good(7, 5), Counts::of_bad(0, 5));
    }
}
