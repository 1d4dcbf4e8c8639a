//! Plans that were allowed and could not begin yet: what a person approved, and what one asked for while something stood in the
//! way. They wait as pending, and each turn asks the guard again about what is there now.
//!
//! In: what waits, and the latest look. Out: plans that are begun, that go on waiting and say why, that turned out to need an
//! approval and wait for one, or that are refused. Who only asked approves nothing: what waits by such a word is judged without
//! an approval.

use decide::plan::guard::LiftedBy;
use decide::plan::{Approval, Objection, Request, Ruling, guard, plan_operation};
use domain::{Action, Actor, Intent, Plan, PlanId, PlanStatus, Severity, Snapshot, Step, Time};
use store::{LIST_LIMIT_MAX, PlanFilter, PlanPurpose, PlanRecord};

use crate::healer::Healer;
use crate::notice::{Notice, NoticeKind};
use crate::operate::list;
use crate::superseded::sets_the_same;
use crate::turn::TurnError;

/// Whether an approval is among what a plan waits for.
pub(crate) fn wants_approval(reasons: &[Objection]) -> bool {
    reasons.iter().any(|reason| reason.lifted_by() == LiftedBy::Approval)
}

impl Healer {
    /// Asks the guard again about plans that wait for their turn, and runs those it clears. Returns how many were begun.
    pub(crate) fn start_queued(&self, snapshot: &Snapshot) -> Result<usize, TurnError> {
        let mut begun = 0;
        let mut waiting = self.parts.store.unfinished_plans()?;
        waiting.retain(|record| {
            matches!(record.status, PlanStatus::Pending | PlanStatus::AwaitingApproval)
                && PlanPurpose::of(&record.plan) != PlanPurpose::Experiment
        });
        // Who asked first is served first; one that was made in the place of another has its time.
        waiting.sort_by_key(|record| (record.plan.created_at.wall_us, record.plan.id));
        for record in waiting.iter().filter(|record| !self.state().executing.contains(&record.plan.id)) {
            let tend = || match self.is_replaced(record)? {
                true => Ok(false),
                false => self.start_one_queued(record, snapshot),
            };
            begun += usize::from(self.apart(format!("plan {}", record.plan.id), tend).unwrap_or(false));
        }
        Ok(begun)
    }

    /// Whether an operation that waits was followed by another that sets the same, which counts then: the earlier one is refused,
    /// and says so. One that waits for an approval replaces nothing; it may never come.
    fn is_replaced(&self, record: &PlanRecord) -> Result<bool, TurnError> {
        let (store, plan) = (&self.parts.store, &record.plan);
        if PlanPurpose::of(plan) != PlanPurpose::Operation {
            return Ok(false);
        }
        let filter = PlanFilter {
            limit: LIST_LIMIT_MAX,
            resource: plan.steps.first().map(|step| step.action.resource()),
            since: Some(plan.created_at),
            only: Some(PlanPurpose::Operation),
            ..PlanFilter::default()
        };
        let counts = |later: &PlanRecord| match later.status {
            PlanStatus::Pending => {
                !later.reasons.is_empty() || self.state().executing.contains(&later.plan.id)
            }
            status => {
                matches!(status, PlanStatus::InProgress | PlanStatus::Verifying | PlanStatus::Success)
            }
        };
        let replaces = |later: &PlanRecord| {
            let sets = |step: &Step| later.plan.steps.iter().any(|other| sets_the_same(other, step));
            later.plan.created_at.wall_us > plan.created_at.wall_us
                && plan.steps.iter().all(sets)
                && counts(later)
        };
        let Some(later) = store.plans(&filter)?.into_iter().find(replaces) else { return Ok(false) };
        let why = format!("plan {} ({}) was asked for since", later.plan.id, later.plan.summary);
        store.set_plan_status(plan.id, record.status, PlanStatus::Refused, self.now(), Some(&why))?;
        self.note_deed();
        Ok(true)
    }

