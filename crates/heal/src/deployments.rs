//! Look → Deployments: what services run is noticed when it changes.
//!
//! In: one look after another. Out: records of deployments, with what the callers counted in the minute before. What
//! the provider is to run is compared with what it was to run before, so that a plan, the undo of one and a rollback by
//! hand are all noticed alike; what spans call it is compared likewise, for services that others deploy. What was
//! known is a document, so that a restart of the control plane makes no deployment.
//!
//! A rollback, and what the undo of a deployment leaves, takes the last deployment back: its record says so.
//!
//! Deliberately absent: blame. Diagnosis reads the records.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::snapshot::Phase;
use domain::{Action, Deployment, Release, SeenBy, ServiceName, ServiceState, Strategy, Time};
use observe::Sighting;
use serde::{Deserialize, Serialize};
use store::{PlanFilter, PlanRecord, Store, StoreError};

use crate::healer::Healer;
use crate::operate::{Missing, OperateError};

/// The document of what services run.
const RUNNING: &str = "deployments/running";

/// What callers counted this long before a deployment is what is usual.
const BEFORE: Duration = Duration::from_secs(60);

/// Plans that are looked at for the one that made a deployment.
const PLANS_LOOKED_AT: usize = 20;

/// What services run, as far as it is known.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Running {
    /// By what the provider is to run.
    releases: BTreeMap<ServiceName, Release>,
    /// By the version that spans carry.
    versions: BTreeMap<ServiceName, String>,
}

impl Healer {
    /// Notices what changed since the last look.
    pub(crate) fn note_deployments(&self, sighting: &Sighting) {
        self.apart("deployments", || self.compare(sighting));
    }

    /// Records a deployment that somebody tells of; `at` counts by its wall clock. Told again, or known already, it is recorded once; the answer is
    /// the one that stands for it.
    ///
    /// # Errors
    ///
    /// [`OperateError`] where there is no such service, the version is no name of one, or the time is to come.
    pub fn post_deployment(
        &self,
        service: &ServiceName,
        version: &str,
        at: Option<Time>,
    ) -> Result<Deployment, OperateError> {
        if let Some(why) = Release::version_fault(version) {
            return Err(OperateError::Refused { why });
        }
        let sighting = self.look()?;
        let taken = sighting.snapshot().taken;
        let known = sighting.snapshot().services.contains_key(service)
            || sighting.snapshot().traces.services.contains_key(service);
        if !known {
            return Err(OperateError::NotFound { what: Missing::Service(service.clone()) });
        }
        let ago = taken.wall_us - at.map_or(taken.wall_us, |at| at.wall_us);
        let Ok(ago) = u64::try_from(ago) else {
            let why = format!(
                "its time is {} s in the future; post a deployment when it has begun",
                -ago / 1_000_000
            );
            return Err(OperateError::Refused { why });
        };
        let at = taken.minus(Duration::from_micros(ago));
        let store = &self.parts.store;
        let last = store.last_deployment(service)?;
        let deployment = Deployment {
            id: self.state().ids.next(taken),
            service: service.clone(),
            version: Some(version.to_owned()),
            previous_version: last.and_then(|last| last.version),
            at,
            finished_at: None,
            seen_by: SeenBy::Posted,
            plan: None,
            rolls_back: None,
            former: None,
            before: sighting.calls(service, at.minus(BEFORE), at),
        };
        let stands = store.record_deployment(&deployment)?;
        self.wake();
        Ok(stands)
    }

    fn compare(&self, sighting: &Sighting) -> Result<(), StoreError> {
        let store = &self.parts.store;
        let known = self.state().running.clone();
        let (mut running, begun) = match known {
            Some(running) => (running, false),
            None => (load(store)?, true),
        };
        let before = running.clone();
        let snapshot = sighting.snapshot();
        for (service, state) in
            snapshot.services.iter().filter(|(_, state)| !state.release.command.is_empty())
        {
            match running.releases.insert(service.clone(), state.release.clone()) {
                Some(former) if former != state.release => {
                    self.record_release(service, state, former, sighting)?;
                }
                Some(_) if begun => self.await_end(service)?,
                Some(_) if self.state().rolling.contains(service) => {
                    self.record_end(service, state, snapshot.taken)?;
                }
                _ => {}
            }
        }
        for (service, seen) in &snapshot.traces.versions {
            let former = running.versions.insert(service.clone(), seen.version.clone());
            // What we give a name ourselves was noticed above, and before its spans came.
            let named_here = |state: &ServiceState| state.release.version.is_some();
            let named_here = snapshot.services.get(service).is_some_and(named_here);
            if let Some(former) = former.filter(|former| !named_here && *former != seen.version) {
                self.record_version(service, former, seen, sighting)?;
            }
        }
        if running != before {
            self.keep_document(RUNNING.to_owned(), written(&running)?);
        }
        self.state().running = Some(running);
        Ok(())
    }

