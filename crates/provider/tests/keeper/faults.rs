//! Faults: in force, proven, taken out by undo, expiry, silence, emergency stop and a dead keeper.

use std::time::Duration;

use domain::snapshot::ExitCause;
use domain::{Attachment, Captured, Effect, EventKind, Fault, FaultKind, FileClass, Percent, StepToken};
use provider::{Change, Look, Undone};

use crate::fleet::{Fleet, Test, fault, kill, named, runs, state, step, token, until};
use crate::volumes::held;

const CART: &str = "  cart:\n    command: [\"{homeostat}\", service, serve]\n    listens: http\n    limits: {cpu: 0.4, memory: 96MiB}\n    liveness: {http: /, interval: 50ms, timeout: 100ms, failures: 2}\n    volume: {size: 8MiB}\n    restart: {settled: 50ms}\n";

pub(crate) const TESTS: &[Test] = &[
    ("a_paused_process_is_seen_hanging_and_goes_on_after_undo", pause),
    ("a_fault_ends_by_itself", expiry),
    ("a_silent_control_plane_ends_its_faults", silence),
    ("a_dead_keeper_leaves_no_fault", dead_keeper),
    ("a_kill_happens_once_and_only_to_the_process_it_was_meant_for", pod_kill),
    ("cpu_stress_is_measured_and_dies_with_its_process", cpu_stress),
    ("memory_stress_rises_to_its_level_and_beyond_the_limit_is_oom", memory_stress),
    ("a_filled_disk_is_emptied_of_the_filler_alone", disk_fill),
    ("a_fault_with_a_ramp_gets_there_bit_by_bit_and_what_is_removed_meanwhile_stays_removed", ramps),
    ("an_emergency_stop_ends_a_hundred_faults_at_once", emergency_stop),
    ("what_cannot_be_done_is_refused_by_name", refusals),
];

fn captured(fleet: &Fleet, name: &str) -> Captured {
    Captured::Process { instance: named(name), incarnation: fleet.instance(name).incarnation }
}

fn effect(fleet: &Fleet, token: StepToken, fault: &Fault, captured: &Captured) -> Effect {
    fleet.provider.prove(token, &step(fault), captured).unwrap()
}

fn inject(fleet: &Fleet, fault: &Fault) -> (StepToken, Captured) {
    let token = token();
    let captured = match fault.target.instance() {
        Some(name) if !matches!(fault.kind, FaultKind::DiskFill { .. }) => captured(fleet, &name.to_string()),
        _ => Captured::Nothing,
    };
    fleet.inject(token, fault).unwrap();
    (token, captured)
}

fn pause() {
    let fleet = Fleet::up(CART);
    let pid = fleet.ready("cart-0");
    let fault = fault("instance/cart-0", FaultKind::Pause, 60);
    let (token, captured) = inject(&fleet, &fault);
    until("it is stopped", || (state(pid) == Some('T')).then_some(()));
    assert_eq!(effect(&fleet, token, &fault, &captured), Effect::Present);
    until("it is seen hanging", || {
        let events = fleet.provider.events(0, Duration::from_millis(100)).unwrap();
        events.iter().any(|event| event.kind == EventKind::Unresponsive).then_some(())
    });
    // A machine that stood still may have made it seem to hang before.
    until("its checks fail", || fleet.instance("cart-0").liveness?.failing().then_some(()));
    assert_eq!(fleet.provider.undo(token, &step(&fault), &captured).unwrap(), Undone::Restored);
    assert_ne!(state(pid), Some('T'));
    assert_eq!(fleet.provider.undo(token, &step(&fault), &captured).unwrap(), Undone::NothingThere);
    assert_eq!(effect(&fleet, token, &fault, &captured), Effect::Absent);
    fleet.inject(token, &fault).unwrap();
    assert_ne!(state(pid), Some('T'), "a step that was undone is not done again");
    assert_eq!(fleet.ready("cart-0"), pid);
}

fn expiry() {
    let fleet = Fleet::up(CART);
    let pid = fleet.ready("cart-0");
    let fault = fault("instance/cart-0", FaultKind::Pause, 4);
    let (token, captured) = inject(&fleet, &fault);
    until("it is stopped", || (state(pid) == Some('T')).then_some(()));
    until("it goes on", || {
        fleet.provider.heartbeat().unwrap();
        (state(pid) != Some('T')).then_some(())
    });
    until("the overlay is gone", || {
        (effect(&fleet, token, &fault, &captured) == Effect::Absent).then_some(())
    });
}

