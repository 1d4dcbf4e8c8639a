//! Faults: put in force, bounded in time, taken out without a trace.
//!
//! In: a fault with the name of its step. Out: an overlay in the table, on the disk before it acts. Undo,
//! expiry, the end of the control plane's heartbeat and the start of a keeper all end in the same removal,
//! which takes away what the overlay added and nothing else. A fault on an instance is bound to the process
//! it was meant for and is over when that process ends.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use domain::{
    Attachment, Bytes, Cores, Fault, FaultKind, Incarnation, InstanceName, ResourceId, StepToken, Time,
};
use rustix::process::Signal;

use super::server::saved;
use super::table::Overlay;
use super::{Keeper, Shared, links, status, supervise};
use crate::cgroup::Outside;
use crate::layout::{self, INSTANCE, KEEPER, WORKER};
use crate::protocol::Refusal;
use crate::stress::{Beside, Work, WorkKind};
use crate::{files, process, stress};

/// How long the control plane may be silent before its faults are taken out.
pub(super) const LEASE: Duration = Duration::from_secs(5);

/// Between two starts of a worker that ends before its fault.
const RENEWAL: Duration = Duration::from_secs(1);

/// Whether a fault could be injected now.
pub(super) fn check(keeper: &Keeper, fault: &Fault) -> Result<(), Refusal> {
    if let Some((field, problem)) = fault.check().into_iter().next() {
        return Err(Refusal::failed(fault.kind.name(), format!("{field} {problem}")));
    }
    match &fault.target {
        ResourceId::Instance(name) if keeper.slots.contains_key(name) => {}
        ResourceId::Volume(name) if keeper.slots.contains_key(name) => {}
        ResourceId::Link(name) if keeper.proxies.contains_key(name) => {}
        other => return Err(Refusal::unknown(other)),
    }
    work(keeper, fault, None).map(drop)
}

/// Puts a fault in force; again with the same step: nothing more.
pub(super) async fn inject(
    shared: &Shared,
    token: StepToken,
    fault: Fault,
    expected: Option<Incarnation>,
) -> Result<(), Refusal> {
    let saved = {
        let mut keeper = shared.borrow_mut();
        if keeper.table.is_done(token) {
            return Ok(());
        }
        check(&keeper, &fault)?;
        let now = keeper.clock.now();
        keeper.table.finish(token);
        if !fault.kind.is_instant() {
            let until = now.plus(fault.duration);
            let (incarnation, fault) = (expected.clone(), fault.clone());
            keeper.table.overlays.push(Overlay {
                token,
                fault,
                since: now,
                until,
                incarnation,
                worker: None,
                renewed: None,
            });
        }
        keeper.save()
    };
    let durable = matches!(saved.await, Ok(Ok(())));
    if !durable {
        let mut keeper = shared.borrow_mut();
        keeper.table.forget(token);
        keeper.table.overlays.retain(|overlay| overlay.token != token);
        // A link that was configured anew meanwhile has it, a table that was written since too.
        if let ResourceId::Link(link) = &fault.target {
            links::configure(&keeper, link);
        }
        keeper.save();
        return Err(Refusal::failed(fault.kind.name(), "the fault could not be written down first"));
    }
    let done = act(shared, token, &fault, expected.as_ref());
    if done.is_err() {
        shared.borrow_mut().table.forget(token);
        remove(shared, token).await;
    }
    done
}

fn act(
    shared: &Shared,
    token: StepToken,
    fault: &Fault,
    expected: Option<&Incarnation>,
) -> Result<(), Refusal> {
    let mut keeper = shared.borrow_mut();
    let alive = expected.filter(|incarnation| process::is_alive(incarnation));
    match (&fault.kind, &fault.target) {
        (FaultKind::PodKill, _) => {
            if let Some(incarnation) = alive {
                process::signal_group(incarnation.pid, Signal::KILL);
            }
        }
        (FaultKind::PodDeletion, ResourceId::Instance(instance)) => {
            let pidfd = keeper.slots.get(instance).and_then(|slot| slot.process.clone());
            let timeout = keeper.spec(&instance.service).map(|spec| spec.stop_timeout).unwrap_or_default();
            if let (Some(leader), Some(pidfd)) = (alive.map(|incarnation| incarnation.pid), pidfd) {
                let ending = async move { supervise::end_gracefully(&pidfd, leader, timeout).await };
                tokio::task::spawn_local(ending);
            }
        }
        // Expired or taken out while it was being written down.
        _ if !keeper.table.overlays.iter().any(|overlay| overlay.token == token) => {}
        (FaultKind::Pause, _) => process::signal_tree(alive, Signal::STOP),
        (kind, ResourceId::Link(link)) if links::is_network(kind) => links::configure(&keeper, link),
        _ => {
            let Some(work) = work(&keeper, fault, Some(token))? else { return Ok(()) };
            let until = keeper.clock.now().plus(fault.duration);
            let worker = spawn_worker(&keeper, token, fault, &work, alive, until);
            let worker = worker.map_err(|error| Refusal::failed(fault.kind.name(), error))?;
            if let Some(overlay) = keeper.table.overlays.iter_mut().find(|overlay| overlay.token == token) {
                overlay.worker = worker;
            }
            keeper.save();
        }
    }
    Ok(())
}

