//! What people ask of the loop: repair this now, approve, reject, roll back, hands off. Everything passes
//! the same guard.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use act::Circumstances;
use decide::plan::{Approval, Objection, Planned, Request, Ruling, guard, plan_operation};
use domain::{Action, Actor, Intent, IssueId, Plan, PlanId, PlanStatus, Release, ServiceName, Snapshot};
use observe::Sighting;
use provider::ProviderError;
use store::PlanRecord;

use crate::healer::Healer;
use crate::queued::wants_approval;
use crate::superseded::{CHANGED_SINCE, restores};
use crate::turn::TurnError;

/// Whether a plan is only shown or also run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunMode {
    /// Shown with its expected effect; changes nothing.
    DryRun,
    /// Run, as far as the guard allows.
    Run,
}

/// What was named and is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// A service of the fleet.
    Service(ServiceName),
    /// An issue.
    Issue(IssueId),
    /// A plan.
    Plan(PlanId),
    /// An Infrastructure that is up.
    Infrastructure(ServiceName),
}

impl fmt::Display for Missing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(name) => write!(out, "service {name}"),
            Self::Issue(id) => write!(out, "issue {id}"),
            Self::Plan(id) => write!(out, "plan {id}"),
            Self::Infrastructure(name) => write!(out, "infrastructure {name}"),
        }
    }
}

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum OperateError {
    /// It does not exist.
    #[error("there is no {what}; `homeostat issues` and `homeostat status` list what there is")]
    NotFound {
        /// What was named.
        what: Missing,
    },
    /// It is not in the state for that.
    #[error("{what} is {is}, not {expected}")]
    State {
        /// What was named.
        what: String,
        /// The state it is in.
        is: String,
        /// The state it would have to be in.
        expected: &'static str,
    },
    /// It cannot be taken back, or not yet.
    #[error("{what} was not taken back: {why}")]
    NotTakenBack {
        /// What was named, or the step of it.
        what: String,
        /// Why not.
        why: String,
    },
    /// Nothing can be planned.
    #[error("nothing can be done about it now: {why}")]
    NoPlan {
        /// Every reason.
        why: String,
    },
    /// It was asked for wrongly.
    #[error("{why}")]
    Refused {
        /// Every reason, and what to do.
        why: String,
    },
    /// It was allowed, and cannot be done: nothing was begun.
    #[error(transparent)]
    Impossible(ProviderError),
    /// The fleet was not looked at yet.
    #[error("the fleet has not been looked at yet; try again in a moment")]
    NotYet,
    /// The loop's own trouble.
    #[error(transparent)]
    Turn(#[from] TurnError),
}

impl From<store::StoreError> for OperateError {
    fn from(error: store::StoreError) -> Self {
        Self::Turn(error.into())
    }
}

/// What a person's word comes to who asks for a plan.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Word<'a> {
    /// It approves the plan too, unless policy asks for two people.
    Approves(&'a str),
    /// It asks only: what needs an approval waits for one.
    Asks(&'a str),
}

impl<'a> Word<'a> {
    fn whose(self) -> &'a str {
        match self {
            Self::Approves(who) | Self::Asks(who) => who,
        }
    }
}

/// A plan and what the guard says of it.
#[derive(Debug, Clone)]
pub struct Proposal {
    /// The plan; after a dry run it is kept nowhere.
    pub plan: Plan,
    /// Where it is: pending where it waits for a slot or a window, and for a dry run that the guard would not refuse and that
    /// could be done.
    pub status: PlanStatus,
    /// The guard's reasons to wait or refuse, or why the repair that is shown cannot be done; empty where it clears.
    pub reasons: Vec<String>,
}

/// What a service is to run, as far as it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deploy {
    /// What it is called.
    pub version: String,
    /// Program and arguments; `None`: as they are.
    pub command: Option<Vec<String>>,
    /// Environment variables that are set; the others stay.
    pub environment: BTreeMap<String, String>,
}

impl Deploy {
    fn of(self, mut release: Release) -> Release {
        release.environment.extend(self.environment);
        Release {
            version: Some(self.version),
            command: self.command.unwrap_or(release.command),
            environment: release.environment,
        }
    }
}

