//! The process provider: [`Look`] and [`Change`] in terms of the keeper's protocol.
//!
//! In: cleared steps. Out: what the keeper measured. It holds no state of its own, so that a control plane
//! that died and came back sees what any other would.

use std::path::{Path, PathBuf};
use std::time::Duration;

use decide::plan::ClearedStep;
use domain::snapshot::{InstanceState, Phase};
use domain::{
    Action, Attribute, Capabilities, Captured, Effect, Event, Fault, Incarnation, Infrastructure,
    InstanceName, ServiceName, Step, StepToken, Undo,
};

use crate::connection::{Connections, Start};
use crate::keeper::Removed;
use crate::protocol::{Errand, Held, Request};
use crate::{Change, Look, ProviderError, Sample, Undone, proof};
use crate::{files, layout, runnable};

/// Real processes on this machine.
pub struct ProcessProvider {
    pub(crate) keeper: Connections,
    /// What the first keeper said it can do.
    capabilities: Capabilities,
}

impl ProcessProvider {
    /// Connects to the keeper of the data directory `dir`, starting it from this binary where none runs.
    ///
    /// # Errors
    ///
    /// Where the directory cannot be used, the keeper does not start, or it is of another version.
    pub fn open(dir: &Path) -> Result<Self, ProviderError> {
        let exe = std::env::current_exe()
            .map_err(|error| failed("finding the path of this binary", &error.to_string()))?;
        Self::open_with(dir, exe)
    }

    /// As [`open`](Self::open), with another binary to run as keeper.
    pub fn open_with(dir: &Path, exe: PathBuf) -> Result<Self, ProviderError> {
        let directory =
            |error: std::io::Error| failed(&format!("using {}", dir.display()), &error.to_string());
        durable::take_dir(dir).map_err(directory)?;
        let dir = dir.canonicalize().map_err(directory)?;
        let keeper = Connections::new(dir, exe);
        keeper.ask::<()>(&Request::Heartbeat)?;
        let welcome = keeper.welcome().ok_or_else(|| failed("talking to the keeper", "it did not greet"))?;
        Ok(Self { keeper, capabilities: welcome.capabilities })
    }

    /// Whether a keeper runs for the data directory `dir`. Starts none.
    pub fn runs(dir: &Path) -> bool {
        Connections::runs(dir)
    }

    /// Brings an Infrastructure up. The same again changes nothing; another one is refused. Returns once its processes
    /// are being started, not when they are ready.
    ///
    /// # Errors
    ///
    /// The keeper's refusal, with the field that is at fault; nothing is up then that was not before.
    pub fn up(&self, infrastructure: &Infrastructure) -> Result<(), ProviderError> {
        self.keeper.ask(&Request::Up { infrastructure: Box::new(infrastructure.clone()), by: None })
    }

    /// What stands in the way of bringing an Infrastructure up in the data directory `dir`, with the field that is at fault;
    /// `None` where nothing does, and where something is up there already, which [`up`](Self::up) tells. Starts nothing: of a
    /// keeper that runs this is asked, and one that would be started sees what this process sees.
    ///
    /// # Errors
    ///
    /// Where a keeper runs and does not say.
    pub fn in_the_way(dir: &Path, infrastructure: &Infrastructure) -> Result<Option<String>, ProviderError> {
        if !Self::runs(dir) {
            let is_up = crate::keeper::is_up(&dir.join("keeper"));
            return Ok(runnable::check(infrastructure).err().filter(|_| !is_up));
        }
        let keeper = Connections::new(dir.to_owned(), PathBuf::new());
        let up: Option<Infrastructure> = keeper.ask_with(&Request::Infrastructure, Start::Never)?;
        if up.is_some() {
            return Ok(None);
        }
        let infrastructure = Box::new(infrastructure.clone());
        keeper.ask_with(&Request::CheckUp { infrastructure }, Start::Never)
    }

    /// Takes everything down, removes its volumes and ends the keeper.
    ///
    /// # Errors
    ///
    /// Where something does not end; the keeper goes on then, and the call may be repeated.
    pub fn down(&self) -> Result<(), ProviderError> {
        self.keeper.ask::<()>(&Request::Down)?;
        self.shutdown()
    }

