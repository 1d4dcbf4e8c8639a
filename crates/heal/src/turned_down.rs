//! Plans the guard cleared and that could not begin: there was no slot after all, or the first step cannot be
//! done now.
//!
//! In: what was turned down, by whom, and what stood then. Out: whether the same repair is tried again now. It
//! is, when something changed that could change the answer: the plan is another one, other repairs run or ran
//! lately, or, where only asking tells, after a pause that doubles. Asking again writes nothing and runs nothing:
//! a refusal is written once, and after a good answer the next turn plans and guards the repair anew, on what it
//! sees then.

use std::time::Duration;

use act::Circumstances;
use domain::{Actor, Intent, IssueId, Plan, PlanId, Step, Strategy, Time};

use crate::healer::Healer;
use crate::waiting::Ends;

/// The first pause before the provider is asked again, and the longest.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// A slot is asked for again after this long although nothing that was counted changed: the store counts every
/// repair, and what the loop knows of them is the newest thousand.
const SLOT_PAUSE: Duration = Duration::from_secs(10 * 60);

/// The latest repair of an issue that could not begin.
#[derive(Debug, Clone)]
pub(crate) struct TurnedDown {
    plan: PlanId,
    strategy: Strategy,
    steps: Vec<Step>,
    why: String,
    by: By,
    times: u32,
    /// Not before.
    again: Time,
}

/// Who turned a plan down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum By {
    /// The one who would do its first step. Only asking tells whether it can be done now.
    Provider,
    /// The count of slots, with the repairs that were counted.
    Slots(Counted),
    /// Nobody any more: the one who would do its first step was asked again, and can.
    Nobody,
}

/// The repairs of late, and whether each has its verdict: all that slots are counted by.
pub(crate) type Counted = Vec<(PlanId, bool)>;

/// How a plan is begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// Written down, then run.
    First,
    /// The provider is asked whether it can be done now, and no more.
    Asked,
    /// Not now.
    NotYet,
}

impl TurnedDown {
    fn is_of(&self, strategy: Strategy, plan: &Plan) -> bool {
        self.strategy == strategy && self.steps == plan.steps
    }
}

fn repaired(plan: &Plan) -> Option<(IssueId, Strategy)> {
    match plan.intent {
        Intent::Remediation { issue, strategy, .. } => Some((issue, strategy)),
        _ => None,
    }
}

impl Healer {
    /// Whether a cleared plan is to be begun now, after what is known of the same one.
    pub(crate) fn attempt(&self, plan: &Plan, circumstances: &Circumstances) -> Attempt {
        let Some((issue, strategy)) = repaired(plan) else { return Attempt::First };
        let now = self.now();
        let counted = self.counted(circumstances, plan.id);
        let (why, again) = {
            let mut state = self.state();
            let Some(down) = state.turned_down.get_mut(&issue).filter(|down| down.is_of(strategy, plan))
            else {
                return Attempt::First;
            };
            // Who asks for it by hand gets today's answer; one that has had it waits like any other.
            if matches!(plan.requested_by, Actor::Operator(_)) && down.plan != plan.id {
                return Attempt::First;
            }
            match &down.by {
                By::Nobody => return Attempt::First,
                By::Slots(then) if *then != counted || now.reached(down.again) => return Attempt::First,
                By::Provider if now.reached(down.again) => {
                    // Until the answer is there.
                    down.again = now.plus(PAUSE_MAX);
                    return Attempt::Asked;
                }
                _ => (down.why.clone(), down.again),
            }
        };
        self.note_waiting(issue, why, Ends::At(again));
        Attempt::NotYet
    }

    /// Remembers that a plan could not begin.
    pub(crate) fn note_turned_down(&self, plan: &Plan, why: &str, by: By) {
        let Some((issue, strategy)) = repaired(plan) else { return };
        let now = self.now();
        let again = {
            let mut state = self.state();
            let before = state.turned_down.get(&issue).filter(|down| down.is_of(strategy, plan));
            let times = before.map_or(0, |down| down.times).saturating_add(1);
            let pause = match by {
                By::Provider => PAUSE_MIN.saturating_mul(1 << (times - 1).min(6)).min(PAUSE_MAX),
                By::Slots(_) => SLOT_PAUSE,
                By::Nobody => Duration::ZERO,
            };
            let again = now.plus(pause);
            let (steps, why) = (plan.steps.clone(), why.to_owned());
            state
                .turned_down
                .insert(issue, TurnedDown { plan: plan.id, strategy, steps, why, by, times, again });
            again
        };
        self.note_waiting(issue, why.to_owned(), Ends::At(again));
    }

    /// The provider was asked again and can do it: the next turn plans it anew.
    pub(crate) fn note_possible(&self, plan: &Plan) {
        let Some((issue, strategy)) = repaired(plan) else { return };
        let mut state = self.state();
        if let Some(down) = state.turned_down.get_mut(&issue).filter(|down| down.is_of(strategy, plan)) {
            down.by = By::Nobody;
        }
    }

    /// A plan began: what was turned down before it says nothing any more.
    pub(crate) fn forget_turned_down(&self, plan: &Plan) {
        if let Some((issue, _)) = repaired(plan) {
            self.state().turned_down.remove(&issue);
        }
    }

    /// What the slots of another plan than `but` are counted by.
    pub(crate) fn counted(&self, circumstances: &Circumstances, but: PlanId) -> Counted {
        let window = self.settings().policy.limits.rate_window;
        let now = self.now();
        let records = circumstances.history.records().iter();
        let counts = records.filter(|record| record.under_way() || record.age(now) < window);
        counts.filter(|record| record.plan != but).map(|r| (r.plan, r.under_way())).collect()
    }
}
