//! Asks instances whether they are well, and runs their hooks.
//!
//! In: the declared probes and hooks. Out: probe states, phases, events. An instance that was not ready
//! yet is asked more often, so that a restart is served from as soon as it can be.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use domain::infrastructure::{Hook, Probe};
use domain::snapshot::{Phase, ProbeState};
use domain::{EventKind, Incarnation, InstanceName, ResourceId, ServiceName};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Shared, launch, links, supervise};
use crate::process;

/// First pause between two readiness probes of a starting instance; doubled up to [`STARTING_MAX`].
const STARTING_FIRST: Duration = Duration::from_millis(4);
/// Longest pause while starting: a restart is seen as served at most this late.
const STARTING_MAX: Duration = Duration::from_millis(50);

/// Which of the two questions a probe asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    Readiness,
    Liveness,
}

/// Begins probing an incarnation; its slot ends the probes.
pub(super) fn begin(shared: &Shared, instance: &InstanceName, incarnation: &Incarnation) {
    let (spec, port) = {
        let keeper = shared.borrow();
        let port = keeper.table.instances.get(instance).and_then(|record| record.port);
        let (Some(spec), Some(port)) = (keeper.spec(&instance.service), port) else { return };
        (spec, port)
    };
    if spec.listens.is_none() {
        return;
    }
    let mut questions = vec![(Question::Readiness, spec.readiness.clone().unwrap_or_default())];
    questions.extend(spec.liveness.clone().map(|probe| (Question::Liveness, probe)));
    for (question, probe) in questions {
        let asking = ask(Rc::clone(shared), instance.clone(), incarnation.clone(), question, probe, port);
        let task = tokio::task::spawn_local(asking);
        if let Some(slot) = shared.borrow_mut().slots.get_mut(instance) {
            slot.tasks.push(task.abort_handle());
        }
    }
}

async fn ask(
    shared: Shared,
    instance: InstanceName,
    incarnation: Incarnation,
    question: Question,
    probe: Probe,
    port: u16,
) {
    let mut pause = STARTING_FIRST;
    loop {
        let was_ready = {
            let keeper = shared.borrow();
            if keeper.incarnation(&instance) != Some(&incarnation) {
                return;
            }
            keeper.slots.get(&instance).is_some_and(|slot| slot.was_ready)
        };
        let starting = question == Question::Readiness && !was_ready;
        if starting {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(STARTING_MAX).min(probe.interval);
        } else {
            tokio::time::sleep(probe.interval).await;
        }
        // A starting instance is not asked whether it hangs: it has not said yet that it is up.
        if question == Question::Liveness && !was_ready {
            continue;
        }
        let begun = shared.borrow().clock.now();
        let answer = tokio::time::timeout(probe.timeout, put(&probe, port)).await;
        let passed = matches!(answer, Ok(Ok(())));
        answered(&shared, &instance, &incarnation, question, &probe, passed.then_some(begun));
    }
}

async fn put(probe: &Probe, port: u16) -> io::Result<()> {
    match &probe.http {
        None => connect(port).await.map(drop),
        Some(path) => match request("GET", port, path).await? {
            200..=399 => Ok(()),
            status => Err(io::Error::other(format!("answered {status}"))),
        },
    }
}

async fn connect(port: u16) -> io::Result<TcpStream> {
    TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await
}

/// One HTTP/1.1 request without a body; the status of the answer.
async fn request(method: &str, port: u16, path: &str) -> io::Result<u16> {
    let mut stream = connect(port).await?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    let mut answer = Vec::with_capacity(512);
    while !answer.windows(2).any(|end| end == b"\r\n") && answer.len() < 4096 {
        if stream.read_buf(&mut answer).await? == 0 {
            break;
        }
    }
    let status =
        std::str::from_utf8(&answer).ok().and_then(|text| text.split(' ').nth(1)?.get(..3)?.parse().ok());
    status.ok_or_else(|| io::Error::other("the answer is no HTTP"))
}

