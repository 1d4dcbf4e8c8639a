//! The verdict: what is not as expected. Nothing means passed.
//!
//! A run that came out well in another way than expected (another reason, another strategy) is noted beside it
//! and fails nothing.
//!
//! Figures that miss their target are not here: how fast it has to be depends on the machine, whether it
//! worked does not.

use std::fmt;

use serde::Serialize;

use super::super::score::RunScore;
use super::{Report, words};

/// What is not as expected.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Verdict {
    /// By run, those of no run last; empty: passed.
    pub unexpected: Vec<Unexpected>,
    /// What came out well in another way than expected.
    pub notes: Vec<Unexpected>,
}

/// One thing that is not as expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unexpected {
    /// In which run; `None` where it belongs to none.
    pub run: Option<u32>,
    /// What, in one sentence with its explanation.
    pub what: String,
}

impl Verdict {
    /// Whether everything is as expected.
    pub fn passed(&self) -> bool {
        self.unexpected.is_empty()
    }
}

impl fmt::Display for Unexpected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.run {
            Some(run) => write!(f, "run {run}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

pub(super) fn of(report: &Report) -> Verdict {
    let mut unexpected: Vec<Unexpected> = report.runs.iter().flat_map(of_run).collect();
    let mut whole = |what: String| unexpected.push(Unexpected { run: None, what });
    if report.runs.is_empty() {
        whole("no run was made".to_owned());
    }
    for alarm in &report.quiet.false_alarms {
        whole(format!("false alarm in a quiet period: {alarm}"));
    }
    let notes = report.runs.iter().flat_map(notes_of).collect();
    Verdict { unexpected, notes }
}

/// What is not as expected in one run.
pub(super) fn of_run(run: &RunScore) -> Vec<Unexpected> {
    let what = named(run);
    let mut sentences = Vec::new();
    if run.detected_ms.is_none() {
        sentences.push(format!("{what} was not detected"));
    }
    if !run.ended_well_enough() {
        let (outcome, expected) = (words::outcome(run.outcome), words::outcome(run.expected));
        let because = why(run).map(|why| format!(": {why}")).unwrap_or_default();
        sentences.push(format!("{what} came out {outcome}, expected {expected}{because}"));
    }
    sentences.extend(run.left_behind.iter().map(|left| format!("{what} left behind: {left}")));
    sentences.into_iter().map(|what| Unexpected { run: Some(run.number), what }).collect()
}

/// What is to be noted of one run.
fn notes_of(run: &RunScore) -> impl Iterator<Item = Unexpected> + '_ {
    let note = |note| Unexpected { run: Some(run.number), what: format!("{}, {note}", named(run)) };
    run.notes.iter().map(note)
}

/// A run by its row, its fault and its target.
fn named(run: &RunScore) -> String {
    format!("{} ({} on {})", run.row, run.fault, run.target)
}

/// What is known of why a run did not come out as expected: the repair's own words, else how far it came.
fn why(run: &RunScore) -> Option<String> {
    if let Some(explanation) = &run.explanation {
        return Some(explanation.clone());
    }
    run.detected_ms?;
    let tried = run.strategy.as_deref();
    match (run.diagnosed_ms, run.cause_rank, tried) {
        (None, _, None) => Some("it was detected, but no cause was sought".to_owned()),
        (Some(_), None, _) => Some("the true cause is not among those that were named".to_owned()),
        (Some(_), Some(rank), _) if rank > 1 => Some(format!("the true cause was ranked {rank}, not 1")),
        (_, _, None) => Some("no repair was begun".to_owned()),
        (_, _, Some(strategy)) => Some(format!("{strategy} did not bring it back for good")),
    }
}
