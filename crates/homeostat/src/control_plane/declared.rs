//! What a control plane is started with is brought up, and what it looks after is taken down with it: by plans like every other.
//!
//! In: a data directory that is ours, a keeper that answers, the configuration. Out: a plan that the guard judged and that ran
//! before this returns, in the caller's thread: there is no loop yet, or none any more. The audit trail says who started or ended
//! the control plane.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use act::{Executor, Mode};
use audit::{Action, Audit, NewRecord, Outcome, Via};
use domain::access::LOCAL_TOKEN;
use domain::units::show_duration;
use domain::{Clock, Infrastructure, PlanId, PlanStatus};
use heal::start::Execution;
use heal::{Healer, OperateError, Proposal};
use observe::Observer;
use provider::clock::SystemClock;
use provider::{Look, ProcessProvider};
use store::Store;

use super::{StartError, wiring};
use crate::auditing::{self, Auditing, command_line};
use crate::config::Config;

const CREATE: Action = Action::new("infrastructures.create");
const DELETE: Action = Action::new("infrastructures.delete");

/// How long what an earlier control plane left under way is waited for: the time a start may take.
const SETTLE_LIMIT: Duration = Duration::from_secs(30);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// Who changes something where no loop runs. Plans are asked for by whoever holds the data directory, so that where policy asks
/// for two people they do not approve them with its token; the audit trail says which user of this machine that was.
pub(super) struct Hand<'a> {
    pub(super) config: &'a Config,
    pub(super) store: &'a Store,
    pub(super) provider: &'a ProcessProvider,
    pub(super) observer: &'a Arc<Observer>,
    pub(super) executor: &'a Arc<Executor>,
    pub(super) clock: &'a Arc<dyn Clock>,
    /// `None` where it cannot be written; the next start writes what plans came to.
    pub(super) trail: Option<&'a Audit>,
}

impl Hand<'_> {
    /// Brings up what a control plane is started with, unless something is up already: the same again changes nothing, another
    /// one is refused. Gives the plan, where one ran.
    ///
    /// What the guard holds back is no reason not to start: an approval can be given, and the emergency stop cleared, only where
    /// a control plane runs.
    pub(super) fn bring_up(&self, infrastructure: &Infrastructure) -> Result<Option<PlanId>, StartError> {
        if self.provider.infrastructure()?.is_none() {
            self.settle()?;
        }
        if self.provider.infrastructure()?.is_some() {
            self.provider.up(infrastructure)?;
            return Ok(None);
        }
        let asked = self.healer()?.start_declared(infrastructure.clone(), LOCAL_TOKEN);
        self.record(CREATE, infrastructure, &asked);
        let proposal = asked.map_err(StartError::BringUp)?;
        let (status, why) = self.came_to(&proposal)?;
        match status {
            PlanStatus::Success => Ok(Some(proposal.plan.id)),
            _ if !proposal.reasons.is_empty() => {
                log::warn!("{} is not brought up: {}", infrastructure.name, held(&proposal, status));
                Ok(None)
            }
            _ => Err(StartError::NotUp { name: infrastructure.name.clone(), why }),
        }
    }

    /// Takes down whatever is up.
    fn take_down(&self) -> Result<TakenDown, StartError> {
        self.settle()?;
        let Some(infrastructure) = self.provider.infrastructure()? else { return Ok(TakenDown::Nothing) };
        let asked = self.healer()?.end_declared(infrastructure.clone(), LOCAL_TOKEN);
        self.record(DELETE, &infrastructure, &asked);
        let proposal = asked.map_err(StartError::TakeDown)?;
        let (status, why) = self.came_to(&proposal)?;
        match status {
            PlanStatus::Success => Ok(TakenDown::Done),
            PlanStatus::AwaitingApproval => Ok(TakenDown::Waits(held(&proposal, status))),
            // It must not run in some later control plane, on what is up by then.
            PlanStatus::Pending => {
                let now = self.clock.now();
                self.store.set_plan_status(proposal.plan.id, status, PlanStatus::Refused, now, Some(&why))?;
                Ok(TakenDown::Not(why))
            }
            _ => Ok(TakenDown::Not(why)),
        }
    }

    /// A healer that runs what it is asked for at once, and heals nothing. That the loop only shows its plans does not hold
    /// for what starts and ends with it.
    fn healer(&self) -> Result<Arc<Healer>, StartError> {
        let settings = heal::Settings {
            mode: Mode::Live,
            execution: Execution::Inline,
            ..wiring::settings(self.config, self.config.policy.clone(), wiring::seed(self.clock) ^ 2)
        };
        let parts = heal::Parts {
            store: self.store.clone(),
            observer: Arc::clone(self.observer),
            executor: Arc::clone(self.executor),
            clock: Arc::clone(self.clock),
            notify: Box::new(|notice| log::warn!("needs a person: {}", notice.title)),
            tell: Arc::new(heal::Silent),
        };
        Ok(Healer::new(parts, settings)?)
    }

    /// Waits for the steps of an earlier control plane that may still come to their effect.
    fn settle(&self) -> Result<(), StartError> {
        let began = self.clock.now();
        while self.executor.is_settling() && self.clock.now().since(began) < SETTLE_LIMIT {
            self.executor.run_due()?;
            self.clock.wait(LOOK);
        }
        if self.executor.is_settling() {
            let limit = show_duration(SETTLE_LIMIT);
            log::warn!("a step of an earlier control plane is still under way after {limit}");
        }
        Ok(())
    }

    /// Where the plan is now, and why where it failed.
    fn came_to(&self, proposal: &Proposal) -> Result<(PlanStatus, String), StartError> {
        let record = self.store.plan(proposal.plan.id)?;
        let why = record.as_ref().and_then(|record| record.error.clone());
        let reasons = record.as_ref().map_or(&proposal.reasons, |record| &record.reasons);
        let why = why.unwrap_or_else(|| reasons.join("; "));
        Ok((record.map_or(proposal.status, |record| record.status), why))
    }

    fn record(
        &self,
        action: Action,
        infrastructure: &Infrastructure,
        asked: &Result<Proposal, OperateError>,
    ) {
        let Some(trail) = self.trail else { return };
        let outcome = match asked {
            Ok(proposal) if proposal.status == PlanStatus::Refused => Outcome::Refused,
            Ok(_) => Outcome::Done,
            Err(OperateError::Refused { .. } | OperateError::Impossible(_)) => Outcome::Refused,
            Err(_) => Outcome::Failed,
        };
        let target = format!("infrastructure/{}", infrastructure.name);
        let why = if action == CREATE {
            "a control plane is started with it"
        } else {
            "its control plane is ended for good"
        };
        let record = NewRecord::new(command_line(), Via::CommandLine, action, target, outcome).why(why);
        let record = match asked {
            Ok(proposal) if proposal.reasons.is_empty() => record.plan(proposal.plan.id),
            Ok(proposal) => record.plan(proposal.plan.id).detail(proposal.reasons.join("; ")),
            Err(error) => record.detail(act::in_full(error)),
        };
        if let Err(error) = trail.append(record) {
            log::error!("who asked for it is not in the audit trail: {}", act::in_full(&error));
        }
    }
}

