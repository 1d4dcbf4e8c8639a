//! What the processes of an instance use.
//!
//! In: `/proc` and the volumes. Out: [`domain::snapshot::Usage`] once a second, and every 250 ms a look at
//! the memory of instances that come close to their limit. An instance is its process, all descendants, what descended
//! to the keeper as its subreaper, and the stress attached to it. At rest this costs a few file reads per
//! process; directories are walked only when the use of their volume changed.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use domain::infrastructure::VolumeSpec;
use domain::snapshot::Usage;
use domain::{Attribute, Bytes, EventKind, InstanceName, ResourceId, ServiceSpec, Time};
use rustix::process::Signal;

use super::supervise::Ending;
use super::{Keeper, Shared};
use crate::cpu_meter::CpuMeter;
use crate::{files, layout, process};

/// Directories are walked at the latest after this long, because files grow old without being written.
const WALK_AFTER: Duration = Duration::from_secs(15);
/// Directories of a volume fuller than [`NEARLY_FULL`] are walked this often: what it is full of is about to
/// matter, and the same use may be made up of other files.
const WALK_AFTER_FULL: Duration = Duration::from_secs(2);
/// See [`WALK_AFTER_FULL`].
const NEARLY_FULL: f64 = 0.8;
/// Share of its memory limit beyond which an instance is looked at between the samples of a second.
const WATCHED_CLOSELY: f64 = 0.5;
/// A volume fuller than this is reported, where no threshold is declared (SPEC H1).
const DISK_THRESHOLD: f64 = 95.0;

/// Counts of one instance.
#[derive(Default)]
pub(super) struct Meter {
    pub(super) usage: Usage,
    /// The processes of the instance at the last sample.
    members: Vec<u32>,
    cpu: CpuMeter,
    walked: Option<Walk>,
    under_pressure: bool,
}

/// When the directories of a volume were last walked.
struct Walk {
    at: Time,
    /// The use of the volume then.
    used: Option<Bytes>,
    /// Whether the use had not changed since the walk before: what is being written is walked again.
    settled: bool,
}

impl Meter {
    /// The files of the volume were changed by the keeper itself.
    pub(super) fn walk_again(&mut self) {
        self.walked = None;
    }
}

/// Every 250 ms: ends instances that the kernel found over their memory limit and, where it does not hold the
/// limit, those that are seen over it: at most 1 s late where they were not close to it before.
pub(super) fn watch_memory(shared: &Shared) {
    let mut keeper = shared.borrow_mut();
    let names: Vec<InstanceName> = keeper.slots.keys().cloned().collect();
    for name in names {
        let Some(limit) = keeper.table.memory_limit(&name.service) else { continue };
        let killed = keeper.groups.take_oom(&name);
        let supervised = !keeper.groups.holds_memory(&name, limit);
        let Some(slot) = keeper.slots.get_mut(&name) else { continue };
        if slot.process.is_some() && slot.ending == Ending::Unasked && killed {
            end_for_memory(&mut keeper, &name, &format!("reached its limit of {limit} memory and is ended"));
            continue;
        }
        let close = |used: Bytes| used.0 as f64 > limit.0 as f64 * WATCHED_CLOSELY;
        if slot.process.is_none() || !slot.meter.usage.memory.is_some_and(close) {
            continue;
        }
        let resident: u64 = slot.meter.members.iter().filter_map(|pid| process::resident(*pid)).sum();
        slot.meter.usage.memory = Some(Bytes(resident));
        if supervised && resident > limit.0 && slot.ending == Ending::Unasked {
            let why = format!("uses {} of {limit} memory and is killed", Bytes(resident));
            end_for_memory(&mut keeper, &name, &why);
        }
    }
}

/// Ends an instance that is over its memory limit as a whole, whichever of its processes the kernel chose.
fn end_for_memory(keeper: &mut Keeper, name: &InstanceName, why: &str) {
    if let Some(slot) = keeper.slots.get_mut(name) {
        slot.ending = Ending::OutOfMemory;
    }
    keeper.note(name, why);
    if let Some(incarnation) = keeper.incarnation(name) {
        process::signal_group(incarnation.pid, Signal::KILL);
    }
    keeper.report(ResourceId::Instance(name.clone()), EventKind::OutOfMemory);
}

