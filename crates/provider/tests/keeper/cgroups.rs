//! Limits held by the kernel. Needs root and a cgroup hierarchy of either version that may be written to; says so
//! and tests nothing where they are missing.

use std::time::Duration;

use domain::snapshot::ExitCause;
use domain::{
    Action, Attachment, Attribute, AttributeValue, Captured, Cores, Effect, Enforcement, EventKind,
    FaultKind, Percent, Step, Undo,
};
use provider::{Change, Look, Undone};
use serde_json::json;

use crate::fleet::{Fleet, Test, fault, kill, named, runs, step, token, until};

/// Would use a whole core, and is held to far less: to so little that a machine with other work has it.
const BUSY: &str = "  busy:\n    command: [\"{homeostat}\", service, busy]\n    limits: {cpu: 0.05}\n";
/// Takes 1 MiB at every request, up to the limit.
const CART: &str = "  cart:\n    command: [\"{homeostat}\", service, serve]\n    listens: http\n    limits: {cpu: 0.4, memory: 48MiB}\n    restart: {settled: 50ms}\n";

pub(crate) const TESTS: &[Test] = &[
    ("a_busy_process_gets_its_cpu_limit_and_no_more", quota_holds),
    ("a_cpu_limit_that_is_declared_a_reference_slows_nobody_down", reference),
    ("a_raised_cpu_limit_is_felt_and_undo_puts_the_old_one_back", quota_is_raised_and_put_back),
    ("what_grows_beyond_its_memory_limit_is_ended_by_the_kernel_and_is_oom", memory_is_held),
    ("a_child_over_the_limit_ends_the_instance_as_a_whole", child_over_the_limit),
    ("a_volume_is_not_counted_against_the_memory_limit", volume_has_room),
    ("host_cpu_stress_outlives_a_restart_and_ends_with_the_fault", host_cpu_stress),
    ("a_load_that_is_ended_again_and_again_comes_back_once_a_second", load_comes_back),
    ("host_memory_stress_leaves_no_room_for_the_next_process_either", host_memory_stress),
    ("groups_go_with_their_instances_and_a_killed_keeper_leaves_none", nothing_left),
];

/// Whether limits are held by the kernel here.
fn held(fleet: &Fleet) -> bool {
    let capabilities = fleet.provider.capabilities();
    let kernel = |by: &Enforcement| matches!(by, Enforcement::Kernel(_));
    let all = kernel(&capabilities.cpu_limit) && kernel(&capabilities.memory_limit);
    if !all {
        println!("no limits by the kernel here: {:?}", capabilities.cpu_limit);
        println!("skipped: no cgroup");
    }
    all
}

/// The directories of the groups of an instance, found by looking.
fn groups(fleet: &Fleet, instance: &str) -> Vec<std::path::PathBuf> {
    let pid = fleet.find(instance).and_then(|seen| Some(seen.incarnation?.pid));
    let mut found = Vec::new();
    for keeper in keepers() {
        let group = keeper.join(instance);
        let members = std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        if pid.is_some_and(|pid| members.lines().any(|line| line == pid.to_string())) {
            found.push(group);
        }
    }
    found
}

/// The directories of all keepers' groups, in every hierarchy.
fn keepers() -> Vec<std::path::PathBuf> {
    let below = |dir: &std::path::Path| -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
        entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
    };
    let root = std::path::PathBuf::from("/sys/fs/cgroup");
    let roots = below(&root).into_iter().chain([root]);
    roots.flat_map(|hierarchy| below(&hierarchy.join("homeostat"))).collect()
}

fn used(fleet: &Fleet, instance: &str) -> Option<f64> {
    fleet.provider.heartbeat().unwrap();
    Some(fleet.find(instance)?.usage.cpu?.0)
}

