//! [`Change`] over the world, to the letter of its contract.
//!
//! In: cleared steps, in any order and as often as they come. Out: a changed world, or the trouble that the story has in store
//! for the step. A step that was undone is not done again, and doing one twice changes nothing.

use decide::plan::ClearedStep;
use domain::{
    Action, Attribute, Captured, Effect, Fault, Infrastructure, InstanceName, ResourceId, Step, StepToken,
    Time, Undo, UpWhen,
};
use provider::{Change, ProviderError, Undone};

use crate::world::{MemoryProvider, Trouble, World};

fn failed(what: &str) -> ProviderError {
    ProviderError::Failed { what: what.to_owned(), why: "it went wrong in simulation".to_owned() }
}

/// The slot whose process a step replaces.
fn replaced(action: &Action) -> Option<&InstanceName> {
    match action {
        Action::RestartInstance { instance, .. } => Some(instance),
        Action::Inject(fault) if fault.kind.is_instant() => fault.target.instance(),
        _ => None,
    }
}

impl Change for MemoryProvider {
    fn check(&self, token: StepToken, step: &Step) -> Result<(), ProviderError> {
        let mut world = self.lock();
        let resource = step.action.resource();
        match &step.action {
            Action::BringUp { infrastructure, .. } if world.something_is_up => {
                let what = format!("bringing {} up", infrastructure.name);
                let why = format!("{} is up already", world.infrastructure.name);
                return Err(ProviderError::Failed { what, why });
            }
            Action::TakeDown { infrastructure }
                if !world.something_is_up || world.infrastructure != **infrastructure =>
            {
                return Err(ProviderError::UnknownResource { resource: resource.to_string() });
            }
            _ => {}
        }
        if !matches!(&step.action, Action::BringUp { .. }) && !world.has(&resource) {
            return Err(ProviderError::UnknownResource { resource: resource.to_string() });
        }
        if world.is_troubled(token, Trouble::CheckRefuses) {
            return Err(failed("the check"));
        }
        if world.refuse(&resource) {
            return Err(failed("the check"));
        }
        if let Action::Inject(Fault { target: ResourceId::Instance(instance), kind, .. }) = &step.action
            && world.incarnation(instance).is_none()
        {
            let why = format!("no process runs in {instance}");
            return Err(ProviderError::Failed { what: kind.to_string(), why });
        }
        Ok(())
    }

    fn capture(&self, step: ClearedStep<'_>) -> Result<Captured, ProviderError> {
        let world = self.lock();
        if let Some((attribute, _)) = step.action().sets() {
            let layered = world.attributes.get(&attribute).ok_or_else(|| ProviderError::UnknownResource {
                resource: step.action().resource().to_string(),
            })?;
            let (value, generation) = (layered.value(), layered.generation);
            return Ok(Captured::Attribute { attribute, value, generation });
        }
        if step.action().infrastructure().is_some() {
            let up = world.something_is_up.then(|| Box::new(world.infrastructure.clone()));
            return Ok(Captured::Infrastructure { up });
        }
        Ok(match replaced(step.action()) {
            Some(instance) => {
                Captured::Process { instance: instance.clone(), incarnation: world.incarnation(instance) }
            }
            None => Captured::Nothing,
        })
    }

    fn apply(&self, step: ClearedStep<'_>, captured: &Captured) -> Result<(), ProviderError> {
        let (token, now) = (step.token(), self.now());
        let mut world = self.lock();
        if world.changes.contains_key(&token) {
            return Ok(());
        }
        if let Captured::Attribute { attribute, generation, .. } = captured
            && let Some(layered) = world.attributes.get(attribute)
            && layered.generation != *generation
        {
            return Err(ProviderError::Conflict {
                attribute: format!("{attribute:?}"),
                seen: layered.generation,
                expected: *generation,
            });
        }
        if world.is_troubled(token, Trouble::ApplyFailsBefore) {
            return Err(failed("the step"));
        }
        if !world.is_troubled(token, Trouble::NoEffect) {
            world.perform(token, step.action(), now);
        }
        if world.is_troubled(token, Trouble::ApplyFailsAfter) {
            return Err(failed("the step"));
        }
        Ok(())
    }

