//! What people ask of a whole Infrastructure: bring it up, take it down, run more or fewer of a service of it.
//!
//! In: a declaration, a name, a number. Out: a plan as every other, with what the guard says of it. Who asks for a
//! deletion does not approve it with the same word: where the guard wants an approval, the plan waits for one
//! (specification H8).
//!
//! One Infrastructure is kept per data directory; a second one is refused by name.

use domain::{Action, Infrastructure, ServiceName, UpWhen};

use crate::healer::Healer;
use crate::operate::{Missing, OperateError, Proposal, RunMode, Word};

/// Most instances of one service; as many as may be declared.
const REPLICAS_MAX: u32 = 100;

impl Healer {
    /// Brings an Infrastructure up, all or nothing, and where `mode` says so, begins it.
    ///
    /// # Errors
    ///
    /// [`OperateError`]; where something is up already, its name.
    pub fn create_infrastructure(
        &self,
        infrastructure: Infrastructure,
        mode: RunMode,
        who: &str,
    ) -> Result<Proposal, OperateError> {
        let why = format!("bring {} up", infrastructure.name);
        let action = Action::BringUp { infrastructure: Box::new(infrastructure), up_when: UpWhen::Ready };
        self.propose(action, why, &self.look()?, mode, Word::Asks(who))
    }

    /// Starts what a control plane is started with. The word of who starts it approves that, unless policy asks for two
    /// people; what does not become ready stays, and is repaired like whatever fails later.
    ///
    /// # Errors
    ///
    /// [`OperateError`]; where something is up already, its name.
    pub fn start_declared(
        &self,
        infrastructure: Infrastructure,
        who: &str,
    ) -> Result<Proposal, OperateError> {
        let why = format!("bring {} up with the control plane", infrastructure.name);
        let action = Action::BringUp { infrastructure: Box::new(infrastructure), up_when: UpWhen::Started };
        self.propose(action, why, &self.look()?, RunMode::Run, Word::Approves(who))
    }

    /// Takes down what is up, as its control plane ends for good. The word of who ends it approves that, unless policy asks
    /// for two people.
    ///
    /// # Errors
    ///
    /// [`OperateError`]; where it is not what is up, too.
    pub fn end_declared(&self, infrastructure: Infrastructure, who: &str) -> Result<Proposal, OperateError> {
        let why = format!("take {} down with the control plane", infrastructure.name);
        let action = Action::TakeDown { infrastructure: Box::new(infrastructure) };
        self.propose(action, why, &self.look()?, RunMode::Run, Word::Approves(who))
    }

    /// Takes an Infrastructure down with its volumes, and where `mode` says so, begins it. It waits for an approval
    /// unless policy says otherwise.
    ///
    /// # Errors
    ///
    /// [`OperateError`] where it is not up.
    pub fn delete_infrastructure(
        &self,
        name: &ServiceName,
        mode: RunMode,
        who: &str,
    ) -> Result<Proposal, OperateError> {
        let up = self.parts.observer.infrastructure().map_err(crate::TurnError::from)?;
        let not_found = || OperateError::NotFound { what: Missing::Infrastructure(name.clone()) };
        let infrastructure = Box::new(up.filter(|up| up.name == *name).ok_or_else(not_found)?);
        let why = format!("take {name} down");
        self.propose(Action::TakeDown { infrastructure }, why, &self.look()?, mode, Word::Asks(who))
    }

    /// Runs so many instances of a service until somebody asks for another number, and where `mode` says so, begins
    /// it. Ending many waits for an approval.
    ///
    /// # Errors
    ///
    /// [`OperateError`] where there is no such service, the number is none that can be, or it is that already.
    pub fn scale(
        &self,
        service: &ServiceName,
        replicas: u32,
        mode: RunMode,
        who: &str,
    ) -> Result<Proposal, OperateError> {
        if !(1..=REPLICAS_MAX).contains(&replicas) {
            let why = format!("{replicas} replicas were asked for; 1 to {REPLICAS_MAX} can be run");
            return Err(OperateError::Refused { why });
        }
        let sighting = self.look()?;
        let state = sighting.snapshot().services.get(service);
        let state =
            state.ok_or_else(|| OperateError::NotFound { what: Missing::Service(service.clone()) })?;
        if state.replicas == replicas {
            let why = format!("{replicas} replicas of {service} are to run already; nothing would change");
            return Err(OperateError::Refused { why });
        }
        let why = format!("run {replicas} of {service} ({} when it was asked for)", state.replicas);
        self.propose(
            Action::SetReplicas { service: service.clone(), replicas },
            why,
            &sighting,
            mode,
            Word::Asks(who),
        )
    }
}
