//! The arrows of the loop, one function each: look, detect, diagnose, plan, and what is done when nothing
//! may be done.

use std::sync::Arc;
use std::time::Duration;

use act::{Circumstances, Progress};
use decide::detect::{IssueChange, detect, track};
use decide::diagnose::diagnose;
use decide::health::health;
use decide::plan::{
    GuardContext, Objection, PlanContext, Planned, Policy, Ruling, WaitReason, plan_repair, storm_in,
};
use domain::{Cause, Intent, Issue, IssueId, Plan, PlanId, PlanStatus, Severity, Snapshot, Time};
use observe::Sighting;
use store::{PlanRecord, Verdict, diagnosis_key};

use crate::healer::{Healer, Seen};
use crate::notice::{Notice, NoticeKind};
use crate::telling::{Phase, Told, changed, of_issue};
use crate::turn::TurnError;
use crate::waiting::Ends;

/// Issues that closed this long ago are shown to tracking, which takes those that come back for the same.
/// Twice its damping window.
const LATELY: Duration = Duration::from_secs(120);

/// A storm that comes back later than this is another one.
const STORM_OVER: Duration = Duration::from_secs(60);

/// Below this health a person looks at the whole (specification H8).
const HEALTH_REVIEW: u8 = 70;

impl Healer {
    /// Signals → Snapshot.
    pub(crate) fn look(&self) -> Result<Sighting, TurnError> {
        Ok(self.parts.observer.look()?)
    }

    /// Snapshot → Issues. Returns the open ones, after the changes were written. Where they cannot be, what was
    /// written before counts: what is new is found again by the next turn.
    pub(crate) fn detect(
        &self,
        snapshot: &Arc<Snapshot>,
        told: &mut dyn Told,
    ) -> Result<Vec<Issue>, TurnError> {
        let store = &self.parts.store;
        let settings = self.settings();
        let thresholds = &settings.thresholds;
        let findings = detect(snapshot, thresholds);
        let before = store.open_issues()?;
        let closed = self.closed_lately(snapshot.taken)?;
        let mut changes = {
            let ids = &mut self.state().ids;
            let mut next_id = || ids.next::<IssueId>(snapshot.taken);
            track(&before, &findings, snapshot, thresholds, &closed, &mut next_id)
        };
        let issues: Vec<&Issue> = changes.iter().map(IssueChange::issue).collect();
        if self.apart("issues", || store.save_issues(&issues)).is_none() {
            let known = |change: &IssueChange| matches!(change, IssueChange::Seen(issue) if before.iter().any(|open| open.id == issue.id));
            changes.retain(known);
        }
        self.tell_changes(&changes, told);
        let mut state = self.state();
        for change in &changes {
            if let Some(closed) = &mut state.closed {
                closed.retain(|issue| issue.id != change.issue().id);
            }
            if let IssueChange::Closed(issue) = change {
                state.closed.get_or_insert_default().push(issue.clone());
                state.waiting.remove(&issue.id);
                state.turned_down.remove(&issue.id);
                state.diagnosed.remove(&issue.id);
            }
        }
        let found = |change: &IssueChange| matches!(change, IssueChange::Opened(_) | IssueChange::Seen(_));
        state.found = changes.iter().filter(|change| found(change)).map(|change| change.issue().id).collect();
        self.call_in_a_storm(&mut state.storm_seen, snapshot);
        drop(state);
        let open = after(before, changes);
        let health = health(snapshot, &open);
        self.call_for_a_review(&health, snapshot.taken);
        self.apart("health score", || self.store_health(&health, snapshot.taken));
        self.state().seen = Some(Seen { snapshot: Arc::clone(snapshot), health });
        Ok(open)
    }

    fn tell_changes(&self, changes: &[IssueChange], told: &mut dyn Told) {
        for change in changes {
            match change {
                IssueChange::Opened(issue) => changed(told, "issue opened", issue),
                IssueChange::Closed(issue) => changed(told, "issue closed", issue),
                _ => continue,
            }
            self.note_deed();
        }
    }

