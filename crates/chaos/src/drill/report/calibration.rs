//! How often a stated confidence held: a cause named with 90 % should be the true one in nine runs of ten.

use serde::Serialize;

use super::super::score::RunScore;

/// How far stated and observed may be apart, in points (issue of the first landing).
pub(super) const GAP_MAX: f64 = 10.0;

/// Ranges of stated confidence.
const RANGES: usize = 10;

/// Stated against observed, over the runs with a stated confidence.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Calibration {
    /// How many.
    pub runs: usize,
    /// In how many of them the cause that was named first was the true one.
    pub right: usize,
    /// Their mean stated confidence, in percent; `None` without runs.
    pub stated: Option<f64>,
    /// The share that was right, in percent; `None` without runs.
    pub observed: Option<f64>,
    /// The distance between stated and observed, mean over the ranges weighted by their runs (expected
    /// calibration error), in points. Being too sure in one range does not make up for too much doubt in
    /// another. `None` without runs.
    pub gap: Option<f64>,
    /// The ranges of 10 points that hold a run, lowest first.
    pub ranges: Vec<Range>,
}

/// Runs whose stated confidence lies in one range.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Range {
    /// The range begins here, inclusive, in percent.
    pub from: u32,
    /// And ends here, exclusive but for 100.
    pub to: u32,
    /// Runs in it; at least 1.
    pub runs: usize,
    /// In how many of them the cause that was named first was the true one.
    pub right: usize,
    /// Their mean stated confidence, in percent.
    pub stated: f64,
    /// The share that was right, in percent.
    pub observed: f64,
}

pub(super) fn of(runs: &[RunScore]) -> Calibration {
    let stated: Vec<(f64, bool)> = runs
        .iter()
        .filter_map(|run| Some((run.confidence?.clamp(0.0, 100.0), run.cause_rank == Some(1))))
        .collect();
    let ranges: Vec<Range> = (0..RANGES).filter_map(|index| range(index, &stated)).collect();
    let over: Vec<&(f64, bool)> = stated.iter().collect();
    let distance: f64 =
        ranges.iter().map(|range| (range.stated - range.observed).abs() * range.runs as f64).sum();
    let (mean, observed) = means(&over).unzip();
    Calibration {
        runs: stated.len(),
        right: stated.iter().filter(|(_, right)| *right).count(),
        stated: mean,
        observed,
        gap: (!stated.is_empty()).then(|| distance / stated.len() as f64),
        ranges,
    }
}

fn range(index: usize, stated: &[(f64, bool)]) -> Option<Range> {
    let width = 100 / RANGES;
    let inside: Vec<&(f64, bool)> =
        stated.iter().filter(|(value, _)| (*value as usize / width).min(RANGES - 1) == index).collect();
    let (mean, observed) = means(&inside)?;
    Some(Range {
        from: (index * width) as u32,
        to: ((index + 1) * width) as u32,
        runs: inside.len(),
        right: inside.iter().filter(|(_, right)| *right).count(),
        stated: mean,
        observed,
    })
}

/// Mean stated confidence and share of right ones, in percent; `None` without runs.
fn means(runs: &[&(f64, bool)]) -> Option<(f64, f64)> {
    let count = runs.len() as f64;
    let right = runs.iter().filter(|(_, right)| *right).count() as f64;
    let stated: f64 = runs.iter().map(|(stated, _)| stated).sum();
    (count > 0.0).then(|| (stated / count, right / count * 100.0))
}
