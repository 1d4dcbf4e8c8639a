//! Records that are over, and their removal.

use std::ops::ControlFlow;
use std::time::Duration;

use domain::*;
use store::*;

use super::{at, experiment, issue, repair};

pub(crate) const MONTH: Duration = Duration::from_secs(30 * 86_400);

/// Two months after everything.
pub(crate) fn later() -> Time {
    at(60 * 86_400 + 1000)
}

/// An issue that is closed, with its diagnosis.
pub(crate) fn closed(store: &Store, seed: u64) -> Issue {
    let issue = Issue { closed_at: Some(at(seed + 5)), ..issue(seed) };
    store.save_issue(&issue).unwrap();
    store.put_document(&diagnosis_key(issue.id), "{}").unwrap();
    issue
}

/// A repair that is over.
pub(crate) fn repaired(store: &Store, seed: u64, issue: &Issue) -> Plan {
    let plan = repair(seed, issue, "cart-0");
    store.add_plan(&plan, PlanStatus::Failed, &[]).unwrap();
    plan
}

/// An experiment that is over, with its plan.
pub(crate) fn experimented(store: &Store, seed: u64) -> (ExperimentId, Plan) {
    let plan = experiment(seed, "cart-1");
    let Intent::Experiment { experiment: id } = plan.intent else { unreachable!("it is one") };
    let record = ExperimentRecord {
        id,
        status: ExperimentStatus::Completed,
        document: "{}".to_owned(),
        created_at: at(seed),
    };
    store.save_experiment(&record).unwrap();
    store.add_plan(&plan, PlanStatus::Success, &[]).unwrap();
    (id, plan)
}

/// What `ada` asks for two months later.
pub(crate) fn order(seed: u64, kinds: &[RecordKind]) -> PurgeOrder {
    let (id, who) = (IdSource::seeded(seed).next(later()), "ada".to_owned());
    PurgeOrder { id, now: later(), age: MONTH, kinds: kinds.to_vec(), who }
}

/// What would go.
pub(crate) fn purgeable(store: &Store, kinds: &[RecordKind]) -> Pruned {
    let said = store.purgeable(later(), MONTH, kinds, None, || ControlFlow::Continue(())).unwrap();
    assert!(said.is_all, "{said:?}");
    said.counted
}

/// Removes all that may go.
pub(crate) fn purge(store: &Store, kinds: &[RecordKind]) -> Pruned {
    let purged = store.purge(&order(1, kinds), None, |_| ControlFlow::Continue(())).unwrap();
    assert!(matches!(purged.end, PurgeEnd::Whole), "{purged:?}");
    purged.removed
}
