//! The life of a small fleet: up, looked at, killed in every part, down.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use domain::{
    Action, Actor, Captured, Cause, CauseClass, Clock, IdSource, InstanceName, Intent, Issue, IssueKind,
    Percent, Plan, PlanId, PlanStatus, Reason, ResourceId, Severity, Step, StepToken, StopManner, Strategy,
    Undo,
};
use provider::clock::SystemClock;
use provider::{Look, ProcessProvider};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;
use store::{SlotLimits, Store};

use crate::Test;
use crate::fleet::{Fleet, agent, until};
use crate::port::free_port;
use crate::processes::{self, Part};
use crate::wrong_input::{nothing_runs, used};

pub(crate) const TESTS: &[Test] = &[
    ("up_status_logs_down_leave_nothing", up_to_down),
    ("a_control_plane_over_nothing_answers_and_looks_after_what_comes_up_later", over_nothing),
    ("what_up_says_is_up_may_be_disturbed_at_once", disturbed_at_once),
    ("a_killed_service_is_started_again_and_serves", service_killed),
    ("services_and_traffic_go_on_without_a_control_plane_and_are_adopted", control_plane_killed),
    ("recovering_ends_when_its_time_is_over_and_says_what_is_still_under_way", recover_is_bounded),
    ("recovering_where_nothing_was_left_starts_nothing_and_says_so", recover_of_nothing),
    ("a_step_that_was_written_and_not_done_does_not_hold_up_the_start", awaited_step),
    ("a_killed_keeper_is_started_by_the_next_call_and_adopts_its_services", keeper_killed),
    ("a_dry_run_of_a_repair_shows_it_and_changes_nothing", dry_run),
    ("a_control_plane_opens_as_much_as_it_may_and_its_services_keep_their_limit", open_files),
];

/// Three services: one that only speaks, two of which one calls the other and is reached from outside.
fn infrastructure(port: u16) -> String {
    format!(
        r#"name: small
services:
  ticker:
    command: [/bin/sh, -c, "echo {{instance}} says hello; exec sleep 1000"]
    replicas: 2
  database:
    command: ["{{homeostat}}", demo-service, database]
    listens: http
    readiness: {{ http: /ready, interval: 100ms }}
    volume: {{ size: 8MiB }}
  cart:
    command: ["{{homeostat}}", demo-service, cart]
    replicas: 2
    listens: http
    publish: {port}
    dependencies: [database]
    readiness: {{ http: /ready, interval: 100ms }}
    volume: {{ size: 8MiB }}
"#
    )
}

fn over_nothing() {
    let mut fleet = Fleet::new("");
    fleet.serve();
    assert_eq!(fleet.get("/api/v3/self-healing/services").unwrap(), serde_json::json!([]));
    until("the loop has looked", || fleet.get("/api/v3/self-healing/health-score").map(drop));
    assert_eq!(fleet.get("/health").unwrap()["troubles"], serde_json::json!([]));
    let address = std::fs::read_to_string(fleet.dir.join("address")).unwrap();
    for page in
        ["/", "/services", "/issues", "/timeline", "/experiments", "/slos", "/traces", "/metrics-explorer"]
    {
        let status = agent().get(format!("{address}{page}")).call().map(|answer| answer.status().as_u16());
        assert!(matches!(status, Ok(200)), "{page}: {status:?}");
    }
    let file = fleet.write("fleet.yaml", &infrastructure(free_port()));
    fleet.run(&["up", file.to_str().unwrap()]).done();
    until("what came up is looked after", || fleet.all_ready());
    fleet.run(&["down"]).done();
}

/// A fleet and the port at which users reach it.
fn small() -> (Fleet, u16) {
    let free = free_port();
    let fleet = Fleet::up("", &infrastructure(free));
    until("every instance is ready", || fleet.all_ready());
    (fleet, free)
}

const INSTANCES: [&str; 5] = ["cart-0", "cart-1", "database-0", "ticker-0", "ticker-1"];

fn pids(fleet: &Fleet) -> [u32; 5] {
    INSTANCES.map(|name| fleet.pid(name))
}

/// What a user asks for, through the published port.
fn use_it(port: u16) -> Result<(), String> {
    let response = agent().get(format!("http://127.0.0.1:{port}/carts/c1")).call();
    let status = response.map_err(|error| error.to_string())?.status().as_u16();
    if status == 200 { Ok(()) } else { Err(format!("status {status}")) }
}