fn silence() {
    let fleet = Fleet::up(CART);
    let pid = fleet.ready("cart-0");
    let begun = std::time::Instant::now();
    inject(&fleet, &fault("instance/cart-0", FaultKind::Pause, 60));
    until("it is stopped", || (state(pid) == Some('T')).then_some(()));
    until("it goes on", || (state(pid) != Some('T')).then_some(()));
    assert!(begun.elapsed() > Duration::from_secs(4), "not before the lease ended");
}

fn dead_keeper() {
    let fleet = Fleet::up(CART);
    let pid = fleet.ready("cart-0");
    inject(&fleet, &fault("instance/cart-0", FaultKind::Pause, 60));
    let cpu = FaultKind::CpuStress { load: Percent(50.0), attachment: Attachment::Attached };
    inject(&fleet, &fault("instance/cart-0", cpu, 60));
    let filler = held(&fleet).then(|| fill(&fleet, FileClass::Data, 60.0).0);
    fleet.kill_keeper();
    assert_eq!(state(pid), Some('T'));
    assert_eq!(fleet.ready("cart-0"), pid);
    assert_ne!(state(pid), Some('T'));
    assert!(fillers(&fleet).is_empty(), "{filler:?}");
    assert_eq!(fleet.provider.remove_all_faults().unwrap(), 0);
    until("the stress is gone", || {
        let usage = fleet.instance("cart-0").usage;
        (usage.cpu?.0 < 0.1).then_some(())
    });
}

fn pod_kill() {
    let fleet = Fleet::up(CART);
    let pid = fleet.settled("cart-0");
    let fault = fault("instance/cart-0", FaultKind::PodKill, 1);
    let token = token();
    let before = captured(&fleet, "cart-0");
    assert_eq!(effect(&fleet, token, &fault, &before), Effect::Absent);
    fleet.inject(token, &fault).unwrap();
    until("another process runs", || fleet.instance("cart-0").incarnation.filter(|it| it.pid != pid));
    let second = fleet.ready("cart-0");
    assert_eq!(effect(&fleet, token, &fault, &before), Effect::Present);
    fleet.inject(token, &fault).unwrap();
    let meant_for_the_first = serde_json::json!({"inject": {"token": crate::fleet::token(), "fault": fault,
        "expected": match before { Captured::Process { incarnation, .. } => incarnation, _ => None }}});
    fleet.ask(meant_for_the_first).unwrap();
    assert_eq!(fleet.instance("cart-0").exits.len(), 1);
    assert!(runs(second) && !fleet.instance("cart-0").exits[0].requested);
}

fn cpu_stress() {
    // A machine with other work has that much to give.
    let fleet = Fleet::up(&CART.replace("cpu: 0.4", "cpu: 0.2"));
    let pid = fleet.ready("cart-0");
    let kind = FaultKind::CpuStress { load: Percent(90.0), attachment: Attachment::Attached };
    let fault = fault("instance/cart-0", kind, 60);
    let (token, captured) = inject(&fleet, &fault);
    until("the load is measured", || {
        (effect(&fleet, token, &fault, &captured) == Effect::Present).then_some(())
    });
    // How much less it is on a busy machine is not the fault's doing.
    let used = fleet.instance("cart-0").usage.cpu.unwrap().0;
    assert!(used < 0.3, "{used} cores of 0.2");
    kill(pid, "KILL");
    until("another process is calm", || {
        let seen = fleet.instance("cart-0");
        (seen.incarnation?.pid != pid && seen.usage.cpu?.0 < 0.1).then_some(())
    });
    assert_eq!(fleet.provider.undo(token, &step(&fault), &captured).unwrap(), Undone::NothingThere);
}

