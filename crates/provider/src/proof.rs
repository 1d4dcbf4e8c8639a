//! Proofs of effect: whether what a step was to bring about is there, measured.
//!
//! In: a step and what was captured before it. Out: [`Effect`]. A proof looks at the world, not at what
//! was ordered: process states in `/proc`, measured use, the file system, a request through the link.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use domain::infrastructure::Protocol;
use domain::snapshot::{ExitCause, InstanceState, Phase};
use domain::{
    Attachment, Attribute, AttributeValue, Captured, Effect, Enforcement, Fault, FaultKind, InstanceName,
    LinkName, PathScope, ResourceId, ServiceName, ServiceState, StepToken, UpWhen,
};

use crate::cgroup::Limit;
use crate::processes::{ProcessProvider, expected, failed};
use crate::protocol::{Held, Listener, Request};
use crate::{Look, ProviderError};
use crate::{cgroup, files, process};

/// Processor use is an average over 3 s, so it climbs slowly; the proof must not come later than detection (at
/// 85 %), or a quick repair would end the fault before it counts as active.
const CPU_LEVEL: f64 = 0.7;

/// How much of the ordered level has to be measured: sampling and duty cycles are not exact.
const LEVEL: f64 = 0.85;
/// Requests put through a link per instance behind it, until one shows a fault on the path to one.
const TRIES_PER_BACKEND: usize = 4;
/// How long one request of a proof may take beyond the delay that is looked for.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// The effect of something that is there or not.
pub(crate) fn present(there: bool) -> Effect {
    if there { Effect::Present } else { Effect::Absent }
}

/// Whether an attribute a step set has taken effect.
pub(crate) fn of_attribute(
    provider: &ProcessProvider,
    token: StepToken,
    attribute: &Attribute,
    value: &AttributeValue,
    captured: &Captured,
) -> Result<Effect, ProviderError> {
    let owns: bool = provider.keeper.ask(&Request::Owns { attribute: attribute.clone(), token })?;
    if !owns || provider.held(attribute)?.value != *value {
        return Ok(Effect::Absent);
    }
    match (attribute, value) {
        (Attribute::Replicas(service), AttributeValue::Count(count)) => {
            let sample = provider.sample()?;
            let instances = sample.services.get(service).map(|service| &service.instances);
            let before = match captured {
                Captured::Attribute { value: AttributeValue::Count(before), .. } => *before,
                _ => 0,
            };
            // Of those that were there before one may be failing: that may be why others are added.
            let added_are_ready = |(name, state): (&InstanceName, &InstanceState)| {
                name.ordinal < before || state.phase == Phase::Ready
            };
            let done = |all: &BTreeMap<InstanceName, InstanceState>| {
                all.len() == *count as usize && all.iter().all(added_are_ready)
            };
            Ok(present(instances.is_some_and(done)))
        }
        (Attribute::Release(service), AttributeValue::Release(_)) => {
            let sample = provider.sample()?;
            let runs_it = |state: &InstanceState| state.phase == Phase::Ready && !state.outdated;
            let all_run_it = |service: &ServiceState| {
                service.instances.len() == service.replicas as usize
                    && service.instances.values().all(runs_it)
            };
            Ok(present(sample.services.get(service).is_some_and(all_run_it)))
        }
        (Attribute::VolumeSize(instance), AttributeValue::Size(Some(size))) => {
            let space = space_of(provider, instance)?;
            // A file system counts in pages.
            Ok(present(space.size.0.abs_diff(size.0) < rustix::param::page_size() as u64))
        }
        (Attribute::Ejected(link, instance), AttributeValue::Flag(on)) => {
            let sample = provider.sample()?;
            let backend = sample.links.get(link).and_then(|link| link.backends.get(instance));
            Ok(backend.map_or(Effect::Unknown, |backend| present(backend.ejected == *on)))
        }
        (Attribute::BreakerHeldOpen(link), AttributeValue::Flag(on)) => {
            let state = provider.sample()?.links.get(link).and_then(|link| link.breaker);
            let open = domain::snapshot::BreakerState::Open;
            Ok(state.map_or(Effect::Unknown, |state| present((state == open) == *on)))
        }
        (Attribute::CpuLimit(service), AttributeValue::Cpu(limit)) => {
            is_held_everywhere(provider, service, Limit::Cpu(*limit))
        }
        (Attribute::MemoryLimit(service), AttributeValue::Size(limit)) => {
            match provider.capabilities().memory_limit {
                Enforcement::Kernel(_) => is_held_everywhere(provider, service, Limit::Memory(*limit)),
                // The keeper reads its table at every look.
                _ => Ok(Effect::Present),
            }
        }
        _ => Ok(Effect::Present),
    }
}

