//! The first thing a keeper does: takes over what an earlier one left.
//!
//! In: the table and every process with this keeper's mark in its environment. Out: no overlay, every
//! surviving process watched, every link listening where callers expect it, everything else started again.
//! The order is: faults out, links up, processes in.

use std::rc::Rc;

use domain::snapshot::ExitCause;
use domain::{FaultKind, Incarnation, InstanceName};
use rustix::process::Signal;

use super::supervise::{Since, Slot};
use super::table::{Overlay, Record};
use super::{Keeper, Shared, links, overlay, server, supervise};
use crate::layout::{INSTANCE, KEEPER, WORKER};
use crate::process;

/// A living process that an earlier keeper started.
struct Found {
    incarnation: Incarnation,
    instance: Option<InstanceName>,
    worker: Option<String>,
    leads_group: bool,
}

/// Takes over.
pub(super) async fn adopt(shared: &Shared) {
    let found = find(&shared.borrow());
    begin_anew_after_a_reboot(&mut shared.borrow_mut());
    adopt_volumes(&mut shared.borrow_mut(), &found);
    drop_overlays(shared, &found).await;
    end_what_was_retired(&mut shared.borrow_mut(), &found);
    {
        let mut keeper = shared.borrow_mut();
        let wanted = keeper.wanted_instances();
        keeper.groups.remove_others(&wanted);
        let lost = keeper.volumes.holder().is_none();
        for instance in keeper.wanted_instances() {
            let now = keeper.clock.now();
            keeper.slots.insert(instance.clone(), Slot::new(now));
            if lost {
                // After a reboot, or where somebody ended the holder: the data is gone, the limit is not.
                report(keeper.make_volume(&instance));
            } else {
                // An earlier keeper may have ended between writing a size down and giving it.
                report(keeper.fit_volume(&instance));
            }
        }
    }
    // What cannot be had is tried again every second: callers know the old port, so another one would help nobody.
    links::bind_again(shared).await;
    let names: Vec<InstanceName> = shared.borrow().slots.keys().cloned().collect();
    for instance in names {
        take(shared, &instance, &found);
    }
}

fn find(keeper: &Keeper) -> Vec<Found> {
    let mark = keeper.dir.display().to_string();
    let ours = |pid: &u32| process::environment_of(*pid, KEEPER).is_some_and(|dir| dir == mark);
    let candidates = process::all().into_iter().filter(|pid| *pid != std::process::id()).filter(ours);
    candidates
        .filter_map(|pid| {
            Some(Found {
                incarnation: process::identify(pid)?,
                instance: process::environment_of(pid, INSTANCE).and_then(|name| name.parse().ok()),
                worker: process::environment_of(pid, WORKER),
                leads_group: process::stat(pid)?.group == pid,
            })
        })
        .collect()
}

fn adopt_volumes(keeper: &mut Keeper, found: &[Found]) {
    let holder = keeper.table.holder.clone().or_else(|| {
        let held = found.iter().find(|process| process.worker.as_deref() == Some("volumes"));
        held.map(|process| process.incarnation.clone())
    });
    if let Some(holder) = holder {
        keeper.volumes.adopt(&holder);
    }
}

/// After a reboot everything starts for the first time, on another clock: its times compare with none of before.
fn begin_anew_after_a_reboot(keeper: &mut Keeper) {
    let now = keeper.clock.now();
    let table = &mut keeper.table;
    if table.boot_id.as_deref().is_none_or(|id| id == process::boot_id()) {
        return;
    }
    table.up_at = table.up_at.map(|_| now);
    for record in table.instances.values_mut() {
        *record = Record { incarnation: record.incarnation.take(), port: record.port, ..Record::default() };
    }
}

/// An instance that is wanted no more was on its way out; nobody else would end it.
fn end_what_was_retired(keeper: &mut Keeper, found: &[Found]) {
    let wanted = keeper.wanted_instances();
    let retired = |name: &InstanceName| !wanted.contains(name);
    for process in found.iter().filter(|process| process.worker.is_none()) {
        if process.instance.as_ref().is_some_and(retired) {
            report(process::signal(&process.incarnation, Signal::KILL));
        }
    }
    keeper.table.instances.retain(|name, _| !retired(name));
}

async fn drop_overlays(shared: &Shared, found: &[Found]) {
    let overlays = std::mem::take(&mut shared.borrow_mut().table.overlays);
    // Workers die with their keeper; this is for those that were on their way.
    for worker in found.iter().filter(|process| process.worker.as_deref().is_some_and(|of| of != "volumes")) {
        report(process::signal(&worker.incarnation, Signal::KILL));
    }
    let paused = |overlay: &Overlay| overlay.fault.kind == FaultKind::Pause;
    if overlays.iter().any(paused) {
        for process in found.iter().filter(|process| process.instance.is_some()) {
            report(process::signal(&process.incarnation, Signal::CONT));
        }
    }
    // Where the namespace of the volumes is gone, so is what was written to them.
    let filled = |overlay: &&Overlay| matches!(overlay.fault.kind, FaultKind::DiskFill { .. });
    if shared.borrow().volumes.holder().is_some() {
        overlays.iter().filter(filled).for_each(|overlay| overlay::revert(&shared.borrow(), overlay));
    }
    if server::saved(shared).await.is_err() {
        crate::say!("the table could not be written");
    }
}

fn report(outcome: std::io::Result<()>) {
    if let Err(error) = outcome {
        crate::say!("taking over what an earlier keeper left: {error}");
    }
}

/// Puts the surviving process of an instance into its slot, or starts another.
fn take(shared: &Shared, instance: &InstanceName, found: &[Found]) {
    let recorded = shared.borrow().incarnation(instance).cloned();
    let mut of_this: Vec<&Found> = found
        .iter()
        .filter(|process| process.worker.is_none() && process.instance.as_ref() == Some(instance))
        .collect();
    // The recorded process, else the newest group leader: it was started but not recorded.
    of_this.sort_by_key(|process| process.incarnation.start_ticks);
    let main = recorded.clone().filter(process::is_alive).or_else(|| {
        of_this.iter().rev().find(|process| process.leads_group).map(|process| process.incarnation.clone())
    });
    let Some((main, pidfd)) = main.and_then(|main| process::open(&main).map(|fd| (main, fd))) else {
        of_this.iter().for_each(|process| report(process::signal(&process.incarnation, Signal::KILL)));
        match recorded {
            Some(_) => supervise::ended(shared, instance, ExitCause::Unknown),
            None => supervise::start(shared, instance),
        }
        return;
    };
    let descendants = process::tree(main.pid);
    for process in of_this.into_iter().filter(|process| !descendants.contains(&process.incarnation.pid)) {
        let other_leader = process.leads_group && process.incarnation != main;
        if other_leader
            && recorded.as_ref() != Some(&process.incarnation)
            && process.incarnation.start_ticks < main.start_ticks
        {
            report(process::signal(&process.incarnation, Signal::KILL));
        } else {
            shared.borrow_mut().adopted_strays.insert(process.incarnation.pid);
        }
    }
    supervise::started(shared, instance, main.clone(), pidfd, Since::Before);
    let stopping = shared.borrow().table.instances.get(instance).and_then(|record| record.stopping);
    if let Some(manner) = stopping.filter(|_| recorded.as_ref() == Some(&main)) {
        let (shared, instance) = (Rc::clone(shared), instance.clone());
        tokio::task::spawn_local(async move { supervise::stop(&shared, &instance, &main, manner).await });
    }
}
