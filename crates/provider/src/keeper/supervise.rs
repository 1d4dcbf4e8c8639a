//! The life of a slot: start, watch, restart by the standing policy, stop.
//!
//! In: exits (a pidfd becomes readable), readiness, orders to stop. Out: processes, phases, events. The
//! path from an exit to the successor's exec writes nothing to disk and waits for nothing; the table is
//! written afterwards, and a process that was forked but not recorded is found by its environment.
//!
//! Deliberately absent: any judgement. A crash loop is counted and reported, never repaired here.

use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use domain::RestartPolicy;
use domain::snapshot::{ExitCause, ExitRecord, Phase, ProbeState};
use domain::{EventKind, Incarnation, InstanceName, ResourceId, ServiceName, StopManner, Time};
use rustix::process::{Signal, WaitId, WaitIdOptions};
use tokio::io::unix::AsyncFd;
use tokio::task::AbortHandle;

use super::table::EXITS_MAX;
use super::usage::Meter;
use super::{Keeper, Shared, launch, links, overlay, probe};
use crate::process;

/// The exit status reported for a program that could not be executed, as shells do.
const CANNOT_EXECUTE: i32 = 127;

/// A slot while the keeper lives.
pub(super) struct Slot {
    pub(super) phase: Phase,
    pub(super) phase_since: Time,
    pub(super) process: Option<Rc<OwnedFd>>,
    pub(super) readiness: Option<ProbeState>,
    pub(super) liveness: Option<ProbeState>,
    /// Since when it is ready; `None` while it is not.
    pub(super) ready_since: Option<Time>,
    pub(super) was_ready: bool,
    pub(super) ending: Ending,
    pub(super) fate: Fate,
    pub(super) meter: Meter,
    /// Probes and the back-off timer; they end with the incarnation.
    pub(super) tasks: Vec<AbortHandle>,
}

/// Why the process in a slot is about to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// Nobody here asked for it.
    Unasked,
    /// A stop or a restart was asked for.
    Requested,
    /// It was over its memory limit.
    OutOfMemory,
}

/// What happens to the slot when its process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Another process is started.
    Kept,
    /// The slot goes away.
    Retired,
}

impl Slot {
    pub(super) fn new(now: Time) -> Self {
        Self {
            phase: Phase::BackingOff,
            phase_since: now,
            process: None,
            readiness: None,
            liveness: None,
            ready_since: None,
            was_ready: false,
            ending: Ending::Unasked,
            fate: Fate::Kept,
            meter: Meter::default(),
            tasks: Vec::new(),
        }
    }

    pub(super) fn enter(&mut self, phase: Phase, now: Time) {
        if self.phase != phase {
            (self.phase, self.phase_since) = (phase, now);
        }
    }

    fn forget_process(&mut self) {
        self.tasks.drain(..).for_each(|task| task.abort());
        (self.process, self.readiness, self.liveness, self.ready_since) = (None, None, None, None);
        (self.was_ready, self.ending, self.meter) = (false, Ending::Unasked, Meter::default());
    }
}

/// How long to wait before the restart that follows `restarts` others since the instance last settled.
pub(super) fn back_off(policy: &RestartPolicy, restarts: u32) -> Duration {
    match restarts {
        0 => Duration::ZERO,
        n => policy.initial.saturating_mul(2u32.saturating_pow(n - 1)).min(policy.max),
    }
}

/// Starts a process in a slot.
pub(super) fn start(shared: &Shared, instance: &InstanceName) {
    let outcome = {
        let mut keeper = shared.borrow_mut();
        let Some(spec) = keeper.spec(&instance.service) else { return };
        keeper.choose_port(instance, &spec);
        keeper.hold(instance);
        launch::command(&keeper, instance, &spec, None).and_then(|mut command| command.spawn())
    };
    match outcome {
        Ok(child) => {
            match process::identify(child.id()).and_then(|found| Some((process::open(&found)?, found))) {
                Some((pidfd, incarnation)) => started(shared, instance, incarnation, pidfd, Since::Now),
                // It ended before it could be looked at; its zombie still holds the id.
                None => {
                    record_start(&mut shared.borrow_mut(), instance);
                    process::signal_group(child.id(), Signal::KILL);
                    let status = rustix::process::Pid::from_raw(child.id() as i32)
                        .and_then(|pid| reap(WaitId::Pid(pid)));
                    ended(shared, instance, status.unwrap_or(ExitCause::Unknown));
                }
            }
        }
        Err(error) => {
            shared.borrow().note(instance, &format!("cannot be started: {error}"));
            ended(shared, instance, ExitCause::Status(CANNOT_EXECUTE));
        }
    }
}