    fn prove(&self, token: StepToken, step: &Step, captured: &Captured) -> Result<Effect, ProviderError> {
        let now = self.now();
        let world = self.lock();
        if world.is_troubled(token, Trouble::EffectUnknown) {
            return Ok(Effect::Unknown);
        }
        let present = match (&step.action, captured) {
            (action, Captured::Process { instance, incarnation }) => {
                let ready = world.is_up(instance, now);
                let instant_fault = matches!(action, Action::Inject(_));
                world.incarnation(instance) != *incarnation && (ready || instant_fault)
            }
            (_, Captured::Attribute { attribute: Attribute::Release(service), .. })
                if !world.runs_everywhere(service) =>
            {
                false
            }
            (_, Captured::Attribute { attribute, .. }) => {
                let layered = world.attributes.get(attribute);
                layered.is_some_and(|layered| layered.layers.iter().any(|(owner, _)| *owner == token))
            }
            (Action::BringUp { infrastructure, up_when }, _) => {
                let all_ready = || infrastructure.services.keys().all(|name| world.runs_everywhere(name));
                world.up_by == Some(token) && (*up_when == UpWhen::Started || all_ready())
            }
            (Action::Inject(_), _) => world.faults.contains_key(&token),
            _ => world.changes.contains_key(&token),
        };
        Ok(if present { Effect::Present } else { Effect::Absent })
    }

    fn undo(&self, token: StepToken, step: &Step, captured: &Captured) -> Result<Undone, ProviderError> {
        let now = self.now();
        let mut world = self.lock();
        if world.is_troubled(token, Trouble::UndoFails) {
            return Err(failed("the undo"));
        }
        if matches!(step.action, Action::Inject(_)) {
            let found = world.faults.remove(&token);
            return Ok(if found.is_some() { Undone::Restored } else { Undone::NothingThere });
        }
        if !world.changes.contains_key(&token) || !world.undone.insert(token) {
            return Ok(Undone::NothingThere);
        }
        if let Captured::Infrastructure { up } = captured {
            return Ok(turn_back(&mut world, token, up.as_deref(), now));
        }
        let found = match captured {
            Captured::Attribute { .. } => take_layer(&mut world, token, step, captured),
            _ => Undone::NothingThere,
        };
        if let Undo::Compensating(action) = &step.undo
            && !matches!(captured, Captured::Attribute { .. })
        {
            if let Some(instance) = replaced(action) {
                world.restart(instance, now);
            }
            return Ok(Undone::Restored);
        }
        world.scale(now);
        Ok(found)
    }

    fn remove_all_faults(&self) -> Result<u32, ProviderError> {
        let mut world = self.lock();
        let count = world.faults.len();
        world.faults.clear();
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }
}

/// What was up before a step is up again, unless somebody brought something else up since.
fn turn_back(world: &mut World, token: StepToken, before: Option<&Infrastructure>, now: Time) -> Undone {
    match before {
        Some(before) if !world.something_is_up => world.bring_up(token, before, now),
        None if world.up_by == Some(token) => world.take_down(),
        _ => return Undone::Superseded,
    }
    Undone::Restored
}

/// Takes a step's layer out of the attribute it set.
fn take_layer(world: &mut World, token: StepToken, step: &Step, captured: &Captured) -> Undone {
    let Captured::Attribute { attribute, .. } = captured else { return Undone::NothingThere };
    let Some(layered) = world.attributes.get_mut(attribute) else { return Undone::NothingThere };
    let Some(position) = layered.layers.iter().position(|(owner, _)| *owner == token) else {
        return Undone::Superseded;
    };
    let was_in_force = position + 1 == layered.layers.len();
    layered.layers.remove(position);
    if !was_in_force {
        return Undone::Superseded;
    }
    layered.generation += 1;
    if let Undo::Compensating(action) = &step.undo
        && let Some((_, value)) = action.sets()
        && value != layered.value()
    {
        layered.base = value;
        layered.layers.clear();
    }
    Undone::Restored
}
