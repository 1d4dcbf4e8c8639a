//! Look → configuration items: what is there is compared with what was known, and what changed is kept.
//!
//! In: one look after another. Out: items, relations and changes in the store, each change with the plan that made it
//! where the journal knows one. Where nothing changed, a look costs one hash over what is configured.
//!
//! Deliberately absent: a say in repairs. The loop reads snapshots, not the inventory.

use std::sync::Arc;
use std::time::Duration;

use decide::cmdb::{Paused, changes, fingerprint, made_by, seen};
use domain::cmdb::{Inventory, ItemChange, Revised};
use domain::{Intent, Plan, ResourceId, Snapshot, Time};
use observe::Sighting;
use store::{Ending, EntryState, JournalEntry, PlanFilter};

use crate::healer::Healer;
use crate::turn::TurnError;

/// Plans that are looked at for the one that made a change.
const PLANS_LOOKED_AT: usize = 20;

/// A step that ended so long before the last look may still be why something changed since: its end is written when
/// its effect was proven, and the look may have begun before.
const ENDED_LATELY: Duration = Duration::from_secs(2);

/// What is known of configuration, between two looks.
#[derive(Debug)]
pub(crate) struct Known {
    inventory: Inventory,
    /// Of the last look that was compared; `None` before the first.
    last: Option<Last>,
}

#[derive(Debug, Clone, Copy)]
struct Last {
    fingerprint: u64,
    fleet_age: Duration,
    at: Time,
}

impl Healer {
    /// Keeps what changed since the last look.
    pub(crate) fn note_items(&self, sighting: &Sighting) {
        self.apart("configuration items", || self.compare_items(sighting.snapshot()));
    }

    fn compare_items(&self, snapshot: &Snapshot) -> Result<(), TurnError> {
        let store = &self.parts.store;
        let pauses = store.switches()?.pauses.into_iter();
        let paused: Paused = pauses
            .filter(|(_, until)| !snapshot.taken.reached(*until))
            .map(|(name, at)| (name, Some(at)))
            .collect();
        let now = Last {
            fingerprint: fingerprint(snapshot, &paused),
            fleet_age: snapshot.fleet_age,
            at: snapshot.taken,
        };
        // Taken out while it is worked on: where that fails, the store says what is known.
        let known = self.state().items.take();
        let same = |last: Last| last.fingerprint == now.fingerprint && last.fleet_age <= now.fleet_age;
        let mut known = match known {
            Some(mut known) if known.last.is_some_and(same) => {
                known.last = Some(now);
                self.state().items = Some(known);
                return Ok(());
            }
            Some(known) => known,
            None => Known { inventory: store.inventory()?, last: None },
        };
        let declared = match snapshot.infrastructure {
            Some(_) => self.parts.observer.infrastructure()?,
            None => None,
        };
        let seen = seen(snapshot, declared.as_ref(), &paused);
        let mut revised = changes(&known.inventory, &seen, snapshot.taken);
        for one in &mut revised {
            self.name_author(one, &known, snapshot)?;
        }
        store.record_items(&revised)?;
        revised.iter().for_each(|one| one.enter(&mut known.inventory));
        known.last = Some(now);
        self.state().items = Some(known);
        Ok(())
    }

    /// Says who made a change and why, where a plan of ours did.
    fn name_author(&self, one: &mut Revised, known: &Known, snapshot: &Snapshot) -> Result<(), TurnError> {
        let before = known.inventory.items.get(&one.item.id).map(|item| item.last_changed);
        let since = known.last.map(|last| last.at.minus(ENDED_LATELY)).or(before);
        let Some(since) = since
            .or_else(|| snapshot.infrastructure.as_ref().map(|_| snapshot.taken.minus(snapshot.fleet_age)))
        else {
            return Ok(());
        };
        let whole = one.change.gained.iter().chain(&one.change.lost).map(|relation| &relation.to);
        let whole = whole.filter(|to| matches!(to, ResourceId::Infrastructure(_))).cloned();
        let now = snapshot.infrastructure.clone().map(ResourceId::Infrastructure);
        let service = one.item.id.service().cloned().map(ResourceId::Service);
        let mut newest: Option<Made> = None;
        for resource in std::iter::once(one.item.id.clone()).chain(service).chain(whole).chain(now) {
            let made = self.plans_behind(&one.change, resource, since, snapshot.taken)?;
            newest = made.into_iter().chain(newest).max_by_key(|made| made.at.boot_us);
        }
        if let Some(Made { plan, why, .. }) = newest {
            one.change.who = Some(plan.requested_by.clone());
            one.change.plan = Some(plan.id);
            one.change.why = why;
        }
        Ok(())
    }

    /// The plans on a resource of which a step made a change like this one since then, or of which the end did.
    fn plans_behind(
        &self,
        change: &ItemChange,
        resource: ResourceId,
        since: Time,
        now: Time,
    ) -> Result<Vec<Made>, TurnError> {
        let store = &self.parts.store;
        let filter = PlanFilter { limit: PLANS_LOOKED_AT, resource: Some(resource), ..PlanFilter::default() };
        let mut found = Vec::new();
        for record in store.plans(&filter)?.into_iter().filter(|record| record.started_at.is_some()) {
            if !record.plan.steps.iter().any(|step| made_by(&step.action, change)) {
                continue;
            }
            for entry in store.journal(record.plan.id)? {
                // One that is under way still does something. One that was superseded did nothing at its end.
                let did = match entry.state() {
                    EntryState::Superseded => entry.endings.first(),
                    _ => entry.endings.last(),
                };
                let at = did.map_or(now, |ended| ended.at);
                if made_by(&entry.step.action, change) && at.reached(since) {
                    found.push(Made {
                        at,
                        plan: Arc::clone(&record.plan),
                        why: reason(&record.plan, &entry),
                    });
                }
            }
        }
        Ok(found)
    }
}

/// A plan that made a change, when and why.
struct Made {
    at: Time,
    plan: Arc<Plan>,
    why: String,
}

/// Why a step changed something: what its plan was for, or why it was taken back.
fn reason(plan: &Plan, entry: &JournalEntry) -> String {
    if entry.state() == EntryState::Undone
        && let Some(Ending::Undone { why, .. }) = entry.endings.last().map(|ended| &ended.ending)
    {
        return format!("taken back ({why}): {}", plan.summary);
    }
    match &plan.intent {
        Intent::Operation { why } => why.clone(),
        _ => plan.summary.clone(),
    }
}