/// Whether what a step brought up is up: its processes being started, or every instance of it ready.
pub(crate) fn of_being_up(
    provider: &ProcessProvider,
    token: StepToken,
    up_when: UpWhen,
) -> Result<Effect, ProviderError> {
    let up: bool = provider.keeper.ask(&Request::IsUpBy { token })?;
    if !up || up_when == UpWhen::Started {
        return Ok(present(up));
    }
    let whole = |service: &ServiceState| {
        let ready = service.instances.values().filter(|state| state.phase == Phase::Ready).count();
        ready == service.replicas as usize
    };
    Ok(present(provider.sample()?.services.values().all(whole)))
}

/// Whether the kernel holds every running instance of a service to a limit.
fn is_held_everywhere(
    provider: &ProcessProvider,
    service: &ServiceName,
    limit: Limit,
) -> Result<Effect, ProviderError> {
    let held_volumes = matches!(provider.capabilities().volumes, Enforcement::Kernel(_));
    let dir = provider.keeper.keeper_dir();
    let sample = provider.sample()?;
    let instances = sample.services.get(service).into_iter().flat_map(|service| &service.instances);
    for (name, pid) in instances.filter_map(|(name, it)| Some((name, it.incarnation.as_ref()?.pid))) {
        let volume = match provider.held(&Attribute::VolumeSize(name.clone())) {
            Ok(Held { value: AttributeValue::Size(size), .. }) => size.filter(|_| held_volumes),
            _ => None,
        };
        if !cgroup::is_held(&dir, name, pid, limit, volume) {
            return Ok(Effect::Absent);
        }
    }
    Ok(Effect::Present)
}

fn space_of(provider: &ProcessProvider, instance: &InstanceName) -> Result<files::Space, ProviderError> {
    let path = provider.volume_path(instance)?;
    files::space(&path).map_err(|error| failed(&format!("measuring volume/{instance}"), &error.to_string()))
}

/// Whether a fault is felt.
pub(crate) fn of_fault(
    provider: &ProcessProvider,
    token: StepToken,
    fault: &Fault,
    captured: &Captured,
) -> Result<Effect, ProviderError> {
    let victim = expected(captured);
    let alive = victim.as_ref().is_some_and(process::is_alive);
    if fault.kind.is_instant() {
        let done: bool = provider.keeper.ask(&Request::Done { token })?;
        return Ok(present(done && !alive));
    }
    // Its victim may have been ended for it before anybody could measure how much it used.
    if let (FaultKind::MemoryStress { attachment: Attachment::Attached, .. }, ResourceId::Instance(instance)) =
        (&fault.kind, &fault.target)
        && victim.is_some()
        && !alive
    {
        let done: bool = provider.keeper.ask(&Request::Done { token })?;
        let last = provider.instance(instance)?.exits.pop();
        if done && last.is_some_and(|exit| exit.cause == ExitCause::OutOfMemory) {
            return Ok(Effect::Present);
        }
    }
    let in_force: bool = provider.keeper.ask(&Request::InForce { token })?;
    if !in_force {
        return Ok(Effect::Absent);
    }
    match (&fault.kind, &fault.target) {
        // On its way; nothing says how far it should have come by now.
        (FaultKind::MemoryStress { ramp, .. } | FaultKind::DiskFill { ramp, .. }, _) if !ramp.is_zero() => {
            Ok(Effect::Present)
        }
        (FaultKind::Pause, _) => {
            let state = victim.filter(|_| alive).and_then(|it| process::stat(it.pid)).map(|stat| stat.state);
            Ok(present(state == Some('T')))
        }
        (FaultKind::CpuStress { load, .. }, ResourceId::Instance(instance)) => {
            let sample = provider.sample()?;
            let service = sample.services.get(&instance.service);
            let used = service.and_then(|service| service.instances.get(instance)?.usage.cpu);
            let limit = service.and_then(|service| service.limits.cpu);
            let risen = |used: f64, limit: f64| present(used >= limit * load.ratio() * CPU_LEVEL);
            Ok(used.zip(limit).map_or(Effect::Unknown, |(used, limit)| risen(used.0, limit.0)))
        }
        (FaultKind::MemoryStress { fill, .. }, ResourceId::Instance(instance)) => {
            let sample = provider.sample()?;
            let service = sample.services.get(&instance.service);
            let used = service.and_then(|service| service.instances.get(instance)?.usage.memory);
            let limit = service.and_then(|service| service.limits.memory);
            let risen =
                |used: u64, limit: u64| present(used as f64 >= limit as f64 * fill.ratio().min(1.0) * LEVEL);
            Ok(used.zip(limit).map_or(Effect::Unknown, |(used, limit)| risen(used.0, limit.0)))
        }
        (FaultKind::DiskFill { fill, .. }, ResourceId::Volume(instance)) => {
            let space = space_of(provider, instance)?;
            // The last page of a file may stay partly empty.
            let wanted = space.size.0 as f64 * fill.ratio() - rustix::param::page_size() as f64;
            Ok(present(space.used.0 as f64 >= wanted))
        }
        (kind, ResourceId::Link(link)) => of_link(provider, kind, link),
        _ => Ok(Effect::Unknown),
    }
}

