//! Runs rows of the matrix, one at a time, and records what is needed to score them.
//!
//! In: a fleet under load with a control plane on it. Out: [`RunFacts`] and quiet-period counts. The runner
//! injects, watches the store and ends the fault; it does not know what a row expects, and the loop does
//! not know that a drill runs.

use std::time::Duration;

use domain::snapshot::{BreakerState, Phase};
use domain::{Clock, Issue, IssueKind, OutcomeKind, Severity, Snapshot, Time};
use observe::Observer;
use store::{IssueFilter, PlanFilter, PlanPurpose, Store, TimerKind};

use super::matrix::Row;
use super::score::{Diagnosis, Repair, RunFacts};
use super::witness::RequestWitnesses;
use crate::experiment::{ChaosError, ExperimentRequest, Experiments, Injected};

/// How often the runner looks.
const POLL: Duration = Duration::from_millis(100);

/// How long everything has to be over before a run ends, so that two issues that follow each other are one
/// run.
const OVER_FOR: Duration = Duration::from_secs(2);

/// The load's requests that ended in a time span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requests {
    /// How many, and how many of them failed, as their witnesses tell.
    pub witnesses: RequestWitnesses,
    /// When the last one failed, as the chosen witness tells.
    pub last_failure_at: Option<Time>,
}

/// A fleet with a control plane on it, as the drill needs it.
pub struct Fleet<'a> {
    /// Its store.
    pub store: &'a Store,
    /// Injects.
    pub experiments: &'a Experiments,
    /// Looks.
    pub observer: &'a Observer,
    /// Tells time.
    pub clock: &'a dyn Clock,
    /// Asks the witnesses for the requests that ended between two times; waits until all of them can be known.
    pub requests: &'a dyn Fn(Time, Time) -> Requests,
    /// Looks for what faults leave behind: processes, limits, files, proxies. One sentence each.
    pub leftovers: &'a dyn Fn() -> Vec<String>,
}

/// How long things may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A run, from the injection until the fault is taken out.
    pub run: Duration,
    /// Until the fleet is quiet again after a run.
    pub settle: Duration,
}

