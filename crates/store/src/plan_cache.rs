//! Plans that were read once. A plan never changes (a changed plan is another plan), and the loop reads the
//! same ones in every turn, so their text is taken apart once.
//!
//! In: ids with their text. Out: shared plans. What does change (status, reasons, outcome) is not here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use domain::{Plan, PlanId};

use crate::LIST_LIMIT_MAX;
use crate::error::Result;

/// The newest plans that were read, at most as many as the longest list: about 4 MiB.
#[derive(Debug, Default)]
pub(crate) struct PlanCache {
    plans: Mutex<BTreeMap<PlanId, Arc<Plan>>>,
}

impl PlanCache {
    /// The plan `id`; read with `read` where it is not here.
    pub(crate) fn get(&self, id: PlanId, read: impl FnOnce() -> Result<Plan>) -> Result<Arc<Plan>> {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plan) = plans.get(&id) {
            return Ok(Arc::clone(plan));
        }
        let plan = Arc::new(read()?);
        plans.insert(id, Arc::clone(&plan));
        if plans.len() > LIST_LIMIT_MAX {
            // Ids sort by the time they were made: this is the oldest.
            plans.pop_first();
        }
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{Actor, IdSource, Intent, Time};

    fn plan(number: u64) -> Plan {
        let now = Time { boot_us: 0, wall_us: i64::try_from(number).unwrap() * 1000 };
        let mut ids = IdSource::seeded(number);
        Plan {
            id: ids.next(now),
            intent: Intent::Lift { of: ids.next(now) },
            requested_by: Actor::Healing,
            summary: String::new(),
            expected_effect: String::new(),
            verify: None,
            blast_radius: Vec::new(),
            lift_after: None,
            created_at: now,
            steps: Vec::new(),
        }
    }

    #[test]
    fn a_plan_is_read_once_and_the_oldest_are_forgotten() {
        let cache = PlanCache::default();
        let plans: Vec<Plan> = (0..LIST_LIMIT_MAX as u64 + 10).map(plan).collect();
        for one in &plans {
            assert_eq!(*cache.get(one.id, || Ok(one.clone())).unwrap(), *one);
        }
        assert_eq!(cache.plans.lock().unwrap().len(), LIST_LIMIT_MAX);
        let newest = plans.last().unwrap();
        assert_eq!(*cache.get(newest.id, || panic!("it was read before")).unwrap(), *newest);
        let mut reads = 0;
        cache.get(plans[0].id, || Ok((reads += 1, plans[0].clone()).1)).unwrap();
        assert_eq!(reads, 1, "the oldest is read again");
    }
}