impl Healer {
    /// Plans the repair of an issue and, where `mode` says so, begins it.
    ///
    /// # Errors
    ///
    /// [`OperateError`].
    pub fn remediate(&self, issue: IssueId, mode: RunMode, who: &str) -> Result<Proposal, OperateError> {
        let store = &self.parts.store;
        let not_found = || OperateError::NotFound { what: Missing::Issue(issue) };
        let issue = store.issue(issue)?.ok_or_else(not_found)?;
        if issue.closed_at.is_some() {
            let what = format!("issue {}", issue.id);
            return Err(OperateError::State { what, is: "closed".to_owned(), expected: "open" });
        }
        let snapshot = self.snapshot().ok_or(OperateError::NotYet)?;
        let open = store.open_issues()?;
        let causes = self.causes(&issue, &snapshot, &open);
        let circumstances = self.circumstances(snapshot.taken)?;
        let plan = match self.plan(&issue, &causes, &snapshot, &circumstances) {
            Planned::Plan(plan) => Plan { requested_by: Actor::Operator(who.to_owned()), ..plan },
            Planned::Waiting(reasons) => return Err(OperateError::NoPlan { why: list(&reasons) }),
            Planned::NoStrategy(rejected) => return Err(OperateError::NoPlan { why: list(&rejected) }),
        };
        self.submit(plan, &snapshot, &circumstances, mode, Word::Approves(who))
    }

    /// Lets a service run something else, one instance after another, and where `mode` says so, begins it.
    ///
    /// # Errors
    ///
    /// [`OperateError`].
    pub fn deploy(
        &self,
        service: &ServiceName,
        change: Deploy,
        mode: RunMode,
        who: &str,
    ) -> Result<Proposal, OperateError> {
        // Not what was last seen: a release that was changed since is what is to be changed.
        let sighting = self.look()?;
        let snapshot = sighting.snapshot();
        let state = snapshot.services.get(service);
        let state =
            state.ok_or_else(|| OperateError::NotFound { what: Missing::Service(service.clone()) })?;
        if state.release.command.is_empty() {
            let why = format!("what {service} runs is not known here, so nothing can be deployed there");
            return Err(OperateError::Refused { why });
        }
        let why = format!("deploy {service} {}", change.version);
        let release = Box::new(change.of(state.release.clone()));
        let action = Action::Deploy { service: service.clone(), release };
        self.propose(action, why, &sighting, mode, Word::Approves(who))
    }

    /// Plans one action that a person wants, and submits it.
    pub(crate) fn propose(
        &self,
        action: Action,
        why: String,
        sighting: &Sighting,
        mode: RunMode,
        word: Word<'_>,
    ) -> Result<Proposal, OperateError> {
        let snapshot = sighting.snapshot();
        let capabilities = self.parts.observer.capabilities();
        let settings = self.settings();
        let request = Request {
            snapshot,
            capabilities: &capabilities,
            policy: &settings.policy,
            id: self.state().ids.next(snapshot.taken),
            now: snapshot.taken,
        };
        let plan = plan_operation(vec![action], why, Actor::Operator(word.whose().to_owned()), &request)
            .map_err(|refused| OperateError::Refused { why: list(&refused) })?;
        let circumstances = self.circumstances(snapshot.taken)?;
        let proposal = self.submit(plan, snapshot, &circumstances, mode, word)?;
        self.wake();
        Ok(proposal)
    }

