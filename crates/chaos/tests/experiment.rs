//! Experiments over a fleet in memory: what is ended before or while it is in force.

use std::sync::Arc;
use std::time::Duration;

use act::{Executor, Mode};
use chaos::{ExperimentRequest, Experiments, Parts};
use decide::plan::Policy;
use domain::{Clock, Fault, FaultKind, IdSource, Infrastructure, Severity};
use observe::Observer;
use sim::{MemoryProvider, VirtualClock};
use store::{ExperimentRecord, ExperimentStatus, Store};

struct Lab {
    store: Store,
    executor: Arc<Executor>,
    experiments: Experiments,
}

impl Lab {
    fn new() -> Self {
        let text = include_str!("../../../drills/shop.yaml");
        let shop: Infrastructure = serde_saphyr::from_str(text).unwrap();
        let clock = Arc::new(VirtualClock::default());
        let mut policy = Policy::default();
        policy.protect(&shop);
        let provider = Arc::new(MemoryProvider::new(shop, clock.clone(), 7));
        clock.wait(Duration::from_secs(40));
        let store = Store::in_memory().unwrap();
        let executor = Arc::new(Executor::new(store.clone(), provider.clone(), clock.clone()));
        let parts = Parts {
            store: store.clone(),
            observer: Arc::new(Observer::new(provider)),
            executor: executor.clone(),
            clock,
            policy,
            mode: Mode::Live,
            seed: 7,
        };
        Self { store, executor, experiments: Experiments::new(parts) }
    }
}

fn pause() -> ExperimentRequest {
    ExperimentRequest {
        name: "a hanging cart".to_owned(),
        fault: Fault {
            target: "instance/cart-1".parse().unwrap(),
            kind: FaultKind::Pause,
            duration: Duration::from_secs(60),
        },
        severity: Severity::Low,
        safety_level: "low".to_owned(),
        requested_by: "ann".to_owned(),
        abort_when: None,
    }
}

#[test]
fn an_experiment_that_was_ended_before_it_began_disturbs_nothing() {
    let Lab { store, experiments, .. } = Lab::new();
    let admitted = experiments.admit(&pause()).unwrap();
    let id = admitted.experiment;
    experiments.end(id, ExperimentStatus::Aborted).unwrap();
    let refused = experiments.carry_out(admitted).unwrap_err();
    assert!(refused.to_string().contains("was ended"), "{refused}");
    assert_eq!(experiments.running().unwrap(), []);
    let record = store.experiment(id).unwrap().unwrap();
    assert_eq!(record.status, ExperimentStatus::Aborted, "as it was ended: {}", record.document);
    assert_eq!(store.unfinished_plans().unwrap().len(), 0, "its plan does not wait for ever");
}

#[test]
fn an_experiment_in_force_is_ended_once_and_stays_ended() {
    let Lab { store, experiments, .. } = Lab::new();
    let injected = experiments.inject(&pause()).unwrap();
    assert_eq!(experiments.running().unwrap().len(), 1);
    experiments.end(injected.experiment, ExperimentStatus::Aborted).unwrap();
    experiments.settle().unwrap();
    assert_eq!(experiments.running().unwrap(), []);
    let record = store.experiment(injected.experiment).unwrap().unwrap();
    assert_eq!(record.status, ExperimentStatus::Aborted, "{}", record.document);
}

#[test]
fn an_experiment_that_was_refused_is_ended_without_an_error_and_stays_refused() {
    let Lab { store, experiments, .. } = Lab::new();
    let bound = domain::BurnBound { objective: "nobody's".to_owned(), burn_rate: 2.0 };
    experiments.inject(&ExperimentRequest { abort_when: Some(bound), ..pause() }).unwrap_err();
    let refused = store.experiments(1, None).unwrap().remove(0);
    assert_eq!(refused.status, ExperimentStatus::Refused);
    experiments.end(refused.id, ExperimentStatus::Aborted).unwrap();
    assert_eq!(store.experiment(refused.id).unwrap().unwrap(), refused);
}

#[test]
fn an_experiment_whose_faults_are_out_is_closed_however_many_were_refused_since() {
    let Lab { store, executor, experiments } = Lab::new();
    let injected = experiments.inject(&pause()).unwrap();
    let running = store.experiment(injected.experiment).unwrap().unwrap();
    let mut ids = IdSource::seeded(11);
    for _ in 0..store::LIST_LIMIT_DEFAULT + 5 {
        let later = running.created_at.plus(Duration::from_secs(1));
        let refused = ExperimentRecord {
            id: ids.next(later),
            status: ExperimentStatus::Refused,
            created_at: later,
            ..running.clone()
        };
        store.save_experiment(&refused).unwrap();
    }
    executor.undo_plan(injected.plan, "its time is over").unwrap();
    experiments.settle().unwrap();
    let record = store.experiment(injected.experiment).unwrap().unwrap();
    assert_eq!(record.status, ExperimentStatus::Completed, "{}", record.document);
}
