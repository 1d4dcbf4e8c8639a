//! Everything a page is made from, read once for each rendering.

use std::sync::Arc;

use domain::snapshot::Phase;
use domain::{
    Identity, Intent, Issue, IssueId, IssueKind, Permission, PlanStatus, Proof, ResourceId, ServiceName,
    ServiceState, Snapshot,
};
use store::{HealthRecord, PlanRecord, Switches};
use telemetry::{Backlog, Telemetry};

use super::marks::Meaning;
use super::time::{Form, Stamp};
use crate::access::RelyingParty;
use crate::api::STALE_AFTER;
use crate::control::RunningFault;
use crate::problem::Problem;
use crate::serve::App;

/// Everything a page is made from.
pub(crate) struct View {
    pub(crate) stamp: Stamp,
    pub(crate) snapshot: Option<Arc<Snapshot>>,
    pub(crate) scores: Option<HealthRecord>,
    pub(crate) switches: Switches,
    /// Newest first.
    pub(crate) issues: Vec<Issue>,
    /// Plans that are not over, newest first.
    pub(crate) plans: Vec<PlanRecord>,
    pub(crate) faults: Vec<RunningFault>,
    /// What waits for compaction, while spans and logs are refused because of it.
    pub(crate) refusing: Option<Backlog>,
    /// Who looks at it; `None` in what is shared by all who look, and where it is not told.
    pub(crate) who: Option<Identity>,
    /// The host that passkeys are for here; `None` where there is none, and where it is not told.
    pub(crate) party: Option<RelyingParty>,
}

impl View {
    pub(crate) fn load(app: &App, form: Form) -> Result<Self, Problem> {
        Ok(Self {
            stamp: Stamp { now: app.clock.now(), form },
            snapshot: app.control.snapshot(),
            scores: app.control.health(),
            switches: app.store.switches()?,
            issues: app.store.open_issues()?,
            plans: app.store.unfinished_plans()?,
            faults: app.control.running_faults(),
            refusing: app.telemetry.as_ref().map(Telemetry::backlog).filter(|backlog| backlog.refusing),
            who: None,
            party: None,
        })
    }

    /// The same, looked at by somebody.
    pub(crate) fn seen_by(self, identity: &Identity) -> Self {
        Self { who: Some(identity.clone()), ..self }
    }

    /// The same, on a server that the browser names so.
    pub(crate) fn named(self, party: Option<RelyingParty>) -> Self {
        Self { party, ..self }
    }

    /// Whether who looks may do something. Who proved nothing may sign in first, so all is offered.
    pub(crate) fn may(&self, permission: Permission) -> bool {
        self.who.as_ref().is_none_or(|who| who.proof == Proof::None || who.may(permission))
    }

    /// Whether the last snapshot is too old to be believed.
    pub(crate) fn stale(&self) -> Option<&Snapshot> {
        let snapshot = self.snapshot.as_deref()?;
        (self.stamp.now.since(snapshot.taken) > STALE_AFTER).then_some(snapshot)
    }

    /// The plans that wait for a person.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &PlanRecord> {
        self.plans.iter().filter(|record| record.status == PlanStatus::AwaitingApproval)
    }

    /// The plan under way for an issue.
    pub(crate) fn plan_for(&self, id: IssueId) -> Option<&PlanRecord> {
        self.plans
            .iter()
            .find(|record| matches!(record.plan.intent, Intent::Remediation { issue, .. } if issue == id))
    }

    /// The open issue of a kind on exactly this resource.
    pub(crate) fn issue_on(&self, kind: IssueKind, resource: &ResourceId) -> Option<&Issue> {
        self.issues.iter().find(|issue| issue.kind == kind && issue.resource == *resource)
    }

    /// The faults that are on a resource of a service.
    pub(crate) fn faults_on<'a>(
        &'a self,
        service: &'a ServiceName,
    ) -> impl Iterator<Item = &'a RunningFault> {
        self.faults.iter().filter(move |running| running.fault.target.service() == Some(service))
    }

    /// How a service is, as a mark and a word. A fault of our own comes first: a drill must not be
    /// mistaken for an incident.
    pub(crate) fn service_status(&self, name: &ServiceName, state: &ServiceState) -> (Meaning, &'static str) {
        let worst = self
            .issues
            .iter()
            .filter(|issue| issue.resource.service() == Some(name))
            .map(|issue| issue.severity)
            .max();
        let phases = || state.instances.values().map(|instance| instance.phase);
        let ready = phases().filter(|phase| *phase == Phase::Ready).count();
        if self.stale().is_some() {
            (Meaning::Unknown, "unknown")
        } else if self.faults_on(name).next().is_some() {
            (Meaning::Disturbed, "disturbed")
        } else if let Some(severity) = worst {
            (super::marks::of_severity(severity), severity.name())
        } else if self.switches.is_paused(name, self.stamp.now) {
            (Meaning::Unknown, "paused")
        } else if phases().any(|phase| phase == Phase::Unknown) {
            (Meaning::Unknown, "unknown")
        } else if ready == 0 && state.replicas > 0 {
            (Meaning::Bad, "down")
        } else if (ready as u64) < u64::from(state.replicas) {
            (Meaning::Attention, "degraded")
        } else {
            (Meaning::Good, "healthy")
        }
    }

    /// Instances that are ready, and how many there should be.
    pub(crate) fn instances(&self) -> (usize, u64) {
        let Some(snapshot) = &self.snapshot else { return (0, 0) };
        let services = snapshot.services.values();
        let ready = services
            .clone()
            .flat_map(|state| state.instances.values())
            .filter(|instance| instance.phase == Phase::Ready)
            .count();
        (ready, services.map(|state| u64::from(state.replicas)).sum())
    }
}

/// A phase as a mark and a word.
pub(crate) fn of_phase(phase: Phase) -> (Meaning, &'static str) {
    match phase {
        Phase::Ready => (Meaning::Good, "ready"),
        Phase::Starting => (Meaning::Info, "starting"),
        Phase::NotReady => (Meaning::Bad, "not ready"),
        Phase::Stopping => (Meaning::Info, "stopping"),
        Phase::BackingOff => (Meaning::Bad, "backing off"),
        Phase::Unknown => (Meaning::Unknown, "unknown"),
    }
}
