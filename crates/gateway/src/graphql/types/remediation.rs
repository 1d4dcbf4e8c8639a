//! A plan and what became of it: a repair, or what somebody asked for.

use std::sync::Arc;

use async_graphql::{Context, ID, Object, SimpleObject};
use domain::{Intent, IssueId, Plan};
use store::{PlanRecord, Store};

use super::issue::{Family, Issue};
use crate::control::Planned;
use crate::graphql::operation::Operation;
use crate::graphql::scalars::{DateTime, RemediationStatus};
use crate::overwritten::Standing;
use crate::phrases;
use crate::problem::Problem;

/// A plan and what became of it.
pub(in crate::graphql) struct Remediation {
    pub(in crate::graphql) record: Arc<PlanRecord>,
    family: Arc<Family>,
}

/// The issue that a plan repairs; none where it is for something else.
pub(super) fn issue_of(plan: &Plan) -> Option<IssueId> {
    match &plan.intent {
        Intent::Remediation { issue, .. } => Some(*issue),
        _ => None,
    }
}

impl Remediation {
    pub(super) fn stored(record: Arc<PlanRecord>, family: &Arc<Family>) -> Self {
        Self { record, family: Arc::clone(family) }
    }

    /// Plans that were asked for together.
    pub(in crate::graphql) fn all(store: &Store, records: Vec<PlanRecord>) -> Vec<Self> {
        let issues = records.iter().filter_map(|record| issue_of(&record.plan)).collect();
        let family = Family::named(store, issues);
        records.into_iter().map(|record| Self::stored(Arc::new(record), &family)).collect()
    }

    /// One that was only just made, or only shown.
    pub(in crate::graphql) fn planned(store: &Store, planned: Planned) -> Self {
        let record = PlanRecord {
            plan: Arc::new(planned.plan),
            status: planned.status,
            reasons: planned.reasons,
            error: None,
            decision: None,
            started_at: None,
            completed_at: None,
            rolled_back: false,
            outcome: None,
        };
        let family = Family::named(store, issue_of(&record.plan).into_iter().collect());
        Self::stored(Arc::new(record), &family)
    }

    fn plan(&self) -> &Plan {
        &self.record.plan
    }
}

/// What speaks for a cause.
#[derive(SimpleObject)]
struct Evidence {
    /// Where it was seen.
    resource: String,
    /// One clause with figures.
    text: String,
}

/// A ranked answer to "why".
#[derive(SimpleObject)]
struct Cause {
    /// Where the repair has to go.
    resource: String,
    /// What kind of thing went wrong.
    class: &'static str,
    /// The smoothed share of recorded runs in which this pattern named the true cause, in percent.
    confidence: f64,
    /// What speaks for it.
    evidence: Vec<Evidence>,
}

/// One change with its undo.
#[derive(SimpleObject)]
struct Step {
    /// What is done, in words.
    action: String,
    /// To what.
    resource: String,
    /// How it is taken back.
    undo: &'static str,
    /// How long it may take, in seconds.
    timeout_seconds: f64,
    /// What became of it: `open`, `done`, `undone`, `superseded` (to be taken back, but a later change stays), `failed`,
    /// `abandoned`; null where it was not begun.
    state: Option<&'static str>,
}

/// What a person decided.
#[derive(SimpleObject)]
struct Decision {
    /// Who.
    who: String,
    /// When.
    at: DateTime,
    /// Whether it may run.
    approved: bool,
}

/// What came of it.
#[derive(SimpleObject)]
struct Outcome {
    /// `healed`, `mitigated`, `self_recovered`, `not_healed` or `refused`.
    kind: &'static str,
    /// When the signal was first seen back in bounds.
    verified_at: Option<DateTime>,
    /// When the verdict was given.
    decided_at: DateTime,
    /// Why, where it is not healed.
    explanation: Option<String>,
}

/// A plan and what became of it: a repair, or what somebody asked for.
#[Object]
impl Remediation {
    /// Its id; of a dry run it is kept nowhere.
    async fn id(&self) -> ID {
        ID(self.plan().id.to_string())
    }