/// Takes an answer in; `begun` is when a passing probe was put.
fn answered(
    shared: &Shared,
    instance: &InstanceName,
    incarnation: &Incarnation,
    question: Question,
    probe: &Probe,
    begun: Option<domain::Time>,
) {
    let became_ready = {
        let mut keeper = shared.borrow_mut();
        if keeper.incarnation(instance) != Some(incarnation) {
            return;
        }
        let now = keeper.clock.now();
        let Some(slot) = keeper.slots.get_mut(instance) else { return };
        let state = match question {
            Question::Readiness => &mut slot.readiness,
            Question::Liveness => &mut slot.liveness,
        };
        let state = state.get_or_insert(ProbeState {
            failures_in_a_row: 0,
            failures_limit: probe.failures,
            last_passed: None,
            last_took: None,
        });
        match begun {
            Some(begun) => {
                state.failures_in_a_row = 0;
                (state.last_passed, state.last_took) = (Some(now), Some(now.since(begun)));
            }
            None => state.failures_in_a_row = state.failures_in_a_row.saturating_add(1),
        }
        let verdict_changes = state.failures_in_a_row == state.failures_limit;
        let resource = ResourceId::Instance(instance.clone());
        match (question, begun, slot.phase) {
            (Question::Readiness, Some(_), Phase::Starting | Phase::NotReady) => {
                let first = !slot.was_ready;
                (slot.was_ready, slot.ready_since) = (true, Some(now));
                slot.enter(Phase::Ready, now);
                if let Some(record) = keeper.table.instances.get_mut(instance)
                    && !std::mem::replace(&mut record.was_ready, true)
                {
                    keeper.save();
                }
                if first {
                    keeper.report(resource, EventKind::Ready);
                }
                Some(true)
            }
            (Question::Readiness, None, Phase::Ready) if verdict_changes => {
                slot.ready_since = None;
                slot.enter(Phase::NotReady, now);
                keeper.report(resource, EventKind::NotReady);
                Some(false)
            }
            (Question::Liveness, None, _) if verdict_changes => {
                keeper.report(resource, EventKind::Unresponsive);
                None
            }
            _ => None,
        }
    };
    let Some(ready) = became_ready else { return };
    links::configure_into(shared, &instance.service);
    if ready {
        let dependents = first_ready_dependents(shared, instance);
        dependents.iter().for_each(|service| supervise::cause_changed(shared, service));
    }
}

/// The callers of a service, where `instance` is its only ready one: to them the service came back.
fn first_ready_dependents(shared: &Shared, instance: &InstanceName) -> Vec<ServiceName> {
    let keeper = shared.borrow();
    let other = |(name, slot): (&InstanceName, &supervise::Slot)| {
        name.service == instance.service && name != instance && slot.phase == Phase::Ready
    };
    match &keeper.table.infrastructure {
        Some(infrastructure) if !keeper.slots.iter().any(other) => {
            infrastructure.dependents(&instance.service).cloned().collect()
        }
        _ => Vec::new(),
    }
}

/// Runs a hook of an instance.
pub(super) async fn run_hook(shared: &Shared, instance: &InstanceName, hook: &Hook) -> Result<(), String> {
    let late = |_| format!("no end within {} ms", hook.timeout.as_millis());
    if let Some(path) = &hook.http {
        let port = shared.borrow().table.instances.get(instance).and_then(|record| record.port);
        let port = port.ok_or("it listens nowhere")?;
        let answer = tokio::time::timeout(hook.timeout, request("POST", port, path)).await.map_err(late)?;
        return match answer {
            Ok(200..=299) => Ok(()),
            Ok(status) => Err(format!("POST {path} answered {status}")),
            Err(error) => Err(format!("POST {path}: {error}")),
        };
    }
    let words = hook.command.as_deref().unwrap_or_default();
    let child = {
        let keeper = shared.borrow();
        let spec = keeper.spec(&instance.service).ok_or("its service is gone")?;
        let command = launch::command(&keeper, instance, &spec, Some(words));
        command.and_then(|mut command| command.spawn()).map_err(|error| error.to_string())?
    };
    wait_for_command(shared, child, hook.timeout).await.map_err(late)?
}

async fn wait_for_command(
    shared: &Shared,
    mut child: std::process::Child,
    timeout: Duration,
) -> Result<Result<(), String>, tokio::time::error::Elapsed> {
    shared.borrow_mut().awaited.insert(child.id());
    let in_time = match process::identify(child.id()).and_then(|found| process::open(&found)) {
        Some(pidfd) => tokio::time::timeout(timeout, supervise::wait_for_end(&pidfd)).await,
        None => Ok(()),
    };
    if in_time.is_err() {
        process::signal_group(child.id(), Signal::KILL);
    }
    let status = child.wait();
    shared.borrow_mut().awaited.remove(&child.id());
    in_time?;
    Ok(match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("the hook ended with {status}")),
        Err(error) => Err(error.to_string()),
    })
}
