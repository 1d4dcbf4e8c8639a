//! What a later plan changed again, before an earlier one is rolled back: that is told and refused, not begun.
//!
//! In: a plan, its journal and that of later plans on the same resources. Out: the later plan whose value is in force in
//! the place of each step's. What somebody changed past every plan is not known here: the undo itself finds it.

use std::sync::Arc;

use domain::{Plan, PlanId, Step, Undo};
use store::{EntryState, JournalEntry, LIST_LIMIT_MAX, PlanFilter, PlanRecord};

use crate::healer::Healer;
use crate::operate::OperateError;

/// Whether a step leaves something behind that could be restored.
pub(crate) fn restores(step: &Step) -> bool {
    matches!(step.undo, Undo::Exact | Undo::Compensating(_))
}

impl Healer {
    /// Refuses a roll-back that would restore nothing, since other plans changed all of it again.
    pub(crate) fn refuse_if_superseded(&self, record: &PlanRecord) -> Result<(), OperateError> {
        let plan = record.plan.id;
        let journal = self.parts.store.journal(plan)?;
        let (mut newest, mut superseded) = (None, false);
        for entry in journal.iter().filter(|entry| restores(&entry.step)) {
            match entry.state() {
                EntryState::Open | EntryState::Done => match self.later_than(plan, entry)? {
                    Some(later) => newest = newest.or(Some(later)),
                    None => return Ok(()),
                },
                EntryState::Superseded => superseded = true,
                EntryState::Failed | EntryState::Abandoned => {}
                EntryState::Undone => return Ok(()),
            }
        }
        let why = match newest {
            Some(later) => format!(
                "plan {} ({}) has changed the same since, and what it set is in force; roll that one back first: \
                 `homeostat rollback {}`",
                later.id, later.summary, later.id
            ),
            None if superseded => CHANGED_SINCE.to_owned(),
            None => return Ok(()),
        };
        Err(OperateError::NotTakenBack { what: format!("plan {plan}"), why })
    }

    /// The newest plan that set anew what a step of another one had set, where it still has its effect.
    fn later_than(&self, of: PlanId, entry: &JournalEntry) -> Result<Option<Arc<Plan>>, OperateError> {
        let store = &self.parts.store;
        let resource = Some(entry.step.action.resource());
        let mut filter = PlanFilter { limit: LIST_LIMIT_MAX, resource, ..PlanFilter::default() };
        loop {
            let page = store.plans(&filter)?;
            for record in &page {
                let plan = &record.plan;
                let may_be = plan.id != of && record.started_at.is_some();
                if !may_be || !plan.steps.iter().any(|step| sets_the_same(step, &entry.step)) {
                    continue;
                }
                if store.journal(plan.id)?.iter().any(|later| has_replaced(later, entry)) {
                    return Ok(Some(Arc::clone(plan)));
                }
            }
            match page.last() {
                Some(last) if page.len() == LIST_LIMIT_MAX && last.plan.id > of => {
                    filter.before = Some(last.plan.id);
                }
                _ => return Ok(None),
            }
        }
    }
}

/// Why nothing came of a roll-back, where it is not known who changed what.
pub(crate) const CHANGED_SINCE: &str = "all that it set was changed by somebody else since, and that stays; \
    what is wanted now has to be set anew, such as by `homeostat deploy` or `homeostat scale`";

/// Whether two steps set one thing: an attribute, or what is up.
pub(crate) fn sets_the_same(one: &Step, other: &Step) -> bool {
    let attribute = |step: &Step| step.action.sets().map(|(attribute, _)| attribute);
    match (attribute(one), attribute(other)) {
        (Some(one), Some(other)) => one == other,
        (None, None) => one.action.infrastructure().is_some() && other.action.infrastructure().is_some(),
        _ => false,
    }
}

/// Whether a step was done after another that set the same, and was not taken back since.
fn has_replaced(later: &JournalEntry, earlier: &JournalEntry) -> bool {
    matches!(later.state(), EntryState::Open | EntryState::Done)
        && later.intent_at.wall_us > earlier.intent_at.wall_us
        && sets_the_same(&later.step, &earlier.step)
}