fn up_to_down() {
    let (fleet, port) = small();
    until("users are served", || use_it(port));

    let status = fleet.run(&["status", "--json"]).json();
    let shown: Vec<&Value> = status["services"].as_array().unwrap().iter().collect();
    let names: Vec<&str> = shown.iter().filter_map(|service| service["service"].as_str()).collect();
    assert_eq!(names, ["cart", "database", "ticker"], "{status:#}");
    for instance in shown.iter().flat_map(|service| service["instances"].as_array().unwrap()) {
        let name = instance["instance"].as_str().unwrap();
        assert_eq!(instance["phase"], "ready", "{instance:#}");
        assert_eq!(instance["pid"], fleet.pid(name), "{instance:#}");
    }

    let more = &status["more"];
    assert!(more["issues"] == false && more["awaiting_approval"] == false, "all is told: {status:#}");
    for (state, is_closed) in [("open", false), ("closed", true)] {
        let issues = fleet.run(&["issues", "--state", state, "--json"]).json();
        let of_it = |issue: &Value| issue["closed_at"].is_null() != is_closed;
        assert!(issues.as_array().unwrap().iter().all(of_it), "{state}: {issues:#}");
    }

    // What they say is on its way for a moment.
    until("both tickers are heard", || {
        let logs = fleet.run(&["logs", "ticker"]).done().out;
        let mut lines: Vec<&str> = logs.lines().collect();
        lines.sort_unstable();
        let heard = lines == ["ticker-0 | ticker-0 says hello", "ticker-1 | ticker-1 says hello"];
        if heard { Ok(()) } else { Err(format!("{lines:?}")) }
    });

    // The same again changes nothing.
    let before = pids(&fleet);
    let file = fleet.dir.parent().unwrap().join("fleet.yaml");
    fleet.run(&["up", file.to_str().unwrap()]).done();
    assert_eq!(pids(&fleet), before);

    fleet.run(&["down"]).done();
    let left = fleet.processes();
    assert!(left.is_empty(), "left after down: {left:#?}");
    assert!(use_it(port).is_err(), "somebody still answers after down");
    assert_eq!(fleet.run(&["status"]).code, Some(3));
}

fn disturbed_at_once() {
    let free = free_port();
    let fleet = Fleet::up("", &infrastructure(free));
    fleet.run(&["chaos", "inject", "pause", "--target", "instance/cart-0", "--for", "60s"]).done();
    fleet.run(&["chaos", "stop", "--emergency"]).done();
}

fn service_killed() {
    let (fleet, port) = small();
    let before = fleet.pid("cart-0");
    let began = Instant::now();
    processes::kill(before);
    let now = until("cart-0 is ready again", || {
        let services = fleet.get("/api/v3/self-healing/services/cart")?;
        let instance = &services["instances"][0];
        let fresh = instance["pid"].as_u64().filter(|pid| *pid != u64::from(before));
        fresh.filter(|_| instance["phase"] == "ready").ok_or_else(|| services.to_string())
    });
    println!("killed to ready again in the API: {} ms", began.elapsed().as_millis());
    assert_eq!(now, u64::from(fleet.pid("cart-0")));
    until("users are served", || use_it(port));
    let issues = until("the crash is an issue", || {
        let issues = fleet.run(&["issues", "--json"]).json();
        if issues[0].is_object() { Ok(issues) } else { Err("none yet".to_owned()) }
    });
    assert_eq!(issues[0]["type"], "pod_crash", "{issues:#}");
    assert_eq!(issues[0]["resource"], "instance/cart-0", "{issues:#}");
}

fn control_plane_killed() {
    let (mut fleet, port) = small();
    let (before, keeper) = (pids(&fleet), fleet.the(&Part::Keeper));
    until("users are served", || use_it(port));

    let (stop, served) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|threads| {
        let user = threads.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                use_it(port).expect("a request failed while only the control plane was dead");
                served.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        processes::kill(fleet.the(&Part::ControlPlane));
        assert_eq!(fleet.run(&["status"]).code, Some(3));
        // The keeper restarts what dies, control plane or not.
        let ticker = fleet.pid("ticker-0");
        processes::kill(ticker);
        until("ticker-0 runs again", || {
            let all = fleet.processes();
            let again = |one: &&processes::Process| one.part == Part::Service("ticker-0".to_owned());
            all.iter().find(again).map(|one| one.pid).filter(|pid| *pid != ticker).ok_or(format!("{all:?}"))
        });
        let first = served.load(Ordering::Relaxed);
        until("users went on being served", || {
            (served.load(Ordering::Relaxed) > first + 20 || user.is_finished())
                .then_some(())
                .ok_or("few requests".to_owned())
        });
        fleet.serve();
        until("the next one sees every instance", || fleet.all_ready());
        stop.store(true, Ordering::Relaxed);
    });
    let after = pids(&fleet);
    assert_eq!(after[..3], before[..3], "a service was restarted by the adoption");
    assert_eq!((after[4], fleet.the(&Part::Keeper)), (before[4], keeper));
}