/// Every second: measures every instance.
pub(super) fn measure(shared: &Shared) {
    let mut keeper = shared.borrow_mut();
    let now = keeper.clock.now();
    let strays = strays(&keeper);
    let names: Vec<InstanceName> = keeper.slots.keys().cloned().collect();
    for name in names {
        let Some(incarnation) = keeper.incarnation(&name).cloned() else { continue };
        let Some(spec) = keeper.spec(&name.service) else { continue };
        let mut members = process::tree(incarnation.pid);
        members.extend(strays.iter().filter(|(owner, _)| *owner == name).map(|(_, pid)| *pid));
        members.sort_unstable();
        members.dedup();
        let stats: Vec<_> = members.iter().filter_map(|pid| Some((*pid, process::stat(*pid)?))).collect();
        let descriptors = members.iter().filter_map(|pid| process::descriptors(*pid)).sum();
        let Some(slot) = keeper.slots.get_mut(&name) else { continue };
        slot.meter.members = members;
        slot.meter.usage.memory = Some(Bytes(stats.iter().map(|(_, stat)| stat.resident).sum()));
        slot.meter.usage.descriptors = Some(descriptors);
        let ticks = stats.into_iter().map(|(pid, stat)| (pid, stat.ticks)).collect();
        slot.meter.usage.cpu = slot.meter.cpu.count(now, ticks);
        if let Some(volume) = &spec.volume {
            measure_volume(shared, &mut keeper, &name, &spec, volume, now);
        }
    }
}

/// The children of the keeper that belong to an instance without being its process: stress workers, and
/// daemons whose parent ended.
fn strays(keeper: &Keeper) -> Vec<(InstanceName, u32)> {
    let mains: Vec<u32> =
        keeper.table.instances.values().filter_map(|record| Some(record.incarnation.as_ref()?.pid)).collect();
    let of_keeper = process::children(std::process::id()).into_iter().filter(|pid| !mains.contains(pid));
    let mut found = Vec::new();
    for pid in of_keeper.chain(keeper.adopted_strays.iter().copied()) {
        if let Some(owner) = process::environment_of(pid, layout::INSTANCE).and_then(|name| name.parse().ok())
        {
            found.extend(process::tree(pid).into_iter().map(|pid| (InstanceName::clone(&owner), pid)));
        }
    }
    found
}

fn measure_volume(
    shared: &Shared,
    keeper: &mut Keeper,
    name: &InstanceName,
    spec: &ServiceSpec,
    volume: &VolumeSpec,
    now: Time,
) {
    let path = keeper.reach_volume(name);
    let held = keeper.volumes.holder().is_some();
    let declared = keeper.table.size(&Attribute::VolumeSize(name.clone()));
    let seen = if held { files::space(&path).ok() } else { None };
    let Some(slot) = keeper.slots.get_mut(name) else { return };
    let meter = &mut slot.meter;
    meter.usage.disk_size = seen.map(|space| space.size).or(declared);
    let used = seen.map(|space| space.used).or(meter.usage.disk_used);
    let same = meter.walked.as_ref().is_some_and(|walk| walk.used == used);
    let fullness = used.zip(meter.usage.disk_size).map_or(0.0, |(used, size)| used.0 as f64 / size.0 as f64);
    let walk_after = if fullness > NEARLY_FULL { WALK_AFTER_FULL } else { WALK_AFTER };
    let recent = |walk: &Walk| walk.settled && now.since(walk.at) < walk_after;
    if !(same && meter.walked.as_ref().is_some_and(recent)) {
        meter.walked = Some(Walk { at: now, used, settled: same });
        let threshold = spec.thresholds.disk.map_or(DISK_THRESHOLD, |percent| percent.0);
        walk(shared, name, path, volume, if held { used } else { None }, threshold);
    }
}

/// Says so at once where a volume is full.
fn report_pressure(keeper: &mut Keeper, name: &InstanceName, threshold: f64) {
    let Some(slot) = keeper.slots.get_mut(name) else { return };
    let meter = &mut slot.meter;
    let full = match (meter.usage.disk_used, meter.usage.disk_size) {
        (Some(used), Some(size)) => used.0 as f64 > size.0 as f64 * threshold / 100.0,
        _ => false,
    };
    let began = full && !meter.under_pressure;
    meter.under_pressure = full;
    if began {
        keeper.report(ResourceId::Volume(name.clone()), EventKind::DiskPressure);
    }
}

/// Sums up the declared directories, beside the event loop. What is used is told together with what it is used
/// for: whoever sees a full volume must see what fills it. `used` is `None` where the sum has to say it.
fn walk(
    shared: &Shared,
    name: &InstanceName,
    path: PathBuf,
    volume: &VolumeSpec,
    used: Option<Bytes>,
    threshold: f64,
) {
    let (shared, name, volume) = (Rc::clone(shared), name.clone(), volume.clone());
    tokio::task::spawn_local(async move {
        let sizes = tokio::task::spawn_blocking(move || files::class_sizes(&path, &volume)).await;
        let Ok(sizes) = sizes else { return };
        let mut keeper = shared.borrow_mut();
        let Some(slot) = keeper.slots.get_mut(&name) else { return };
        let usage = &mut slot.meter.usage;
        usage.disk_used = Some(used.unwrap_or(sizes.all));
        usage.disk_temporary_old = Some(sizes.temporary_old);
        usage.disk_logs = Some(sizes.logs);
        usage.disk_cache = Some(sizes.cache);
        report_pressure(&mut keeper, &name, threshold);
    });
}