/// Why a plan does not run, and what to do.
fn held(proposal: &Proposal, status: PlanStatus) -> String {
    let reasons = proposal.reasons.join("; ");
    match status {
        PlanStatus::AwaitingApproval => {
            format!("{reasons}: `homeostat approve {}`", proposal.plan.id)
        }
        _ => reasons,
    }
}

/// What taking down came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TakenDown {
    /// Nothing was up.
    Nothing,
    /// Nothing is up any more.
    Done,
    /// It waits for somebody's approval, and how that is given.
    Waits(String),
    /// It was begun and failed, or could not begin; why.
    Not(String),
}

/// Takes down whatever is up in a data directory that no control plane works on, once what an earlier one left under way is
/// settled. Nothing else may open the directory meanwhile.
///
/// # Errors
///
/// Where the state in it cannot be used or the keeper does not answer; what is up stays up then.
pub(crate) fn take_down(
    dir: &Path,
    config: &Config,
    provider: &Arc<ProcessProvider>,
) -> Result<TakenDown, StartError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store = Store::open(dir)?;
    let options = auditing::options(&store, config.retention.audit_days)?;
    let opened = Audit::open_with(dir, Arc::clone(&clock), options).inspect_err(|error| {
        log::warn!("what is taken down is not in the audit trail: {}", act::in_full(error));
    });
    let trail = opened.ok();
    let auditing = trail.as_ref().map(|trail| {
        Auditing::start(trail, &store, Arc::clone(&clock), Arc::new(config.retention.audit_days.into()))
    });
    let auditing = auditing.transpose().map_err(StartError::Thread)?;
    let executor = Arc::new(Executor::new(store.clone(), provider.clone(), Arc::clone(&clock)));
    executor.recover()?;
    let observer = Arc::new(Observer::new(provider.clone()));
    let hand = Hand {
        config,
        store: &store,
        provider,
        observer: &observer,
        executor: &executor,
        clock: &clock,
        trail: trail.as_ref(),
    };
    let taken_down = hand.take_down();
    auditing.into_iter().for_each(Auditing::stop);
    taken_down
}