/// Whether a process was started now or was found running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Since {
    Now,
    Before,
}

/// Takes a running process into a slot: watches and probes it.
pub(super) fn started(
    shared: &Shared,
    instance: &InstanceName,
    incarnation: Incarnation,
    pidfd: OwnedFd,
    since: Since,
) {
    let pidfd = Rc::new(pidfd);
    {
        let mut keeper = shared.borrow_mut();
        let now = keeper.clock.now();
        let listens = keeper.spec(&instance.service).is_some_and(|spec| spec.listens.is_some());
        let record = keeper.table.instances.entry(instance.clone()).or_default();
        record.incarnation = Some(incarnation.clone());
        record.was_ready |= !listens;
        let slot = keeper.slots.entry(instance.clone()).or_insert_with(|| Slot::new(now));
        slot.forget_process();
        slot.process = Some(Rc::clone(&pidfd));
        slot.enter(if listens { Phase::Starting } else { Phase::Ready }, now);
        slot.ready_since = (!listens).then_some(now);
        if since == Since::Now {
            record_start(&mut keeper, instance);
        }
        keeper.hold(instance);
        keeper.groups.admit(instance, &[incarnation.pid]);
        keeper.save();
    }
    watch(shared, instance, pidfd);
    probe::begin(shared, instance, &incarnation);
    links::configure_into(shared, &instance.service);
}

/// Records that a process was executed in a slot, be it for a moment.
fn record_start(keeper: &mut Keeper, instance: &InstanceName) {
    let now = keeper.clock.now();
    let release = keeper.table.release(&instance.service).cloned();
    let record = keeper.table.instances.entry(instance.clone()).or_default();
    record.started_at = Some(now);
    record.release = release;
    record.stopping = None;
    if let Some(exit) = record.exits.last_mut() {
        exit.successor_at.get_or_insert(now);
    }
    keeper.report(ResourceId::Instance(instance.clone()), EventKind::Started);
}

fn watch(shared: &Shared, instance: &InstanceName, pidfd: Rc<OwnedFd>) {
    let (shared, instance) = (Rc::clone(shared), instance.clone());
    tokio::task::spawn_local(async move {
        wait_for_end(&pidfd).await;
        let current = shared.borrow().slots.get(&instance).and_then(|slot| slot.process.clone());
        if !current.is_some_and(|current| Rc::ptr_eq(&current, &pidfd)) {
            return;
        }
        // Whatever the process left in its group would hold its port and its volume. The group is ended
        // before the zombie is reaped, because until then nobody else can get its id.
        let leader = shared.borrow().incarnation(&instance).map(|incarnation| incarnation.pid);
        if let Some(leader) = leader {
            process::signal_group(leader, Signal::KILL);
        }
        let cause = reap(WaitId::PidFd(std::os::fd::AsFd::as_fd(&*pidfd))).unwrap_or(ExitCause::Unknown);
        ended(&shared, &instance, cause);
    });
}