fn memory_stress() {
    let fleet = Fleet::up(CART);
    let pid = fleet.ready("cart-0");
    let memory = |fill| FaultKind::MemoryStress {
        fill: Percent(fill),
        attachment: Attachment::Attached,
        ramp: Duration::ZERO,
    };
    let high = fault("instance/cart-0", memory(92.0), 60);
    let (token, captured) = inject(&fleet, &high);
    until("the level is reached", || {
        fleet.provider.heartbeat().unwrap();
        let used = fleet.instance("cart-0").usage.memory?.0 as f64 / (96 << 20) as f64;
        (0.88..0.97).contains(&used).then_some(())
    });
    assert_eq!(effect(&fleet, token, &high, &captured), Effect::Present);
    assert_eq!(fleet.provider.undo(token, &step(&high), &captured).unwrap(), Undone::Restored);
    until("it is given back", || (fleet.instance("cart-0").usage.memory?.0 < 48 << 20).then_some(()));
    assert_eq!(fleet.pid("cart-0"), pid);
    let beyond = fault("instance/cart-0", memory(120.0), 60);
    let (token, captured) = inject(&fleet, &beyond);
    until("it is killed for its memory", || {
        let seen = fleet.instance("cart-0");
        (seen.exits.last()?.cause == ExitCause::OutOfMemory).then_some(())
    });
    assert_eq!(effect(&fleet, token, &beyond, &captured), Effect::Present, "that is its effect");
    fleet.ready("cart-0");
    let events = fleet.provider.events(0, Duration::ZERO).unwrap();
    assert!(events.iter().any(|event| event.kind == EventKind::OutOfMemory));
}

fn fillers(fleet: &Fleet) -> Vec<String> {
    let volume = fleet.provider.volume_path(&named("cart-0")).unwrap();
    let dirs = ["", "tmp", "logs", "cache"].map(|dir| volume.join(dir));
    let names = dirs.iter().flat_map(|dir| std::fs::read_dir(dir).unwrap().filter_map(Result::ok));
    names
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|n| n.contains("homeostat-fill"))
        .collect()
}

fn fill(fleet: &Fleet, class: FileClass, level: f64) -> (StepToken, Fault) {
    let fault =
        fault("volume/cart-0", FaultKind::DiskFill { fill: Percent(level), class, ramp: Duration::ZERO }, 60);
    let (token, captured) = inject(fleet, &fault);
    until("the disk is full", || (effect(fleet, token, &fault, &captured) == Effect::Present).then_some(()));
    (token, fault)
}

fn disk_fill() {
    let fleet = Fleet::up(CART);
    fleet.ready("cart-0");
    if !held(&fleet) {
        return;
    }
    assert_eq!(fleet.get("cart-0", "/write/100000"), "written");
    for class in [FileClass::Temporary, FileClass::Logs, FileClass::Cache, FileClass::Data] {
        let (token, fault) = fill(&fleet, class, 97.0);
        until("the use of the class is measured", || {
            let usage = fleet.instance("cart-0").usage;
            let of_class = match class {
                FileClass::Temporary => usage.disk_temporary_old?,
                FileClass::Logs => usage.disk_logs?,
                FileClass::Cache => usage.disk_cache?,
                FileClass::Data => usage.disk_used?,
            };
            (of_class.0 > 7 << 20).then_some(())
        });
        let undone = fleet.provider.undo(token, &step(&fault), &Captured::Nothing).unwrap();
        assert_eq!(undone, Undone::Restored);
        assert!(fillers(&fleet).is_empty());
    }
    let volume = fleet.provider.volume_path(&named("cart-0")).unwrap();
    assert_eq!(std::fs::metadata(volume.join("written")).unwrap().len(), 100_000);
    let events = fleet.provider.events(0, Duration::ZERO).unwrap();
    assert!(events.iter().any(|event| event.kind == EventKind::DiskPressure));
}