/// A control plane died between the intent of a restart and the restart, which may take twenty seconds.
fn awaited_step() {
    let infrastructure = "name: one\nservices:\n  ticker:\n    command: [/bin/sh, -c, \"exec sleep 1000\"]\n";
    let mut fleet = Fleet::up("", infrastructure);
    until("ticker-0 runs", || fleet.all_ready());
    let before = fleet.pid("ticker-0");
    processes::kill(fleet.the(&Part::ControlPlane));
    let plan = write_restart(&fleet.dir, "ticker-0", Duration::from_secs(20));

    let began = Instant::now();
    fleet.serve();
    println!("started to answering with an awaited step: {} ms", began.elapsed().as_millis());
    let journal = |fleet: &Fleet| fleet.get(&format!("/api/v3/self-healing/remediations/{plan}"));
    // A start that waited for it would answer when its time is over.
    assert_eq!(journal(&fleet).unwrap()["status"], "in_progress");
    until("the plan is settled when its time is over", || {
        let plan = journal(&fleet)?;
        (plan["status"] == "failed").then_some(()).ok_or_else(|| plan.to_string())
    });
    assert_eq!(fleet.pid("ticker-0"), before, "the restart was done blindly");
}

/// The same, with a minute for the restart.
fn recover_is_bounded() {
    let infrastructure = "name: one\nservices:\n  ticker:\n    command: [/bin/sh, -c, \"exec sleep 1000\"]\n";
    let fleet = Fleet::up("", infrastructure);
    until("ticker-0 runs", || fleet.all_ready());
    processes::kill(fleet.the(&Part::ControlPlane));
    let plan = write_restart(&fleet.dir, "ticker-0", Duration::from_secs(60));

    // The minute over, it would be settled.
    let ran = fleet.run(&["chaos", "recover", "--within", "1s"]);
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    assert_eq!(ran.out, "0 faults taken out, 0 plans settled\n");
    for word in ["still under way", &plan.to_string(), "restart it", "homeostat serve"] {
        assert!(ran.err.contains(word), "{word:?} is not said: {}", ran.err);
    }
}

/// Down, and nothing under way: there is nothing to start anything for.
fn recover_of_nothing() {
    let fleet = used();
    let ran = fleet.run(&["chaos", "recover"]).done();
    assert_eq!(ran.out, "0 faults taken out, 0 plans settled\n");
    assert!(ran.err.contains("nothing was left behind"), "{ran:#?}");
    nothing_runs(&fleet);
}

/// Writes a repair whose only step has its intent in the journal and was never done.
fn write_restart(dir: &Path, instance: &str, timeout: Duration) -> PlanId {
    let clock = SystemClock;
    let (now, mut ids) = (clock.now(), IdSource::seeded(5));
    let instance: InstanceName = instance.parse().unwrap();
    let resource = ResourceId::Instance(instance.clone());
    let sample = ProcessProvider::open(dir).unwrap().sample().unwrap();
    let incarnation = sample.services[&instance.service].instances[&instance].incarnation.clone();
    let captured = Captured::Process { instance: instance.clone(), incarnation };
    let issue = Issue {
        id: ids.next(now),
        kind: IssueKind::PodCrash,
        reason: Reason::Unresponsive,
        resource: resource.clone(),
        severity: Severity::High,
        description: "it does not answer".to_owned(),
        detected_at: now,
        last_seen: now,
        closed_at: None,
        metrics: [("threshold".to_owned(), 3.0)].into(),
        recurrences: 0,
    };
    let action = Action::RestartInstance { instance, manner: StopManner::Kill };
    let plan = Plan {
        id: ids.next(now),
        intent: Intent::Remediation {
            issue: issue.id,
            kind: issue.kind,
            reason: issue.reason,
            severity: issue.severity,
            strategy: Strategy::RestartPod,
            cause: Cause {
                resource: resource.clone(),
                class: CauseClass::ProcessHangs,
                confidence: Percent(99.0),
                pattern: "test".to_owned(),
                evidence: Vec::new(),
            },
        },
        requested_by: Actor::Healing,
        summary: "restart it".to_owned(),
        expected_effect: "it answers".to_owned(),
        verify: None,
        blast_radius: vec![resource],
        lift_after: None,
        created_at: now,
        steps: vec![Step { action, undo: Undo::NothingToRestore, timeout }],
    };
    let store = Store::take_over(dir, &clock).unwrap();
    store.save_issue(&issue).unwrap();
    store.add_plan(&plan, PlanStatus::Pending, &[]).unwrap();
    store.start_plan(plan.id, &SlotLimits::NONE, now).unwrap();
    store.append_intent(StepToken { plan: plan.id, index: 0 }, &plan.steps[0], &captured, now).unwrap();
    plan.id
}