/// Waits until a process has ended.
pub(super) async fn wait_for_end(pidfd: &OwnedFd) {
    // Each wait has a descriptor of its own, because one can be watched only once.
    let watched = pidfd.try_clone().and_then(|own| {
        // SAFETY: the descriptor is owned by what is registered, and nothing replaces it.
        let watched = unsafe { AsyncFd::register_with_interest(own, tokio::io::Interest::READABLE) };
        watched.map_err(|error| error.into_parts().1)
    });
    match watched {
        // An error would mean the runtime is going down.
        Ok(watched) => drop(watched.readable().await),
        Err(error) => {
            // Out of descriptors: look now and then instead of at once.
            crate::say!("cannot watch a process: {error}");
            while !process::has_ended(pidfd) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

/// Takes the status of a child that ended; `None` where it is somebody else's child (it was adopted).
fn reap(id: WaitId<'_>) -> Option<ExitCause> {
    let status = rustix::process::waitid(id, WaitIdOptions::EXITED).ok()??;
    Some(match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => ExitCause::Status(code),
        (_, Some(signal)) => ExitCause::Signal(signal),
        _ => ExitCause::Unknown,
    })
}

/// Records the end of the process in a slot and restarts it as the policy says.
pub(super) fn ended(shared: &Shared, instance: &InstanceName, cause: ExitCause) {
    let next = {
        let mut keeper = shared.borrow_mut();
        overlay::forget_instance(&mut keeper, instance);
        let now = keeper.clock.now();
        let Some(spec) = keeper.spec(&instance.service) else { return };
        let killed_by_kernel = keeper.groups.take_oom(instance);
        let Some(slot) = keeper.slots.get_mut(instance) else { return };
        let settled = slot.ready_since.is_some_and(|since| now.since(since) >= spec.restart.settled);
        let by_kernel = slot.ending == Ending::Unasked && killed_by_kernel;
        let ending = if by_kernel { Ending::OutOfMemory } else { slot.ending };
        let fate = slot.fate;
        slot.forget_process();
        slot.enter(Phase::BackingOff, now);
        let record = keeper.table.instances.entry(instance.clone()).or_default();
        let requested = ending == Ending::Requested;
        let cause = if ending == Ending::OutOfMemory { ExitCause::OutOfMemory } else { cause };
        record.incarnation = None;
        record.exits.push(ExitRecord { at: now, cause, requested, successor_at: None });
        let excess = record.exits.len().saturating_sub(EXITS_MAX);
        record.exits.drain(..excess);
        if settled || requested {
            (record.restarts, record.unsettled_exits) = (0, 0);
        } else {
            record.unsettled_exits += 1;
        }
        let delay = back_off(&spec.restart, record.restarts);
        record.restarts += u32::from(!requested);
        let looping = record.unsettled_exits == spec.restart.crash_loop_after;
        if by_kernel {
            keeper.report(ResourceId::Instance(instance.clone()), EventKind::OutOfMemory);
        }
        (fate, delay, looping)
    };
    match next {
        (Fate::Retired, ..) => shared.borrow_mut().remove_slot(instance),
        (Fate::Kept, Duration::ZERO, _) => start(shared, instance),
        (Fate::Kept, delay, _) => start_later(shared, instance, delay),
    }
    let mut keeper = shared.borrow_mut();
    let resource = ResourceId::Instance(instance.clone());
    keeper.report(resource.clone(), EventKind::Exited);
    if next.2 {
        keeper.report(resource, EventKind::CrashLoop);
    }
    keeper.save();
    drop(keeper);
    links::configure_into(shared, &instance.service);
}

fn start_later(shared: &Shared, instance: &InstanceName, delay: Duration) {
    let (again, name) = (Rc::clone(shared), instance.clone());
    let timer = tokio::task::spawn_local(async move {
        tokio::time::sleep(delay).await;
        if again.borrow().slots.get(&name).is_some_and(|slot| slot.process.is_none()) {
            // Detached, because starting ends the tasks of the slot, this timer among them.
            tokio::task::spawn_local(async move { start(&again, &name) });
        }
    });
    if let Some(slot) = shared.borrow_mut().slots.get_mut(instance) {
        slot.tasks.push(timer.abort_handle());
    }
}

/// Forgets the back-off of every instance of a service, because what may have caused its ends changed.
pub(super) fn cause_changed(shared: &Shared, service: &ServiceName) {
    let waiting: Vec<InstanceName> = {
        let mut keeper = shared.borrow_mut();
        for (name, record) in &mut keeper.table.instances {
            if name.service == *service {
                (record.restarts, record.unsettled_exits) = (0, 0);
            }
        }
        let backing_off = |slot: &Slot| slot.process.is_none() && slot.fate == Fate::Kept;
        let slots =
            keeper.slots.iter_mut().filter(|(name, slot)| name.service == *service && backing_off(slot));
        slots
            .map(|(name, slot)| (name.clone(), slot.tasks.drain(..).for_each(|task| task.abort())).0)
            .collect()
    };
    waiting.iter().for_each(|instance| start(shared, instance));
}

/// Starts a process in a slot that waits for its back-off, because somebody asked for it.
pub(super) fn start_now(shared: &Shared, instance: &InstanceName) {
    {
        let mut keeper = shared.borrow_mut();
        let Some(slot) = keeper.slots.get_mut(instance).filter(|slot| slot.process.is_none()) else { return };
        slot.tasks.drain(..).for_each(|task| task.abort());
        if let Some(record) = keeper.table.instances.get_mut(instance) {
            (record.restarts, record.unsettled_exits) = (0, 0);
        }
    }
    start(shared, instance);
}

/// Stops the process `incarnation` in a slot, or does nothing where another is there.
pub(super) async fn stop(
    shared: &Shared,
    instance: &InstanceName,
    incarnation: &Incarnation,
    manner: StopManner,
) {
    let (pidfd, spec) = {
        let mut keeper = shared.borrow_mut();
        if keeper.incarnation(instance) != Some(incarnation) {
            return;
        }
        let now = keeper.clock.now();
        let (Some(spec), Some(slot)) = (keeper.spec(&instance.service), keeper.slots.get_mut(instance))
        else {
            return;
        };
        slot.ending = Ending::Requested;
        slot.enter(Phase::Stopping, now);
        let Some(pidfd) = slot.process.clone() else { return };
        (pidfd, spec)
    };
    links::configure_into(shared, &instance.service);
    if manner == StopManner::Drain {
        if let Some(hook) = &spec.drain
            && let Err(why) = probe::run_hook(shared, instance, hook).await
        {
            shared.borrow().note(instance, &format!("did not drain: {why}"));
        }
        end_gracefully(&pidfd, incarnation.pid, spec.stop_timeout).await;
    } else {
        process::signal_group(incarnation.pid, Signal::KILL);
    }
}

/// SIGTERM to a process and its group, SIGKILL when it did not end in time.
pub(super) async fn end_gracefully(pidfd: &Rc<OwnedFd>, leader: u32, timeout: Duration) {
    if process::has_ended(pidfd) {
        return;
    }
    process::signal_group(leader, Signal::TERM);
    if tokio::time::timeout(timeout, wait_for_end(pidfd)).await.is_err() && !process::has_ended(pidfd) {
        process::signal_group(leader, Signal::KILL);
    }
}

/// Starts what is missing and retires what is too many.
pub(super) fn reconcile(shared: &Shared) {
    let (missing, excess) = {
        let mut keeper = shared.borrow_mut();
        let wanted = keeper.wanted_instances();
        for name in &wanted {
            // Wanted again before it was gone: another process follows in the same slot.
            if let Some(slot) = keeper.slots.get_mut(name) {
                slot.fate = Fate::Kept;
            }
        }
        let missing: Vec<_> =
            wanted.iter().filter(|name| !keeper.slots.contains_key(name)).cloned().collect();
        let excess: Vec<_> = keeper.slots.keys().filter(|name| !wanted.contains(name)).cloned().collect();
        (missing, excess)
    };
    for instance in missing {
        {
            let mut keeper = shared.borrow_mut();
            let now = keeper.clock.now();
            keeper.rollouts.insert(instance.service.clone(), now);
            keeper.slots.insert(instance.clone(), Slot::new(now));
            keeper.table.instances.entry(instance.clone()).or_default();
            if let Err(error) = keeper.make_volume(&instance) {
                keeper.note(&instance, &format!("has no volume: {error}"));
            }
        }
        start(shared, &instance);
    }
    for instance in excess {
        tokio::task::spawn_local(retire(Rc::clone(shared), instance));
    }
}

/// Drains and removes a slot.
pub(super) async fn retire(shared: Shared, instance: InstanceName) {
    let running = {
        let mut keeper = shared.borrow_mut();
        let now = keeper.clock.now();
        keeper.rollouts.insert(instance.service.clone(), now);
        let Some(slot) = keeper.slots.get_mut(&instance) else { return };
        if slot.fate == Fate::Retired {
            return;
        }
        slot.fate = Fate::Retired;
        let running = keeper.incarnation(&instance).cloned();
        if running.is_none() {
            keeper.remove_slot(&instance);
        }
        running
    };
    if let Some(incarnation) = running {
        stop(&shared, &instance, &incarnation, StopManner::Drain).await;
    }
}

/// Reaps the children nobody waits for: orphans of services, which come to the keeper as their subreaper,
/// and workers.
pub(super) fn reap_orphans(keeper: &Keeper) {
    let any = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    while let Ok(Some(_)) = rustix::process::waitid(WaitId::All, any | WaitIdOptions::NOWAIT) {
        // The order of waiting children is the kernel's: the first that belongs to a slot ends the round,
        // its own watcher takes it and the next tick goes on.
        let Some(zombie) = first_zombie(keeper) else { return };
        if rustix::process::waitid(WaitId::Pid(zombie), any).is_err() {
            return;
        }
    }
}

fn first_zombie(keeper: &Keeper) -> Option<rustix::process::Pid> {
    let watched = |pid: u32| {
        let mut records = keeper.table.instances.values().filter_map(|record| record.incarnation.as_ref());
        records.any(|incarnation| incarnation.pid == pid) || keeper.awaited.contains(&pid)
    };
    let mut children = process::children(std::process::id()).into_iter().filter(|pid| !watched(*pid));
    let zombie = children.find(|pid| process::stat(*pid).is_some_and(|stat| stat.state == 'Z'))?;
    rustix::process::Pid::from_raw(i32::try_from(zombie).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_restart_is_at_once_then_the_wait_doubles_up_to_its_limit() {
        let policy = RestartPolicy { max: Duration::from_secs(1), ..RestartPolicy::default() };
        let waits: Vec<u128> = (0..6).map(|n| back_off(&policy, n).as_millis()).collect();
        assert_eq!(waits, [0, 200, 400, 800, 1000, 1000]);
        assert_eq!(back_off(&policy, u32::MAX), policy.max);
    }
}