/// What a worker has to do for a fault; `None` for faults without one. Refuses what cannot be done here.
fn work(keeper: &Keeper, fault: &Fault, token: Option<StepToken>) -> Result<Option<WorkKind>, Refusal> {
    if is_beside(&fault.kind)
        && let Some(why) = status::capabilities(keeper).host_stress.unavailable()
    {
        let what = format!("{} beside an instance", fault.kind);
        return Err(Refusal::unsupported(what, format!("{why}; attach it to the instance instead")));
    }
    let undeclared = |limit: &str| {
        Refusal::unsupported(
            format!("{} of {}", fault.kind, fault.target),
            format!("its service declares no {limit} limit, so a share of it means nothing"),
        )
    };
    match (&fault.kind, &fault.target) {
        (FaultKind::CpuStress { load, .. }, ResourceId::Instance(instance)) => {
            let limit = keeper.table.cpu_limit(&instance.service).ok_or_else(|| undeclared("cpu"))?;
            Ok(Some(WorkKind::Cpu { cores: Cores(limit.0 * load.ratio()) }))
        }
        (FaultKind::MemoryStress { fill, ramp, .. }, ResourceId::Instance(instance)) => {
            let limit = keeper.table.memory_limit(&instance.service).ok_or_else(|| undeclared("memory"))?;
            let target = Bytes((limit.0 as f64 * fill.ratio()) as u64);
            let members = keeper.groups.memory_members(instance).filter(|_| is_beside(&fault.kind));
            let beside = members.map(|members| Beside { members, limit });
            Ok(Some(WorkKind::Memory { target, beside, ramp: *ramp }))
        }
        (FaultKind::DiskFill { fill, class, ramp }, ResourceId::Volume(instance)) => {
            let spec = keeper.spec(&instance.service).and_then(|spec| spec.volume);
            let volume = spec.ok_or_else(|| Refusal::unknown(&fault.target))?;
            if let Some(why) = keeper.volumes.enforcement().unavailable() {
                return Err(Refusal::unsupported("filling a volume", why));
            }
            let dir = files::directory(&keeper.reach_volume(instance), &volume, *class);
            let prefix = token.map(files::filler_prefix).unwrap_or_default();
            Ok(Some(WorkKind::Disk { dir, prefix, class: *class, fill: *fill, ramp: *ramp }))
        }
        _ => Ok(None),
    }
}

/// Whether a fault stays when the process of its instance ends.
fn is_beside(kind: &FaultKind) -> bool {
    use FaultKind::{CpuStress, MemoryStress};
    matches!(kind, CpuStress { attachment, .. } | MemoryStress { attachment, .. } if *attachment == Attachment::Host)
}

/// Starts a stress worker. It counts as part of its instance, takes from the instance's limits, ends with the
/// process it is attached to and with the keeper, and has a time limit of its own.
fn spawn_worker(
    keeper: &Keeper,
    token: StepToken,
    fault: &Fault,
    kind: &WorkKind,
    victim: Option<&Incarnation>,
    until: Time,
) -> std::io::Result<Option<Incarnation>> {
    let Some(instance) = fault.target.instance() else { return Ok(None) };
    let on_instance = matches!(fault.target, ResourceId::Instance(_));
    let attached = on_instance && !is_beside(&fault.kind);
    if attached && victim.is_none() {
        return Ok(None);
    }
    let victim = victim.filter(|_| attached);
    let work = Work { victim: victim.cloned(), until_boot_us: until.boot_us, kind: kind.clone() };
    let log = layout::open_log(&keeper.dir.join("keeper.log"))?;
    let mut command = Command::new(&keeper.exe);
    command.arg("stress").arg(serde_json::to_string(&work)?).current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command.env(KEEPER, &keeper.dir).env(WORKER, token.to_string());
    if on_instance {
        command.env(INSTANCE, instance.to_string());
        keeper.groups.enter_before_exec(&mut command, instance, Outside::Refused)?;
    }
    stress::end_with_parent(&mut command);
    Ok(process::identify(command.spawn()?.id()))
}

/// Takes a fault out; whether it was there.
pub(super) async fn remove(shared: &Shared, token: StepToken) -> bool {
    let found = take_out(shared, |overlay| overlay.token == token).await;
    found > 0
}

/// Takes every fault out; how many there were.
pub(super) async fn remove_all(shared: &Shared) -> u32 {
    take_out(shared, |_| true).await
}

