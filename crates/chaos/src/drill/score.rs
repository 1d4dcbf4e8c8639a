//! The scorer: what was recorded during one run, against what its row expects.
//!
//! In: facts of one run (times, issues, diagnoses, plans, requests). Out: a [`RunScore`] and, over many, a
//! [`Summary`]. Pure. A time that was not reached is `None`, never 0.

use std::time::Duration;

use domain::{Cause, FaultKind, Issue, IssueId, Outcome, OutcomeKind, PlanStatus, Reason, Strategy, Time};
use serde::{Deserialize, Serialize};

use super::matrix::{Row, TrueCause};
use super::witness::{Agreement, RequestWitnesses};

/// The share of requests that may fail until SLOs say otherwise: 0.1 %.
pub const ERROR_BUDGET: f64 = 0.001;

/// What was recorded of one run.
#[derive(Debug, Clone)]
pub struct RunFacts {
    /// When the fault's step began.
    pub injected_at: Time,
    /// When its effect was proven.
    pub active_at: Option<Time>,
    /// The issues opened since, in any order.
    pub issues: Vec<Issue>,
    /// The first diagnosis of each of them.
    pub diagnoses: Vec<Diagnosis>,
    /// The repairs begun since.
    pub repairs: Vec<Repair>,
    /// When the keeper executed the first successor of the disturbed instance.
    pub successor_at: Option<Time>,
    /// When the disturbed instance, or its successor, was ready again after it was not.
    pub ready_again_at: Option<Time>,
    /// When every issue of the run was closed.
    pub quiet_at: Option<Time>,
    /// Requests that ended between the injection and the end of the run.
    pub requests: RequestWitnesses,
    /// When the last of these failed.
    pub last_failure_at: Option<Time>,
    /// What was found after the run that was not there before, one sentence each.
    pub left_behind: Vec<String>,
}

/// The first ranked answer to "why" for one issue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// Of which issue.
    pub issue: IssueId,
    /// When it was given.
    pub at: Time,
    /// How long it took, in microseconds.
    pub took_us: u64,
    /// The causes, best first.
    pub causes: Vec<Cause>,
}

/// One repair.
#[derive(Debug, Clone)]
pub struct Repair {
    /// Of which issue.
    pub issue: IssueId,
    /// By which strategy.
    pub strategy: Strategy,
    /// Where it ended.
    pub status: PlanStatus,
    /// When its first step began.
    pub started_at: Option<Time>,
    /// What came of it.
    pub outcome: Option<Outcome>,
}

/// One run, scored. Times are milliseconds since the fault's step began.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunScore {
    /// Its number in the drill, from 0.
    pub number: u32,
    /// The row's name.
    pub row: String,
    /// The fault.
    pub fault: String,
    /// Its target.
    pub target: String,
    /// Until the effect was proven.
    pub effect_ms: Option<f64>,
    /// Until the expected issue was open.
    pub detected_ms: Option<f64>,
    /// Until the first diagnosis.
    pub diagnosed_ms: Option<f64>,
    /// How long the first diagnosis took to compute, in milliseconds.
    pub diagnosis_took_ms: Option<f64>,
    /// The place of the true cause in the first diagnosis, from 1.
    pub cause_rank: Option<u32>,
    /// The confidence stated for the first cause, in percent.
    pub confidence: Option<f64>,
    /// The evidence pattern of the first cause.
    pub pattern: Option<String>,
    /// Until something was done: the first step of the first repair, or, where the keeper's standing restart
    /// answered, the start of the successor.
    pub first_action_ms: Option<f64>,
    /// Until the disturbed instance was ready again; where none was lost, until the last failed request.
    /// `None` where neither came to pass: the instance did not come back, or requests went on failing, or
    /// none failed.
    pub serving_ms: Option<f64>,
    /// Until the first passing check of the repair that held.
    pub verified_ms: Option<f64>,
    /// The verdict.
    pub outcome: OutcomeKind,
    /// The verdict that was expected.
    pub expected: OutcomeKind,
    /// The reason of the expected issue.
    #[serde(default)]
    pub reason: Option<Reason>,
    /// Whether outcome, reason and strategy are what the row expects, or the outcome is better.
    #[serde(default)]
    pub as_expected: bool,
    /// What came out well in another way than expected, one sentence each. No failure: notes for who tends
    /// the matrix.
    #[serde(default)]
    pub notes: Vec<String>,
    /// By which strategy; `standing_restart` where the keeper did it by itself.
    pub strategy: Option<String>,
    /// Whether a repair was taken back.
    pub rolled_back: bool,
    /// Why, in one sentence, where it did not heal.
    #[serde(default)]
    pub explanation: Option<String>,
    /// Where the true cause is, and of what class.
    pub true_cause: TrueCause,
    /// Failed requests.
    pub requests_failed: u64,
    /// All requests.
    pub requests: u64,
    /// What these two figures are from. `None` in reports from before spans were asked.
    #[serde(default)]
    pub witnesses: Option<RequestWitnesses>,
    /// Failed ÷ ([`ERROR_BUDGET`] × requests): 1 is the whole budget of that time. `None` without requests.
    pub error_budget_spent: Option<f64>,
    /// What was left behind.
    pub left_behind: Vec<String>,
}

