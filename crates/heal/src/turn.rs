//! One turn of the loop. Everything Homeostat does by itself is on this screen.
//!
//! An event, a timer or the clock asks for a turn; the turn reads the world again and believes only that.
//! The next turn is the retry: nothing here waits, and a turn that fails half way is simply repeated. What
//! fails with one issue or one plan stops no other (`trouble.rs`).
//!
//! ```text
//! look → detect → verify → lift → diagnose → for each issue: plan → guard → act
//! ```

use act::Circumstances;
use decide::plan::{Planned, Ruling, by_priority, guard, told_directly};
use domain::{Cause, Issue, Snapshot};

use crate::healer::Healer;
use crate::telling::{Phase, Told, of_issue, of_plan};

/// Why a turn came to nothing. The next one tries again.
#[derive(Debug, thiserror::Error)]
pub enum TurnError {
    /// The world could not be looked at.
    #[error("cannot look at the fleet")]
    Look(#[from] provider::ProviderError),
    /// State could not be read or written.
    #[error("cannot read or write state")]
    Store(#[from] store::StoreError),
    /// A measure could not be taken back.
    #[error("cannot take a measure back")]
    Act(#[from] act::ActError),
}

/// What a turn saw and did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Turn {
    /// Open issues.
    pub open: usize,
    /// Repairs begun.
    pub begun: usize,
    /// Plans that wait for a slot, a window or a person.
    pub waiting: usize,
    /// Parts that failed and are tried again.
    pub troubled: usize,
}

/// What came of one issue in one turn.
enum Tended {
    Begun,
    Waits,
    Left,
}

impl Healer {
    /// One turn.
    ///
    /// # Errors
    ///
    /// [`TurnError`]; what was written before it stays and is found by the next turn.
    pub fn turn(&self) -> Result<Turn, TurnError> {
        let deeds = self.state().deeds;
        let mut told = self.parts.tell.begin(Phase::Turn);
        let turn = self.turn_through();
        self.tell_troubles(&mut *told);
        match &turn {
            Err(error) => told.failed(&act::in_full(error)),
            Ok(_) if self.state().deeds == deeds => told.forget(), // an idle turn
            Ok(turn) => told.say("homeostat.issues.open", &turn.open.to_string()),
        }
        turn
    }

    fn turn_through(&self) -> Result<Turn, TurnError> {
        let sighting = self.telling(Phase::Observe, |_| self.look())?; // signals → Snapshot
        self.note_unbound(&sighting); // ports that cannot be had → troubles
        self.note_deployments(&sighting); // what runs → Deployments
        self.note_items(&sighting); // what is configured → Items
        let snapshot = sighting.snapshot();
        let open = self.telling(Phase::Detect, |told| self.detect(snapshot, told))?; // Snapshot → Issues
        self.write_owed(); // records that could not be written
        self.verify(&sighting)?; // Plans that ran → Outcomes → Lessons
        self.telling(Phase::Lift, |told| self.lift(snapshot, told))?; // measures whose time is over
        let mut turn = Turn { open: open.len(), ..Turn::default() };
        let diagnosed = by_priority(self.diagnose(&open, snapshot)); // Issues → ranked Causes
        let mut gathered = None; // only where an issue asks for them: they are read from a month of plans
        for (issue, causes) in &diagnosed {
            if let Some(other) = told_directly(issue, causes, &diagnosed) {
                self.leave_to(issue, other);
                continue;
            }
            let circumstances = match gathered.take() {
                Some(circumstances) => circumstances,
                None => self.circumstances(snapshot.taken)?,
            };
            let tend =
                || self.telling(Phase::Plan, |told| self.tend(issue, causes, snapshot, &circumstances, told));
            match self.apart(format!("issue {}", issue.id), tend).unwrap_or(Tended::Left) {
                Tended::Begun => {
                    turn.begun += 1;
                    continue; // the next one sees what was just begun
                }
                Tended::Waits => turn.waiting += 1,
                Tended::Left => {}
            }
            gathered = Some(circumstances);
        }
        turn.begun += self.start_queued(snapshot)?;
        turn.troubled = self.end_troubles();
        Ok(turn)
    }

    fn tend(
        &self,
        issue: &Issue,
        causes: &[Cause],
        snapshot: &Snapshot,
        circumstances: &Circumstances,
        told: &mut dyn Told,
    ) -> Result<Tended, TurnError> {
        of_issue(told, issue.id);
        let waits = match self.plan(issue, causes, snapshot, circumstances) {
            Planned::Plan(plan) => {
                match guard(plan, &Self::guard_context(&self.settings().policy, snapshot, circumstances)) {
                    Ruling::Clear(cleared) => {
                        of_plan(told, cleared.plan());
                        let begun = self.start(cleared, circumstances, snapshot.taken)?; // act
                        return Ok(if begun { Tended::Begun } else { Tended::Left });
                    }
                    ruling => self.hold(issue, ruling)?,
                }
            }
            other => self.wait(issue, &other),
        };
        Ok(if waits { Tended::Waits } else { Tended::Left })
    }
}