fn ramps() {
    let fleet = Fleet::up(CART);
    fleet.ready("cart-0");
    let ramp = Duration::from_secs(8);
    let attachment = Attachment::Attached;
    let leak = FaultKind::MemoryStress { fill: Percent(92.0), attachment, ramp };
    let leak = fault("instance/cart-0", leak, 60);
    let (token, captured) = inject(&fleet, &leak);
    assert_eq!(effect(&fleet, token, &leak, &captured), Effect::Present, "it is on its way");
    let mut seen = Vec::new();
    until("the level is reached", || {
        fleet.provider.heartbeat().unwrap();
        let used = fleet.instance("cart-0").usage.memory?.0 as f64 / (96 << 20) as f64;
        seen.push(used);
        (used > 0.88).then_some(())
    });
    assert!(seen.iter().any(|used| (0.2..0.8).contains(used)), "not bit by bit: {seen:?}");
    assert_eq!(fleet.provider.undo(token, &step(&leak), &captured).unwrap(), Undone::Restored);
    if !held(&fleet) {
        return;
    }
    let disk = FaultKind::DiskFill { fill: Percent(90.0), class: FileClass::Temporary, ramp };
    let disk = fault("volume/cart-0", disk, 60);
    let (token, _) = inject(&fleet, &disk);
    let share = || {
        let usage = fleet.instance("cart-0").usage;
        Some(usage.disk_used?.0 as f64 / usage.disk_size?.0 as f64)
    };
    until("it fills up", || share().filter(|share| *share > 0.4).map(drop));
    let tmp = fleet.provider.volume_path(&named("cart-0")).unwrap().join("tmp");
    for name in fillers(&fleet) {
        // The one that is being written may be there no longer than this look.
        let _ = std::fs::remove_file(tmp.join(name));
    }
    until("it has written all it had to", || {
        fleet.provider.heartbeat().unwrap();
        crate::cgroups::worker(token).is_none().then_some(())
    });
    let at_the_end = until("it is measured", share);
    assert!(at_the_end < 0.75, "what was removed was written again: {at_the_end}");
    assert_eq!(fleet.provider.undo(token, &step(&disk), &Captured::Nothing).unwrap(), Undone::Restored);
    assert!(fillers(&fleet).is_empty());
}

fn emergency_stop() {
    let fleet = Fleet::up(
        "  small:\n    command: [\"{homeostat}\", service, idle]\n    replicas: 50\n    limits: {cpu: 0.01}\n",
    );
    let instances = until("all run", || {
        let mut sample = fleet.provider.sample().unwrap();
        let instances = sample.services.pop_first()?.1.instances;
        (instances.len() == 50 && instances.values().all(|i| i.incarnation.is_some())).then_some(instances)
    });
    let cpu = FaultKind::CpuStress { load: Percent(50.0), attachment: Attachment::Attached };
    for (name, seen) in &instances {
        for kind in [FaultKind::Pause, cpu.clone()] {
            let fault = fault(&format!("instance/{name}"), kind, 60);
            let inject = serde_json::json!({"token": token(), "fault": fault, "expected": seen.incarnation});
            fleet.ask(serde_json::json!({ "inject": inject })).unwrap();
        }
    }
    let begun = std::time::Instant::now();
    assert_eq!(fleet.provider.remove_all_faults().unwrap(), 100);
    println!("100 faults out in {:?}", begun.elapsed());
    let pids = instances.values().filter_map(|seen| Some(seen.incarnation.as_ref()?.pid));
    assert_eq!(pids.filter(|pid| state(*pid) == Some('T')).count(), 0);
}

fn refusals() {
    let fleet = Fleet::up("  job:\n    command: [\"{homeostat}\", service, idle]\n");
    let host = FaultKind::CpuStress { load: Percent(50.0), attachment: Attachment::Host };
    let refused = fleet.inject(token(), &fault("instance/job-0", host, 10)).unwrap_err();
    // Where there are cgroups it is refused too: what is the share of a limit nobody declared?
    let why = match fleet.provider.capabilities().host_stress.unavailable() {
        Some(_) => "cgroups",
        None => "declares no cpu limit",
    };
    assert!(refused["unsupported"]["why"].as_str().unwrap().contains(why), "{refused}");
    let unlimited = FaultKind::MemoryStress {
        fill: Percent(90.0),
        attachment: Attachment::Attached,
        ramp: Duration::ZERO,
    };
    let refused = fleet.inject(token(), &fault("instance/job-0", unlimited, 10)).unwrap_err();
    assert!(
        refused["unsupported"]["why"].as_str().unwrap().contains("declares no memory limit"),
        "{refused}"
    );
    let disk = FaultKind::DiskFill { fill: Percent(90.0), class: FileClass::Data, ramp: Duration::ZERO };
    assert!(fleet.inject(token(), &fault("volume/job-0", disk, 10)).is_err());
    let link = fault("link/job->job", FaultKind::NetworkPartition { scope: domain::PathScope::All }, 10);
    assert!(fleet.inject(token(), &link).unwrap_err()["unknown"].is_object());
}
