//! How far a pattern of evidence can be trusted: the smoothed share of recorded runs in which it named the
//! true cause.
//!
//! In: patterns with whether they were right, from drills where the truth is known. Out: a percentage per
//! pattern, and a report of how often stated percentages held. Nothing here ranks causes: the rank comes
//! from the evidence, the confidence from the record.
//!
//! Kept as one JSON file: `{"patterns": {"liveness_failing": {"right": 41, "named": 42}}}`.

use std::collections::BTreeMap;

use domain::Percent;
use serde::{Deserialize, Serialize};

/// How often one pattern named a cause, and how often that was the true one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Runs in which it named the true cause; at most `named`.
    pub right: u64,
    /// Runs in which it named a cause.
    pub named: u64,
}

/// The record of every pattern seen so far.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConfidenceTable {
    /// By the pattern's name.
    pub patterns: BTreeMap<String, Record>,
}

impl ConfidenceTable {
    /// Notes one run in which `pattern` named a cause.
    pub fn record(&mut self, pattern: &str, verdict: Named) {
        let record = self.patterns.entry(pattern.to_owned()).or_default();
        record.named += 1;
        record.right += u64::from(verdict == Named::Right);
    }

    /// The expected share of right answers under a uniform prior, Beta(1, 1): (right + 1) ÷ (named + 2).
    /// 50 % for a pattern without a record. Strictly between 0 % and 100 %.
    pub fn confidence(&self, pattern: &str) -> Percent {
        let Record { right, named } = self.patterns.get(pattern).copied().unwrap_or_default();
        Percent((right.min(named) as f64 + 1.0) / (named as f64 + 2.0) * 100.0)
    }

    /// Adds the counts of another table, such as those of another drill.
    pub fn merge(&mut self, other: &Self) {
        for (pattern, more) in &other.patterns {
            let record = self.patterns.entry(pattern.clone()).or_default();
            record.right += more.right;
            record.named += more.named;
        }
    }
}

/// Whether the cause that was named was the true one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// It was.
    Right,
    /// Another one was.
    Wrong,
}

/// Stated against observed, over runs whose stated confidence lies in one range.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bin {
    /// The range begins here, inclusive.
    pub from: Percent,
    /// And ends here, exclusive but for 100.
    pub to: Percent,
    /// Runs in it; at least 1.
    pub runs: u64,
    /// In how many of them the cause that was named was the true one.
    pub right: u64,
    /// Their mean stated confidence.
    pub stated: Percent,
    /// The share of them that was right.
    pub observed: Percent,
}

/// How well stated confidences held.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Calibration {
    /// Ranges of 10 points that hold at least one run, lowest first.
    pub bins: Vec<Bin>,
    /// Runs in all.
    pub runs: u64,
    /// In how many of them the cause that was named was the true one.
    pub right: u64,
    /// Mean stated confidence; `None` without runs.
    pub stated: Option<Percent>,
    /// Share that was right; `None` without runs.
    pub observed: Option<Percent>,
    /// The mean distance between stated and observed over the ranges, weighted by their runs (expected
    /// calibration error), in points. Being too sure in one range does not make up for too much doubt in
    /// another. `None` without runs.
    pub error: Option<f64>,
}

const BINS: usize = 10;

/// Compares stated confidences with what came of them: (stated, whether the named cause was the true one).
pub fn calibration(runs: &[(Percent, bool)]) -> Calibration {
    let bins: Vec<Bin> = (0..BINS).filter_map(|index| bin(index, runs)).collect();
    let all: Vec<&(Percent, bool)> = runs.iter().collect();
    let (stated, observed) = means(&all).unzip();
    let gaps = bins.iter().map(|bin| (bin.stated.0 - bin.observed.0).abs() * bin.runs as f64);
    Calibration {
        runs: runs.len() as u64,
        right: right(runs.iter()),
        stated,
        observed,
        error: (!runs.is_empty()).then(|| gaps.sum::<f64>() / runs.len() as f64),
        bins,
    }
}