/// Why a run could not be made.
#[derive(Debug, thiserror::Error)]
pub enum DrillError {
    /// The fleet did not become quiet.
    #[error("the fleet is not quiet after {waited:?}: {why}")]
    NotQuiet {
        /// How long it was waited for.
        waited: Duration,
        /// What is still wrong.
        why: String,
    },
    /// The fault could not be injected.
    #[error("row {row}: the fault could not be injected")]
    Inject {
        /// Which row.
        row: String,
        /// Why.
        #[source]
        source: ChaosError,
    },
    /// The fault could not be ended.
    #[error("row {row}: the fault could not be ended")]
    End {
        /// Which row.
        row: String,
        /// Why.
        #[source]
        source: ChaosError,
    },
    /// The fleet cannot be looked at.
    #[error("cannot look at the fleet")]
    Look(#[from] provider::ProviderError),
    /// State cannot be read.
    #[error("cannot read state")]
    Store(#[from] store::StoreError),
}

impl Fleet<'_> {
    /// Makes one run.
    ///
    /// # Errors
    ///
    /// [`DrillError`]; a fault that was injected is taken out all the same.
    pub fn run(&self, row: &Row, limits: Limits) -> Result<RunFacts, DrillError> {
        self.wait_until_quiet(limits.settle)?;
        let left_before = (self.leftovers)();
        let request = ExperimentRequest {
            name: row.name.clone(),
            fault: row.fault.clone(),
            severity: Severity::Medium,
            safety_level: "dev".to_owned(),
            requested_by: "drill".to_owned(),
            abort_when: None,
        };
        let name = || row.name.clone();
        let injected =
            self.experiments.inject(&request).map_err(|source| DrillError::Inject { row: name(), source })?;
        let over = self.wait_until_over(&injected, limits.run);
        self.experiments
            .end(injected.experiment, store::ExperimentStatus::Completed)
            .map_err(|source| DrillError::End { row: name(), source })?;
        let quiet_at = over?;
        let mut facts = self.facts(row, &injected, quiet_at)?;
        self.wait_until_quiet(limits.settle)?;
        facts.left_behind = (self.leftovers)();
        facts.left_behind.retain(|left| !left_before.contains(left));
        Ok(facts)
    }

    /// Lets time pass without a fault and returns the issues that were opened: false alarms. An error budget that burns
    /// within the window after a fault was in force is none: its windows remember the fault's failures.
    ///
    /// # Errors
    ///
    /// [`DrillError`] where the fleet does not become quiet first, or state cannot be read.
    pub fn quiet_period(&self, duration: Duration, limits: Limits) -> Result<Vec<Issue>, DrillError> {
        self.wait_until_quiet(limits.settle)?;
        let from = self.clock.now();
        self.clock.wait(duration);
        let disturbed = self.last_disturbed()?;
        let mut issues = self.issues_since(from)?;
        issues.retain(|issue| !is_consequence(issue, disturbed));
        Ok(issues)
    }

    /// When an experiment was last in force.
    fn last_disturbed(&self) -> store::Result<Option<Time>> {
        let injected = PlanFilter { only: Some(PlanPurpose::Experiment), limit: 1, ..PlanFilter::default() };
        Ok(self.store.plans(&injected)?.first().and_then(|record| record.completed_at.or(record.started_at)))
    }

    /// Waits until nothing is wrong, nothing runs, and nothing is held out of use.
    fn wait_until_quiet(&self, limit: Duration) -> Result<(), DrillError> {
        let from = self.clock.now();
        loop {
            let Some(why) = self.unrest()? else { return Ok(()) };
            let waited = self.clock.now().since(from);
            if waited >= limit {
                return Err(DrillError::NotQuiet { waited, why });
            }
            self.clock.wait(POLL);
        }
    }

    /// What is not quiet, if anything.
    fn unrest(&self) -> Result<Option<String>, DrillError> {
        // A budget burns on while its windows empty, for minutes to days; what burned it has an issue of its own.
        let open = self.store.open_issues()?.into_iter().find(|issue| issue.kind != IssueKind::SloBurn);
        if let Some(issue) = open {
            return Ok(Some(format!("{} on {} is open: {}", issue.kind, issue.resource, issue.description)));
        }
        if let Some(record) = self.store.unfinished_plans()?.into_iter().next() {
            return Ok(Some(format!("a plan is {}: {}", record.status, record.plan.summary)));
        }
        if !self.store.steps_in_force()?.is_empty() {
            return Ok(Some("a fault is in force".to_owned()));
        }
        Ok(unwell(&self.observer.snapshot()?))
    }

    /// Waits until the run is over: something was noticed, nothing runs any more, and either a repair held
    /// or every issue is closed; or until the limit. Returns when all was over, `None` at the limit.
    fn wait_until_over(&self, injected: &Injected, limit: Duration) -> Result<Option<Time>, DrillError> {
        let mut since: Option<Time> = None;
        loop {
            let now = self.clock.now();
            if self.is_over(injected)? {
                let from = *since.get_or_insert(now);
                if now.since(from) >= OVER_FOR {
                    return Ok(Some(from));
                }
            } else {
                since = None;
            }
            if now.since(injected.injected_at) >= limit {
                return Ok(None);
            }
            self.clock.wait(POLL);
        }
    }

    fn is_over(&self, injected: &Injected) -> Result<bool, DrillError> {
        let issues = self.told_directly(injected.injected_at)?;
        let repairs_run = self
            .store
            .unfinished_plans()?
            .iter()
            .any(|record| PlanPurpose::of(&record.plan) == PlanPurpose::Remediation);
        if issues.is_empty() || repairs_run {
            return Ok(false);
        }
        let held = self.repairs(injected.injected_at)?.iter().any(|repair| {
            let kind = repair.outcome.as_ref().map(|outcome| outcome.kind);
            matches!(kind, Some(OutcomeKind::Healed | OutcomeKind::Mitigated))
        });
        Ok(held || issues.iter().all(|issue| issue.closed_at.is_some()))
    }

    fn facts(&self, row: &Row, injected: &Injected, quiet_at: Option<Time>) -> Result<RunFacts, DrillError> {
        let now = self.clock.now();
        let issues = self.told_directly(injected.injected_at)?;
        let mut diagnoses = Vec::new();
        for issue in &issues {
            let text = self.store.document(&store::diagnosis_key(issue.id))?;
            diagnoses.extend(text.and_then(|text| serde_json::from_str::<Diagnosis>(&text).ok()));
        }
        let snapshot = self.observer.snapshot()?;
        let requests = (self.requests)(injected.injected_at, now);
        Ok(RunFacts {
            injected_at: injected.injected_at,
            active_at: Some(injected.active_at),
            repairs: self.repairs(injected.injected_at)?,
            successor_at: successor_executed(row, injected.injected_at, &snapshot),
            ready_again_at: ready_again(row, injected.injected_at, &snapshot),
            issues,
            diagnoses,
            quiet_at,
            last_failure_at: requests.last_failure_at,
            requests: requests.witnesses,
            left_behind: Vec::new(),
        })
    }

    /// The issues opened since that say themselves what is wrong. A burning budget is a consequence of one of them, at the
    /// disturbed service or at its callers: it is neither what has to be detected nor a false alarm.
    fn told_directly(&self, since: Time) -> store::Result<Vec<Issue>> {
        let mut issues = self.issues_since(since)?;
        issues.retain(|issue| issue.kind != IssueKind::SloBurn);
        Ok(issues)
    }

    fn issues_since(&self, since: Time) -> store::Result<Vec<Issue>> {
        self.store.issues(&IssueFilter { since: Some(since), ..IssueFilter::default() })
    }

    /// The repairs begun since, oldest first.
    fn repairs(&self, since: Time) -> store::Result<Vec<Repair>> {
        let filter =
            PlanFilter { since: Some(since), only: Some(PlanPurpose::Remediation), ..PlanFilter::default() };
        let mut repairs: Vec<Repair> = self
            .store
            .plans(&filter)?
            .into_iter()
            .filter_map(|record| {
                let domain::Intent::Remediation { issue, strategy, .. } = record.plan.intent else {
                    return None;
                };
                record.started_at?;
                Some(Repair {
                    issue,
                    strategy,
                    status: record.status,
                    started_at: record.started_at,
                    outcome: record.outcome,
                })
            })
            .collect();
        repairs.sort_by_key(|repair| repair.started_at);
        Ok(repairs)
    }

    /// Whether a measure holds something out of use until it is lifted.
    ///
    /// # Errors
    ///
    /// The store's.
    pub fn measures_in_force(&self) -> store::Result<usize> {
        Ok(self.store.timers()?.iter().filter(|timer| timer.kind == TimerKind::LiftPlan).count())
    }
}

/// Whether an issue says that a budget burns because of a fault that was in force at a time: its longest window reaches
/// back that far.
fn is_consequence(issue: &Issue, disturbed: Option<Time>) -> bool {
    let minutes = issue.metrics.get("window_minutes").copied().unwrap_or(0.0);
    let window = Duration::from_secs_f64(minutes.clamp(0.0, 1e6) * 60.0);
    issue.kind == IssueKind::SloBurn && disturbed.is_some_and(|at| issue.detected_at.since(at) <= window)
}

/// What is not as it should be in a snapshot, if anything.
fn unwell(snapshot: &Snapshot) -> Option<String> {
    for (name, service) in &snapshot.services {
        let ready = service.instances.values().filter(|instance| instance.phase == Phase::Ready).count();
        if ready != service.replicas as usize || service.instances.len() != ready {
            return Some(format!("{ready} of {} instances of {name} are ready", service.replicas));
        }
        if service.rolling_out {
            return Some(format!("{name} is being rolled out"));
        }
    }
    snapshot.links.iter().find_map(|(name, link)| {
        if link.breaker != BreakerState::Closed {
            return Some(format!("the breaker of {name} is not closed"));
        }
        let ejected = link.backends.iter().find(|(_, backend)| backend.ejected)?.0;
        Some(format!("{ejected} is taken out of {name}"))
    })
}

/// When the keeper executed the first process that followed the disturbed one.
fn successor_executed(row: &Row, since: Time, snapshot: &Snapshot) -> Option<Time> {
    let state = snapshot.instance(row.fault.target.instance()?)?;
    state.exits.iter().find(|exit| exit.at.reached(since))?.successor_at
}

/// When the process that followed the disturbed one was ready.
fn ready_again(row: &Row, since: Time, snapshot: &Snapshot) -> Option<Time> {
    let state = snapshot.instance(row.fault.target.instance()?)?;
    let successor = state.started_at.is_some_and(|at| at.boot_us >= since.boot_us);
    (successor && state.phase == Phase::Ready).then_some(state.phase_since)
}
