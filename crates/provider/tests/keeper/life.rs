//! Start, restart, adoption, scaling, going down.

use std::time::Duration;

use domain::snapshot::{ExitCause, InstanceState, Phase};
use domain::{Action, Attribute, AttributeValue, Captured, Effect, EventKind, Step, StopManner, Undo};
use provider::{Change, Look, ProcessProvider};
use serde_json::json;

use crate::fleet::{Fleet, Test, declared, get, kill, named, runs, state, token, until};

const CART: &str = "  cart:\n    command: [\"{homeostat}\", service, serve]\n    listens: http\n    readiness: {http: /ready}\n    restart: {settled: 50ms}\n";

pub(crate) const TESTS: &[Test] = &[
    ("a_fleet_comes_up_with_its_environment_and_goes_down_without_a_trace", comes_up_and_goes_down),
    ("a_killed_process_is_replaced_at_once", killed_process_is_replaced),
    ("children_of_a_dead_process_do_not_outlive_it", children_die_too),
    ("services_survive_the_keeper_and_are_adopted", services_survive_the_keeper),
    ("a_process_that_was_started_but_not_recorded_is_found", unrecorded_process_is_found),
    ("a_process_that_ended_while_no_keeper_ran_is_replaced", ended_without_a_keeper),
    ("ends_in_a_row_back_off_to_a_crash_loop", crash_loop),
    ("a_requested_restart_is_done_once_and_not_held_against_the_instance", requested_restart),
    ("a_stop_that_outlives_its_keeper_is_gone_on_with", stop_goes_on_without_its_keeper),
    ("an_instance_that_was_being_retired_ends_without_its_keeper", retired_without_a_keeper),
    ("an_instance_that_is_wanted_again_while_it_drains_comes_back", wanted_again_while_it_drains),
    ("after_a_reboot_the_fleet_is_as_old_as_its_start", another_boot),
    ("a_graceful_stop_waits_for_the_service_and_not_for_ever", graceful_stop),
    ("replicas_follow_the_attribute_and_its_undo", replicas),
    ("an_added_instance_is_proven_beside_one_that_keeps_ending", added_beside_a_crash_loop),
    ("what_cannot_come_up_starts_nothing", nothing_half_done),
    ("another_protocol_is_refused_in_a_clear_sentence", other_protocol),
    ("captured_output_is_told_by_instance", logs),
];

fn comes_up_and_goes_down() {
    let shop = format!(
        "{CART}  front:\n    command: [\"{{homeostat}}\", service, serve]\n    listens: http\n    dependencies: [cart]\n    environment: {{COLOUR: blue}}\n"
    );
    let fleet = Fleet::up(&shop);
    fleet.ready("cart-0");
    let pid = fleet.ready("front-0");
    assert_eq!(fleet.get("front-0", "/"), pid.to_string());
    assert_eq!(fleet.get("front-0", "/variable/COLOUR"), "blue");
    assert_eq!(fleet.get("front-0", "/variable/HOMEOSTAT_INSTANCE"), "front-0");
    let link = fleet.get("front-0", "/variable/CART_ADDRESS");
    let port = link.strip_prefix("127.0.0.1:").unwrap().parse().unwrap();
    let cart = fleet.pid("cart-0").to_string();
    until("the link leads to cart", || get(port, "/").ok().filter(|body| *body == cart));
    let events = fleet.provider.events(0, Duration::ZERO).unwrap();
    assert!(events.iter().zip(1..).all(|(event, number)| event.sequence == number), "{events:?}");
    fleet.provider.down().unwrap();
    assert!(!runs(pid));
}

fn killed_process_is_replaced() {
    // Whoever waits before a first restart waits longer than any machine stands still.
    let fleet = Fleet::up(&CART.replace("settled: 50ms", "settled: 50ms, initial: 30s, max: 60s"));
    let mut pid = fleet.ready("cart-0");
    let mut gaps = Vec::new();
    for _ in 0..5 {
        fleet.settled("cart-0");
        kill(pid, "KILL");
        pid = until("another process is ready", || {
            let seen = fleet.instance("cart-0");
            (seen.phase == domain::snapshot::Phase::Ready)
                .then_some(seen.incarnation?.pid)
                .filter(|new| *new != pid)
        });
        let exit = fleet.instance("cart-0").exits.last().cloned().unwrap();
        assert_eq!(exit.cause, ExitCause::Signal(9));
        assert!(!exit.requested);
        gaps.push(exit.successor_at.unwrap().since(exit.at));
    }
    // How many milliseconds that takes is for `benches/restart`.
    println!("exit seen to successor executed: {gaps:?}");
    assert!(gaps.iter().all(|gap| *gap < Duration::from_secs(30)), "{gaps:?}");
    let kinds: Vec<_> =
        fleet.provider.events(0, Duration::ZERO).unwrap().iter().map(|event| event.kind).collect();
    assert!(kinds.contains(&EventKind::Exited) && kinds.contains(&EventKind::Ready), "{kinds:?}");
}