    /// Asks the guard about a plan that a person wants, and does with it what it says.
    pub(crate) fn submit(
        &self,
        plan: Plan,
        snapshot: &Snapshot,
        circumstances: &Circumstances,
        mode: RunMode,
        word: Word<'_>,
    ) -> Result<Proposal, OperateError> {
        let store = &self.parts.store;
        let who = word.whose();
        // Where policy asks for two people nobody approves what they ask for.
        let word = match self.approver_refused(&Actor::Operator(who.to_owned()), who)? {
            Some(_) => Word::Asks(who),
            None => word,
        };
        let approval = Approval { by: who.to_owned(), plan: plan.id, at: snapshot.taken };
        let settings = self.settings();
        let mut context = Self::guard_context(&settings.policy, snapshot, circumstances);
        context.approved = matches!(word, Word::Approves(_)).then_some(&approval);
        let shown = plan.clone();
        let ruling = guard(plan, &context);
        if let Some(why) = self.hindrance(&ruling, &shown, mode) {
            return match shown.intent {
                Intent::Operation { .. } => Err(OperateError::Impossible(why)),
                // A repair that cannot be done is one that is refused, as it will be when it is run.
                _ => {
                    Ok(Proposal { plan: shown, status: PlanStatus::Refused, reasons: vec![why.to_string()] })
                }
            };
        }
        let reasons: Vec<String> = ruling.reasons().iter().map(Objection::to_string).collect();
        let status = match (ruling, mode) {
            (Ruling::Wait { reasons, .. }, RunMode::DryRun) if wants_approval(&reasons) => {
                PlanStatus::AwaitingApproval
            }
            (Ruling::Clear(_) | Ruling::Wait { .. }, RunMode::DryRun) => PlanStatus::Pending,
            (Ruling::Refuse { .. }, RunMode::DryRun) => PlanStatus::Refused,
            (Ruling::Clear(cleared), RunMode::Run) => {
                match self.start(cleared, circumstances, snapshot.taken)? {
                    true => PlanStatus::InProgress,
                    false => store.plan(shown.id)?.map_or(PlanStatus::Refused, |record| record.status),
                }
            }
            (Ruling::Wait { plan, reasons: objections }, RunMode::Run) if wants_approval(&objections) => {
                if let Some(waiting) = self.waiting_operation(&plan)? {
                    let plan = Plan::clone(&waiting.plan);
                    return Ok(Proposal { plan, status: waiting.status, reasons: waiting.reasons });
                }
                let until = plan.created_at.plus(self.settings().policy.limits.approval_valid);
                store.add_plan_to_approve(&plan, &reasons, until)?;
                self.call_for_approval(&plan);
                PlanStatus::AwaitingApproval
            }
            (Ruling::Wait { plan, .. }, RunMode::Run) => {
                if let Some(waiting) = self.waiting_repair(&plan)? {
                    // It was asked for before: that one runs, not a second after it.
                    if waiting.status == PlanStatus::AwaitingApproval {
                        self.approve(waiting.plan.id, who)?;
                    }
                    let plan = Plan::clone(&waiting.plan);
                    return Ok(Proposal { plan, status: PlanStatus::Pending, reasons: waiting.reasons });
                }
                // It runs as soon as the guard clears it, by the word that it was asked for with.
                match word {
                    Word::Asks(_) => store.add_plan(&plan, PlanStatus::Pending, &reasons)?,
                    Word::Approves(_) => {
                        let until = plan.created_at.plus(self.settings().policy.limits.approval_valid);
                        store.add_plan_to_approve(&plan, &reasons, until)?;
                        store.approve(plan.id, who, self.now())?;
                    }
                }
                PlanStatus::Pending
            }
            (Ruling::Refuse { plan, .. }, RunMode::Run) => {
                store.add_plan(&plan, PlanStatus::Refused, &reasons)?;
                PlanStatus::Refused
            }
        };
        Ok(Proposal { plan: shown, status, reasons })
    }

    /// Why what the guard does not refuse cannot be done. A repair that is to run is asked about when it begins.
    fn hindrance(&self, ruling: &Ruling, plan: &Plan, mode: RunMode) -> Option<ProviderError> {
        let refused = matches!(ruling, Ruling::Refuse { .. });
        let asked = matches!(plan.intent, Intent::Operation { .. }) || mode == RunMode::DryRun;
        if refused || !asked { None } else { self.parts.executor.hindrance(plan) }
    }

    /// The same repair of the same issue where it waits, for a person or for a slot.
    fn waiting_repair(&self, plan: &Plan) -> Result<Option<PlanRecord>, OperateError> {
        let Intent::Remediation { issue, strategy, .. } = &plan.intent else { return Ok(None) };
        let waits = |record: &PlanRecord| {
            let same = matches!(&record.plan.intent, Intent::Remediation { issue: of, strategy: by, .. }
                if of == issue && by == strategy);
            let queued = record.status == PlanStatus::Pending
                && (act::approval(record).is_some() || !record.reasons.is_empty());
            same && record.plan.steps == plan.steps
                && (queued || record.status == PlanStatus::AwaitingApproval)
        };
        Ok(self.parts.store.unfinished_plans()?.into_iter().find(waits))
    }