    /// The issues that closed lately. Those that closed before are over for good, and so is what waits for them.
    fn closed_lately(&self, now: Time) -> store::Result<Vec<Issue>> {
        let known = self.state().closed.clone();
        let mut closed = match known {
            Some(closed) => closed,
            None => self.closed_before()?,
        };
        let lately = |issue: &Issue| issue.closed_at.is_some_and(|at| now.since(at) < LATELY);
        let mut lasting = Vec::new();
        for issue in closed.extract_if(.., |issue| !lately(issue)) {
            if self.apart(format!("plans of {}", issue.id), || self.withdraw_plans_of(&issue, now)).is_none()
            {
                lasting.push(issue);
                continue;
            }
            let mut state = self.state();
            state.refused.retain(|(id, _)| *id != issue.id);
            state.called.remove(&issue.id);
        }
        self.state().closed = Some(closed.iter().cloned().chain(lasting).collect());
        Ok(closed)
    }

    /// The issues that closed last, and the closed ones for which a plan is still there, for a control plane that just
    /// began.
    fn closed_before(&self) -> store::Result<Vec<Issue>> {
        let store = &self.parts.store;
        let mut issues = store.issues_closed_last()?;
        let issue_of = |record: &PlanRecord| match record.plan.intent {
            Intent::Remediation { issue, .. } => Some(issue),
            _ => None,
        };
        let mut planned: Vec<IssueId> = store.unfinished_plans()?.iter().filter_map(issue_of).collect();
        planned.retain(|id| issues.iter().all(|issue| issue.id != *id));
        issues.extend(store.issues_by_id(&planned)?.into_iter().filter(|issue| issue.closed_at.is_some()));
        Ok(issues)
    }

    /// What waits for a person or a slot to repair an issue that is over for good is not needed any more. One
    /// that comes and goes keeps its plan, so that nobody is asked every time.
    fn withdraw_plans_of(&self, issue: &Issue, now: Time) -> store::Result<()> {
        let store = &self.parts.store;
        for record in store.plans_of_issue(issue.id)? {
            if matches!(record.status, PlanStatus::AwaitingApproval | PlanStatus::Pending) {
                let why = "the issue is over";
                if store.set_plan_status(
                    record.plan.id,
                    record.status,
                    PlanStatus::Refused,
                    now,
                    Some(why),
                )? {
                    self.note_deed();
                }
            }
        }
        Ok(())
    }

    /// Calls a person when a storm begins, once for each storm.
    fn call_in_a_storm(&self, seen: &mut Option<Time>, snapshot: &Snapshot) {
        let now = snapshot.taken;
        let Some((unwell, of)) = storm_in(snapshot, &self.settings().policy) else { return };
        let another = seen.replace(now).is_none_or(|before| now.since(before) > STORM_OVER);
        if another {
            (self.parts.notify)(Notice {
                kind: NoticeKind::Storm,
                severity: Severity::Critical,
                title: format!(
                    "{unwell} of {of} instances are unwell: only plain restarts go on until a person has looked"
                ),
                resource: None,
                at: now,
            });
        }
    }

    /// Writes a health score every now and then.
    fn store_health(&self, health: &decide::health::Health, now: Time) -> store::Result<()> {
        let stored = self.state().health_stored;
        if stored.is_some_and(|at| now.since(at) < self.settings().health_interval) {
            return Ok(());
        }
        self.parts.store.add_health(&self.record_of(health, now)?)?;
        self.state().health_stored = Some(now);
        Ok(())
    }

    /// Calls for a review when health gets low, once until it is not.
    fn call_for_a_review(&self, health: &decide::health::Health, now: Time) {
        let mut state = self.state();
        if state.health_judged.is_some_and(|at| now.since(at) < self.settings().health_interval) {
            return;
        }
        state.health_judged = Some(now);
        let Some(overall) = health.overall.filter(|overall| *overall < HEALTH_REVIEW) else {
            state.review_called = state.review_called.filter(|_| health.overall.is_none());
            return;
        };
        if state.review_called.replace(now).is_none() {
            (self.parts.notify)(Notice {
                kind: NoticeKind::HealthLow,
                severity: Severity::High,
                title: format!("health is {overall}, below {HEALTH_REVIEW}: an incident review is due"),
                resource: None,
                at: now,
            });
        }
    }