    /// Ends the keeper alone; services go on and the next call adopts them.
    ///
    /// # Errors
    ///
    /// Where it is still there after 10 s.
    pub fn shutdown(&self) -> Result<(), ProviderError> {
        let pid = self.keeper_pid();
        match self.keeper.ask_with(&Request::Shutdown, Start::Never) {
            // It ended before it was asked, or before it could answer.
            Ok(()) | Err(ProviderError::Unreachable { .. }) => {}
            Err(error) => return Err(error),
        }
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while pid.is_some_and(|pid| crate::process::identify(pid).is_some()) {
            if std::time::Instant::now() > deadline {
                return Err(failed("ending the keeper", "it is still there after 10 s"));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Says that the control plane lives. Faults are taken out 5 s after the last sign of life; every
    /// other request is one too.
    pub fn heartbeat(&self) -> Result<(), ProviderError> {
        self.keeper.ask(&Request::Heartbeat)
    }

    /// The process id of the keeper last spoken to.
    pub fn keeper_pid(&self) -> Option<u32> {
        self.keeper.welcome().map(|welcome| welcome.pid)
    }

    /// The path under which this process reaches the volume of an instance.
    pub fn volume_path(&self, instance: &InstanceName) -> Result<PathBuf, ProviderError> {
        self.keeper.ask(&Request::Volume { instance: instance.clone() })
    }

    pub(crate) fn instance(&self, name: &InstanceName) -> Result<InstanceState, ProviderError> {
        let mut sample = self.sample()?;
        let found = sample.services.get_mut(&name.service).and_then(|service| service.instances.remove(name));
        found.ok_or_else(|| ProviderError::UnknownResource { resource: format!("instance/{name}") })
    }

    pub(crate) fn held(&self, attribute: &Attribute) -> Result<Held, ProviderError> {
        self.keeper.ask(&Request::Attribute { attribute: attribute.clone() })
    }

    /// What a step does, given what was captured.
    fn perform(&self, token: StepToken, action: &Action, captured: &Captured) -> Result<(), ProviderError> {
        if let Some((attribute, value)) = action.sets() {
            let Captured::Attribute { generation, .. } = captured else {
                return Err(failed("setting an attribute", "nothing was captured before"));
            };
            return self.keeper.ask(&Request::Set { attribute, value, expected: *generation, token });
        }
        let expected = expected(captured);
        match action {
            Action::BringUp { infrastructure, .. } => {
                self.keeper.ask(&Request::Up { infrastructure: infrastructure.clone(), by: Some(token) })
            }
            Action::TakeDown { infrastructure } => {
                self.keeper.ask(&Request::TakeDown { token, infrastructure: infrastructure.clone() })
            }
            Action::RestartInstance { instance, manner } => self.keeper.ask(&Request::Restart {
                token,
                instance: instance.clone(),
                expected,
                manner: *manner,
            }),
            Action::Inject(fault) => {
                self.keeper.ask(&Request::Inject { token, fault: fault.clone(), expected })
            }
            other => match errand(other) {
                Some(errand) => self.keeper.ask(&Request::Once { token, errand }),
                None => Ok(()),
            },
        }
    }

    fn capture_for(&self, action: &Action) -> Result<Captured, ProviderError> {
        if let Some((attribute, _)) = action.sets() {
            let Held { value, generation } = self.held(&attribute)?;
            return Ok(Captured::Attribute { attribute, value, generation });
        }
        if action.infrastructure().is_some() {
            return Ok(Captured::Infrastructure { up: self.infrastructure()?.map(Box::new) });
        }
        let instance = match action {
            Action::RestartInstance { instance, .. } => Some(instance),
            Action::Inject(Fault { target, kind, .. })
                if !matches!(kind, domain::FaultKind::DiskFill { .. }) =>
            {
                target.instance()
            }
            _ => None,
        };
        match instance {
            Some(name) => {
                let incarnation = self.instance(name)?.incarnation;
                Ok(Captured::Process { instance: name.clone(), incarnation })
            }
            None => Ok(Captured::Nothing),
        }
    }

    /// Makes what was up before a step up again, unless somebody brought up or took down something since.
    fn turn_back(
        &self,
        token: StepToken,
        action: &Action,
        before: Option<&Infrastructure>,
    ) -> Result<Undone, ProviderError> {
        let back = compensation(token);
        let is_up_by = |token| self.keeper.ask::<bool>(&Request::IsUpBy { token });
        match (action, before) {
            (Action::BringUp { infrastructure, .. }, _) => {
                if is_up_by(token)? {
                    let infrastructure = infrastructure.clone();
                    self.keeper.ask::<()>(&Request::TakeDown { token: back, infrastructure })?;
                    return Ok(Undone::Restored);
                }
                let was_up: bool = self.keeper.ask(&Request::Done { token })?;
                let was_taken_back: bool = self.keeper.ask(&Request::Done { token: back })?;
                Ok(if was_up && !was_taken_back { Undone::Superseded } else { Undone::NothingThere })
            }
            (_, Some(before)) if self.keeper.ask(&Request::Done { token })? => {
                if self.infrastructure()?.is_some() && !is_up_by(back)? {
                    return Ok(Undone::Superseded);
                }
                let infrastructure = Box::new(before.clone());
                self.keeper.ask::<()>(&Request::Up { infrastructure, by: Some(back) })?;
                Ok(Undone::Restored)
            }
            _ => Ok(Undone::NothingThere),
        }
    }

    fn check_action(&self, action: &Action) -> Result<(), ProviderError> {
        match action {
            Action::BringUp { infrastructure, .. } => {
                let what = format!("bringing {} up", infrastructure.name);
                if let Some(up) = self.infrastructure()? {
                    return Err(failed(&what, &format!("{} is up already; take it down first", up.name)));
                }
                let infrastructure = infrastructure.clone();
                // Of the keeper, whose PATH it is that services are given.
                let in_the_way: Option<String> = self.keeper.ask(&Request::CheckUp { infrastructure })?;
                in_the_way.map_or(Ok(()), |why| Err(failed(&what, &why)))
            }
            Action::TakeDown { infrastructure } => match self.infrastructure()? {
                Some(up) if up == **infrastructure => Ok(()),
                Some(up) if up.name == infrastructure.name => Err(failed(
                    &format!("taking {} down", up.name),
                    "it was declared anew since this was planned; ask for it once more",
                )),
                _ => Err(ProviderError::UnknownResource { resource: action.resource().to_string() }),
            },
            Action::Inject(fault) => {
                self.keeper.ask::<()>(&Request::CheckFault { fault: fault.clone() })?;
                let instant_or_attached = matches!(fault.target, domain::ResourceId::Instance(_));
                match fault.target.instance().filter(|_| instant_or_attached) {
                    Some(name) if self.instance(name)?.incarnation.is_none() => {
                        Err(failed(fault.kind.name(), &format!("nothing runs in instance/{name} now")))
                    }
                    _ => Ok(()),
                }
            }
            Action::SetCpuLimit { service, .. } => match self.capabilities().cpu_limit.unavailable() {
                Some(why) => Err(ProviderError::Unsupported {
                    what: format!("setting the CPU limit of service/{service}"),
                    why: why.to_owned(),
                }),
                None => self.held(&Attribute::CpuLimit(service.clone())).map(drop),
            },
            Action::Deploy { service, release } => {
                self.keeper.ask(&Request::CheckRelease { service: service.clone(), release: release.clone() })
            }
            Action::SetReplicas { service, replicas } if !(1..=100).contains(replicas) => {
                Err(failed(&format!("scaling service/{service} to {replicas}"), "1 to 100 are possible"))
            }
            Action::ResizeVolume { instance, .. } => {
                if let Some(why) = self.capabilities().volumes.unavailable() {
                    let what = format!("resizing volume/{instance}");
                    return Err(ProviderError::Unsupported { what, why: why.to_owned() });
                }
                self.held(&Attribute::VolumeSize(instance.clone())).map(drop)
            }
            Action::RemoveFiles { instance, .. } | Action::RotateLogs { instance } => {
                self.volume_path(instance).map(drop)
            }
            Action::ResetConnections { link } => {
                self.held(&Attribute::BreakerHeldOpen(link.clone())).map(drop)
            }
            Action::ClearCaches { instance } => {
                let sample = self.sample()?;
                let service = sample.services.get(&instance.service);
                match service {
                    Some(service) if !service.can_clear_caches => Err(ProviderError::Unsupported {
                        what: format!("clearing caches of {instance}"),
                        why: "its service declares no `clear_caches`".to_owned(),
                    }),
                    Some(service) if service.instances.contains_key(instance) => Ok(()),
                    _ => Err(ProviderError::UnknownResource { resource: format!("instance/{instance}") }),
                }
            }
            other => self.capture_for(other).map(drop),
        }
    }
}

pub(crate) fn failed(what: &str, why: &str) -> ProviderError {
    ProviderError::Failed { what: what.to_owned(), why: why.to_owned() }
}

pub(crate) fn expected(captured: &Captured) -> Option<Incarnation> {
    match captured {
        Captured::Process { incarnation, .. } => incarnation.clone(),
        _ => None,
    }
}

fn errand(action: &Action) -> Option<Errand> {
    Some(match action {
        Action::RemoveFiles { instance, class, older_than } => {
            Errand::RemoveFiles { instance: instance.clone(), class: *class, older_than: *older_than }
        }
        Action::RotateLogs { instance } => Errand::RotateLogs { instance: instance.clone() },
        Action::ClearCaches { instance } => Errand::ClearCaches { instance: instance.clone() },
        Action::ResetConnections { link } => Errand::ResetConnections { link: link.clone() },
        _ => return None,
    })
}

impl Look for ProcessProvider {
    fn capabilities(&self) -> Capabilities {
        // Asked anew, because a group that cannot be made is noticed only when it is needed. Where no keeper answers,
        // the last one's word counts.
        let last = || self.keeper.welcome().map(|welcome| welcome.capabilities);
        let now = self.keeper.ask(&Request::Capabilities).ok().or_else(last);
        now.unwrap_or_else(|| self.capabilities.clone())
    }

    fn infrastructure(&self) -> Result<Option<Infrastructure>, ProviderError> {
        self.keeper.ask(&Request::Infrastructure)
    }

    fn sample(&self) -> Result<Sample, ProviderError> {
        self.keeper.ask(&Request::Sample)
    }

    fn events(&self, after: u64, timeout: Duration) -> Result<Vec<Event>, ProviderError> {
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        self.keeper.ask(&Request::Events { after, timeout_ms })
    }

    fn logs(&self, service: &ServiceName, lines: usize) -> Result<Vec<String>, ProviderError> {
        if !self.infrastructure()?.is_some_and(|up| up.services.contains_key(service)) {
            return Err(ProviderError::UnknownResource { resource: format!("service/{service}") });
        }
        let dir = self.keeper.keeper_dir();
        let entries = std::fs::read_dir(dir.join("logs"))
            .map_err(|error| failed("reading captured output", &error.to_string()))?;
        let named = |entry: std::fs::DirEntry| {
            let name = entry.file_name().into_string().ok()?;
            name.strip_suffix(".log")?.parse::<InstanceName>().ok()
        };
        let mut instances: Vec<InstanceName> = entries.filter_map(|entry| named(entry.ok()?)).collect();
        instances.retain(|name| name.service == *service);
        instances.sort();
        let mut all = Vec::new();
        for instance in instances {
            let text = files::tail(&layout::log_path(&dir, &instance), lines)
                .map_err(|error| failed(&format!("reading the output of {instance}"), &error.to_string()))?;
            all.extend(text.into_iter().map(|line| format!("{instance} | {line}")));
        }
        Ok(all)
    }
}

impl Change for ProcessProvider {
    fn check(&self, _token: StepToken, step: &Step) -> Result<(), ProviderError> {
        self.check_action(&step.action)
    }

    fn capture(&self, step: ClearedStep<'_>) -> Result<Captured, ProviderError> {
        self.capture_for(step.action())
    }

    fn apply(&self, step: ClearedStep<'_>, captured: &Captured) -> Result<(), ProviderError> {
        self.perform(step.token(), step.action(), captured)
    }

    fn prove(&self, token: StepToken, step: &Step, captured: &Captured) -> Result<Effect, ProviderError> {
        if let Action::RestartInstance { instance, .. } = &step.action {
            let now = self.instance(instance)?;
            let replaced = now.incarnation.is_some() && now.incarnation != expected(captured);
            return Ok(proof::present(replaced && now.phase == Phase::Ready));
        }
        if let Some((attribute, value)) = step.action.sets() {
            return proof::of_attribute(self, token, &attribute, &value, captured);
        }
        match &step.action {
            Action::BringUp { up_when, .. } => proof::of_being_up(self, token, *up_when),
            Action::Inject(fault) => proof::of_fault(self, token, fault, captured),
            _ => Ok(proof::present(self.keeper.ask(&Request::Done { token })?)),
        }
    }

    fn undo(&self, token: StepToken, step: &Step, captured: &Captured) -> Result<Undone, ProviderError> {
        match &step.undo {
            Undo::NothingToRestore => return Ok(Undone::NothingThere),
            Undo::Irreversible => {
                return Err(ProviderError::Unsupported {
                    what: format!("taking back what was done to {}", step.action.resource()),
                    why: "it cannot be undone".to_owned(),
                });
            }
            Undo::Exact | Undo::Compensating(_) => {}
        }
        if let Captured::Infrastructure { up } = captured {
            return self.turn_back(token, &step.action, up.as_deref());
        }
        if let Some((attribute, _)) = step.action.sets() {
            let removed: Removed = self.keeper.ask(&Request::Unset { attribute, token })?;
            return Ok(match removed {
                Removed::Top => Undone::Restored,
                Removed::Below => Undone::Superseded,
                Removed::Nothing => Undone::NothingThere,
            });
        }
        if let Action::Inject(_) = &step.action {
            let was_there: bool = self.keeper.ask(&Request::Remove { token })?;
            return Ok(if was_there { Undone::Restored } else { Undone::NothingThere });
        }
        match &step.undo {
            Undo::Compensating(action) if self.keeper.ask(&Request::Done { token })? => {
                let now = self.capture_for(action)?;
                self.perform(compensation(token), action, &now)?;
                Ok(Undone::Restored)
            }
            _ => Ok(Undone::NothingThere),
        }
    }

    fn remove_all_faults(&self) -> Result<u32, ProviderError> {
        self.keeper.ask(&Request::RemoveAll)
    }
}

/// The name under which a compensating action is done: its own, so that it is done once too.
fn compensation(token: StepToken) -> StepToken {
    StepToken { plan: token.plan, index: token.index | 1 << 31 }
}
