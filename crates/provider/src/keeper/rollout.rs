//! A change of what a service runs, one instance after another.
//!
//! In: what is in force ([`Table::release`](super::table::Table::release)) and what each process was started with.
//! Out: processes that run it. The next instance is drained only when every one that was replaced is ready; one that
//! is not ready anyway is replaced at once, so that taking a bad release back does not wait for it. What is in
//! force may change meanwhile: each look begins anew.
//!
//! Deliberately absent: giving up. A release that never gets ready holds the rollout at its first instance until the
//! one who ordered it takes it back.

use std::rc::Rc;
use std::time::Duration;

use domain::snapshot::Phase;
use domain::{Incarnation, InstanceName, ServiceName, StopManner};

use super::supervise::{self, Fate, Slot};
use super::{Keeper, Shared};

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// Brings every instance of a service to what is in force, where that is not under way already.
pub(super) fn begin(shared: &Shared, service: &ServiceName) {
    let begun = {
        let mut keeper = shared.borrow_mut();
        let now = keeper.clock.now();
        let all_run_it =
            !keeper.slots.keys().any(|name| name.service == *service && keeper.is_outdated(name));
        if all_run_it {
            return;
        }
        keeper.rollouts.insert(service.clone(), now);
        keeper.deploying.insert(service.clone())
    };
    if begun {
        tokio::task::spawn_local(roll(Rc::clone(shared), service.clone()));
    }
}

/// Goes on with what an earlier keeper began.
pub(super) fn resume(shared: &Shared) {
    let services: Vec<ServiceName> = {
        let keeper = shared.borrow();
        keeper.slots.keys().map(|name| name.service.clone()).collect()
    };
    services.iter().for_each(|service| begin(shared, service));
}

async fn roll(shared: Shared, service: ServiceName) {
    loop {
        let next = {
            let mut keeper = shared.borrow_mut();
            let over = |(name, slot): (&InstanceName, &Slot)| {
                name.service != service || slot.phase == Phase::Ready && !keeper.is_outdated(name)
            };
            if keeper.slots.iter().all(over) {
                keeper.deploying.remove(&service);
                return;
            }
            let next = next(&keeper, &service);
            if let Some((instance, _)) = &next {
                let now = keeper.clock.now();
                keeper.rollouts.insert(service.clone(), now);
                keeper.table.instances.entry(instance.clone()).or_default().stopping =
                    Some(StopManner::Drain);
                keeper.save();
            }
            next
        };
        match next {
            Some((instance, running)) => {
                supervise::stop(&shared, &instance, &running, StopManner::Drain).await;
            }
            None => tokio::time::sleep(LOOK).await,
        }
    }
}

/// The instance to be replaced now, if any.
fn next(keeper: &Keeper, service: &ServiceName) -> Option<(InstanceName, Incarnation)> {
    let kept =
        || keeper.slots.iter().filter(|(name, slot)| name.service == *service && slot.fate == Fate::Kept);
    let replaceable = |name: &InstanceName, phase: Phase| {
        let running =
            keeper.incarnation(name).filter(|_| phase != Phase::Stopping && keeper.is_outdated(name))?;
        Some((name.clone(), running.clone()))
    };
    let unready = kept().filter(|(_, slot)| slot.phase != Phase::Ready);
    let out_of_use = unready.clone().find_map(|(name, slot)| replaceable(name, slot.phase));
    if out_of_use.is_some() || unready.count() > 0 {
        return out_of_use;
    }
    kept().find_map(|(name, slot)| replaceable(name, slot.phase))
}