fn keeper_killed() {
    let (fleet, port) = small();
    let (before, keeper) = (pids(&fleet), fleet.the(&Part::Keeper));
    processes::kill(keeper);
    until("every instance is ready", || fleet.all_ready());
    until("users are served", || use_it(port));
    assert_ne!(fleet.the(&Part::Keeper), keeper);
    assert_eq!(pids(&fleet), before, "a service was restarted by the adoption");

    // And they are kept: one that dies now comes back, although the new keeper is not its parent.
    processes::kill(before[0]);
    until("cart-0 runs again", || {
        let all = fleet.processes();
        let again = |one: &&processes::Process| one.part == Part::Service("cart-0".to_owned());
        all.iter().find(again).map(|_| ()).ok_or("not there".to_owned())
    });
    until("users are served", || use_it(port));
    fleet.run(&["down"]).done();
    assert!(fleet.processes().is_empty(), "left after down: {:#?}", fleet.processes());
}

/// A process that hangs, with nothing repaired by itself: looking at the repair leaves it as it is.
fn dry_run() {
    let infrastructure = "name: one\nservices:\n  database:\n    command: [\"{homeostat}\", demo-service, database]\n    \
                          listens: http\n    readiness: { http: /ready, interval: 100ms }\n    \
                          liveness: { http: /ready, interval: 100ms, failures: 3 }\n    volume: { size: 8MiB }\n";
    let fleet = Fleet::up("[healing]\nauto_remediation = false\n", infrastructure);
    let inject = ["chaos", "inject", "pause", "--target", "instance/database-0", "--for", "2m"];
    until("the fault is in effect", || match fleet.run(&inject) {
        ran if ran.code == Some(0) => Ok(()),
        ran => Err(ran.err),
    });
    let issue = until("the hang is an issue", || {
        let issues = fleet.get("/api/v3/self-healing/issues")?;
        let first = issues[0]["id"].as_str().ok_or("none yet")?;
        Ok(first.to_owned())
    });
    let hung = fleet.pid("database-0");
    let remediations = || fleet.get("/api/v3/self-healing/remediations").unwrap();
    let before = remediations();
    let shown = fleet.run(&["heal", &issue, "--dry-run"]).done();
    assert!(shown.out.contains("database-0"), "{shown:#?}");
    assert_eq!(remediations(), before, "a plan was made");
    assert_eq!(fleet.pid("database-0"), hung);
    fleet.run(&["heal", &issue]);
    until("the repair that was shown is done when it is asked for", || {
        let all = fleet.processes();
        let is_new =
            |one: &processes::Process| one.part == Part::Service("database-0".to_owned()) && one.pid != hung;
        if all.iter().any(is_new) { Ok(()) } else { Err(format!("{all:?}")) }
    });
}

fn open_files() {
    let given = getrlimit(Resource::Nofile);
    let low = 512;
    setrlimit(Resource::Nofile, Rlimit { current: Some(low), ..given }).unwrap();
    let mut fleet = Fleet::new("");
    fleet.serve();
    setrlimit(Resource::Nofile, given).unwrap();
    let file = fleet.write("fleet.yaml", &infrastructure(free_port()));
    fleet.run(&["up", file.to_str().unwrap()]).done();
    until("every instance is ready", || fleet.all_ready());

    let most = given.maximum.unwrap_or(u64::MAX);
    assert!(most > low, "nothing can be raised here");
    // It is a child of this process, and leads nothing.
    let running = fleet.processes();
    let control_plane = running.iter().find(|one| one.part == Part::ControlPlane).unwrap();
    assert_eq!(soft_limit(control_plane.pid), most);
    for process in [fleet.the(&Part::Keeper), fleet.pid("ticker-0"), fleet.pid("cart-0")] {
        assert_eq!(soft_limit(process), low);
    }
    fleet.run(&["down"]).done();
}

/// How many files a process may open, as the kernel says.
fn soft_limit(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}
