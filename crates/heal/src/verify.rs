//! Plans that ran → Outcomes → Lessons: asks detection again about the plan's own signal, on fresh
//! snapshots, until it held or did not. Links are judged by the seconds after the plan's last step: what
//! was slow before it is not the repair's failure.
//!
//! The judgement is [`decide::plan::Verifier`]'s; here are the looking, the writing and the taking back. A
//! watch lives in memory; when the hold window ends is a timer, so that it goes on after a restart of the
//! control plane.

use act::{ActError, in_full};
use decide::detect::{Verdict, verdict};
use decide::plan::verify::credit;
use decide::plan::{Baseline, Observation, Seen, Verification, Verifier, failure_rate_exceeded};
use domain::{Actor, Intent, Outcome, OutcomeKind, Plan, PlanId, PlanStatus, Signal, Time};
use observe::Sighting;
use store::{PlanPurpose, PlanRecord, Timer, TimerKind};

use crate::healer::{Healer, Learning};
use crate::lesson::RATES;
use crate::notice::{Notice, NoticeKind};
use crate::telling::{Phase, Told, of_plan};
use crate::turn::TurnError;

/// A plan whose signal is being watched.
#[derive(Debug, Clone)]
pub(crate) struct Watch {
    /// The callers' side when the plan was made.
    then: Baseline,
    /// Begins when the steps have ended.
    verifier: Option<Verifier>,
    /// Whether the end of its hold window is in the store.
    hold_written: bool,
}

impl Watch {
    /// Whether the signal was seen back in bounds.
    pub(crate) fn passed(&self) -> bool {
        self.verifier.as_ref().is_some_and(|verifier| {
            matches!(verifier.state(), Verification::Passing { .. } | Verification::Healed { .. })
        })
    }
}

impl Healer {
    /// Notes the callers' side before a plan runs.
    pub(crate) fn note_baseline(&self, plan: &Plan) {
        let mut state = self.state();
        let (Some(signal), Some(seen)) = (&plan.verify, &state.seen) else { return };
        let then = Baseline::of(&signal.resource, &seen.snapshot);
        state.watches.insert(plan.id, Watch { then, verifier: None, hold_written: false });
    }

    /// Looks at the signal of every plan that is being verified, and closes those that are decided.
    pub(crate) fn verify(&self, sighting: &Sighting) -> Result<(), TurnError> {
        let owed: Vec<PlanId> = {
            let state = self.state();
            state.owed.difference(&state.executing).copied().collect()
        };
        for plan in owed {
            if self.apart(format!("outcome of plan {plan}"), || self.conclude_settled(plan)).is_some() {
                self.state().owed.remove(&plan);
            }
        }
        if self.state().rate_unjudged {
            self.apart("failure rate", || self.switch_off_where_repairs_fail(self.now()));
        }
        for record in self.parts.store.unfinished_plans()? {
            if record.status == PlanStatus::Verifying
                && PlanPurpose::of(&record.plan) == PlanPurpose::Remediation
            {
                let id = record.plan.id;
                let verify = || self.telling(Phase::Verify, |told| self.verify_one(record, sighting, told));
                self.apart(format!("plan {id}"), verify);
            }
        }
        Ok(())
    }

    fn verify_one(
        &self,
        record: PlanRecord,
        sighting: &Sighting,
        told: &mut dyn Told,
    ) -> Result<(), TurnError> {
        let plan = &record.plan;
        of_plan(told, plan);
        let Some(signal) = plan.verify.clone() else { return Ok(()) };
        let taken = sighting.snapshot().taken;
        let finished_at = self.parts.store.steps_ended_at(plan.id)?.unwrap_or(taken);
        let snapshot = &sighting.since(finished_at);
        let verdict = verdict(signal.kind, &signal.resource, snapshot, &self.settings().thresholds);
        let observation = Observation {
            at: taken,
            seen: match verdict {
                Verdict::Healthy => Seen::InBounds,
                Verdict::Unhealthy(_) => Seen::OutOfBounds,
                Verdict::Unknown => Seen::Unknown,
            },
            callers: Baseline::of(&signal.resource, snapshot),
        };
        let decision = self.observe(plan.id, &signal, finished_at, observation)?;
        let decided = matches!(decision, Verification::Healed { .. } | Verification::NotHealed { .. });
        match &decision {
            Verification::Healed { .. } => told.say("homeostat.outcome", "signal held"),
            Verification::NotHealed { why } => told.failed(&why.to_string()),
            Verification::Pending | Verification::Passing { .. } => {}
        }
        let closed = match decision {
            Verification::Pending => Ok(()),
            Verification::Passing { since } => self.write_hold(plan.id, since.plus(signal.hold)),
            Verification::Healed { verified_at } => self.close(&record, Ok(verified_at), taken),
            Verification::NotHealed { why } => self.close(&record, Err(why.to_string()), taken),
        };
        // It may have its status already, and is not among those that are verified any more.
        if closed.is_err() && decided {
            self.state().owed.insert(record.plan.id);
        }
        closed
    }

