//! The share of events that has to be good, without rounding.

use std::fmt;

/// What a whole is counted as: shares are parts of a billion.
pub(crate) const WHOLE: u32 = 1_000_000_000;

/// The share of events that has to be good: above none, and less than all, for an objective of 100 % leaves nothing
/// that could be budgeted. In parts of a billion, so that budgets are whole numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target(u32);

/// Why a number is no target.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum TargetError {
    /// Nothing, everything, or no share at all.
    #[error("is {given}, must be more than 0 and less than {whole}: at {whole} there is no error budget")]
    OutOfRange {
        /// What was given.
        given: f64,
        /// What all of it would be: 1 or 100.
        whole: u32,
    },
    /// More decimals than are counted.
    #[error("is {given}, has more decimals than are counted: write at most {decimals}")]
    TooFine {
        /// What was given.
        given: f64,
        /// How many there may be.
        decimals: u32,
    },
}

impl Target {
    /// Of a share of 1, such as 0.999.
    pub(crate) fn from_ratio(ratio: f64) -> Result<Self, TargetError> {
        Self::from_share_of(1, ratio)
    }

    /// Of a share of 100, such as 99.9.
    pub(crate) fn from_percent(percent: f64) -> Result<Self, TargetError> {
        Self::from_share_of(100, percent)
    }

    fn from_share_of(whole: u32, given: f64) -> Result<Self, TargetError> {
        let part = f64::from(WHOLE / whole);
        let billionths = (given * part).round();
        if !(given > 0.0 && given < f64::from(whole)) {
            return Err(TargetError::OutOfRange { given, whole });
        }
        // A decimal of so many digits reads back as the same number; anything finer does not.
        if billionths / part != given || billionths < 1.0 || billionths >= f64::from(WHOLE) {
            return Err(TargetError::TooFine { given, decimals: if whole == 1 { 9 } else { 7 } });
        }
        Ok(Self(billionths as u32))
    }

    /// As a share of 1.
    pub fn ratio(self) -> f64 {
        f64::from(self.0) / f64::from(WHOLE)
    }

    /// As a share of 100.
    pub fn percent(self) -> f64 {
        f64::from(self.0) / f64::from(WHOLE / 100)
    }

    /// The share that may be bad, in parts of a billion: 1 to 999,999,999.
    pub fn budget_billionths(self) -> u32 {
        WHOLE - self.0
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", self.percent())
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_and_a_percentage_are_the_same_target() {
        for (ratio, percent) in [(0.999, 99.9), (0.9995, 99.95), (0.99999, 99.999), (0.85, 85.0), (0.5, 50.0)]
        {
            let target = Target::from_ratio(ratio).unwrap();
            assert_eq!(target, Target::from_percent(percent).unwrap());
            assert_eq!((target.ratio(), target.percent()), (ratio, percent));
        }
        assert_eq!(Target::from_percent(99.9).unwrap().budget_billionths(), 1_000_000);
    }

    #[test]
    fn what_leaves_no_budget_or_is_no_share_is_refused() {
        for percent in [0.0, -1.0, 100.0, 101.0, f64::NAN, f64::INFINITY] {
            assert!(
                matches!(Target::from_percent(percent), Err(TargetError::OutOfRange { .. })),
                "{percent}"
            );
        }
        for percent in [99.999_999_99, 1e-9, 1.0 / 3.0] {
            assert!(matches!(Target::from_percent(percent), Err(TargetError::TooFine { .. })), "{percent}");
        }
    }
}