impl RunScore {
    /// Whether the verdict is the one its row expects, however it came about.
    pub(crate) fn ended_as_expected(&self) -> bool {
        self.outcome == self.expected
    }

    /// The same, where a repair instead of a mitigation is no fault.
    pub fn ended_well_enough(&self) -> bool {
        self.ended_as_expected()
            || (self.expected, self.outcome) == (OutcomeKind::Mitigated, OutcomeKind::Healed)
    }

    /// Whether the true cause had to be named: there was a diagnosis, or it was more than the keeper's
    /// standing restart could answer.
    pub(crate) fn asks_for_a_cause(&self) -> bool {
        self.diagnosed_ms.is_some() || self.strategy.as_deref() != Some(STANDING_RESTART)
    }

    /// Whether the fault ends a process at once.
    pub(crate) fn is_crash(&self) -> bool {
        matches!(self.fault.as_str(), "pod_kill" | "pod_deletion")
    }
}

/// The strategy named for what the keeper does by itself.
pub const STANDING_RESTART: &str = "standing_restart";

/// Scores one run.
pub fn score(number: u32, row: &Row, facts: &RunFacts) -> RunScore {
    let since = |at: Time| millis(at.since(facts.injected_at));
    let detected = facts
        .issues
        .iter()
        .filter(|issue| issue.kind == row.expect.issue && names_the_fault(issue, row))
        .min_by_key(|issue| issue.detected_at);
    let diagnosis = first_diagnosis(facts);
    let cause_rank = diagnosis.and_then(|diagnosis| rank(diagnosis, row));
    let first = begun(facts).min_by_key(|repair| repair.started_at);
    let credit = credit(row, facts, detected);
    let by_itself = credit.strategy == Some(STANDING_RESTART);
    let first_begun = first.and_then(|repair| repair.started_at);
    let first_action = first_begun.into_iter().chain(facts.successor_at.filter(|_| by_itself)).min();
    let notes = notes(row, detected, &credit);
    let counted = facts.requests.counted();
    let mut run = RunScore {
        number,
        row: row.name.clone(),
        fault: row.fault.kind.name().to_owned(),
        target: row.fault.target.to_string(),
        effect_ms: facts.active_at.map(since),
        detected_ms: detected.map(|issue| since(issue.detected_at)),
        diagnosed_ms: diagnosis.map(|diagnosis| since(diagnosis.at)),
        diagnosis_took_ms: diagnosis.map(|diagnosis| diagnosis.took_us as f64 / 1000.0),
        cause_rank,
        confidence: diagnosis.and_then(|diagnosis| Some(rounded(diagnosis.causes.first()?.confidence.0, 4))),
        pattern: diagnosis.and_then(|diagnosis| Some(diagnosis.causes.first()?.pattern.clone())),
        first_action_ms: first_action.map(since),
        serving_ms: serving_at(facts, row).map(since),
        verified_ms: credit.verified_at.map(since),
        outcome: credit.outcome,
        expected: row.expect.outcome,
        reason: detected.map(|issue| issue.reason),
        as_expected: false,
        notes,
        strategy: credit.strategy.map(str::to_owned),
        rolled_back: facts.repairs.iter().any(|repair| {
            repair.status == PlanStatus::RolledBack
                || repair.outcome.as_ref().is_some_and(|outcome| outcome.rolled_back)
        }),
        explanation: credit.explanation,
        true_cause: row.expect.cause.clone(),
        requests_failed: counted.failed,
        requests: counted.total,
        witnesses: Some(facts.requests.clone()),
        error_budget_spent: (counted.total > 0)
            .then(|| rounded(counted.failed as f64 / (ERROR_BUDGET * counted.total as f64), 4)),
        left_behind: facts.left_behind.clone(),
    };
    run.as_expected = run.ended_well_enough() && run.notes.is_empty();
    run
}

