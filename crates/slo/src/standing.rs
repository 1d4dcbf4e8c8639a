//! How an objective stands: what is left of its error budget, and until when that lasts.
//!
//! In: the sums of a window. Out: shares and rates. Comparisons with a limit are made in whole numbers; what is shown is
//! rounded once.

use domain::{SloSeverity, SloStatus};

use crate::burn::Factor;
use crate::counts::Sums;
use crate::minutes::Minutes;
use crate::objective::Bound;
use crate::target::{Target, WHOLE};

/// How an objective stands over its period.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Standing {
    /// `None` where nothing was measured: not known is not healthy.
    pub status: Option<SloStatus>,
    /// What was counted.
    pub sums: Sums,
    /// The share that was good, 0 to 1; `None` where there were no events.
    pub good: Option<f64>,
    /// The share of the period's minutes, or slices, that were measured. What was not measured counts neither as good
    /// nor as bad.
    pub coverage: f64,
    /// The share of the error budget that is left: 1 all of it, 0 nothing, below 0 overdrawn. The budget is the part of
    /// the events so far that may be bad.
    pub budget_remaining: f64,
}

/// When the error budget will be used up if what comes is as in the last hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forecast {
    /// Nothing was measured lately.
    Unknown,
    /// It is used up.
    Exhausted,
    /// In so many minutes.
    In(Minutes),
    /// Not at this rate: what burned before leaves the window as fast as this comes in.
    Never,
}

/// How fast an error budget burns.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BurnRate {
    /// Over how long.
    pub window: Minutes,
    /// How many times as fast as would use it up exactly at the end of the period; `None` where there were no events.
    pub rate: Option<f64>,
}

/// Shares of the budget below which the status changes. Harness' SLO dashboard has five levels: healthy above 75 %,
/// observe above 50, need attention above 25, unhealthy above 0, exhausted. "Observe" asks nothing of anybody, so the
/// first two are one here. A burn alert raises the status as well: a page means that the budget will not last.
const WARNING_BELOW: (u128, u128) = (1, 2);
const CRITICAL_BELOW: (u128, u128) = (1, 4);

impl Standing {
    /// Of the sums of a window of so many cells, with the worst alert that fires.
    pub(crate) fn of(target: Target, cells: u32, sums: Sums, firing: Option<SloSeverity>) -> Self {
        let by_budget = status(target, sums);
        let by_alert = firing.map(|severity| match severity {
            SloSeverity::Page => SloStatus::Critical,
            SloSeverity::Ticket => SloStatus::Warning,
        });
        let good = (sums.total > 0).then(|| (sums.total - sums.bad) as f64 / sums.total as f64);
        Self {
            status: (sums.measured > 0).then(|| by_alert.map_or(by_budget, |alert| by_budget.max(alert))),
            sums,
            good,
            coverage: f64::from(sums.measured) / f64::from(cells),
            budget_remaining: 1.0 - burn_rate(target, sums).unwrap_or(0.0),
        }
    }

    /// The minutes of a period that may be bad: those of SPEC's `error_budget.total_minutes`.
    pub fn budget_minutes(target: Target, period: Minutes) -> f64 {
        f64::from(period.get()) * f64::from(target.budget_billionths()) / f64::from(WHOLE)
    }
}

fn status(target: Target, sums: Sums) -> SloStatus {
    // What is left, and the whole, in the same unit; `left` is 0 where it is overdrawn.
    let whole = sums.total * u128::from(target.budget_billionths());
    let left = whole.saturating_sub(sums.bad * u128::from(WHOLE));
    let below = |(part, of): (u128, u128)| left * of < whole * part;
    match () {
        () if whole == 0 => SloStatus::Healthy,
        () if left == 0 => SloStatus::Breached,
        () if below(CRITICAL_BELOW) => SloStatus::Critical,
        () if below(WARNING_BELOW) => SloStatus::Warning,
        () => SloStatus::Healthy,
    }
}

/// The share of bad events over the share that may be bad; `None` without events.
pub(crate) fn burn_rate(target: Target, sums: Sums) -> Option<f64> {
    let allowed = sums.total * u128::from(target.budget_billionths());
    (allowed > 0).then(|| (sums.bad * u128::from(WHOLE)) as f64 / allowed as f64)
}

/// Whether a budget burns too fast, in whole numbers. Without events it does not.
///
/// The largest product is that of a window of 129,600 minutes of 2^50 events, 2^67, with a budget of 2^30 billionths and a
/// numerator below 2^30: 127 bits.
pub(crate) fn burns(target: Target, sums: Sums, factor: Factor, bound: Bound) -> bool {
    let (numerator, denominator) = factor.fraction();
    let rate = sums.bad * u128::from(WHOLE) * u128::from(denominator);
    let limit = sums.total * u128::from(target.budget_billionths()) * u128::from(numerator);
    match bound {
        Bound::Above => rate > limit,
        Bound::AtLeast => sums.total > 0 && rate >= limit,
    }
}

