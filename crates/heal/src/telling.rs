//! What a turn does, told while it does it: for whoever traces the loop.
//!
//! In: phases that begin, what they are about, how they end. Out: calls of [`Tell`]. The loop knows nothing of traces;
//! the binary, which may, makes them. Deliberately absent: any answer. Nothing told changes what the loop does.

use act::in_full;
use domain::{Intent, Issue, IssueId, Plan, PlanId};

use crate::healer::Healer;
use crate::turn::TurnError;

/// A part of the loop that is told of. All but the first are parts of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// A whole turn.
    Turn,
    /// Signals → Snapshot.
    Observe,
    /// Snapshot → Issues.
    Detect,
    /// Measures and approvals whose time is over.
    Lift,
    /// One issue → ranked Causes.
    Diagnose,
    /// One issue with its causes → Plan → Guard.
    Plan,
    /// The steps of one plan, beside the turn that began it.
    Act,
    /// One plan that ran, and its signal.
    Verify,
}

impl Phase {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Turn => "turn",
            Self::Observe => "observe",
            Self::Detect => "detect",
            Self::Lift => "lift",
            Self::Diagnose => "diagnose",
            Self::Plan => "plan",
            Self::Act => "act",
            Self::Verify => "verify",
        }
    }
}

/// Begins to tell of a phase on the thread where it is called.
pub type TellElsewhere = Box<dyn FnOnce(Phase) -> Box<dyn Told> + Send>;

/// Is told what the loop does. Must not block.
pub trait Tell: Send + Sync {
    /// A phase begins on this thread, within the one that was begun last and has not ended.
    fn begin(&self, phase: Phase) -> Box<dyn Told>;

    /// For a phase that belongs to the one under way on this thread, and runs on another.
    fn elsewhere(&self) -> TellElsewhere;
}

/// A phase under way; dropped when it ends.
pub trait Told {
    /// Something to be known of it, under a name such as `homeostat.issue.id`. Said twice, the last counts.
    fn say(&mut self, key: &'static str, value: &str);

    /// Something that happened in it.
    fn happened(&mut self, what: &'static str, details: &[(&'static str, &str)]);

    /// It came to nothing, and why.
    fn failed(&mut self, why: &str);

    /// It ends, and nothing worth telling was done in it.
    fn forget(self: Box<Self>);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Tell for Silent {
    fn begin(&self, _: Phase) -> Box<dyn Told> {
        Box::new(Self)
    }

    fn elsewhere(&self) -> TellElsewhere {
        Box::new(|_| Box::new(Self))
    }
}

impl Told for Silent {
    fn say(&mut self, _: &'static str, _: &str) {}

    fn happened(&mut self, _: &'static str, _: &[(&'static str, &str)]) {}

    fn failed(&mut self, _: &str) {}

    fn forget(self: Box<Self>) {}
}

impl Healer {
    /// Does one phase and tells of it, also how it failed.
    pub(crate) fn telling<T>(
        &self,
        phase: Phase,
        work: impl FnOnce(&mut dyn Told) -> Result<T, TurnError>,
    ) -> Result<T, TurnError> {
        let mut told = self.parts.tell.begin(phase);
        let done = work(&mut *told);
        if let Err(error) = &done {
            told.failed(&in_full(error));
        }
        done
    }

    /// Something was done that is worth telling: the turn it was done in is not forgotten.
    pub(crate) fn note_deed(&self) {
        self.state().deeds += 1;
    }

    /// Tells of what fails since the latest turn ended, also beside a turn.
    pub(crate) fn tell_troubles(&self, told: &mut dyn Told) {
        for (what, why) in self.new_troubles() {
            told.happened("trouble", &[("homeostat.part", &what), ("homeostat.why", &why)]);
            self.note_deed();
        }
    }
}

/// Says which issue a phase is about.
pub(crate) fn of_issue(told: &mut dyn Told, issue: IssueId) {
    told.say("homeostat.issue.id", &issue.to_string());
}

/// Says which plan a phase is about, and for which issue that is.
pub(crate) fn of_plan(told: &mut dyn Told, plan: &Plan) {
    told.say("homeostat.plan.id", &plan.id.to_string());
    if let Intent::Remediation { issue, strategy, .. } = &plan.intent {
        of_issue(told, *issue);
        told.say("homeostat.plan.strategy", strategy.name());
    }
}

/// Tells what became of a plan, apart from its repair.
pub(crate) fn became(told: &mut dyn Told, what: &'static str, plan: PlanId) {
    told.happened(what, &[("homeostat.plan.id", &plan.to_string())]);
}

/// Tells of an issue that was opened or closed.
pub(crate) fn changed(told: &mut dyn Told, what: &'static str, issue: &Issue) {
    of_issue(told, issue.id);
    let (id, kind, resource) = (issue.id.to_string(), issue.kind.to_string(), issue.resource.to_string());
    let details = [
        ("homeostat.issue.id", id.as_str()),
        ("homeostat.issue.kind", kind.as_str()),
        ("homeostat.resource", resource.as_str()),
    ];
    told.happened(what, &details);
}