/// In which way a run came out otherwise than its row expects, beside the verdict itself.
fn notes(row: &Row, detected: Option<&Issue>, credit: &Credit) -> Vec<String> {
    let expected = row.expect.reason;
    let reason = detected.map(|issue| issue.reason).filter(|reason| *reason != expected);
    let of_issue = reason.map(|reason| format!("the reason seen was {reason}, expected {expected}"));
    let expected = row.expect.strategy.map_or(STANDING_RESTART, Strategy::name);
    let strategy = credit.strategy.filter(|strategy| *strategy != expected);
    let of_repair = strategy.map(|strategy| format!("{strategy} was used, expected {expected}"));
    of_issue.into_iter().chain(of_repair).collect()
}

/// What came of a run, and through what.
struct Credit {
    outcome: OutcomeKind,
    strategy: Option<&'static str>,
    verified_at: Option<Time>,
    explanation: Option<String>,
}

fn credit(row: &Row, facts: &RunFacts, detected: Option<&Issue>) -> Credit {
    // A plan for a symptom, begun while the keeper was at it, takes nothing away from the keeper.
    let of_the_fault = |repair: &Repair| detected.is_none_or(|issue| issue.id == repair.issue);
    let kept = row.expect.strategy.is_none() && facts.quiet_at.is_some();
    if let Some(ready_again_at) = facts.ready_again_at.filter(|_| kept && !begun(facts).any(of_the_fault)) {
        let healed = detected.is_some();
        return Credit {
            outcome: if healed { OutcomeKind::Healed } else { OutcomeKind::SelfRecovered },
            strategy: Some(STANDING_RESTART),
            verified_at: Some(ready_again_at),
            explanation: (!healed).then(|| "the keeper restarted it, but no issue was opened".to_owned()),
        };
    }
    if let Some((repair, outcome)) = held(facts, detected) {
        return Credit {
            outcome: outcome.kind,
            strategy: Some(repair.strategy.name()),
            verified_at: outcome.verified_at,
            explanation: outcome.explanation.clone(),
        };
    }
    let tried = begun(facts).min_by_key(|repair| repair.started_at).or(facts.repairs.first());
    Credit {
        outcome: unrepaired(facts),
        strategy: tried.map(|repair| repair.strategy.name()),
        verified_at: None,
        explanation: tried.and_then(|repair| repair.outcome.as_ref()?.explanation.clone()),
    }
}

/// The repairs whose first step began.
fn begun(facts: &RunFacts) -> impl Iterator<Item = &Repair> {
    facts.repairs.iter().filter(|repair| repair.started_at.is_some())
}

/// The repair that held. One for the issue that names the fault goes before one for a symptom of it, a repair
/// before a mitigation, an earlier one before a later one.
fn held<'a>(facts: &'a RunFacts, detected: Option<&Issue>) -> Option<(&'a Repair, &'a Outcome)> {
    facts
        .repairs
        .iter()
        .filter_map(|repair| Some((repair, repair.outcome.as_ref()?)))
        .filter(|(_, outcome)| matches!(outcome.kind, OutcomeKind::Healed | OutcomeKind::Mitigated))
        .min_by_key(|(repair, outcome)| {
            let elsewhere = detected.is_none_or(|issue| issue.id != repair.issue);
            (elsewhere, outcome.kind, outcome.verified_at)
        })
}