    /// Issues → ranked Causes, of those that were seen in this look. An issue that could not be judged this
    /// time stays open, but nothing is done about it: the cause may be gone, or be our own repair.
    pub(crate) fn diagnose<'a>(
        &self,
        open: &'a [Issue],
        snapshot: &Snapshot,
    ) -> Vec<(&'a Issue, Vec<Cause>)> {
        let seen: Vec<&Issue> = {
            let state = self.state();
            open.iter().filter(|issue| state.found.contains(&issue.id)).collect()
        };
        let causes = |issue: &Issue| {
            self.telling(Phase::Diagnose, |told| {
                let causes = self.causes(issue, snapshot, open);
                of_issue(told, issue.id);
                if let Some(first) = causes.first() {
                    told.say("homeostat.cause.resource", &first.resource.to_string());
                    told.say("homeostat.cause.class", first.class.name());
                }
                Ok(causes)
            })
        };
        let apart =
            |issue: &'a Issue| Some((issue, self.apart(format!("issue {}", issue.id), || causes(issue))?));
        seen.into_iter().filter_map(apart).collect()
    }

    /// The first answer for an issue is kept, with how long it took.
    pub(crate) fn causes(&self, issue: &Issue, snapshot: &Snapshot, open: &[Issue]) -> Vec<Cause> {
        let began = self.now();
        let (causes, first) = {
            let mut state = self.state();
            let causes =
                diagnose(issue, snapshot, open, &self.settings().thresholds, &state.lessons.confidence);
            let first = !causes.is_empty() && state.diagnosed.insert(issue.id);
            (causes, first)
        };
        if first {
            let took_us = u64::try_from(self.now().since(began).as_micros()).unwrap_or(u64::MAX);
            let document = serde_json::json!({
                "issue": issue.id, "at": snapshot.taken, "took_us": took_us, "causes": causes,
            });
            self.keep_document(diagnosis_key(issue.id), document.to_string());
        }
        causes
    }

    /// What the guard and the planner have to know.
    pub(crate) fn circumstances(&self, now: Time) -> Result<Circumstances, TurnError> {
        let state = self.state();
        let progress = |plan: PlanId| match state.watches.get(&plan) {
            Some(watch) if watch.passed() => Progress::Passed,
            _ if state.executing.contains(&plan) => Progress::Begun,
            _ => Progress::AsRecorded,
        };
        Ok(Circumstances::gather(&self.parts.store, now, self.settings().mode, progress)?)
    }

    /// Cause → Plan.
    pub(crate) fn plan(
        &self,
        issue: &Issue,
        causes: &[Cause],
        snapshot: &Snapshot,
        circumstances: &Circumstances,
    ) -> Planned {
        // Asked before anything is locked: the answer may take its time.
        let capabilities = self.parts.observer.capabilities();
        let mut state = self.state();
        let id = state.ids.next::<PlanId>(snapshot.taken);
        plan_repair(
            issue,
            causes,
            &PlanContext {
                snapshot,
                thresholds: &self.settings().thresholds,
                capabilities: &capabilities,
                history: &circumstances.history,
                rates: &state.lessons.rates,
                policy: &self.settings().policy,
                id,
                now: snapshot.taken,
            },
        )
    }

    /// The guard's view.
    pub(crate) fn guard_context<'a>(
        policy: &'a Policy,
        snapshot: &'a Snapshot,
        circumstances: &'a Circumstances,
    ) -> GuardContext<'a> {
        GuardContext {
            now: snapshot.taken,
            snapshot,
            history: &circumstances.history,
            policy,
            switches: &circumstances.switches,
            approved: None,
            running: &circumstances.running,
        }
    }

    /// Nothing was planned: remembers why, and tells a person where nothing ever will be. Returns whether
    /// something is waited for.
    pub(crate) fn wait(&self, issue: &Issue, planned: &Planned) -> bool {
        let (why, waits, ends) = match planned {
            Planned::Plan(_) => return false,
            Planned::Waiting(reasons) if reasons.iter().any(WaitReason::is_brief) => {
                (join(reasons), true, Ends::AnyMoment { since: self.now() })
            }
            Planned::Waiting(reasons) => (join(reasons), true, Ends::Unknown),
            Planned::NoStrategy(rejected) => (join(rejected), false, Ends::Unknown),
        };
        let before = self.note_waiting(issue.id, why.clone(), ends);
        if !waits && before.as_ref() != Some(&why) {
            self.tell(
                NoticeKind::NotHealed,
                issue,
                &format!("{}: no strategy is left: {why}", issue.description),
            );
        }
        waits
    }

    /// Another issue brings the repair.
    pub(crate) fn leave_to(&self, issue: &Issue, other: &Issue) {
        let why = format!("{} on {} says what is wrong, and is repaired", other.kind, other.resource);
        self.note_waiting(issue.id, why, Ends::Unknown);
    }

    /// The guard did not clear a plan: shows it where a person can, remembers why otherwise. Returns
    /// whether something is waited for.
    pub(crate) fn hold(&self, issue: &Issue, ruling: Ruling) -> Result<bool, TurnError> {
        let awaits_approval = ruling.awaits_approval();
        // A storm is called for once, as what it is: see `call_in_a_storm`.
        let calls =
            |reason: &Objection| reason.calls_a_person() && !matches!(reason, Objection::Storm { .. });
        let calling = ruling.reasons().iter().find(|reason| calls(reason)).map(ToString::to_string);
        let reasons: Vec<String> = ruling.reasons().iter().map(ToString::to_string).collect();
        // All of them have to end before it may run.
        let now = self.now();
        let ends: Option<Vec<Time>> = ruling.reasons().iter().map(|reason| reason.ends_at(now)).collect();
        let ends = ends.and_then(|times| times.into_iter().max_by_key(|at| at.boot_us));
        self.note_waiting(issue.id, reasons.join("; "), ends.map_or(Ends::Unknown, Ends::At));
        match ruling {
            Ruling::Clear(_) => Ok(false),
            Ruling::Wait { plan, .. } if awaits_approval => {
                self.ask_for_approval(issue, &plan, &reasons)?;
                Ok(true)
            }
            Ruling::Wait { .. } => {
                self.call_for(issue, calling);
                Ok(true)
            }
            Ruling::Refuse { plan, .. } => {
                self.refuse(issue, &plan, &reasons)?;
                self.call_for(issue, calling);
                Ok(false)
            }
        }
    }

    /// Calls a person for an issue, once as long as it is open: the figures in the reason change every turn.
    fn call_for(&self, issue: &Issue, why: Option<String>) {
        let Some(why) = why else { return };
        if self.state().called.insert(issue.id) {
            self.tell(NoticeKind::RootCauseWork, issue, &format!("{}: {why}", issue.description));
        }
    }

    /// Writes a plan that waits for a person, unless one for this issue and strategy waits already, or a
    /// person said no to one.
    fn ask_for_approval(&self, issue: &Issue, plan: &Plan, reasons: &[String]) -> Result<(), TurnError> {
        let store = &self.parts.store;
        let answered = |record: &PlanRecord| {
            let rejected = record.decision.as_ref().is_some_and(|said| said.verdict == Verdict::Rejected);
            record.plan.strategy() == plan.strategy() && (rejected || !record.status.is_final())
        };
        if store.plans_of_issue(issue.id)?.iter().any(answered) {
            return Ok(());
        }
        let until = plan.created_at.plus(self.settings().policy.limits.approval_valid);
        store.add_plan_to_approve(plan, reasons, until)?;
        self.tell(NoticeKind::ApprovalNeeded, issue, &format!("approve or reject: {}", plan.summary));
        Ok(())
    }

    /// Writes a refused plan down, once for each issue and strategy.
    fn refuse(&self, issue: &Issue, plan: &Plan, reasons: &[String]) -> Result<(), TurnError> {
        let Intent::Remediation { strategy, .. } = plan.intent else { return Ok(()) };
        if !self.state().refused.contains(&(issue.id, strategy)) {
            self.parts.store.add_plan(plan, PlanStatus::Refused, reasons)?;
            self.note_deed();
            self.state().refused.insert((issue.id, strategy));
        }
        Ok(())
    }

    /// Calls a person, which is worth telling too.
    pub(crate) fn tell(&self, kind: NoticeKind, issue: &Issue, title: &str) {
        (self.parts.notify)(Notice {
            kind,
            severity: issue.severity,
            title: title.to_owned(),
            resource: Some(issue.resource.clone()),
            at: self.now(),
        });
        self.note_deed();
    }
}

/// The open issues after some changes, newest first.
fn after(mut open: Vec<Issue>, changes: Vec<IssueChange>) -> Vec<Issue> {
    for change in changes {
        let issue = change.issue();
        open.retain(|before| before.id != issue.id);
        if issue.closed_at.is_none() {
            open.push(issue.clone());
        }
    }
    open.sort_by_key(|issue| std::cmp::Reverse(issue.id));
    open
}

fn join<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