/// Follows a window of `cells` minutes or slices into the future: what was counted leaves it, `lately` comes in.
pub(crate) fn forecast(
    target: Target,
    (sums, cells): (Sums, u32),
    lately: Sums,
    leaving: &[(i64, Sums)],
    cell: Minutes,
) -> Forecast {
    let budget = f64::from(target.budget_billionths()) / f64::from(WHOLE);
    let used_up = |bad: f64, total: f64| bad >= total * budget && bad > 0.0;
    if used_up(sums.bad as f64, sums.total as f64) {
        return Forecast::Exhausted;
    }
    if lately.measured == 0 {
        return Forecast::Unknown;
    }
    let each = f64::from(lately.measured);
    let (bad_each, total_each) = (lately.bad as f64 / each, lately.total as f64 / each);
    let (mut bad, mut total) = (sums.bad as f64, sums.total as f64);
    let mut leaving = leaving.iter().peekable();
    for after in 1..=i64::from(cells) {
        if let Some((_, left)) = leaving.next_if(|(at, _)| *at == after) {
            bad -= left.bad as f64;
            total -= left.total as f64;
        }
        if used_up(bad + bad_each * after as f64, total + total_each * after as f64) {
            return Forecast::In(Minutes::new(after as u32 * cell.get()));
        }
    }
    Forecast::Never
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        Target::from_percent(99.0).unwrap()
    }

    fn sums(bad: u128, total: u128) -> Sums {
        Sums { bad, total, measured: 10 }
    }

    #[test]
    fn the_status_follows_the_budget_and_the_alerts() {
        let status = |bad, firing| Standing::of(target(), 10, sums(bad, 10_000), firing).status.unwrap();
        assert_eq!(status(0, None), SloStatus::Healthy);
        assert_eq!(status(50, None), SloStatus::Healthy);
        assert_eq!(status(51, None), SloStatus::Warning);
        assert_eq!(status(76, None), SloStatus::Critical);
        assert_eq!(status(100, None), SloStatus::Breached);
        assert_eq!(status(0, Some(SloSeverity::Ticket)), SloStatus::Warning);
        assert_eq!(status(0, Some(SloSeverity::Page)), SloStatus::Critical);
        assert_eq!(status(300, Some(SloSeverity::Ticket)), SloStatus::Breached);
    }

    #[test]
    fn an_overdrawn_budget_is_negative_and_nothing_measured_is_no_status() {
        let standing = Standing::of(target(), 20, sums(300, 10_000), None);
        assert_eq!((standing.budget_remaining, standing.coverage, standing.good), (-2.0, 0.5, Some(0.97)));
        let unknown = Standing::of(target(), 20, Sums::default(), None);
        assert_eq!((unknown.status, unknown.coverage, unknown.good), (None, 0.0, None));
        let idle = Standing::of(target(), 20, sums(0, 0), None);
        assert_eq!((idle.status, idle.budget_remaining), (Some(SloStatus::Healthy), 1.0));
    }

    #[test]
    fn a_limit_itself_is_not_above_it() {
        let factor = Factor::Millionths(14_400_000);
        let burns = |bad, bound| burns(target(), sums(bad, 100_000), factor, bound);
        assert!(!burns(14_400, Bound::Above) && burns(14_401, Bound::Above));
        assert!(burns(14_400, Bound::AtLeast) && !burns(14_399, Bound::AtLeast));
        assert!(!super::burns(target(), Sums::default(), factor, Bound::AtLeast));
    }

    #[test]
    fn a_forecast_lets_old_failures_go() {
        let minute = Minutes::new(1);
        let even = |bad: u128| -> Vec<(i64, Sums)> {
            (1..=100).map(|at| (at, Sums { bad, total: 1000, measured: 1 })).collect()
        };
        let forecast = |old: u128, now: u128| {
            let window = Sums { bad: old * 100, total: 100_000, measured: 100 };
            let lately = Sums { bad: now, total: 1000, measured: 1 };
            forecast(target(), (window, 100), lately, &even(old), minute)
        };
        assert_eq!(
            forecast(0, 20),
            Forecast::In(Minutes::new(50)),
            "twice the affordable rate, half the period"
        );
        assert_eq!(forecast(5, 20), Forecast::In(Minutes::new(34)), "half is used, and its share leaves");
        assert_eq!(forecast(9, 9), Forecast::Never, "it stays at nine tenths");
        assert_eq!(forecast(20, 0), Forecast::Exhausted);
        let silent = super::forecast(target(), (Sums::default(), 100), Sums::default(), &[], minute);
        assert_eq!(silent, Forecast::Unknown);
    }
}