    fn start_one_queued(&self, record: &PlanRecord, snapshot: &Snapshot) -> Result<bool, TurnError> {
        if record.status != PlanStatus::Pending {
            return Ok(false);
        }
        let store = &self.parts.store;
        let approval = self.approval_of(record)?;
        if let Some(why) = self.is_outdated(record, approval.as_ref(), snapshot.taken)? {
            self.refuse_queued(record.plan.id, why)?;
            return Ok(false);
        }
        let operation = PlanPurpose::of(&record.plan) == PlanPurpose::Operation;
        if operation && store.changed_since(record.plan.id, snapshot.taken)?.is_some() {
            return Ok(false); // the next turn sees what there is now
        }
        let plan = match self.planned_now(record, approval.as_ref(), snapshot) {
            Ok(plan) => plan,
            Err(why) => {
                self.refuse_queued(record.plan.id, &why)?;
                return Ok(false);
            }
        };
        let circumstances = self.circumstances(snapshot.taken)?;
        let settings = self.settings();
        let mut context = Self::guard_context(&settings.policy, snapshot, &circumstances);
        context.approved = approval.as_ref();
        match guard(plan, &context) {
            Ruling::Clear(cleared) => Ok(self.takes_the_place(cleared.plan(), record)?
                && self.start(cleared, &circumstances, snapshot.taken)?),
            Ruling::Wait { plan, reasons: objections } if operation && wants_approval(&objections) => {
                if self.takes_the_place(&plan, record)? {
                    self.await_approval(&plan, &told(&objections), snapshot.taken)?;
                }
                Ok(false)
            }
            // Figures of a repair's reasons, such as how long ago the last try was, change all the time.
            Ruling::Wait { reasons, .. } => {
                let reasons = told(&reasons);
                if operation || !alike(&reasons, &record.reasons) {
                    store.keep_waiting(record.plan.id, &reasons)?;
                }
                Ok(false)
            }
            Ruling::Refuse { reasons, .. } => {
                self.refuse_queued(record.plan.id, &list(&reasons))?;
                Ok(false)
            }
        }
    }

    /// The approval of a plan that waits, as far as it counts: whoever may not approve it has not.
    fn approval_of(&self, record: &PlanRecord) -> Result<Option<Approval>, TurnError> {
        let Some(approval) = act::approval(record) else { return Ok(None) };
        let refused = self.approver_refused(&record.plan.requested_by, &approval.by)?;
        Ok(refused.is_none().then_some(approval))
    }

    /// Why somebody may not approve what was asked for; `None` where they may.
    pub(crate) fn approver_refused(&self, asked: &Actor, who: &str) -> store::Result<Option<String>> {
        let store = &self.parts.store;
        let asked = match asked {
            Actor::Operator(name) => Actor::Operator(store.person_behind(name)?),
            other => other.clone(),
        };
        Ok(self.settings().policy.approval.objection(&asked, &store.person_behind(who)?))
    }

