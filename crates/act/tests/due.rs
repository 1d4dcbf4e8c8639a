//! What is due: one plan that cannot be looked after keeps no other from it, and what is said to be out is out.

mod support;

use std::sync::Arc;
use std::time::Duration;

use act::Executor;
use decide::plan::ClearedStep;
use domain::*;
use provider::{Change, ProviderError, Undone};
use sim::Trouble;
use store::{Ending, Store};
use support::*;

/// Somebody else ends the journal entry of one step while it is being undone, so that its own ending is refused.
struct EndedMeanwhile {
    provider: sim::MemoryProvider,
    store: Store,
    step: StepToken,
    at: Time,
}

impl Change for EndedMeanwhile {
    fn check(&self, token: StepToken, step: &Step) -> Result<(), ProviderError> {
        self.provider.check(token, step)
    }
    fn capture(&self, step: ClearedStep<'_>) -> Result<Captured, ProviderError> {
        self.provider.capture(step)
    }
    fn apply(&self, step: ClearedStep<'_>, captured: &Captured) -> Result<(), ProviderError> {
        self.provider.apply(step, captured)
    }
    fn prove(&self, token: StepToken, step: &Step, captured: &Captured) -> Result<Effect, ProviderError> {
        self.provider.prove(token, step, captured)
    }
    fn undo(&self, token: StepToken, step: &Step, captured: &Captured) -> Result<Undone, ProviderError> {
        if token == self.step {
            let ending = Ending::Abandoned { why: "by somebody else".to_owned() };
            self.store.append_ending(token, &ending, self.at).unwrap();
        }
        self.provider.undo(token, step, captured)
    }
    fn remove_all_faults(&self) -> Result<u32, ProviderError> {
        self.provider.remove_all_faults()
    }
}

#[test]
fn a_fault_ends_in_its_time_though_another_plan_cannot_be_taken_back() {
    let fleet = Fleet::new();
    let (bad, good) = (fleet.plan(vec![pause(0)]), fleet.plan(vec![partition()]));
    fleet.run(&bad);
    fleet.run(&good);
    fleet.clock.wait(Duration::from_secs(30));
    let change = EndedMeanwhile {
        provider: fleet.provider.clone(),
        store: fleet.store.clone(),
        step: token(&bad, 0),
        at: fleet.now(),
    };
    let executor = Executor::new(fleet.store.clone(), Arc::new(change), fleet.clock.clone());
    let due = executor.run_due().unwrap();
    assert!(matches!(&due.failed[..], [(plan, why)] if *plan == bad.id && !why.is_empty()), "{due:?}");
    assert!(matches!(&due.taken_back[..], [(plan, report)] if *plan == good.id && report.is_complete()));
    assert!(fleet.provider.faults().is_empty());
    // It is due again at once.
    assert!(executor.run_due().unwrap().failed.is_empty());
    assert!(fleet.store.timers().unwrap().is_empty());
}

#[test]
fn a_fault_that_could_not_be_taken_out_at_the_start_is_not_counted_as_taken_out() {
    let fleet = Fleet::new();
    let (stays, goes) = (fleet.plan(vec![pause(0)]), fleet.plan(vec![partition()]));
    fleet.run(&stays);
    fleet.run(&goes);
    fleet.provider.trouble(token(&stays, 0), Trouble::UndoFails);
    assert_eq!(fleet.successor().recover().unwrap().faults_taken_out, 1);
    fleet.provider.calm();
    assert_eq!(fleet.successor().recover().unwrap().faults_taken_out, 1);
    assert!(fleet.provider.faults().is_empty());
}