    /// Takes one look into the watch of a plan. One that another control plane began goes on where that one
    /// saw the signal pass.
    fn observe(
        &self,
        plan: PlanId,
        signal: &Signal,
        finished_at: Time,
        observation: Observation,
    ) -> Result<Verification, TurnError> {
        let begun = self.state().watches.get(&plan).is_some_and(|watch| watch.verifier.is_some());
        let holds = |timer: &Timer| timer.kind == TimerKind::HoldEnd && timer.plan == plan;
        let end = if begun { None } else { self.parts.store.timers()?.into_iter().find(holds) };
        let mut state = self.state();
        let unseen = Watch { then: observation.callers, verifier: None, hold_written: end.is_some() };
        let watch = state.watches.entry(plan).or_insert(unseen);
        let then = watch.then;
        let verifier = watch.verifier.get_or_insert_with(|| match end {
            Some(end) => {
                let since = end.due.minus(signal.hold);
                Verifier::resumed(signal.clone(), finished_at, then, since, observation.at)
            }
            None => Verifier::new(signal.clone(), finished_at, then),
        });
        Ok(verifier.observe(observation).clone())
    }

    fn write_hold(&self, plan: PlanId, end: Time) -> Result<(), TurnError> {
        let written = |watch: &Watch| watch.hold_written;
        if !self.state().watches.get(&plan).is_some_and(written) {
            self.parts.store.begin_hold(plan, end)?;
            self.note_deed();
            if let Some(watch) = self.state().watches.get_mut(&plan) {
                watch.hold_written = true;
            }
        }
        Ok(())
    }

    /// Gives the verdict; takes the plan back where it did not heal.
    fn close(&self, record: &PlanRecord, verdict: Result<Time, String>, now: Time) -> Result<(), TurnError> {
        let plan = &record.plan;
        let store = &self.parts.store;
        let (kind, verified_at, explanation) = match verdict {
            Ok(at) => (credit(plan), Some(at), None),
            Err(why) => (OutcomeKind::NotHealed, None, Some(why)),
        };
        let mut rolled_back = false;
        if let Some(why) = &explanation {
            let report = self.parts.executor.undo_plan(plan.id, why)?;
            rolled_back = report.taken_back() > 0;
            store.set_plan_status(plan.id, PlanStatus::Verifying, PlanStatus::Failed, now, Some(why))?;
        } else {
            store.set_plan_status(plan.id, PlanStatus::Verifying, PlanStatus::Success, now, None)?;
        }
        let outcome = Outcome {
            plan: plan.id,
            kind,
            started_at: record.started_at,
            verified_at,
            decided_at: now,
            rolled_back,
            explanation,
        };
        self.conclude(plan, &outcome)
    }

    /// Writes an outcome, and learns from it.
    pub(crate) fn conclude(&self, plan: &Plan, outcome: &Outcome) -> Result<(), TurnError> {
        let store = &self.parts.store;
        if let Err(error) = store.save_outcome(outcome, outcome.decided_at) {
            self.state().owed.insert(plan.id);
            return Err(error.into());
        }
        let rates = {
            let mut state = self.state();
            state.watches.remove(&plan.id);
            if let Intent::Remediation { issue, .. } = plan.intent {
                state.waiting.remove(&issue);
            }
            state.rate_unjudged = true;
            state.deeds += 1;
            match self.settings().learning {
                Learning::On => {
                    state.lessons.rates.record(plan, outcome.kind);
                    Some(state.lessons.rates_document()?)
                }
                Learning::Off => None,
            }
        };
        if let Some(rates) = rates {
            self.keep_document(RATES.to_owned(), rates);
        }
        self.switch_off_where_repairs_fail(outcome.decided_at)
    }