/// Takes out what is over its time, and everything when the control plane is silent.
pub(super) async fn expire(shared: &Shared) {
    let (now, silent) = {
        let keeper = shared.borrow();
        let now = keeper.clock.now();
        (now, now.since(keeper.contact) > LEASE)
    };
    take_out(shared, |overlay| silent || now.reached(overlay.until)).await;
    renew(&mut shared.borrow_mut());
}

/// Starts the workers beside instances again that have ended before their fault: where an instance and its worker
/// do not fit into the memory limit together, the kernel ends the larger one, be it the worker. One that ends
/// again and again is started once a second.
fn renew(keeper: &mut Keeper) {
    let now = keeper.clock.now();
    let due = |overlay: &Overlay| overlay.renewed.is_none_or(|at| now.since(at) >= RENEWAL);
    let ended = |overlay: &Overlay| overlay.worker.as_ref().is_some_and(|worker| !process::is_alive(worker));
    for at in 0..keeper.table.overlays.len() {
        let overlay = &keeper.table.overlays[at];
        if !is_beside(&overlay.fault.kind) || !due(overlay) || !ended(overlay) {
            continue;
        }
        keeper.table.overlays[at].renewed = Some(now);
        let overlay = &keeper.table.overlays[at];
        let Ok(Some(work)) = work(keeper, &overlay.fault, Some(overlay.token)) else { continue };
        match spawn_worker(keeper, overlay.token, &overlay.fault, &work, None, overlay.until) {
            Ok(worker) => keeper.table.overlays[at].worker = worker,
            Err(error) => crate::say!("{} cannot go on: {error}", overlay.fault.kind),
        }
    }
}

async fn take_out(shared: &Shared, which: impl Fn(&Overlay) -> bool) -> u32 {
    let found: Vec<Overlay> = {
        let mut keeper = shared.borrow_mut();
        let (out, stay) = std::mem::take(&mut keeper.table.overlays).into_iter().partition(|o| which(o));
        keeper.table.overlays = stay;
        out
    };
    if found.is_empty() {
        return 0;
    }
    end_workers(&found).await;
    found.iter().for_each(|overlay| revert(&shared.borrow(), overlay));
    if saved(shared).await.is_err() {
        crate::say!("the table could not be written; faults that were taken out may be taken out again");
    }
    u32::try_from(found.len()).unwrap_or(u32::MAX)
}

/// Ends stress workers, all at once, and waits: what one still wrote afterwards would be left behind.
async fn end_workers(overlays: &[Overlay]) {
    let workers = overlays.iter().filter_map(|overlay| overlay.worker.as_ref());
    let open: Vec<_> = workers.filter_map(process::open).collect();
    for pidfd in &open {
        if let Err(errno) = rustix::process::pidfd_send_signal(pidfd, Signal::KILL) {
            crate::say!("cannot end a stress worker: {errno}");
        }
    }
    for pidfd in &open {
        supervise::wait_for_end(pidfd).await;
    }
}

/// Takes back what an overlay did beside its worker.
pub(super) fn revert(keeper: &Keeper, overlay: &Overlay) {
    match (&overlay.fault.kind, &overlay.fault.target) {
        (FaultKind::Pause, _) => {
            process::signal_tree(
                overlay.incarnation.as_ref().filter(|it| process::is_alive(it)),
                Signal::CONT,
            );
        }
        (FaultKind::DiskFill { .. }, ResourceId::Volume(instance)) => {
            remove_filler(&keeper.reach_volume(instance), overlay.token);
        }
        (kind, ResourceId::Link(link)) if links::is_network(kind) => links::configure(keeper, link),
        _ => {}
    }
}

fn remove_filler(volume: &Path, token: StepToken) {
    if let Err(error) = files::remove_filler(volume, &files::filler_prefix(token)) {
        crate::say!("cannot remove what a disk fault wrote to {}: {error}", volume.display());
    }
}

/// The process in a slot ended, and with it every fault on it; what is beside it stays.
pub(super) fn forget_instance(keeper: &mut Keeper, instance: &InstanceName) {
    let over = |overlay: &Overlay| {
        let on_it = matches!(&overlay.fault.target, ResourceId::Instance(target) if target == instance);
        on_it && !is_beside(&overlay.fault.kind)
    };
    for worker in keeper.table.overlays.iter().filter(|o| over(o)).filter_map(|o| o.worker.as_ref()) {
        if let Err(error) = process::signal(worker, Signal::KILL) {
            crate::say!("cannot end a stress worker: {error}");
        }
    }
    keeper.table.overlays.retain(|overlay| !over(overlay));
}

/// Whether a fault is in force.
pub(super) fn in_force(keeper: &Keeper, token: StepToken) -> bool {
    keeper.table.overlays.iter().any(|overlay| overlay.token == token)
}