/// Waits until an instance uses as many cores as it is to be able to, and never more than it may. It is looked at once it
/// was measured anew for some seconds: an average over 3 s holds nothing older. A machine with other work may give it its
/// cores late.
fn uses(fleet: &Fleet, instance: &str, cores: std::ops::Range<f64>) {
    let begun = std::time::Instant::now();
    until("it uses what it may", || {
        fleet.provider.heartbeat().unwrap();
        let used = (begun.elapsed() > Duration::from_millis(4500)).then(|| used(fleet, instance))??;
        assert!(used < cores.end, "{used} cores, {cores:?} expected");
        (used >= cores.start).then_some(())
    });
}

fn quota_holds() {
    let fleet = Fleet::up(BUSY);
    if !held(&fleet) {
        return;
    }
    uses(&fleet, "busy-0", 0.03..0.08);
}

fn reference() {
    let dir = tempfile::tempdir().unwrap();
    let provider = provider::ProcessProvider::open(dir.path()).unwrap();
    let declared = crate::fleet::declared(&BUSY.replace("cpu: 0.05", "cpu: 0.01"));
    let cpu_limits = domain::CpuLimits::Reference;
    provider.up(&domain::Infrastructure { cpu_limits, ..declared }).unwrap();
    let fleet = Fleet { dir, provider };
    until("it uses more than its 0.01 cores", || (used(&fleet, "busy-0")? > 0.02).then_some(()));
    let capabilities = fleet.provider.capabilities();
    for by in [&capabilities.cpu_limit, &capabilities.host_stress] {
        let why = by.unavailable().expect("it is refused");
        assert!(why.contains("cpu_limits: reference"), "{why}");
    }
    assert!(groups(&fleet, "busy-0").is_empty(), "no group without a limit to hold");
}

fn quota_is_raised_and_put_back() {
    let fleet = Fleet::up(BUSY);
    if !held(&fleet) {
        return;
    }
    let pid = until("it runs", || Some(fleet.find("busy-0")?.incarnation?.pid));
    let attribute = Attribute::CpuLimit(named("busy-0").service);
    let before = fleet.ask(json!({"attribute": {"attribute": attribute}})).unwrap();
    let captured = Captured::Attribute {
        attribute: attribute.clone(),
        value: AttributeValue::Cpu(Some(Cores(0.05))),
        generation: before["generation"].as_u64().unwrap(),
    };
    let raise = Step {
        action: Action::SetCpuLimit { service: named("busy-0").service, limit: Cores(0.15) },
        undo: Undo::Exact,
        timeout: Duration::from_secs(5),
    };
    let token = token();
    assert_eq!(fleet.provider.prove(token, &raise, &captured).unwrap(), Effect::Absent);
    let (to, expected) = (AttributeValue::Cpu(Some(Cores(0.15))), before["generation"].clone());
    fleet
        .ask(json!({"set": {"attribute": attribute, "value": to, "expected": expected, "token": token}}))
        .unwrap();
    assert_eq!(fleet.provider.prove(token, &raise, &captured).unwrap(), Effect::Present);
    uses(&fleet, "busy-0", 0.1..0.2);
    assert_eq!(fleet.provider.undo(token, &raise, &captured).unwrap(), Undone::Restored);
    let after = fleet.ask(json!({"attribute": {"attribute": attribute}})).unwrap();
    assert_eq!(after["value"], before["value"], "exactly what was captured");
    uses(&fleet, "busy-0", 0.03..0.08);
    assert_eq!(fleet.pid("busy-0"), pid, "it was the same process all the time");
}

fn memory_is_held() {
    let fleet = Fleet::up(CART);
    let pid = fleet.ready("cart-0");
    if !held(&fleet) {
        return;
    }
    assert_eq!(fleet.get("cart-0", "/take/16"), "taken");
    assert_eq!(fleet.pid("cart-0"), pid);
    // The connection ends with the process.
    let _ = crate::fleet::get(fleet.instance("cart-0").port.unwrap(), "/take/64");
    let exit = until("it was ended", || fleet.instance("cart-0").exits.last().cloned());
    assert_eq!((exit.cause, exit.requested), (ExitCause::OutOfMemory, false));
    assert_ne!(fleet.ready("cart-0"), pid);
    let events = fleet.provider.events(0, Duration::ZERO).unwrap();
    assert!(events.iter().any(|event| event.kind == EventKind::OutOfMemory));
    kill(fleet.pid("cart-0"), "KILL");
    until("a second end", || (fleet.instance("cart-0").exits.len() == 2).then_some(()));
    let exit = fleet.instance("cart-0").exits.pop().unwrap();
    assert_eq!(exit.cause, ExitCause::Signal(9), "a kill by somebody else is not taken for the kernel's");
}