    /// Where it is in its life.
    async fn status(&self) -> RemediationStatus {
        self.record.status.into()
    }

    /// Another one wherever it came to be in another state; `ifMatch` takes it.
    async fn etag(&self) -> String {
        Standing::remediation(self.plan().id, self.record.status).version
    }

    /// What it does, as a name.
    async fn action_type(&self) -> &str {
        phrases::action_type(self.plan())
    }

    /// What will be done and why, in one sentence.
    async fn description(&self) -> &str {
        &self.plan().summary
    }

    /// What is expected to come of it.
    async fn expected_effect(&self) -> &str {
        &self.plan().expected_effect
    }

    /// Who asked.
    async fn requested_by(&self) -> String {
        phrases::actor(&self.plan().requested_by).to_owned()
    }

    /// When it was made.
    async fn created_at(&self) -> DateTime {
        DateTime(self.plan().created_at)
    }

    /// When its first step began.
    async fn started_at(&self) -> Option<DateTime> {
        self.record.started_at.map(DateTime)
    }

    /// When it ended.
    async fn completed_at(&self) -> Option<DateTime> {
        self.record.completed_at.map(DateTime)
    }

    /// Whether its steps were taken back.
    async fn rollback_performed(&self) -> bool {
        self.record.rolled_back
    }

    /// Why it ended badly.
    async fn error(&self) -> Option<&str> {
        self.record.error.as_deref()
    }

    /// Why it waits or was refused, or what spoke for it.
    async fn reasons(&self) -> &[String] {
        &self.record.reasons
    }

    /// Every resource it may touch or take out of use.
    async fn blast_radius(&self) -> Vec<String> {
        self.plan().blast_radius.iter().map(ToString::to_string).collect()
    }

    /// Its steps, in order.
    async fn steps(&self, context: &Context<'_>) -> Result<Vec<Step>, Problem> {
        let journal = match context.look_ahead().field("state").exists() {
            true => Operation::of(context)?.app().store.journal(self.plan().id)?,
            false => Vec::new(),
        };
        let state = |token| journal.iter().find(|entry| entry.token == token);
        let step = |(token, step): (_, &domain::Step)| Step {
            state: state(token).map(|entry| entry.state().name()),
            action: phrases::action(&step.action),
            resource: step.action.resource().to_string(),
            undo: phrases::undo_name(&step.undo),
            timeout_seconds: step.timeout.as_secs_f64(),
        };
        Ok(self.plan().tokens().zip(&self.plan().steps).map(step).collect())
    }

    /// Why it is believed to be needed; null where it repairs nothing.
    async fn cause(&self) -> Option<Cause> {
        let Intent::Remediation { cause, .. } = &self.plan().intent else { return None };
        let evidence = |item: &domain::EvidenceItem| Evidence {
            resource: item.resource.to_string(),
            text: item.text.clone(),
        };
        Some(Cause {
            resource: cause.resource.to_string(),
            class: cause.class.name(),
            confidence: cause.confidence.0,
            evidence: cause.evidence.iter().map(evidence).collect(),
        })
    }

    /// What a person decided about it.
    async fn decision(&self) -> Option<Decision> {
        self.record.decision.as_ref().map(|decision| Decision {
            who: decision.who.clone(),
            at: DateTime(decision.at),
            approved: decision.verdict == store::Verdict::Approved,
        })
    }

    /// The verdict on it.
    async fn outcome(&self) -> Option<Outcome> {
        self.record.outcome.as_ref().map(|outcome| Outcome {
            kind: outcome.kind.name(),
            verified_at: outcome.verified_at.map(DateTime),
            decided_at: DateTime(outcome.decided_at),
            explanation: outcome.explanation.clone(),
        })
    }

    /// What it repairs; null where it repairs nothing.
    async fn issue(&self) -> Result<Option<Issue>, Problem> {
        match issue_of(self.plan()) {
            Some(id) => self.family.issue(id),
            None => Ok(None),
        }
    }
}
