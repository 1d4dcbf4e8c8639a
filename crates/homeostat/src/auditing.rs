//! What the loops do by themselves, for the audit trail: every plan that begins, ends, waits or is refused.
//!
//! In: the store's changes. Out: a record of each state that a plan came to, once. What people ask for is recorded by the
//! gateway, before it is answered; here stands what became of it, and what nobody asked for.
//!
//! A crash loses no record: the state that was recorded last is known by the trail itself, and what the store knows beyond
//! it is recorded at the next start.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;

use audit::{Action, Audit, Filter, NewRecord, Outcome, Via};
use domain::{Actor, Intent, PlanId, PlanStatus};
use store::{PlanFilter, PlanPurpose, PlanRecord, Store, Subscription, Topic};

/// Plans that are looked at when the server starts: those that could have moved since the last record.
const LATEST: usize = 200;

/// Plans whose last state is remembered; older ones are asked for of the trail.
const REMEMBERED: usize = 4_096;

/// Watches plans for as long as it lives.
pub(crate) struct Auditing {
    changed: Sender<Option<PlanId>>,
    thread: Option<JoinHandle<()>>,
    _subscription: Subscription,
}

impl Auditing {
    /// Records what is missing, then whatever changes.
    pub(crate) fn start(audit: &Audit, store: &Store) -> std::io::Result<Self> {
        let (changed, changes) = mpsc::channel::<Option<PlanId>>();
        let subscription = store.subscribe({
            let changed = changed.clone();
            move |change| {
                if let (Topic::Plans, Ok(id)) = (change.topic, change.id.parse()) {
                    // Nobody listens any more when the server ends.
                    let _ = changed.send(Some(id));
                }
            }
        });
        let mut writer = Writer { audit: audit.clone(), store: store.clone(), written: BTreeMap::new() };
        let thread = std::thread::Builder::new().name("auditing".to_owned()).spawn(move || {
            writer.catch_up();
            while let Ok(Some(id)) = changes.recv() {
                writer.look_at(id);
            }
        })?;
        Ok(Self { changed, thread: Some(thread), _subscription: subscription })
    }

    /// Records what came until now, and ends.
    pub(crate) fn stop(mut self) {
        let _ = self.changed.send(None);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was printed when it happened.
            let _ = thread.join();
        }
    }
}

struct Writer {
    audit: Audit,
    store: Store,
    /// The state of each plan that was recorded last.
    written: BTreeMap<PlanId, PlanStatus>,
}

impl Writer {
    fn catch_up(&mut self) {
        match self.store.plans(&PlanFilter { limit: LATEST, ..PlanFilter::default() }) {
            Ok(records) => records.iter().rev().for_each(|record| self.write(record)),
            Err(error) => log::error!("what plans came to is not recorded: {error}"),
        }
    }

    fn look_at(&mut self, id: PlanId) {
        match self.store.plan(id) {
            Ok(Some(record)) => self.write(&record),
            Ok(None) => {}
            Err(error) => log::error!("what plan {id} came to is not recorded: {error}"),
        }
    }

    fn write(&mut self, record: &PlanRecord) {
        let (id, status) = (record.plan.id, record.status);
        // A plan that waits for its turn has done nothing, and one whose signal is watched is under way.
        if matches!(status, PlanStatus::Pending | PlanStatus::Verifying) {
            return;
        }
        if self.written.get(&id) == Some(&status) || self.is_recorded(record) {
            return;
        }
        match self.audit.append(of(record)) {
            Ok(_) => {
                self.written.insert(id, status);
                if self.written.len() > REMEMBERED {
                    // Ids sort by the time they were made.
                    self.written.pop_first();
                }
            }
            Err(error) => log::error!("what plan {id} came to is not recorded: {error}"),
        }
    }

    /// Whether the trail has this state of the plan.
    fn is_recorded(&self, record: &PlanRecord) -> bool {
        if self.written.contains_key(&record.plan.id) {
            return false;
        }
        let action = Some(action(record).as_str().to_owned());
        let filter = Filter { plan: Some(record.plan.id), action, limit: 1, ..Filter::default() };
        self.audit.query(&filter).is_ok_and(|page| !page.records.is_empty())
    }
}

/// What kind of plan came to which state: `remediation.success`.
fn action(record: &PlanRecord) -> Action {
    const UNNAMED: Action = Action::new("plan.changed");
    let name = format!("{}.{}", PlanPurpose::of(&record.plan).name(), record.status.name());
    Action::try_from(name).unwrap_or(UNNAMED)
}

fn of(record: &PlanRecord) -> NewRecord {
    let plan = &record.plan;
    let who = match &plan.requested_by {
        Actor::Healing => "healing",
        Actor::Chaos => "chaos",
        Actor::Operator(name) => name,
    };
    let outcome = match record.status {
        PlanStatus::Refused => Outcome::Refused,
        PlanStatus::Failed | PlanStatus::RolledBack => Outcome::Failed,
        _ => Outcome::Done,
    };
    let target = plan.steps.first().map(|step| step.action.resource().to_string()).unwrap_or_default();
    let new = NewRecord::new(who, Via::Loop, action(record), target, outcome).plan(plan.id);
    let new = match &plan.intent {
        Intent::Remediation { issue, cause, .. } => {
            new.why(format!("issue {issue}: {} of {}", cause.class.name(), cause.resource))
        }
        _ => new,
    };
    let mut detail = vec![plan.summary.clone()];
    detail.extend(record.error.clone());
    detail.extend(record.reasons.iter().cloned());
    new.detail(detail.join("; "))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use domain::{Clock, IdSource, ServiceName, Time};
    use provider::clock::SystemClock;

    use super::*;

    fn plan(ids: &mut IdSource, now: Time) -> domain::Plan {
        let service: ServiceName = "cart".parse().unwrap();
        domain::Plan {
            id: ids.next(now),
            intent: Intent::Operation { why: "asked for".to_owned() },
            requested_by: Actor::Operator("ada".to_owned()),
            summary: "two instances of cart".to_owned(),
            expected_effect: "cart answers".to_owned(),
            steps: vec![domain::Step {
                action: domain::Action::SetReplicas { service, replicas: 2 },
                undo: domain::Undo::Exact,
                timeout: std::time::Duration::from_secs(1),
            }],
            verify: None,
            blast_radius: Vec::new(),
            lift_after: None,
            created_at: now,
        }
    }

    #[test]
    fn every_state_of_a_plan_is_recorded_once_also_over_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::take_over(dir.path(), &SystemClock).unwrap();
        let (now, mut ids) = (SystemClock.now(), IdSource::seeded(7));
        let plan = plan(&mut ids, now);
        let actions = |audit: &Audit| -> Vec<String> {
            let page = audit.query(&Filter { plan: Some(plan.id), ..Filter::default() }).unwrap();
            page.records.iter().rev().map(|record| record.action.as_str().to_owned()).collect()
        };
        let audit = Audit::open(dir.path(), Arc::new(SystemClock)).unwrap();
        let auditing = Auditing::start(&audit, &store).unwrap();
        store.add_plan(&plan, PlanStatus::AwaitingApproval, &[]).unwrap();
        auditing.stop();
        assert_eq!(actions(&audit), ["operation.awaiting_approval"]);
        // Nobody watches while this happens.
        store.reject(plan.id, "bob", now).unwrap();
        for _ in 0..2 {
            Auditing::start(&audit, &store).unwrap().stop();
            assert_eq!(actions(&audit), ["operation.awaiting_approval", "operation.refused"]);
        }
    }
}