fn child_over_the_limit() {
    let fleet = Fleet::up(CART);
    let pid = fleet.ready("cart-0");
    if !held(&fleet) {
        return;
    }
    fleet.get("cart-0", "/child-that-takes/64");
    until("the instance was ended", || {
        (fleet.instance("cart-0").exits.last()?.cause == ExitCause::OutOfMemory).then_some(())
    });
    assert_ne!(fleet.ready("cart-0"), pid);
}

fn volume_has_room() {
    let fleet = Fleet::up(&format!("{CART}    volume: {{size: 40MiB}}\n"));
    let pid = fleet.ready("cart-0");
    if !held(&fleet) || !crate::volumes::held(&fleet) {
        return;
    }
    // For a moment both, the pages of the file and what is written from: 60 MiB of 48.
    assert_eq!(fleet.get("cart-0", &format!("/write/{}", 30 << 20)), "written");
    // What is beyond the limit is still seen, by the keeper.
    assert_eq!(fleet.pid("cart-0"), pid);
    let _ = crate::fleet::get(fleet.instance("cart-0").port.unwrap(), "/take/47");
    until("it was ended", || {
        (fleet.instance("cart-0").exits.last()?.cause == ExitCause::OutOfMemory).then_some(())
    });
}

fn host_cpu_stress() {
    // A machine with other work has that much to give.
    let fleet = Fleet::up(&CART.replace("cpu: 0.4", "cpu: 0.2"));
    let pid = fleet.ready("cart-0");
    if !held(&fleet) {
        return;
    }
    let kind = FaultKind::CpuStress { load: Percent(90.0), attachment: Attachment::Host };
    let fault = fault("instance/cart-0", kind, 60);
    let (token, captured) = (token(), captured(&fleet));
    fleet.inject(token, &fault).unwrap();
    let felt = |what: &str| {
        until(what, || {
            let effect = fleet.provider.prove(token, &step(&fault), &captured).unwrap();
            (effect == Effect::Present).then_some(())
        });
    };
    felt("the load is measured");
    kill(pid, "KILL");
    until("another process runs", || fleet.instance("cart-0").incarnation.filter(|it| it.pid != pid));
    fleet.ready("cart-0");
    felt("the load is measured again");
    let cores = used(&fleet, "cart-0").unwrap();
    assert!(cores < 0.3, "{cores} cores of 0.2: it takes from the instance and not from the machine");
    assert_eq!(fleet.provider.undo(token, &step(&fault), &captured).unwrap(), Undone::Restored);
    until("the instance is calm", || (used(&fleet, "cart-0")? < 0.1).then_some(()));
    assert_eq!(fleet.provider.leftovers().unwrap(), Vec::<String>::new());
}

fn captured(fleet: &Fleet) -> Captured {
    Captured::Process { instance: named("cart-0"), incarnation: fleet.instance("cart-0").incarnation }
}

fn load_comes_back() {
    let fleet = Fleet::up(CART);
    fleet.ready("cart-0");
    if !held(&fleet) {
        return;
    }
    let kind = FaultKind::CpuStress { load: Percent(20.0), attachment: Attachment::Host };
    let token = token();
    fleet.inject(token, &fault("instance/cart-0", kind, 60)).unwrap();
    let next = |old: u32| {
        until("the load is there", || {
            fleet.provider.heartbeat().unwrap();
            worker(token).filter(|pid| *pid != old)
        })
    };
    let mut pid = next(0);
    let mut starts = Vec::new();
    for _ in 0..3 {
        kill(pid, "KILL");
        pid = next(pid);
        starts.push(started(pid));
    }
    let gaps: Vec<_> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // Looked for every 250 ms.
    assert!(gaps.iter().all(|gap| *gap > Duration::from_millis(700)), "{gaps:?}");
}