fn children_die_too() {
    let fleet = Fleet::up(CART);
    let pid = fleet.ready("cart-0");
    let child: u32 = fleet.get("cart-0", "/child").parse().unwrap();
    assert!(runs(child));
    kill(pid, "KILL");
    until("the child is gone", || (!runs(child)).then_some(()));
    until("its zombie is reaped", || state(child).is_none().then_some(()));
}

fn services_survive_the_keeper() {
    let fleet = Fleet::up(CART);
    let pid = fleet.ready("cart-0");
    let keeper = fleet.provider.keeper_pid();
    fleet.kill_keeper();
    assert!(runs(pid));
    assert_eq!(fleet.ready("cart-0"), pid, "the same process was adopted");
    assert_ne!(fleet.provider.keeper_pid(), keeper);
    kill(pid, "KILL");
    until("the adopted process is replaced", || {
        fleet.instance("cart-0").incarnation.filter(|it| it.pid != pid)
    });
    assert_eq!(fleet.instance("cart-0").exits.last().unwrap().cause, ExitCause::Unknown);
    fleet.ready("cart-0");
}

fn unrecorded_process_is_found() {
    let fleet = Fleet::up(CART);
    let pid = fleet.ready("cart-0");
    fleet.kill_keeper();
    let path = fleet.dir.path().join("keeper/table.json");
    let mut table: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    table["instances"]["cart-0"]["incarnation"] = serde_json::Value::Null;
    std::fs::write(&path, table.to_string()).unwrap();
    assert_eq!(fleet.ready("cart-0"), pid);
}

fn ended_without_a_keeper() {
    let fleet = Fleet::up(CART);
    let pid = fleet.ready("cart-0");
    fleet.kill_keeper();
    kill(pid, "KILL");
    until("it is dead", || (!runs(pid)).then_some(()));
    assert_ne!(fleet.ready("cart-0"), pid);
    assert_eq!(fleet.instance("cart-0").exits.last().unwrap().cause, ExitCause::Unknown);
}

fn crash_loop() {
    let fleet = Fleet::up(
        "  job:\n    command: [\"{homeostat}\", service, crash]\n    restart: {initial: 100ms, max: 400ms, crash_loop_after: 3}\n",
    );
    let pauses = |seen: &InstanceState| -> Vec<u128> {
        seen.exits.iter().filter_map(|exit| Some(exit.successor_at?.since(exit.at).as_millis())).collect()
    };
    let seen =
        until("a crash loop", || fleet.find("job-0").filter(|seen| seen.crash_loop && seen.exits.len() > 5));
    assert!(seen.exits.iter().all(|exit| exit.cause == ExitCause::Status(3) && !exit.requested));
    let expected = [0, 100, 200, 400, 400];
    let told = pauses(&seen);
    assert!(told.iter().zip(expected).all(|(pause, least)| *pause >= least), "{told:?}, not {expected:?}");
    // A pause of a machine that stands still is longer; one that goes on being doubled always is.
    until("a pause at the greatest", || {
        let all = pauses(&fleet.instance("job-0"));
        all[4..].iter().any(|pause| *pause < 800).then_some(())
    });
    let events = fleet.provider.events(0, Duration::ZERO).unwrap();
    assert_eq!(events.iter().filter(|event| event.kind == EventKind::CrashLoop).count(), 1, "told once");
}