    /// More than the allowed share of repairs failed: automation goes off, and a person is called.
    fn switch_off_where_repairs_fail(&self, now: Time) -> Result<(), TurnError> {
        let circumstances = self.circumstances(now)?;
        let exceeded = failure_rate_exceeded(&circumstances.history, &self.settings().policy, now);
        if let Some((rate, runs)) = exceeded.filter(|_| circumstances.switches.automation) {
            self.parts.store.set_automation(false)?;
            (self.parts.notify)(Notice {
                kind: NoticeKind::AutomationOff,
                severity: domain::Severity::High,
                title: format!(
                    "{rate} of the last {runs} repairs failed, above {}: automation is off until somebody turns it on",
                    self.settings().policy.limits.failure_rate_max
                ),
                resource: None,
                at: now,
            });
        }
        self.state().rate_unjudged = false;
        Ok(())
    }

    /// What came of a plan that never got as far as verification.
    pub(crate) fn conclude_unverified(
        &self,
        plan: &Plan,
        ran: Result<act::Ran, ActError>,
    ) -> Result<(), TurnError> {
        let record = self.parts.store.plan(plan.id)?;
        let (kind, rolled_back, why) = match ran {
            Ok(act::Ran::Done { .. }) => return Ok(()),
            // There was no slot after all. A plan somebody approved or was told of waits for one; any other gives way,
            // and the next turn plans again.
            Ok(act::Ran::Taken { why }) => {
                self.state().watches.remove(&plan.id);
                let asked_for = matches!(plan.requested_by, Actor::Operator(_));
                if asked_for || record.as_ref().and_then(act::approval).is_some() {
                    self.parts.store.keep_waiting(plan.id, &[why])?;
                } else {
                    let (from, to) = (PlanStatus::Pending, PlanStatus::Refused);
                    self.parts.store.set_plan_status(plan.id, from, to, self.now(), Some(&why))?;
                }
                return Ok(());
            }
            Ok(act::Ran::Refused { why }) => (OutcomeKind::Refused, false, why),
            Ok(act::Ran::TakenBack { why, report, .. }) => {
                (OutcomeKind::NotHealed, report.taken_back() > 0, why)
            }
            // Somebody rejected it before it began.
            Err(act::ActError::NotRunnable { status: PlanStatus::Refused, entries: 0, .. }) => return Ok(()),
            // It is settled as far as it got, and judged then.
            Err(error) if record.as_ref().is_some_and(|it| it.status == PlanStatus::InProgress) => {
                self.note_trouble(format!("plan {}", plan.id), in_full(&error));
                return Ok(());
            }
            Err(error) => (OutcomeKind::NotHealed, false, error.to_string()),
        };
        let started_at = record.and_then(|record| record.started_at);
        self.conclude(
            plan,
            &Outcome {
                plan: plan.id,
                kind,
                started_at,
                verified_at: None,
                decided_at: self.now(),
                rolled_back,
                explanation: Some(why),
            },
        )
    }

    /// Gives a verdict on repairs a dead control plane left without one.
    ///
    /// # Errors
    ///
    /// The store's.
    pub fn conclude_left_over(&self) -> Result<(), TurnError> {
        for record in self.parts.store.plans_without_outcome()? {
            self.conclude_dead(record)?;
        }
        Ok(())
    }

    /// Gives a verdict on a plan that nobody ran any more and that is settled now. One whose own run is about
    /// to give it is left to that.
    pub(crate) fn conclude_settled(&self, plan: PlanId) -> Result<(), TurnError> {
        match self.parts.store.plan(plan)? {
            Some(record) if !self.state().executing.contains(&plan) => self.conclude_dead(record),
            _ => Ok(()),
        }
    }

    /// The verdict on a repair that ended without one.
    fn conclude_dead(&self, record: PlanRecord) -> Result<(), TurnError> {
        let owed = PlanPurpose::of(&record.plan) == PlanPurpose::Remediation && record.outcome.is_none();
        if !owed || !record.status.is_final() || record.started_at.is_none() {
            return Ok(());
        }
        // It died between the status and the verdict it stands for.
        let healed = record.status == PlanStatus::Success;
        let kind = if healed { credit(&record.plan) } else { OutcomeKind::NotHealed };
        let died = || "the control plane died while it ran".to_owned();
        let outcome = Outcome {
            plan: record.plan.id,
            kind,
            started_at: record.started_at,
            verified_at: record.completed_at.filter(|_| healed),
            decided_at: self.now(),
            rolled_back: record.rolled_back,
            explanation: (!healed).then(|| record.error.unwrap_or_else(died)),
        };
        self.conclude(&record.plan, &outcome)
    }
}