/// When a process started, since the boot.
fn started(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // proc_pid_stat(5): field 22, in clock ticks; the third follows the name in its parentheses.
    let ticks: u64 = stat[stat.rfind(')').unwrap() + 2..].split(' ').nth(22 - 3).unwrap().parse().unwrap();
    Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
}

/// The running stress worker of a step.
pub(crate) fn worker(token: domain::StepToken) -> Option<u32> {
    let mark = format!("HOMEOSTAT_WORKER={token}");
    let pids = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let of_it = |pid: &u32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|part| part == mark.as_bytes())
    };
    pids.filter(of_it).find(|pid| runs(*pid))
}

fn host_memory_stress() {
    let fleet = Fleet::up(CART);
    fleet.ready("cart-0");
    if !held(&fleet) {
        return;
    }
    let kind =
        FaultKind::MemoryStress { fill: Percent(90.0), attachment: Attachment::Host, ramp: Duration::ZERO };
    let fault = fault("instance/cart-0", kind, 60);
    let (token, captured) = (token(), captured(&fleet));
    fleet.inject(token, &fault).unwrap();
    for _ in 0..2 {
        fleet.ready("cart-0");
        until("the level is measured", || {
            let effect = fleet.provider.prove(token, &step(&fault), &captured).unwrap();
            (effect == Effect::Present).then_some(())
        });
        let ends = fleet.instance("cart-0").exits.len();
        let _ = crate::fleet::get(fleet.instance("cart-0").port.unwrap(), "/take/40");
        until("there is no room for 40 MiB", || {
            let exits = fleet.instance("cart-0").exits;
            (exits.len() > ends && exits.last()?.cause == ExitCause::OutOfMemory).then_some(())
        });
    }
    assert_eq!(fleet.provider.undo(token, &step(&fault), &captured).unwrap(), Undone::Restored);
    fleet.ready("cart-0");
    assert_eq!(fleet.get("cart-0", "/take/40"), "taken");
}

fn nothing_left() {
    let fleet = Fleet::up(CART);
    let pid = fleet.ready("cart-0");
    if !held(&fleet) {
        return;
    }
    let ours = groups(&fleet, "cart-0");
    assert!(!ours.is_empty(), "it is in a group");
    // A daemon that left the process group of its parent, and that a plain kill does not reach.
    let daemon: u32 = fleet.get("cart-0", "/daemon").parse().unwrap();
    let replicas = json!({"replicas": "cart"});
    let set = json!({"set": {"attribute": replicas, "value": {"count": 2}, "expected": 0, "token": token()}});
    fleet.ask(set).unwrap();
    fleet.ready("cart-1");
    let more = groups(&fleet, "cart-1");
    fleet.kill_keeper();
    let gone = ours[0].parent().unwrap().join("gone-7");
    std::fs::create_dir(&gone).unwrap();
    assert_eq!(fleet.ready("cart-0"), pid, "it was adopted");
    assert!(!gone.exists(), "the group of an instance that nobody wants goes");
    assert_eq!(groups(&fleet, "cart-0"), ours, "and is in its group still");
    std::fs::create_dir(&gone).unwrap();
    let found = fleet.provider.leftovers().unwrap();
    assert!(found.len() == 1 && found[0].contains("gone-7"), "{found:?}");
    std::fs::remove_dir(&gone).unwrap();
    let set = json!({"set": {"attribute": replicas, "value": {"count": 1}, "expected": 1, "token": token()}});
    fleet.ask(set).unwrap();
    until("the second one's groups are gone", || more.iter().all(|dir| !dir.exists()).then_some(()));
    assert!(runs(daemon));
    fleet.provider.down().unwrap();
    for dir in &ours {
        assert!(!dir.parent().unwrap().exists(), "{} is left", dir.display());
    }
    until("the daemon is gone", || (!runs(daemon)).then_some(()));
}