fn requested_restart() {
    let fleet = Fleet::up(CART);
    let pid = fleet.ready("cart-0");
    let expected = fleet.instance("cart-0").incarnation;
    let request = json!({"restart": {
        "token": token(), "instance": "cart-0", "expected": expected, "manner": StopManner::Drain
    }});
    fleet.ask(request.clone()).unwrap();
    fleet.ask(request.clone()).unwrap();
    until("another process runs", || fleet.instance("cart-0").incarnation.filter(|it| it.pid != pid));
    let second = fleet.ready("cart-0");
    fleet.ask(request).unwrap();
    let seen = fleet.instance("cart-0");
    assert_eq!((seen.exits.len(), seen.unsettled_exits), (1, 0));
    assert!(seen.exits[0].requested && seen.exits[0].cause == ExitCause::Signal(15), "{:?}", seen.exits);
    assert_eq!(fleet.pid("cart-0"), second);
}

fn stop_goes_on_without_its_keeper() {
    let fleet = Fleet::up(&format!("{CART}    drain: {{command: [sleep, \"2\"], timeout: 10s}}\n"));
    let pid = fleet.ready("cart-0");
    let expected = fleet.instance("cart-0").incarnation;
    let manner = StopManner::Drain;
    let restart = json!({"token": token(), "instance": "cart-0", "expected": expected, "manner": manner});
    fleet.ask(json!({ "restart": restart })).unwrap();
    assert_eq!(fleet.instance("cart-0").phase, Phase::Stopping);
    fleet.kill_keeper();
    assert!(runs(pid), "it drains");
    until("another process runs", || fleet.instance("cart-0").incarnation.filter(|it| it.pid != pid));
    fleet.ready("cart-0");
}

fn retired_without_a_keeper() {
    let fleet =
        Fleet::up(&format!("{CART}    replicas: 2\n    drain: {{command: [sleep, \"2\"], timeout: 10s}}\n"));
    let kept = fleet.ready("cart-0");
    let pid = fleet.ready("cart-1");
    scale(&fleet, 1, 0);
    until("it drains", || fleet.find("cart-1").filter(|seen| seen.phase == Phase::Stopping));
    fleet.kill_keeper();
    assert_eq!(fleet.ready("cart-0"), kept);
    until("the other one is gone", || (!runs(pid)).then_some(()));
}

fn wanted_again_while_it_drains() {
    let fleet =
        Fleet::up(&format!("{CART}    replicas: 2\n    drain: {{command: [sleep, \"1\"], timeout: 10s}}\n"));
    let pid = fleet.ready("cart-1");
    scale(&fleet, 1, 0);
    until("it drains", || fleet.find("cart-1").filter(|seen| seen.phase == Phase::Stopping));
    scale(&fleet, 2, 1);
    until("it is gone", || (!runs(pid)).then_some(()));
    assert_ne!(fleet.ready("cart-1"), pid);
}

fn another_boot() {
    let fleet = Fleet::up(CART);
    let pid = fleet.ready("cart-0");
    fleet.kill_keeper();
    let path = fleet.dir.path().join("keeper/table.json");
    let mut table: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    // The clock of the boot before had come far.
    table["boot_id"] = "another".into();
    table["up_at"]["boot_us"] = (u64::MAX / 4).into();
    std::fs::write(&path, table.to_string()).unwrap();
    assert_eq!(fleet.ready("cart-0"), pid, "what runs is kept whatever the table says");
    until("the fleet grows older", || {
        let age = fleet.provider.sample().unwrap().fleet_age;
        (age > Duration::ZERO).then_some(())
    });
}

fn graceful_stop() {
    let service = "command: [\"{homeostat}\", service, slow-to-end]";
    let fleet = Fleet::up(&format!(
        "  patient:\n    {service}\n    stop_timeout: 10s\n  hasty:\n    {service}\n    stop_timeout: 100ms\n"
    ));
    for (name, cause) in [("patient-0", ExitCause::Status(7)), ("hasty-0", ExitCause::Signal(9))] {
        let service = named(name).service;
        until("it can be asked", || {
            fleet.provider.logs(&service, 1).unwrap().pop().filter(|line| line.ends_with("ready"))
        });
        let expected = fleet.instance(name).incarnation;
        let restart =
            json!({"token": token(), "instance": name, "expected": expected, "manner": StopManner::Drain});
        fleet.ask(json!({ "restart": restart })).unwrap();
        let exit = until("it ended", || fleet.instance(name).exits.pop());
        assert_eq!(exit.cause, cause, "{name}");
    }
}

