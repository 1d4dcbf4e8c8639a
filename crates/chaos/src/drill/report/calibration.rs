//! How often a stated confidence held: a cause named with 90 % should be the true one in nine runs of ten.
//!
//! In: scored runs. Out: learning's own comparison of stated with observed, over the runs that stated one.

use decide::learn::confidence::{Calibration, calibration};
use domain::Percent;

use super::super::score::RunScore;

/// How far stated and observed may be apart, in points (issue of the first landing).
pub(super) const GAP_MAX: f64 = 10.0;

pub(super) fn of(runs: &[RunScore]) -> Calibration {
    let stated: Vec<(Percent, bool)> = runs
        .iter()
        .filter_map(|run| Some((Percent(run.confidence?.clamp(0.0, 100.0)), run.cause_rank == Some(1))))
        .collect();
    calibration(&stated)
}