fn bin(index: usize, runs: &[(Percent, bool)]) -> Option<Bin> {
    let width = 100.0 / BINS as f64;
    let inside: Vec<&(Percent, bool)> = runs
        .iter()
        .filter(|(stated, _)| ((stated.0 / width).max(0.0) as usize).min(BINS - 1) == index)
        .collect();
    let (stated, observed) = means(&inside)?;
    let from = Percent(index as f64 * width);
    Some(Bin {
        from,
        to: Percent(from.0 + width),
        runs: inside.len() as u64,
        right: right(inside.iter().copied()),
        stated,
        observed,
    })
}

/// Mean stated confidence and share of right ones; `None` without runs.
fn means(runs: &[&(Percent, bool)]) -> Option<(Percent, Percent)> {
    let stated: f64 = runs.iter().map(|(stated, _)| stated.0).sum();
    let right = right(runs.iter().copied()) as f64;
    let count = runs.len() as f64;
    (count > 0.0).then(|| (Percent(stated / count), Percent(right / count * 100.0)))
}

fn right<'a>(runs: impl Iterator<Item = &'a (Percent, bool)>) -> u64 {
    runs.filter(|(_, right)| *right).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_pattern_without_a_record_is_worth_half() {
        assert_eq!(ConfidenceTable::default().confidence("never seen"), Percent(50.0));
    }

    #[test]
    fn ten_of_ten_is_not_certainty_and_is_above_the_gate_for_acting_alone() {
        let mut table = ConfidenceTable::default();
        for _ in 0..10 {
            table.record("liveness_failing", Named::Right);
        }
        let confidence = table.confidence("liveness_failing").0;
        assert!((confidence - 11.0 / 12.0 * 100.0).abs() < 1e-9);
        table.record("liveness_failing", Named::Wrong);
        assert!(table.confidence("liveness_failing").0 < confidence);
    }

    #[test]
    fn a_table_reads_back_what_it_wrote_and_refuses_unknown_fields() {
        let mut table = ConfidenceTable::default();
        table.record("a", Named::Right);
        table.record("a", Named::Wrong);
        let text = serde_json::to_string(&table).unwrap();
        assert_eq!(text, r#"{"patterns":{"a":{"right":1,"named":2}}}"#);
        assert_eq!(serde_json::from_str::<ConfidenceTable>(&text).unwrap(), table);
        assert!(serde_json::from_str::<ConfidenceTable>(r#"{"pattern":{}}"#).is_err());
    }

    #[test]
    fn the_report_sets_stated_beside_observed_per_range() {
        let mut runs = vec![(Percent(95.0), true); 19];
        runs.push((Percent(95.0), false));
        runs.extend([(Percent(50.0), true), (Percent(50.0), false), (Percent(100.0), true)]);
        let report = calibration(&runs);
        assert_eq!((report.runs, report.right), (23, 21));
        assert_eq!(report.bins.len(), 2);
        assert_eq!((report.bins[0].runs, report.bins[0].observed), (2, Percent(50.0)));
        assert_eq!((report.bins[1].runs, report.bins[1].from), (21, Percent(90.0)));
        assert!(report.error.unwrap() < 1.0, "{report:?}");
        assert_eq!(calibration(&[]).error, None);
    }

    proptest! {
        #[test]
        fn confidence_stays_between_and_follows_the_record(right in 0u64..1000, wrong in 0u64..1000) {
            let record = |right, named| ConfidenceTable {
                patterns: BTreeMap::from([("p".to_owned(), Record { right, named })]),
            }.confidence("p").0;
            let now = record(right, right + wrong);
            prop_assert!(0.0 < now && now < 100.0);
            prop_assert!(record(right + 1, right + wrong + 1) > now);
            prop_assert!(record(right, right + wrong + 1) < now);
        }
    }
}