/// What one request through a link met.
enum Answer {
    Status(u16, Duration),
    /// A connection that was accepted and stayed open, where the callee does not speak HTTP.
    Connected(Duration),
    Nothing,
}

fn of_link(provider: &ProcessProvider, kind: &FaultKind, link: &LinkName) -> Result<Effect, ProviderError> {
    let listener: Listener = provider.keeper.ask(&Request::Link { link: link.clone() })?;
    if matches!(listener.protocol, Protocol::Tcp) || is_on_old_connections(kind) {
        return of_link_as_measured(provider, kind, link);
    }
    let tries = match kind {
        FaultKind::ApiThrottling { requests_per_second, .. } => *requests_per_second as usize + 2,
        _ => 1,
    };
    let timeout = REQUEST_TIMEOUT + shortest_delay(kind).unwrap_or_default() * 2;
    for _ in 0..tries * TRIES_PER_BACKEND * listener.backends.max(1) {
        let felt = match (kind, request(&listener, timeout)) {
            (FaultKind::NetworkLatency { .. }, Answer::Status(_, took) | Answer::Connected(took)) => {
                shortest_delay(kind).is_some_and(|delay| took >= delay)
            }
            (FaultKind::NetworkPartition { .. }, Answer::Nothing | Answer::Status(502..=504, _)) => true,
            (FaultKind::ApiThrottling { .. }, Answer::Status(429, _)) => true,
            _ => false,
        };
        if felt {
            return Ok(Effect::Present);
        }
    }
    // The proxy may have taken the bad path out of its balancing already; its own checks still use it.
    of_link_as_measured(provider, kind, link)
}

fn is_on_old_connections(kind: &FaultKind) -> bool {
    use PathScope::EstablishedConnections;
    match kind {
        FaultKind::NetworkLatency { scope, .. }
        | FaultKind::NetworkPartition { scope }
        | FaultKind::ApiThrottling { scope, .. } => *scope == EstablishedConnections,
        _ => false,
    }
}

fn shortest_delay(kind: &FaultKind) -> Option<Duration> {
    match kind {
        FaultKind::NetworkLatency { delay, jitter, .. } => Some(delay.saturating_sub(*jitter)),
        _ => None,
    }
}

/// What the link's own measurements of the last seconds say.
fn of_link_as_measured(
    provider: &ProcessProvider,
    kind: &FaultKind,
    link: &LinkName,
) -> Result<Effect, ProviderError> {
    let sample = provider.sample()?;
    let Some(seen) = sample.links.get(link) else { return Ok(Effect::Unknown) };
    let recent = seen.seconds.iter().rev().take(3).flat_map(|second| &second.counts);
    let felt = match kind {
        FaultKind::NetworkLatency { .. } => {
            let delay = shortest_delay(kind).unwrap_or_default();
            let slow_ms = delay.as_secs_f64() * 1000.0 * LEVEL;
            // Of few requests over old connections the slowest is proof enough: others have long opened new ones.
            let quantile = if is_on_old_connections(kind) { 1.0 } else { 0.9 };
            let slow_check = seen.backends.values().any(|b| b.path_check.is_some_and(|took| took >= delay));
            slow_check
                || recent.into_iter().any(|c| c.latency.quantile_ms(quantile).is_some_and(|ms| ms >= slow_ms))
        }
        FaultKind::NetworkPartition { .. } => {
            let failing_check = seen.backends.values().any(|b| b.path_check_failures > 0);
            failing_check || recent.into_iter().any(|counts| counts.unanswered > 0)
        }
        FaultKind::ApiThrottling { .. } => recent.into_iter().any(|counts| counts.throttled > 0),
        _ => return Ok(Effect::Unknown),
    };
    Ok(present(felt))
}

/// One request through the listener of a link.
fn request(listener: &Listener, timeout: Duration) -> Answer {
    let begun = Instant::now();
    let asked = || -> io::Result<Answer> {
        let mut stream = TcpStream::connect_timeout(&listener.address, timeout)?;
        stream.set_read_timeout(Some(timeout))?;
        let path = listener.check_path.as_deref().unwrap_or("/");
        let address = listener.address;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        let mut head = [0; 12];
        stream.read_exact(&mut head)?;
        let status = std::str::from_utf8(&head[9..]).ok().and_then(|code| code.parse().ok());
        Ok(match status {
            Some(status) => Answer::Status(status, begun.elapsed()),
            None => Answer::Connected(begun.elapsed()),
        })
    };
    asked().unwrap_or(Answer::Nothing)
}