/// Sets the replicas of `cart`, which were changed `generation` times before.
fn scale(fleet: &Fleet, count: u32, generation: u64) {
    let (attribute, value) = (json!({"replicas": "cart"}), json!({"count": count}));
    let set = json!({"attribute": attribute, "value": value, "expected": generation, "token": token()});
    fleet.ask(json!({ "set": set })).unwrap();
}

fn replicas() {
    let fleet = Fleet::up(CART);
    fleet.ready("cart-0");
    let attribute = json!({"replicas": "cart"});
    let token = token();
    let set = json!({"set": {"attribute": attribute, "value": {"count": 3}, "expected": 0, "token": token}});
    fleet.ask(set.clone()).unwrap();
    fleet.ask(set).unwrap();
    fleet.ready("cart-2");
    let stale = json!({"set": {"attribute": attribute, "value": {"count": 9}, "expected": 0, "token": crate::fleet::token()}});
    assert_eq!(fleet.ask(stale).unwrap_err()["conflict"]["seen"], 1);
    let unset = json!({"unset": {"attribute": attribute, "token": token}});
    assert_eq!(fleet.ask(unset.clone()).unwrap(), "top");
    assert_eq!(fleet.ask(unset).unwrap(), "nothing");
    until("the two are gone", || {
        (fleet.find("cart-1").is_none() && fleet.find("cart-2").is_none()).then_some(())
    });
    assert!(fleet.find("cart-0").is_some());
}

fn added_beside_a_crash_loop() {
    let fleet = Fleet::up(
        "  cart:\n    command: [sh, -c, 'if [ $HOMEOSTAT_INSTANCE = cart-1 ]; then exec \"$0\" service crash; fi; exec \"$0\" service serve', \"{homeostat}\"]\n    listens: http\n    replicas: 2\n    readiness: {http: /ready}\n",
    );
    until("cart-1 is in a crash loop", || fleet.find("cart-1").filter(|seen| seen.crash_loop));
    let attribute = Attribute::Replicas(named("cart-0").service);
    let (value, generation) = (AttributeValue::Count(2), 0);
    let captured = Captured::Attribute { attribute: attribute.clone(), value, generation };
    let action = Action::SetReplicas { service: named("cart-0").service, replicas: 3 };
    let step = Step { action, undo: Undo::Exact, timeout: Duration::from_secs(1) };
    let prove = |token| fleet.provider.prove(token, &step, &captured).unwrap();
    let token = token();
    assert_eq!(prove(token), Effect::Absent, "nothing was done yet");
    let set = json!({"attribute": attribute, "value": {"count": 3}, "expected": 0, "token": token});
    fleet.ask(json!({"set": set})).unwrap();
    until("the third is proven", || (prove(token) == Effect::Present).then_some(()));
    assert_eq!(fleet.instance("cart-2").phase, domain::snapshot::Phase::Ready);
    assert!(fleet.instance("cart-1").crash_loop);
}

fn nothing_half_done() {
    let dir = tempfile::tempdir().unwrap();
    let provider = ProcessProvider::open(dir.path()).unwrap();
    let missing = declared(&format!("{CART}  job:\n    command: [no-such-program]\n"));
    let error = provider.up(&missing).unwrap_err().to_string();
    assert!(error.contains("services.job.command") && error.contains("no-such-program"), "{error}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let error = provider.up(&declared(&format!("{CART}    publish: {port}\n"))).unwrap_err().to_string();
    assert!(error.contains(&port.to_string()) && error.contains("services.cart.publish"), "{error}");
    assert!(provider.sample().unwrap().services.is_empty(), "nothing is up");
    provider.down().unwrap();
}

fn other_protocol() {
    use std::io::{BufRead, BufReader, Write};
    let fleet = Fleet::up(CART);
    let stream =
        std::os::unix::net::UnixStream::connect(fleet.dir.path().join("keeper/keeper.sock")).unwrap();
    let mut lines = BufReader::new(stream);
    writeln!(lines.get_mut(), "{}", json!({"hello": {"version": 99}})).unwrap();
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    assert!(line.contains("run both from one version of homeostat"), "{line}");
}

fn logs() {
    let fleet = Fleet::up(CART);
    fleet.ready("cart-0");
    let lines = fleet.provider.logs(&named("cart-0").service, 5).unwrap();
    assert!(lines.iter().any(|line| line.starts_with("cart-0 | serving on")), "{lines:?}");
}