    /// The provider is to run something else than before.
    fn record_release(
        &self,
        service: &ServiceName,
        state: &ServiceState,
        former: Release,
        sighting: &Sighting,
    ) -> Result<(), StoreError> {
        let store = &self.parts.store;
        let last = store.last_deployment(service)?;
        let plan = self.plan_that_made(service, &state.release, last.as_ref())?;
        let id = plan.as_ref().map(|record| record.plan.id);
        let noted = |last: &Deployment| last.plan.is_some() && last.plan == id;
        if last.as_ref().is_some_and(noted) {
            // A control plane died between record and document.
            return Ok(());
        }
        let taken = sighting.snapshot().taken;
        let at = plan.as_ref().and_then(|record| record.started_at).unwrap_or(taken);
        // Who orders the same once more, as any other release, wants to know what becomes of it.
        let ordered = plan.as_ref().is_some_and(|record| !is_rollback(record));
        let takes_back = |last: &Deployment| !ordered && last.former.as_ref() == Some(&state.release);
        let deployment = Deployment {
            id: self.state().ids.next(taken),
            service: service.clone(),
            version: state.release.version.clone(),
            previous_version: former.version.clone(),
            at,
            finished_at: None,
            seen_by: SeenBy::Plan,
            plan: id,
            rolls_back: last.filter(takes_back).map(|last| last.id),
            former: Some(former),
            before: sighting.calls(service, at.minus(BEFORE), at),
        };
        store.record_deployment(&deployment)?;
        let mut state = self.state();
        state.rolling.insert(service.clone());
        state.deeds += 1;
        Ok(())
    }

    /// The newest plan that lets the service run this, and is no older than its last deployment.
    fn plan_that_made(
        &self,
        service: &ServiceName,
        release: &Release,
        last: Option<&Deployment>,
    ) -> Result<Option<PlanRecord>, StoreError> {
        let resource = Some(domain::ResourceId::Service(service.clone()));
        let filter = PlanFilter { limit: PLANS_LOOKED_AT, resource, ..PlanFilter::default() };
        let deploys = |record: &PlanRecord| {
            record.plan.steps.iter().any(|step| {
                matches!(&step.action, Action::Deploy { service: of, release: to } if of == service && **to == *release)
            })
        };
        let later = |record: &PlanRecord| {
            let started = record.started_at;
            started.is_some_and(|at| last.is_none_or(|last| at.boot_us >= last.at.boot_us))
        };
        let plans = self.parts.store.plans(&filter)?;
        Ok(plans.into_iter().find(|record| deploys(record) && later(record)))
    }

    /// Looks out for the end of a deployment that another control plane saw begin.
    fn await_end(&self, service: &ServiceName) -> Result<(), StoreError> {
        let last = self.parts.store.last_deployment(service)?;
        if last.is_some_and(|last| last.seen_by == SeenBy::Plan && last.finished_at.is_none()) {
            self.state().rolling.insert(service.clone());
        }
        Ok(())
    }

    /// Notes when every instance runs what was deployed last.
    fn record_end(&self, service: &ServiceName, state: &ServiceState, now: Time) -> Result<(), StoreError> {
        let all = state.instances.values().all(|it| it.phase == Phase::Ready && !it.outdated);
        if state.rolling_out || !all || state.instances.len() < state.replicas as usize {
            return Ok(());
        }
        let store = &self.parts.store;
        if let Some(last) = store.last_deployment(service)?
            && last.seen_by == SeenBy::Plan
            && last.finished_at.is_none()
        {
            store.record_deployment(&Deployment { finished_at: Some(now), ..last })?;
        }
        self.state().rolling.remove(service);
        Ok(())
    }

    /// Spans carry another version than before.
    fn record_version(
        &self,
        service: &ServiceName,
        former: String,
        seen: &domain::traces::SeenVersion,
        sighting: &Sighting,
    ) -> Result<(), StoreError> {
        let taken = sighting.snapshot().taken;
        let deployment = Deployment {
            id: self.state().ids.next(taken),
            service: service.clone(),
            version: Some(seen.version.clone()),
            previous_version: Some(former),
            at: seen.since,
            finished_at: Some(taken),
            seen_by: SeenBy::Spans,
            plan: None,
            rolls_back: None,
            former: None,
            before: sighting.calls(service, seen.since.minus(BEFORE), seen.since),
        };
        self.parts.store.record_deployment(&deployment).map(drop)
    }
}

fn is_rollback(record: &PlanRecord) -> bool {
    record.plan.strategy() == Some(Strategy::RollbackDeployment)
}

/// What services ran when the last control plane looked; nothing where it cannot be read.
fn load(store: &Store) -> Result<Running, StoreError> {
    let text = store.document(RUNNING)?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
}

fn written(running: &Running) -> Result<String, StoreError> {
    serde_json::to_string(running)
        .map_err(|error| StoreError::Corrupt { what: RUNNING.to_owned(), why: error.to_string() })
}