    /// The same operation where it waits for an approval: asked for twice, it is shown to people once.
    fn waiting_operation(&self, plan: &Plan) -> Result<Option<PlanRecord>, OperateError> {
        let waits = |record: &PlanRecord| {
            matches!(record.plan.intent, Intent::Operation { .. })
                && record.status == PlanStatus::AwaitingApproval
                && record.plan.steps == plan.steps
        };
        Ok(self.parts.store.unfinished_plans()?.into_iter().find(waits))
    }

    /// Lets a plan run that waits for a person. It still has to pass what a person cannot lift.
    ///
    /// # Errors
    ///
    /// [`OperateError`] where there is none, or it waits for nobody.
    pub fn approve(&self, plan: PlanId, who: &str) -> Result<(), OperateError> {
        let record = self.record(plan)?;
        if let Some(why) = self.approver_refused(&record.plan.requested_by, who)? {
            return Err(OperateError::Refused { why });
        }
        if !self.parts.store.approve(plan, who, self.now())? {
            return Err(Self::wrong_state(&record, "awaiting_approval"));
        }
        self.wake();
        Ok(())
    }

    /// Ends a plan that waits for a person, and whose strategy is not proposed again for this issue; or an operation that waits
    /// for its turn.
    ///
    /// # Errors
    ///
    /// [`OperateError`] where there is none, or it does not wait.
    pub fn reject(&self, plan: PlanId, who: &str) -> Result<(), OperateError> {
        let record = self.record(plan)?;
        if !self.parts.store.reject(plan, who, self.now())? {
            let expected = match record.plan.intent {
                Intent::Operation { .. } => "awaiting_approval or pending",
                _ => "awaiting_approval",
            };
            return Err(Self::wrong_state(&self.record(plan)?, expected));
        }
        self.wake();
        Ok(())
    }

    /// Takes a finished plan back.
    ///
    /// # Errors
    ///
    /// [`OperateError`] where there is none, it still runs, a step cannot be taken back, or other plans changed all of
    /// it again: then nothing is begun.
    pub fn roll_back(&self, plan: PlanId, who: &str) -> Result<(), OperateError> {
        let record = self.record(plan)?;
        if record.status != PlanStatus::Success && record.status != PlanStatus::Failed {
            return Err(Self::wrong_state(&record, "success or failed"));
        }
        if !record.plan.steps.iter().any(restores) {
            let why = "none of its steps left something behind that could be restored".to_owned();
            return Err(OperateError::NotTakenBack { what: format!("plan {plan}"), why });
        }
        self.refuse_if_superseded(&record)?;
        let why = format!("rolled back by {who}");
        let report = self.parts.executor.undo_plan(plan, &why).map_err(TurnError::from)?;
        if report.taken_back() == 0 && report.superseded().next().is_some() {
            let why = CHANGED_SINCE.to_owned();
            return Err(OperateError::NotTakenBack { what: format!("plan {plan}"), why });
        }
        match report.remaining.into_iter().next() {
            Some((step, error)) => {
                let why = format!("{error}; it is tried again");
                Err(OperateError::NotTakenBack { what: format!("step {step}"), why })
            }
            None => Ok(()),
        }
    }

    /// Repairs and disturbs nothing at a service for a while; `None` ends the pause.
    ///
    /// # Errors
    ///
    /// [`OperateError`] where there is no such service.
    pub fn pause(&self, service: &ServiceName, time: Option<Duration>) -> Result<(), OperateError> {
        let snapshot = self.snapshot().ok_or(OperateError::NotYet)?;
        if !snapshot.services.contains_key(service) {
            return Err(OperateError::NotFound { what: Missing::Service(service.clone()) });
        }
        let until = time.map(|time| self.now().plus(time));
        self.parts.store.pause_service(service, until)?;
        self.wake();
        Ok(())
    }

    fn record(&self, plan: PlanId) -> Result<PlanRecord, OperateError> {
        let not_found = || OperateError::NotFound { what: Missing::Plan(plan) };
        self.parts.store.plan(plan)?.ok_or_else(not_found)
    }

    fn wrong_state(record: &PlanRecord, expected: &'static str) -> OperateError {
        OperateError::State {
            what: format!("plan {}", record.plan.id),
            is: record.status.name().to_owned(),
            expected,
        }
    }
}

pub(crate) fn list<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