/// The verdict where no repair held.
fn unrepaired(facts: &RunFacts) -> OutcomeKind {
    let untouched = begun(facts).next().is_none();
    let came_back = |repair: &Repair| {
        repair.outcome.as_ref().is_some_and(|outcome| outcome.kind == OutcomeKind::SelfRecovered)
    };
    if facts.quiet_at.is_some() && (untouched || facts.repairs.iter().any(came_back)) {
        OutcomeKind::SelfRecovered
    } else if untouched && facts.repairs.iter().any(|repair| repair.status == PlanStatus::Refused) {
        OutcomeKind::Refused
    } else {
        OutcomeKind::NotHealed
    }
}

/// When users were served again. An instance that was lost has to come back; requests that fail until the
/// end of a run that nothing ended are not "served again after the last of them".
fn serving_at(facts: &RunFacts, row: &Row) -> Option<Time> {
    let lost = match &row.fault.kind {
        FaultKind::PodKill | FaultKind::PodDeletion | FaultKind::Pause => true,
        FaultKind::MemoryStress { fill, .. } => fill.0 > 100.0,
        _ => false,
    };
    let over = facts.quiet_at.is_some() || held(facts, None).is_some();
    facts.ready_again_at.or(facts.last_failure_at.filter(|_| over && !lost))
}

/// Whether an issue is about the disturbed resource itself: the same resource, or one of its service (an
/// instance's fault may show on the link to its service).
fn names_the_fault(issue: &Issue, row: &Row) -> bool {
    let target = &row.expect.cause.resource;
    issue.resource == *target
        || (issue.resource.service().is_some() && issue.resource.service() == target.service())
}

/// The diagnosis that the first repair rests on; without a repair the earliest.
fn first_diagnosis(facts: &RunFacts) -> Option<&Diagnosis> {
    let acted_on = begun(facts).min_by_key(|repair| repair.started_at).map(|repair| repair.issue);
    acted_on
        .and_then(|issue| facts.diagnoses.iter().find(|diagnosis| diagnosis.issue == issue))
        .or_else(|| facts.diagnoses.iter().min_by_key(|diagnosis| diagnosis.at))
}

/// The place of the true cause, from 1.
fn rank(diagnosis: &Diagnosis, row: &Row) -> Option<u32> {
    let truth = &row.expect.cause;
    let place = diagnosis
        .causes
        .iter()
        .position(|cause| cause.resource == truth.resource && cause.class == truth.class)?;
    u32::try_from(place + 1).ok()
}

/// Median and 95th percentile in milliseconds, by nearest rank; `None` without values.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// Median.
    pub p50: Option<f64>,
    /// 95th percentile.
    pub p95: Option<f64>,
}

impl Quantiles {
    /// Of some values in milliseconds.
    pub fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.collect();
        sorted.sort_by(f64::total_cmp);
        let at = |q: f64| {
            let rank = (q * sorted.len() as f64).ceil() as usize;
            sorted.get(rank.saturating_sub(1)).copied()
        };
        Self { p50: at(0.50), p95: at(0.95) }
    }
}

