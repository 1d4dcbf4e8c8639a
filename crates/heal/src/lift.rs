//! Measures whose time is over are taken back: an opened breaker or an ejected instance when the path
//! around it has been well for a while, every other timed measure when its time has come.
//!
//! A lift is the measure's own exact undo, so it needs no clearance. Timers are rows with a due time.

use std::sync::Arc;
use std::time::Duration;

use act::UndoReport;
use decide::plan::Seen;
use decide::plan::verify::well_again;
use domain::{Action, CauseClass, Intent, Plan, PlanId, PlanStatus, Snapshot, Time};
use store::{Timer, TimerKind};

use crate::healer::Healer;
use crate::telling::{Told, became};
use crate::turn::TurnError;

/// The longest a measure waits for its path to be well.
const WELL_FOR_MAX: Duration = Duration::from_secs(10 * 60);

impl Healer {
    /// Takes back what is over.
    pub(crate) fn lift(&self, snapshot: &Snapshot, told: &mut dyn Told) -> Result<(), TurnError> {
        let due = self.parts.executor.run_due()?;
        for (plan, report) in &due.taken_back {
            self.tell_of_lift(*plan, report, told);
        }
        for (plan, why) in due.failed {
            self.note_trouble(format!("what plan {plan} owes"), why);
        }
        for plan in due.settled {
            let id = plan.plan;
            became(told, "plan settled", id);
            self.note_deed();
            // Its thread has still to come to its end: the verdict is owed until then.
            let runs = self.state().executing.contains(&id);
            if runs || self.apart(format!("outcome of plan {id}"), || self.conclude_settled(id)).is_none() {
                self.state().owed.insert(id);
            }
        }
        self.lift_what_is_well(snapshot, told)?;
        let now = snapshot.taken;
        let expired = |timer: &Timer| timer.kind == TimerKind::ApprovalExpiry;
        for timer in self.parts.store.due_timers(now)?.into_iter().filter(expired) {
            self.apart(format!("approval of plan {}", timer.plan), || self.expire(timer.plan, now, told));
        }
        Ok(())
    }

    /// Tells of a plan of which something was taken back; one of which nothing was is not worth it.
    fn tell_of_lift(&self, plan: PlanId, report: &UndoReport, told: &mut dyn Told) {
        if report.taken_back() > 0 {
            became(told, "plan taken back", plan);
            self.note_deed();
        }
    }

    fn lift_what_is_well(&self, snapshot: &Snapshot, told: &mut dyn Told) -> Result<(), TurnError> {
        let now = snapshot.taken;
        let measures = self.measures_in_force()?;
        // One that was taken back in another way is watched no more.
        self.state().well_since.retain(|id, _| measures.iter().any(|plan| plan.id == *id));
        for plan in measures {
            if well_again(&plan, snapshot, &self.settings().thresholds) != Seen::InBounds {
                self.state().well_since.remove(&plan.id);
                continue;
            }
            let since = *self.state().well_since.entry(plan.id).or_insert(now);
            self.apart(format!("measure {}", plan.id), || -> Result<(), TurnError> {
                if now.since(since) >= self.well_for(&plan, now)? {
                    let report = self.parts.executor.lift_plan(plan.id)?;
                    self.tell_of_lift(plan.id, &report, told);
                    self.state().well_since.remove(&plan.id);
                }
                Ok(())
            });
        }
        Ok(())
    }

    /// How long the path has to be well before this measure is lifted.
    fn well_for(&self, plan: &Plan, now: Time) -> Result<Duration, TurnError> {
        let settings = self.settings();
        let times = &settings.policy.lifting;
        let Intent::Remediation { strategy, cause, .. } = &plan.intent else { return Ok(times.well_for) };
        let throttled = cause.class == CauseClass::Throttled;
        let first = if throttled { times.well_for_throttled } else { times.well_for };
        let history = self.circumstances(now)?.history;
        let earlier = history.within(times.too_early, now).filter(|record| {
            record.plan != plan.id
                && record.strategy == *strategy
                && plan.steps.iter().any(|step| record.targets.contains(&step.action.resource()))
        });
        let doubled = u32::try_from(earlier.count()).unwrap_or(u32::MAX).min(8);
        Ok((first * 2_u32.pow(doubled)).min(WELL_FOR_MAX))
    }

    /// Repairs that ended well and hold an instance or a link out of use. Each has a timer to be lifted by.
    fn measures_in_force(&self) -> Result<Vec<Arc<Plan>>, TurnError> {
        let mut plans = Vec::new();
        for timer in self.parts.store.timers()?.into_iter().filter(|timer| timer.kind == TimerKind::LiftPlan)
        {
            let record = self.parts.store.plan(timer.plan)?;
            let held = record.filter(|record| {
                record.status == PlanStatus::Success
                    && record.plan.steps.iter().any(|s| holds_out_of_use(&s.action))
            });
            plans.extend(held.map(|record| record.plan));
        }
        Ok(plans)
    }

    /// Nobody answered in time. Its timer goes with its state; one that was left behind by an earlier version goes
    /// alone.
    fn expire(&self, plan: PlanId, now: Time, told: &mut dyn Told) -> store::Result<()> {
        let (from, to) = (PlanStatus::AwaitingApproval, PlanStatus::Refused);
        let why = "nobody approved it in time";
        if self.parts.store.set_plan_status(plan, from, to, now, Some(why))? {
            became(told, "approval expired", plan);
            self.note_deed();
        } else {
            self.parts.store.remove_timer(TimerKind::ApprovalExpiry, plan)?;
        }
        Ok(())
    }
}

fn holds_out_of_use(action: &Action) -> bool {
    matches!(action, Action::EjectBackend { .. } | Action::OpenBreaker { .. })
}