    /// Why a plan that waits is not to be begun any more. One that nobody approved, and that does not say what it waits for, was
    /// left by a control plane that died before it began; what it was for is planned anew on what is seen now.
    fn is_outdated(
        &self,
        record: &PlanRecord,
        approval: Option<&Approval>,
        now: Time,
    ) -> store::Result<Option<&'static str>> {
        let valid = self.settings().policy.limits.approval_valid;
        let asked_for = matches!(record.plan.requested_by, Actor::Operator(_)) && !record.reasons.is_empty();
        match approval {
            Some(approval) if now.since(approval.at) >= valid => return Ok(Some("its approval is too old")),
            None if !asked_for => return Ok(Some("the control plane ended before it was begun")),
            None if now.since(record.plan.created_at) >= valid => {
                return Ok(Some("it could not begin for as long as an approval is good; ask for it again"));
            }
            Some(_) | None => {}
        }
        let Intent::Remediation { issue, .. } = record.plan.intent else { return Ok(None) };
        let over = self.parts.store.issue(issue)?.is_none_or(|issue| issue.closed_at.is_some());
        Ok(over.then_some("the issue is over"))
    }

    /// What a plan that waits comes to on what is there now: which instances a number ends depends on how many there are. What
    /// somebody approved is another plan, without an approval, where it would end more than they were shown. `Err`: why nothing is
    /// to be done any more.
    fn planned_now(
        &self,
        record: &PlanRecord,
        approval: Option<&Approval>,
        snapshot: &Snapshot,
    ) -> Result<Plan, String> {
        let plan = Plan::clone(&record.plan);
        let (Intent::Operation { why }, [step]) = (&plan.intent, plan.steps.as_slice()) else {
            return Ok(plan);
        };
        let Action::SetReplicas { service, replicas } = &step.action else { return Ok(plan) };
        if snapshot.services.get(service).is_some_and(|state| state.replicas == *replicas) {
            return Err(format!("{replicas} replicas of {service} are to run already; nothing would change"));
        }
        let capabilities = self.parts.observer.capabilities();
        let settings = self.settings();
        let request = Request {
            snapshot,
            capabilities: &capabilities,
            policy: &settings.policy,
            id: self.state().ids.next(snapshot.taken),
            now: plan.created_at,
        };
        let (action, by) = (step.action.clone(), plan.requested_by.clone());
        let anew =
            plan_operation(vec![action], why.clone(), by, &request).map_err(|refused| list(&refused))?;
        let covered = anew.blast_radius.iter().all(|resource| plan.blast_radius.contains(resource));
        let same = anew.blast_radius.len() == plan.blast_radius.len() || approval.is_some();
        Ok(if covered && same { plan } else { anew })
    }

    /// Writes a plan down that was made in the place of one that waits, which is refused and names it. `false`: that one does not
    /// wait any more.
    fn takes_the_place(&self, plan: &Plan, of: &PlanRecord) -> Result<bool, TurnError> {
        if plan.id == of.plan.id {
            return Ok(true);
        }
        self.parts.store.add_plan(plan, PlanStatus::Pending, &of.reasons)?;
        let why = format!(
            "another number runs by now than when it was asked for; plan {} was made in its place",
            plan.id
        );
        let placed = self.refuse_queued(of.plan.id, &why)?;
        if !placed {
            self.refuse_queued(plan.id, "what it was made in the place of is over")?;
        }
        Ok(placed)
    }

    fn refuse_queued(&self, id: PlanId, why: &str) -> store::Result<bool> {
        // One that failed before its first step may be watched still.
        self.state().watches.remove(&id);
        self.note_deed();
        self.parts.store.set_plan_status(id, PlanStatus::Pending, PlanStatus::Refused, self.now(), Some(why))
    }

    /// What waited for its turn needs an approval by now, and waits for that.
    fn await_approval(&self, plan: &Plan, reasons: &[String], now: Time) -> Result<(), TurnError> {
        let until = now.plus(self.settings().policy.limits.approval_valid);
        if self.parts.store.await_approval(plan.id, reasons, until, now)? {
            self.note_deed();
            self.call_for_approval(plan);
        }
        Ok(())
    }

    /// Tells people of an operation that waits for an approval.
    pub(crate) fn call_for_approval(&self, plan: &Plan) {
        (self.parts.notify)(Notice {
            kind: NoticeKind::ApprovalNeeded,
            severity: Severity::Medium,
            title: format!("approve or reject: {}", plan.summary),
            resource: plan.steps.first().map(|step| step.action.resource()),
            at: self.now(),
        });
    }
}

fn told(objections: &[Objection]) -> Vec<String> {
    objections.iter().map(Objection::to_string).collect()
}

/// Whether reasons are the same but for their figures.
fn alike(some: &[String], others: &[String]) -> bool {
    let words = |reasons: &[String]| -> Vec<String> {
        reasons.iter().map(|why| why.split(|c: char| c.is_ascii_digit()).collect()).collect()
    };
    words(some) == words(others)
}