/// What a drill says as a whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// How many runs.
    pub runs: usize,
    /// Detected ÷ runs.
    pub detected_ratio: Option<f64>,
    /// Healed ÷ runs expected to heal.
    pub healed_ratio: Option<f64>,
    /// Runs whose outcome, reason and strategy are the expected ones ÷ runs.
    pub as_expected_ratio: Option<f64>,
    /// Runs with the true cause first ÷ runs that had a diagnosis or needed one; what the keeper's standing
    /// restart answered needs none.
    pub cause_first_ratio: Option<f64>,
    /// The mean stated confidence of the first causes, in percent.
    pub confidence_mean: Option<f64>,
    /// Issues opened in quiet periods.
    pub false_alarms: u64,
    /// How long the quiet periods were together.
    pub quiet_seconds: f64,
    /// Things left behind, over all runs.
    pub left_behind: usize,
    /// Times over all runs.
    pub effect_ms: Quantiles,
    /// Likewise.
    pub detected_ms: Quantiles,
    /// Likewise.
    pub first_action_ms: Quantiles,
    /// Likewise.
    pub serving_ms: Quantiles,
    /// Likewise.
    pub verified_ms: Quantiles,
    /// How long diagnoses took to compute.
    pub diagnosis_took_ms: Quantiles,
    /// Over pod_kill and pod_deletion alone.
    pub crash_detected_ms: Quantiles,
    /// Likewise.
    pub crash_serving_ms: Quantiles,
    /// Over pause alone: until the hung instance was replaced and verified.
    pub hang_verified_ms: Quantiles,
    /// Failed requests over all runs.
    pub requests_failed: u64,
    /// Requests over all runs.
    pub requests: u64,
    /// How the two witnesses of requests agree, over the runs in which both were heard.
    #[serde(default)]
    pub agreement: Agreement,
}

/// Sums up the runs of a drill.
pub fn summarise(runs: &[RunScore], false_alarms: u64, quiet: Duration) -> Summary {
    let ratio = |part: usize, whole: usize| (whole > 0).then(|| rounded(part as f64 / whole as f64, 6));
    let count = |pick: fn(&RunScore) -> bool| runs.iter().filter(|run| pick(run)).count();
    let over = |pick: fn(&RunScore) -> Option<f64>| Quantiles::of(runs.iter().filter_map(pick));
    let crash = |pick: fn(&RunScore) -> Option<f64>| {
        Quantiles::of(runs.iter().filter(|run| run.is_crash()).filter_map(pick))
    };
    let confidences: Vec<f64> = runs.iter().filter_map(|run| run.confidence).collect();
    Summary {
        runs: runs.len(),
        detected_ratio: ratio(count(|run| run.detected_ms.is_some()), runs.len()),
        healed_ratio: ratio(
            count(|run| run.expected == OutcomeKind::Healed && run.outcome == OutcomeKind::Healed),
            count(|run| run.expected == OutcomeKind::Healed),
        ),
        as_expected_ratio: ratio(count(|run| run.as_expected), runs.len()),
        cause_first_ratio: ratio(count(|run| run.cause_rank == Some(1)), count(RunScore::asks_for_a_cause)),
        confidence_mean: (!confidences.is_empty())
            .then(|| rounded(confidences.iter().sum::<f64>() / confidences.len() as f64, 4)),
        false_alarms,
        quiet_seconds: quiet.as_secs_f64(),
        left_behind: runs.iter().map(|run| run.left_behind.len()).sum(),
        effect_ms: over(|run| run.effect_ms),
        detected_ms: over(|run| run.detected_ms),
        first_action_ms: over(|run| run.first_action_ms),
        serving_ms: over(|run| run.serving_ms),
        verified_ms: over(|run| run.verified_ms),
        diagnosis_took_ms: over(|run| run.diagnosis_took_ms),
        crash_detected_ms: crash(|run| run.detected_ms),
        crash_serving_ms: crash(|run| run.serving_ms),
        hang_verified_ms: Quantiles::of(
            runs.iter().filter(|run| run.fault == "pause").filter_map(|run| run.verified_ms),
        ),
        requests_failed: runs.iter().map(|run| run.requests_failed).sum(),
        requests: runs.iter().map(|run| run.requests).sum(),
        agreement: Agreement::over(runs.iter().filter_map(|run| run.witnesses.as_ref())),
    }
}

/// To the microsecond, so that the figure in JSON is as short as the measurement is fine.
fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

/// To so many decimal places, for figures that are quotients.
fn rounded(value: f64, places: i32) -> f64 {
    let scale = 10f64.powi(places);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests;
